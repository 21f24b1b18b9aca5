// What counting alone can predict: the baseline that a character model must beat.
//
//   const double bits = ngram_bits_per_character(training_ids, held_out_ids, 3, vocabulary.size());
//
// Order 1 looks at no context, order 3 at the two characters before. For every context the
// probabilities of all ids sum to 1, so the bits per character compare with those of any model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "unroll/autograd/error.hpp"

namespace unroll {

/// Predicts a character from the n - 1 before it by counting, with interpolated Witten-Bell
/// smoothing (Witten and Bell 1991; Chen and Goodman 1998). With c(h) the times that the context h
/// was seen in training, c(h, w) the times that w followed it, d(h) the number of different
/// characters that did, and h' the context without its oldest character:
///
///   p(w | h) = (c(h, w) + d(h) p(w | h')) / (c(h) + d(h)),   p(w | h') for a context never seen,
///
/// and 1 / vocabulary_size below the empty context. The probabilities of each context sum to 1.
class NgramModel {
 public:
  /// Throws std::invalid_argument for order < 1, ids outside [0, vocabulary_size), or where
  /// vocabulary_size^order does not fit into 64 bits.
  NgramModel(std::span<const std::int64_t> training, int order, std::int64_t vocabulary_size);

  /// Of `id` after `before`, of which the last order - 1 ids are used (fewer is allowed).
  [[nodiscard]] double probability(std::span<const std::int64_t> before, std::int64_t id) const;

  /// The mean of -log2 p over the text; its first characters are predicted from what there is.
  [[nodiscard]] double bits_per_character(std::span<const std::int64_t> text) const;

 private:
  [[nodiscard]] std::uint64_t digit(std::int64_t id) const;

  struct Context {
    std::uint64_t count = 0;
    std::uint64_t distinct = 0;
  };

  std::uint64_t vocabulary_size_;
  // By length of the context; a context and a character are packed as digits of one number.
  std::vector<std::unordered_map<std::uint64_t, Context>> contexts_;
  std::vector<std::unordered_map<std::uint64_t, std::uint64_t>> counts_;
};

/// NgramModel(training, order, vocabulary_size).bits_per_character(held_out).
[[nodiscard]] double ngram_bits_per_character(std::span<const std::int64_t> training,
                                              std::span<const std::int64_t> held_out, int order,
                                              std::int64_t vocabulary_size);

}  // namespace unroll
