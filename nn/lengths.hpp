// Batches whose sequences differ in length: lengths as masks, and their checks.
//
//   length_mask<float>(Indices({2}, {3, 1}), 4);     // [[1, 1, 1, 0], [1, 0, 0, 0]]
//
// A length counts the real steps of a sequence; what stands behind them is padding. Invariant:
// functions that take lengths give each sequence the values and gradients it would have alone, and
// padding gets none.
#pragma once

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

// [B] -> [B, steps]: 1 where the step is real, 0 where it is padding. Throws when a length is not
// in 0..steps.
template <FloatOrDouble T>
[[nodiscard]] Var<T> length_mask(const Indices& lengths, Size steps);

namespace detail {

// Stands for log 0 in sums of logarithms: exp of it is exactly 0, but unlike -inf it has finite
// differences, so that no derivative of any order is NaN. What is below half of it was impossible.
template <class T>
inline constexpr T log_zero = T(-1e30);

// 1 where a logarithm is that of something impossible (and not of NaN, which is to be seen).
template <FloatOrDouble T>
Var<T> is_impossible(const Var<T>& log_value) {
  return log_value < log_zero<T> / 2;
}

// The elements, for what searches among them; throws where one is NaN.
template <FloatOrDouble T>
std::vector<T> comparable_values(const char* op, const Var<T>& x);

// Throws unless there are `batch` lengths, each in low..high.
void check_lengths(const char* op, const Indices& lengths, Size batch, Size low, Size high);

// x [steps, B, ...], and 0 in the padding, which may hold anything; x itself where there is none.
template <FloatOrDouble T>
Var<T> without_padding(const Var<T>& x, const Indices& lengths);

// For each step the mask [B, 1] of the sequences that still run, or an empty Var where all do.
template <FloatOrDouble T>
std::vector<Var<T>> running_masks(const Indices& lengths, Size steps);

}  // namespace detail
}  // namespace unroll
