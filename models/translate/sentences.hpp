// Pairs of sentences as numbers, in batches of about one length.
//
//   const TranslationVocabularies words = TranslationVocabularies::of(training, {.least_count = 2});
//   const SentencePairs data(training, words);        // a dataset for the trainer
//   const SentenceBatch batch = data.batch(std::vector<Size>{0, 1, 2});
//
// Invariant: batches of an epoch hold each pair once, and are a function of the key.
#pragma once

#include "unroll/models/data/parallel_text.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/models/training/dataset.hpp"
#include "unroll/nn/ragged.hpp"

namespace unroll {

/// "<pad>", "<unk>", "<s>", "</s>": the first ids of a TokenVocabulary.
inline constexpr std::int64_t begin_token = 2, end_token = 3;

struct TranslationVocabularies {
  TokenVocabulary source, target;

  [[nodiscard]] static TranslationVocabularies of(std::span<const TextPair> pairs,
                                                  const TokenVocabularyOptions& options = {});
  bool operator==(const TranslationVocabularies&) const = default;
};

struct SourceBatch {
  Indices words;  // [S, B], the end token last, then padding
  Lengths lengths;
};

struct SentenceBatch {
  SourceBatch source;
  Indices inputs;          // [T, B]: the begin token, then the target's words
  Lengths target_lengths;  // the end token counted
  Indices targets;         // packed: the target's words and the end token
};

/// The ids of a sentence and of the end token.
[[nodiscard]] std::vector<std::int64_t> with_end(const TokenVocabulary& words,
                                                 const std::vector<std::string>& sentence);

/// Source sentences, side by side. Throws std::invalid_argument where there are none.
[[nodiscard]] SourceBatch source_batch(std::span<const std::vector<std::int64_t>> sentences);

/// A BatchSource (models/training/dataset.hpp).
class SentencePairs {
 public:
  SentencePairs(std::span<const TextPair> pairs, const TranslationVocabularies& words);

  [[nodiscard]] Size size() const { return Size(source_.size()); }
  [[nodiscard]] SentenceBatch batch(std::span<const Size> chosen) const;
  [[nodiscard]] SourceBatch source(std::span<const Size> chosen) const;
  [[nodiscard]] BatchLists epoch(const Key& key, Size batch_size, Order order) const;

 private:
  std::vector<std::vector<std::int64_t>> source_, target_;
};

}  // namespace unroll
