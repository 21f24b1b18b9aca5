// Tunes as numbers for the composer: batches of whole tunes of about one length, packed.
//
//   const Vocabulary vocabulary = tune_vocabulary(texts);
//   const TuneTexts data(texts, vocabulary);          // a dataset for the trainer
//   const TuneBatch batch = data.batch(std::vector<Size>{0, 1, 2});
//
// A text is the lines of a tune, each with its '\n'; the empty line that ends a tune in ABC is the last
// thing to be predicted, and the one of the tune before is the first input. Invariant: an epoch holds each
// tune once, and is a function of its key.
#pragma once

#include <memory>
#include <string>

#include "unroll/models/data/text.hpp"
#include "unroll/models/training/dataset.hpp"
#include "unroll/nn/ragged.hpp"

namespace unroll {

struct TuneBatch {
  Indices inputs;   // packed [N]: the line end, then the tune
  Indices targets;  // packed [N]: the tune, then the line end
  std::shared_ptr<const PackedLayout> layout;
};

/// All characters of these texts (UTF-8), and the line end.
[[nodiscard]] Vocabulary tune_vocabulary(std::span<const std::string> texts);

/// A BatchSource (models/training/dataset.hpp); the weight of a batch is its number of characters.
class TuneTexts {
 public:
  /// Texts in UTF-8. Throws std::invalid_argument for one that is not.
  TuneTexts(std::span<const std::string> texts, const Vocabulary& vocabulary);

  [[nodiscard]] Size size() const { return Size(tunes_.size()); }
  [[nodiscard]] TuneBatch batch(std::span<const Size> chosen) const;
  [[nodiscard]] BatchLists epoch(const Key& key, Size batch_size, Order order) const;

  /// The ids of all tunes, one after the other, each with its ends: for counting (ngram.hpp).
  [[nodiscard]] std::vector<std::int64_t> joined() const;

 private:
  std::vector<std::vector<std::int64_t>> tunes_;  // with the line end before and behind
};

}  // namespace unroll
