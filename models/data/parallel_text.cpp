#include "unroll/models/data/parallel_text.hpp"

#include "unroll/models/data/text.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

// Without line ends; the last one need not have one.
std::vector<std::string_view> split_lines(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<std::string> tokens_of(std::string_view line, const std::string& name,
                                   std::int64_t number) {
  if (!from_utf8(line)) throw DataError(name, number, "UTF-8", "other bytes");
  std::vector<std::string> tokens = split_words(line);
  if (tokens.empty()) throw DataError(name, number, "a sentence", "an empty one");
  return tokens;
}

std::vector<TextPair> some(std::vector<TextPair> pairs, const std::string& name) {
  if (pairs.empty()) throw DataError(name, FilePosition{}, "at least one pair of sentences");
  return pairs;
}

}  // namespace

std::vector<TextPair> parse_parallel_lines(std::string_view source, std::string_view target,
                                           const std::string& source_name,
                                           const std::string& target_name, BadData& bad) {
  const auto sources = split_lines(source), targets = split_lines(target);
  if (sources.size() != targets.size()) {
    throw DataError(
        target_name, FilePosition{},
        "as many lines as " + source_name + " has (" + std::to_string(sources.size()) + ")",
        std::to_string(targets.size()));
  }
  std::vector<TextPair> pairs;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto number = std::int64_t(i) + 1;
    bad.attempt([&] {
      std::vector<std::string> from = tokens_of(sources[i], source_name, number);
      pairs.push_back({std::move(from), tokens_of(targets[i], target_name, number)});
    });
  }
  return pairs;
}

std::vector<TextPair> parse_parallel_tsv(std::string_view text, const std::string& name,
                                         BadData& bad) {
  std::vector<TextPair> pairs;
  std::int64_t number = 0;
  for (const std::string_view line : split_lines(text)) {
    ++number;
    bad.attempt([&] {
      const auto tab = line.find('\t');
      if (tab == line.npos)
        throw DataError(name, number, "source TAB target", "a line without a tab");
      const std::string_view rest = line.substr(tab + 1);
      std::vector<std::string> from = tokens_of(line.substr(0, tab), name, number);
      pairs.push_back({std::move(from), tokens_of(rest.substr(0, rest.find('\t')), name, number)});
    });
  }
  return pairs;
}

std::vector<TextPair> read_parallel_lines(const std::filesystem::path& source,
                                          const std::filesystem::path& target, BadData& bad) {
  return some(parse_parallel_lines(read_whole_file(source), read_whole_file(target),
                                   source.string(), target.string(), bad),
              source.string());
}

std::vector<TextPair> read_parallel_tsv(const std::filesystem::path& path, BadData& bad) {
  return some(parse_parallel_tsv(read_whole_file(path), path.string(), bad), path.string());
}

}  // namespace unroll
