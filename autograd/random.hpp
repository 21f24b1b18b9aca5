// Random numbers by value: a key goes in, numbers come out, nothing is remembered.
//
//   Key key(7);
//   auto [a, b] = split(key);                            // two independent keys; `key` is used up
//   Var<float> w = normal<float>(a, {128, 64}, 0, 0.1);
//   Indices order = permutation(fold_in(b, epoch), n);
//
// Numbers are a function of key and position: Threefry-2x64 of 20 rounds (Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3", 2011), as JAX keys are used. Use a key once: for numbers, or
// to make other keys. Invariant: the same call gives the same bits on every machine and thread, at
// every instruction level, since only integer arithmetic and correctly rounded operations are used
// (not libm's log, not contraction by the compiler). Results are constants.
#pragma once

#include <array>
#include <cstdint>

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

struct Key {
  std::uint64_t a = 0, b = 0;

  constexpr Key() = default;
  constexpr explicit Key(std::uint64_t seed) : a(seed) {}
  constexpr Key(std::uint64_t first, std::uint64_t second) : a(first), b(second) {}
  bool operator==(const Key&) const = default;
};

namespace detail {
// The block cipher under it all: 128 bits of counter to 128 random bits.
[[nodiscard]] std::array<std::uint64_t, 2> threefry(const Key& key, std::uint64_t c0,
                                                    std::uint64_t c1);
[[nodiscard]] Key child_key(const Key& key, std::uint64_t i);
// The standard normal's quantile (Wichura, "Algorithm AS 241", 1988) for 0 < p < 1, and the natural
// logarithm of a normal positive number: the same bits everywhere.
[[nodiscard]] double normal_quantile(double p);
[[nodiscard]] double portable_log(double x);
}  // namespace detail

// N independent keys: auto [a, b, c] = split<3>(key). Their first members do not depend on N.
template <std::size_t N = 2>
[[nodiscard]] std::array<Key, N> split(const Key& key) {
  std::array<Key, N> keys;
  for (std::size_t i = 0; i < N; ++i) keys[i] = detail::child_key(key, i);
  return keys;
}
[[nodiscard]] std::vector<Key> split(const Key& key, std::size_t count);
// A key for each number: steps, epochs, layers. Not the keys that split gives.
[[nodiscard]] Key fold_in(const Key& key, std::uint64_t n);

// Evenly over [low, high).
template <FloatOrDouble T>
[[nodiscard]] Var<T> uniform(const Key& key, const Shape& shape, double low = 0, double high = 1);
// The normal distribution. The float numbers are the double ones, rounded.
template <FloatOrDouble T>
[[nodiscard]] Var<T> normal(const Key& key, const Shape& shape, double mean = 0, double std = 1);
// 1 with probability p, else 0. Throws for p outside [0, 1].
template <FloatOrDouble T>
[[nodiscard]] Var<T> bernoulli(const Key& key, const Shape& shape, double p);
// Evenly over low, ..., high - 1. Throws when there is nothing to choose from.
[[nodiscard]] Indices randint(const Key& key, const Shape& shape, std::int64_t low,
                              std::int64_t high);
// 0, ..., n-1 in random order (Fisher and Yates).
[[nodiscard]] Indices permutation(const Key& key, Size n);
// One choice per row of the last axis, with probabilities softmax(logits): [..., n] -> [...]. A
// logit of -inf is never chosen. (The largest of logit + Gumbel noise.) Throws when a row has NaN,
// +inf or nothing to choose.
template <FloatOrDouble T>
[[nodiscard]] Indices categorical(const Key& key, const Var<T>& logits);

// Each element is set to 0 with probability `rate`, the others are divided by 1 - rate, so the
// expectation stays. Throws for a rate outside [0, 1). A composite: its mask is a constant made
// from the key.
template <FloatOrDouble T>
[[nodiscard]] Var<T> dropout(const Var<T>& x, double rate, const Key& key);

}  // namespace unroll
