// Named entities, chunks and other spans of tags: how many were found, as the CoNLL shared tasks count.
//
//   SpanF1 f1;
//   f1.add(predicted, truth);                 // the tags of one sentence: {"B-PER", "I-PER", "O", ...}
//   f1.overall().f1;   f1.types["PER"].scores().recall;
//
// A tag is O, or a letter, a dash and a type: B and I (inside), E (end), S (single). One set of rules, that of the
// tasks' program conlleval (Tjong Kim Sang & Buchholz, 2000; S as in its later ports), reads IOB1, IOB2, IOE and BIOES
// alike, and gives tags a meaning that break their scheme: an I after O, or after another type, starts a span; so
// does an I or E after an E or S. A sentence ends every span. Counted as right are predicted spans whose first token,
// last token and type are those of a true one. Scores are between 0 and 1; conlleval prints percent.
#pragma once

#include <map>
#include <span>
#include <string>

#include "unroll/nn/metrics.hpp"

namespace unroll {

struct TaggedSpan {
  Size begin = 0, end = 0;  // tokens begin, ..., end - 1
  std::string type;
  bool operator==(const TaggedSpan&) const = default;
};
// The spans of a sentence, in order.
[[nodiscard]] std::vector<TaggedSpan> tagged_spans(std::span<const std::string> tags);

struct SpanCounts {
  Size right = 0, predicted = 0, truth = 0;  // spans
  [[nodiscard]] Scores scores() const { return scores_of(right, predicted, truth); }
  SpanCounts& operator+=(const SpanCounts& other);
};

struct SpanF1 {
  std::map<std::string, SpanCounts> types;  // those that occur, as truth or as prediction
  Accuracy tags;                            // of single tokens

  // One sentence; throws when the numbers of tags differ.
  void add(std::span<const std::string> predicted, std::span<const std::string> truth);
  [[nodiscard]] SpanCounts counts() const;  // of all types
  [[nodiscard]] Scores overall() const { return counts().scores(); }
  SpanF1& operator+=(const SpanF1& other);
};

}  // namespace unroll
