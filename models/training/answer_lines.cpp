#include "unroll/models/training/answer_lines.hpp"

#include <charconv>
#include <iostream>

namespace unroll {

std::string answer_lines(
    std::istream& in, std::ostream& out, OnBadData policy,
    const std::function<std::string(const std::string& line, std::int64_t number)>& answer) {
  BadData bad(policy);
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    std::string text;
    bad.attempt([&] { text = answer(line, number); });
    out << text << std::endl;
  }
  return bad.summary();
}

int answer_standard_input(
    OnBadData policy,
    const std::function<std::string(const std::string& line, std::int64_t number)>& answer) {
  const std::string skipped = answer_lines(std::cin, std::cout, policy, answer);
  if (!skipped.empty()) std::cerr << skipped << '\n';
  return 0;
}

Size size_in(const std::map<std::string, std::string>& metadata, const std::string& key,
             const std::string& file, Size most) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) {
    throw FormatError(file, "it does not say \"" + key + "\"; is it the model of another program?");
  }
  const std::string& text = found->second;
  Size value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > most) {
    throw FormatError(file, "\"" + key + "\" is \"" + text + "\", not a number from 1 to " +
                                std::to_string(most));
  }
  return value;
}

}  // namespace unroll
