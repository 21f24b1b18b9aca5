#include "unroll/models/data/conll.hpp"

#include "unroll/models/data/text_lines.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/span_f1.hpp"

namespace unroll {

bool is_span_tag(std::string_view tag) {
  const std::string_view letters = "BIES";
  return tag == "O" || (tag.size() > 2 && tag[1] == '-' && letters.find(tag[0]) != letters.npos);
}

std::vector<std::string> to_iob2(std::span<const std::string> tags) {
  std::vector<std::string> iob2(tags.size(), "O");
  for (const TaggedSpan& s : tagged_spans(tags)) {
    for (Size i = s.begin; i < s.end; ++i) {
      iob2[std::size_t(i)] = (i == s.begin ? "B-" : "I-") + s.type;
    }
  }
  return iob2;
}

std::vector<TaggedSentence> parse_conll(std::string_view bytes, const std::string& name,
                                        BadData& bad) {
  const auto lines = text_lines(bytes, name);
  std::vector<TaggedSentence> sentences;
  std::size_t columns = 0;
  const auto add_line = [&](TaggedSentence& sentence, std::size_t i) {
    const auto fields = split_words(lines[i]);
    if (fields[0] == "-DOCSTART-") return;
    const auto line = std::int64_t(i) + 1;
    if (fields.size() < 2) throw DataError(name, line, "a word and its tag", "one column");
    if (columns == 0) columns = fields.size();
    if (fields.size() != columns) {
      throw DataError(name, line, std::to_string(columns) + " columns, as before",
                      std::to_string(fields.size()));
    }
    if (!is_span_tag(fields.back())) {
      throw DataError(name, line, "a tag (O, B-x, I-x, E-x or S-x) in the last column",
                      "\"" + fields.back() + "\"");
    }
    sentence.words.push_back(fields.front());
    sentence.tags.push_back(fields.back());
  };
  const auto is_blank = [&](std::size_t i) { return split_words(lines[i]).empty(); };
  for (std::size_t i = 0; i < lines.size(); ++i) {
    TaggedSentence sentence;
    bad.attempt([&] {
      const std::size_t first = i;
      while (i < lines.size() && !is_blank(i)) ++i;
      for (std::size_t k = first; k < i; ++k) add_line(sentence, k);
      if (!sentence.words.empty()) sentences.push_back(std::move(sentence));
    });
  }
  return sentences;
}

std::vector<TaggedSentence> read_conll(const std::filesystem::path& path, BadData& bad) {
  auto sentences = parse_conll(read_whole_file(path), path.string(), bad);
  if (sentences.empty()) throw DataError(path.string(), 1, "sentences in columns", "none");
  return sentences;
}

}  // namespace unroll
