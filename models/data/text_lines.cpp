#include "unroll/models/data/text_lines.hpp"

#include <algorithm>

#include "unroll/models/data/text.hpp"

namespace unroll {

std::string utf8_text(std::string_view bytes, const std::string& name) {
  if (const std::size_t zero = bytes.find('\0'); zero != bytes.npos) {
    const auto line = 1 + std::ranges::count(bytes.substr(0, zero), '\n');
    throw DataError(name, line, "text in UTF-8 or latin-1", "a zero byte (binary, or UTF-16?)");
  }
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  std::string converted;
  if (!from_utf8(bytes)) {
    std::u32string latin_1;
    for (const char c : bytes) latin_1 += char32_t{static_cast<unsigned char>(c)};
    converted = to_utf8(latin_1);
    bytes = converted;
  }
  std::string text;
  text.reserve(bytes.size() + 1);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] == '\n') continue;
    text += bytes[i] == '\r' ? '\n' : bytes[i];
  }
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

std::vector<std::string> text_lines(std::string_view bytes, const std::string& name) {
  const std::string text = utf8_text(bytes, name);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<std::string> split_characters(std::string_view text) {
  std::vector<std::string> characters;
  const bool is_utf8 = from_utf8(text).has_value();
  for (const char c : text) {
    const bool goes_on = is_utf8 && static_cast<unsigned char>(c) >> 6 == 0x02;
    if (goes_on) {
      characters.back() += c;
    } else {
      characters.emplace_back(1, c);
    }
  }
  return characters;
}

}  // namespace unroll
