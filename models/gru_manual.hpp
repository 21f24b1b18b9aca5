// The GRU (PyTorch's equations and gate order r, z, n) and its backward pass, derived by hand.
//
//   r = sigmoid(W_ir x + b_ir + W_hr h + b_hr),   z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
//   n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn)),   h' = (1 - z) ∘ n + z ∘ h
//   ŷ_t = softmax(V h_t + c),   L = 1/(T B) Σ_t Σ_b Σ_k (ŷ - y)²
//
//   auto g = manual::gru_backward(parameters, xs, ys, h0);  // [T, B, I], [T, B, K], [B, H]
//   g.d_z, g.d_z_hidden;  // per step and gate block, input and hidden side, [T, B, 3H] each
//
// r scales the hidden side of n only, so the two sides differ in the block of n and agree in r and
// z. Derivation: gru_manual.cpp, docs/bptt.md. Instantiated for float and double.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

namespace unroll::manual {

template <class T>
struct GruParameters {
  Dense<T> weight_ih;  // [3H, I]
  Dense<T> weight_hh;  // [3H, H]
  Dense<T> bias_ih;    // [3H]
  Dense<T> bias_hh;    // [3H]
  Dense<T> V;          // [K, H]
  Dense<T> c;          // [K]
};

template <class T>
struct GruGradients {
  T loss;
  Dense<T> predictions;                                     // ŷ [T, B, K]
  Dense<T> states;                                          // h_1 .. h_T [T, B, H]
  Dense<T> d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh;  // shaped as the parameters
  Dense<T> dV, dc;                                          // of the read-out
  Dense<T> d_h0;                                            // [B, H]
  Dense<T> d_xs;                                            // [T, B, I]
  Dense<T> d_z;                                             // ∂L/∂(W_ih x_t + b_ih) [T, B, 3H]
  Dense<T> d_z_hidden;  // ∂L/∂(W_hh h_{t-1} + b_hh) [T, B, 3H]
  Dense<T> d_o;         // ∂L/∂(V h_t + c) [T, B, K]
};

/// The loss alone, forward only.
template <class T>
[[nodiscard]] T gru_loss(const GruParameters<T>& parameters, const Dense<T>& xs, const Dense<T>& ys,
                         const Dense<T>& h0);

/// The loss and its gradient by everything it depends on. Throws std::invalid_argument when shapes
/// do not fit.
template <class T>
[[nodiscard]] GruGradients<T> gru_backward(const GruParameters<T>& parameters, const Dense<T>& xs,
                                           const Dense<T>& ys, const Dense<T>& h0);

}  // namespace unroll::manual
