#include "unroll/models/data/ngram.hpp"

#include <cmath>
#include <string>

namespace unroll {

NgramModel::NgramModel(std::span<const std::int64_t> training, int order,
                       std::int64_t vocabulary_size)
    : vocabulary_size_(static_cast<std::uint64_t>(vocabulary_size)) {
  if (order < 1) fail("NgramModel", "the order must be at least 1, not " + std::to_string(order));
  if (vocabulary_size < 1) fail("NgramModel", "the vocabulary is empty");
  std::uint64_t packed = 1;
  for (int i = 0; i < order; ++i) {
    if (__builtin_mul_overflow(packed, vocabulary_size_, &packed)) {
      fail("NgramModel", "order " + std::to_string(order) + " is too high for " +
                             std::to_string(vocabulary_size) + " characters");
    }
  }
  contexts_.resize(static_cast<std::size_t>(order));
  counts_.resize(static_cast<std::size_t>(order));
  for (std::size_t i = 0; i < training.size(); ++i) {
    const std::uint64_t id = digit(training[i]);
    std::uint64_t context = 0;
    std::uint64_t place = 1;
    for (std::size_t length = 0; length < contexts_.size() && length <= i; ++length) {
      if (length > 0) {
        context += place * static_cast<std::uint64_t>(training[i - length]);
        place *= vocabulary_size_;
      }
      Context& seen = contexts_[length][context];
      ++seen.count;
      if (counts_[length][context * vocabulary_size_ + id]++ == 0) ++seen.distinct;
    }
  }
}

double NgramModel::probability(std::span<const std::int64_t> before, std::int64_t id) const {
  const std::uint64_t next = digit(id);
  double p = 1.0 / static_cast<double>(vocabulary_size_);
  std::uint64_t context = 0;
  std::uint64_t place = 1;
  for (std::size_t length = 0; length < contexts_.size() && length <= before.size(); ++length) {
    if (length > 0) {
      context += place * digit(before[before.size() - length]);
      place *= vocabulary_size_;
    }
    const auto seen = contexts_[length].find(context);
    if (seen == contexts_[length].end()) break;  // then no longer context was seen either
    const auto found = counts_[length].find(context * vocabulary_size_ + next);
    const double count = found == counts_[length].end() ? 0 : static_cast<double>(found->second);
    const auto total = static_cast<double>(seen->second.count);
    const auto distinct = static_cast<double>(seen->second.distinct);
    p = (count + distinct * p) / (total + distinct);
  }
  return p;
}

double NgramModel::bits_per_character(std::span<const std::int64_t> text) const {
  if (text.empty()) fail("NgramModel::bits_per_character", "the text is empty");
  double bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bits -= std::log2(probability(text.first(i), text[i]));
  }
  return bits / static_cast<double>(text.size());
}

std::uint64_t NgramModel::digit(std::int64_t id) const {
  const auto value = static_cast<std::uint64_t>(id);
  if (value >= vocabulary_size_) {  // negative ids too
    fail("NgramModel",
         "id " + std::to_string(id) + " is outside [0, " + std::to_string(vocabulary_size_) + ")");
  }
  return value;
}

double ngram_bits_per_character(std::span<const std::int64_t> training,
                                std::span<const std::int64_t> held_out, int order,
                                std::int64_t vocabulary_size) {
  return NgramModel(training, order, vocabulary_size).bits_per_character(held_out);
}

}  // namespace unroll
