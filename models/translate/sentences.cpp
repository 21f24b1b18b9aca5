#include "unroll/models/translate/sentences.hpp"

#include <algorithm>

#include "unroll/models/data/ragged_examples.hpp"

namespace unroll {
namespace {

using Sentences = std::vector<std::vector<std::int64_t>>;

Lengths lengths_of(std::span<const std::vector<std::int64_t>> sentences) {
  std::vector<Size> lengths;
  for (const auto& s : sentences) lengths.push_back(Size(s.size()));
  return Lengths(lengths);
}

Sentences chosen_of(const Sentences& all, std::span<const Size> chosen) {
  Sentences out;
  for (const Size i : chosen) out.push_back(all[std::size_t(i)]);
  return out;
}

}  // namespace

TranslationVocabularies TranslationVocabularies::of(std::span<const TextPair> pairs,
                                                    const TokenVocabularyOptions& options) {
  std::vector<std::vector<std::string>> source, target;
  for (const TextPair& pair : pairs) {
    source.push_back(pair.source);
    target.push_back(pair.target);
  }
  return {TokenVocabulary::of(source, options), TokenVocabulary::of(target, options)};
}

std::vector<std::int64_t> with_end(const TokenVocabulary& words,
                                   const std::vector<std::string>& sentence) {
  std::vector<std::int64_t> ids = words.encode(sentence);
  ids.push_back(end_token);
  return ids;
}

SourceBatch source_batch(std::span<const std::vector<std::int64_t>> sentences) {
  if (sentences.empty()) fail("source_batch", "there are no sentences");
  return {padded_ids(sentences, 0), lengths_of(sentences)};
}

SentencePairs::SentencePairs(std::span<const TextPair> pairs,
                             const TranslationVocabularies& words) {
  for (const TextPair& pair : pairs) {
    source_.push_back(with_end(words.source, pair.source));
    target_.push_back(with_end(words.target, pair.target));
  }
}

SourceBatch SentencePairs::source(std::span<const Size> chosen) const {
  return source_batch(chosen_of(source_, chosen));
}

SentenceBatch SentencePairs::batch(std::span<const Size> chosen) const {
  const Sentences targets = chosen_of(target_, chosen);
  Sentences inputs = targets;
  for (auto& s : inputs) {  // moved on by one step
    s.insert(s.begin(), begin_token);
    s.pop_back();
  }
  const Lengths lengths = lengths_of(targets);
  return {source(chosen), padded_ids(inputs, 0), lengths, pack(padded_ids(targets, 0), lengths)};
}

BatchLists SentencePairs::epoch(const Key& key, Size batch_size, Order order) const {
  if (order == Order::as_given) return batch_lists(size(), batch_size, order, key);
  // Of one source length, and in that of about one target length.
  Size longest = 0;
  for (const auto& s : target_) longest = std::max(longest, Size(s.size()));
  std::vector<Size> lengths;
  for (std::size_t i = 0; i < source_.size(); ++i) {
    lengths.push_back(Size(source_[i].size()) * (longest + 1) + Size(target_[i].size()));
  }
  return bucketed_batches(Lengths(lengths), batch_size, key);
}

}  // namespace unroll
