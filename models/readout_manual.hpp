// The read-out and loss that the three hand-derived networks share, with their derivative by hand.
//
//   o_t = V a_t + c,   ŷ_t = softmax(o_t),   L = 1/(T B) Σ_t Σ_b Σ_k (ŷ - y)²
//
//   auto readout = manual::readout_backward(V, c, states, ys);  // states [T, B, H], ys [T, B, K]
//   readout.d_states;  // what each a_t gets from its own prediction
//
// Invariant, here and in all of models/*_manual: nothing of the engine is included, only arrays and
// the error helper, so that agreement with the tape proves something. Instantiated for float and
// double.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace unroll::manual {

template <class T>
struct ReadoutGradients {
  T loss;
  Dense<T> predictions;  // ŷ [T, B, K]
  Dense<T> d_o;          // ∂L/∂(V a_t + c) [T, B, K]
  Dense<T> d_states;     // ∂L/∂a_t through ŷ_t alone, nothing from later steps [T, B, H]
  Dense<T> dV;           // [K, H]
  Dense<T> dc;           // [K]
};

/// ŷ = softmax(V a + c) for all steps, [T, B, K].
template <class T>
[[nodiscard]] Dense<T> readout_predictions(const Dense<T>& V, const Dense<T>& c,
                                           const Dense<T>& states);

/// The notes' loss: squares summed over classes, mean over steps and batch.
template <class T>
[[nodiscard]] T squared_error(const Dense<T>& predictions, const Dense<T>& ys);

/// Loss, predictions and gradients of the read-out for given states.
template <class T>
[[nodiscard]] ReadoutGradients<T> readout_backward(const Dense<T>& V, const Dense<T>& c,
                                                   const Dense<T>& states, const Dense<T>& ys);

namespace detail {

/// A dimension as shape checks see it. Throws std::invalid_argument when the array has no such
/// axis.
template <class T>
[[nodiscard]] std::int64_t size_of(std::string_view function, std::string_view name,
                                   const Dense<T>& array, std::size_t rank, std::size_t axis);

/// Throws std::invalid_argument("[function] name is [..], expected [..]") unless the shapes agree.
template <class T>
void expect_shape(std::string_view function, std::string_view name, const Dense<T>& array,
                  std::initializer_list<std::int64_t> expected);

}  // namespace detail
}  // namespace unroll::manual
