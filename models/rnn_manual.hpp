// The notes' recurrent network and its backpropagation through time, derived by hand.
//
//   a_t = tanh(U x_t + W a_{t-1} + b),  ŷ_t = softmax(V a_t + c),  L = 1/(T B) Σ_t Σ_b Σ_k (ŷ - y)²
//
//   manual::RnnParameters<double> p{U, W, b, V, c};  // [H, I], [H, H], [H], [K, H], [K]
//   auto g = manual::rnn_backward(p, xs, ys, a0);    // [T, B, I], [T, B, K], [B, H]
//   g.loss; g.dW; g.d_z;                             // d_z: ∂L/∂(U x_t + W a_{t-1} + b), per step
//
// The derivation stands beside the code in rnn_manual.cpp, and in full in docs/bptt.md.
// Instantiated for float and double.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

namespace unroll::manual {

template <class T>
struct RnnParameters {
  Dense<T> U;  // input to hidden [H, I]
  Dense<T> W;  // hidden to hidden [H, H]
  Dense<T> b;  // [H]
  Dense<T> V;  // hidden to output [K, H]
  Dense<T> c;  // [K]
};

template <class T>
struct RnnGradients {
  T loss;
  Dense<T> predictions;         // ŷ [T, B, K]
  Dense<T> states;              // a_1 .. a_T [T, B, H]
  Dense<T> dU, dW, db, dV, dc;  // shaped as the parameters
  Dense<T> d_a0;                // [B, H]
  Dense<T> d_xs;                // [T, B, I]
  Dense<T> d_z;                 // ∂L/∂(U x_t + W a_{t-1} + b) [T, B, H]
  Dense<T> d_o;                 // ∂L/∂(V a_t + c) [T, B, K]
};

/// The states a_1 .. a_T, [T, B, H]. Throws std::invalid_argument when shapes do not fit.
template <class T>
[[nodiscard]] Dense<T> rnn_states(const RnnParameters<T>& parameters, const Dense<T>& xs,
                                  const Dense<T>& a0);

/// The loss alone, forward only.
template <class T>
[[nodiscard]] T rnn_loss(const RnnParameters<T>& parameters, const Dense<T>& xs, const Dense<T>& ys,
                         const Dense<T>& a0);

/// The loss and its gradient by everything it depends on.
template <class T>
[[nodiscard]] RnnGradients<T> rnn_backward(const RnnParameters<T>& parameters, const Dense<T>& xs,
                                           const Dense<T>& ys, const Dense<T>& a0);

}  // namespace unroll::manual
