// What a tagger says, and how good that is.
//
//   const auto predicted = tags_of(tagger, encoder, sentences);
//   const TaggingScores scores = tagging_scores(predicted, sentences);          // scores.f1
//
// Scores are those of the CoNLL tasks: of spans, not of words (nn/span_f1.hpp).
#pragma once

#include "unroll/models/data/split_of.hpp"
#include "unroll/models/tag_sequence/tag_encoder.hpp"
#include "unroll/models/training/report.hpp"

namespace unroll {

using TagLists = std::vector<std::vector<std::string>>;

/// The tags of each sentence, in IOB2.
[[nodiscard]] TagLists tags_of(const Tagger& tagger, const TagEncoder& encoder,
                               std::span<const TaggedSentence> sentences);
/// Each word's most frequent tag in training; O for words never seen: what any tagger should beat.
[[nodiscard]] TagLists most_frequent_tags(std::span<const TaggedSentence> training,
                                          std::span<const TaggedSentence> sentences);

struct TaggingScores {
  double precision = 0, recall = 0, f1 = 0;  // of spans
  double right_tags = 0;                     // the share of words
};
[[nodiscard]] TaggingScores tagging_scores(const TagLists& predicted,
                                           std::span<const TaggedSentence> sentences);

/// How often each type (row) was taken for each other, word by word; types without B- and I-, "O" among
/// them, in the order of `types`. What is none of them is left out.
[[nodiscard]] std::vector<double> type_confusions(const TagLists& predicted,
                                                  std::span<const TaggedSentence> sentences,
                                                  std::span<const std::string> types);
/// The first sentences with the types that were found and the true ones, for a report.
[[nodiscard]] std::vector<std::vector<TaggedWord>> tagged_words(
    const TagLists& predicted, std::span<const TaggedSentence> sentences, std::size_t most = 30);
/// O and the types of an encoder's tags.
[[nodiscard]] std::vector<std::string> types_of(const TagEncoder& encoder);

/// A folder with train/, valid/ and test/, each with seq.in and seq.out; or with train.txt, valid.txt and
/// test.txt in columns; or one file in columns, split by split_of(). Throws FileError, DataError.
[[nodiscard]] SplitExamples<TaggedSentence> read_tagging_data(const std::filesystem::path& path,
                                                              BadData& bad);

}  // namespace unroll
