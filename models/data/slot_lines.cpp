#include "unroll/models/data/slot_lines.hpp"

#include <algorithm>

#include "unroll/models/data/text_lines.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {

std::vector<TaggedSentence> parse_slot_lines(std::string_view words, std::string_view tags,
                                             const std::string& words_name,
                                             const std::string& tags_name, BadData& bad) {
  const auto word_lines = text_lines(words, words_name), tag_lines = text_lines(tags, tags_name);
  const std::size_t both = std::min(word_lines.size(), tag_lines.size());
  std::vector<TaggedSentence> sentences;
  for (std::size_t i = 0; i < both; ++i) {
    bad.attempt([&] {
      TaggedSentence s{split_words(word_lines[i]), split_words(tag_lines[i])};
      const auto line = std::int64_t(i) + 1;
      if (s.words.size() != s.tags.size()) {
        throw DataError(
            tags_name, line,
            std::to_string(s.words.size()) + " tags, one for each word of " + words_name,
            std::to_string(s.tags.size()));
      }
      for (const std::string& tag : s.tags) {
        if (!is_span_tag(tag)) {
          throw DataError(tags_name, line, "tags (O, B-x, I-x, E-x or S-x)", "\"" + tag + "\"");
        }
      }
      if (!s.words.empty()) sentences.push_back(std::move(s));
    });
  }
  if (word_lines.size() != tag_lines.size()) {
    bad.attempt([&] {
      const bool words_end = word_lines.size() < tag_lines.size();
      throw DataError(words_end ? words_name : tags_name, std::int64_t(both) + 1,
                      "as many lines as in " + (words_end ? tags_name : words_name),
                      "the end of the file");
    });
  }
  return sentences;
}

std::vector<TaggedSentence> read_slot_lines(const std::filesystem::path& folder, BadData& bad) {
  const auto in = folder / "seq.in", out = folder / "seq.out";
  auto sentences =
      parse_slot_lines(read_whole_file(in), read_whole_file(out), in.string(), out.string(), bad);
  if (sentences.empty()) throw DataError(in.string(), 1, "sentences", "none");
  return sentences;
}

}  // namespace unroll
