// Sentences with a tag for each word, in columns as the CoNLL shared tasks give them.
//
//   Japanese  JJ  I-NP  I-MISC          a word a line; the first column is the word, the last its tag
//   band      NN  I-NP  O
//                                       an empty line (blanks are empty) ends a sentence
//   -DOCSTART- -X- O O                  begins a document; passed over
//
//   BadData bad(OnBadData::stop);
//   const auto sentences = read_conll("train.txt", bad);
//   to_iob2(sentences[0].tags);                            // IOB1, IOB2, BIOES: all to IOB2
//
// Columns are divided by spaces or tabs, any number of them but two at least, and each line has as many
// as the first. Tags are O, or a letter, a dash and a type. A bad line spoils its whole sentence.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/models/training/data_error.hpp"

namespace unroll {

struct TaggedSentence {
  std::vector<std::string> words = {};
  std::vector<std::string> tags = {};  // as many
  bool operator==(const TaggedSentence&) const = default;
};

/// O, or one of the letters B, I, E, S, a dash and a type.
[[nodiscard]] bool is_span_tag(std::string_view tag);

/// The same spans in IOB2 (B- begins, I- goes on), read by the rules of nn/span_f1.hpp.
[[nodiscard]] std::vector<std::string> to_iob2(std::span<const std::string> tags);

/// Throws DataError, with the line, for a wrong number of columns and for what is no tag.
[[nodiscard]] std::vector<TaggedSentence> parse_conll(std::string_view bytes,
                                                      const std::string& name, BadData& bad);
/// Moreover FileError where it cannot be read, DataError where there is no sentence.
[[nodiscard]] std::vector<TaggedSentence> read_conll(const std::filesystem::path& path,
                                                     BadData& bad);

}  // namespace unroll
