// How good predictions are: numbers to report, not to differentiate.
//
//   Accuracy accuracy, top5{.k = 5};
//   for (const Batch& b : validation) {
//     accuracy.add(model(b.inputs), b.labels);        // scores [..., K], labels [...]
//     top5.add(model(b.inputs), b.labels);
//   }
//   std::printf("%.1f %%\n", 100 * accuracy.value());
//
// A metric counts what is added to it, and counts add up: `a += b` is as if all that b was given had been given to
// a, so threads can count apart. Shares are between 0 and 1. Spans of tags and translations have headers of their
// own: nn/span_f1.hpp, nn/bleu.hpp. Invariant: an addition that throws (std::invalid_argument: shapes, labels out
// of range) changes nothing.
#pragma once

#include <optional>

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

struct Scores {
  double precision = 0, recall = 0, f1 = 0;
};
// From counts: right / predicted, right / truth and their harmonic mean; what is divided by 0 is 0.
[[nodiscard]] Scores scores_of(Size right, Size predicted, Size truth);

// The share of labels that are among the k highest scores. Of equal scores the one of the lower class counts as the
// higher, as in argmax; NaN counts as higher than any other, so a model that gives NaN is never right.
struct Accuracy {
  Size k = 1;
  std::optional<std::int64_t> ignored = std::nullopt;  // rows with this label do not count
  Size right = 0, total = 0;

  template <FloatOrDouble T>
  void add(const Var<T>& scores, const Indices& labels);        // [..., K], [...]
  void add(const Indices& predictions, const Indices& labels);  // of one shape
  // NaN while nothing was counted.
  [[nodiscard]] double value() const;
  Accuracy& operator+=(const Accuracy& other);
};

// How well a model predicts text: the likelihood of its tokens, as perplexity and bits per character.
//
//   score.add(cross_entropy(logits, labels, {.reduction = Reduction::sum}).item(), labels.size());
struct TextLikelihood {
  double nats = 0;  // Σ -log p(token)
  Size tokens = 0, characters = 0;

  // The sum over this many tokens, which are the characters themselves or stand for so many.
  void add(double sum_of_nats, Size token_count) { add(sum_of_nats, token_count, token_count); }
  void add(double sum_of_nats, Size token_count, Size character_count);
  // exp(nats / tokens) and nats / (characters log 2); NaN while nothing was added.
  [[nodiscard]] double perplexity() const;
  [[nodiscard]] double bits_per_character() const;
  TextLikelihood& operator+=(const TextLikelihood& other);
};

// How often each class was taken for each other.
struct ConfusionMatrix {
  Size classes;
  std::optional<std::int64_t> ignored;  // labels that do not count
  std::vector<Size> counts;             // [truth, prediction], row-major

  explicit ConfusionMatrix(Size class_count, std::optional<std::int64_t> ignored_label = {});

  void add(const Indices& predictions, const Indices& labels);  // of one shape
  // Throws when truth or prediction is no class.
  [[nodiscard]] Size count(Size truth, Size prediction) const;
  [[nodiscard]] Size total() const;
  [[nodiscard]] double accuracy() const;  // NaN while nothing was counted
  [[nodiscard]] Scores of(Size class_index) const;
  // The mean of each score over the classes that occur, as truth or as prediction.
  [[nodiscard]] Scores macro() const;
  // The scores of all counts added up; without classes left out these three are equal: the accuracy. `without`
  // leaves a class out (a "nothing here" class), as truth and as prediction.
  [[nodiscard]] Scores micro(std::optional<Size> without = {}) const;
  // Throws when the other has another number of classes.
  ConfusionMatrix& operator+=(const ConfusionMatrix& other);

 private:
  [[nodiscard]] Size predicted(Size class_index) const;
  [[nodiscard]] Size truth(Size class_index) const;
};

}  // namespace unroll
