// The LSTM (PyTorch's equations and gate order i, f, g, o) and its backward pass, derived by hand.
//
//   z_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh          four blocks of H rows: i, f, g, o
//   i, f, o = sigmoid(z), g = tanh(z),   c_t = f ∘ c_{t-1} + i ∘ g,   h_t = o ∘ tanh(c_t)
//   ŷ_t = softmax(V h_t + c),   L = 1/(T B) Σ_t Σ_b Σ_k (ŷ - y)²
//
//   auto g = manual::lstm_backward(p, xs, ys, h0, c0);  // [T, B, I], [T, B, K], [B, H] twice
//   g.d_z;  // per step and gate block, [T, B, 4H]
//
// c is the read-out's bias as in the notes, c_t the cell state. Derivation: lstm_manual.cpp,
// docs/bptt.md. Instantiated for float and double.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

namespace unroll::manual {

template <class T>
struct LstmParameters {
  Dense<T> weight_ih;  // [4H, I]
  Dense<T> weight_hh;  // [4H, H]
  Dense<T> bias_ih;    // [4H]
  Dense<T> bias_hh;    // [4H]
  Dense<T> V;          // [K, H]
  Dense<T> c;          // [K]
};

template <class T>
struct LstmGradients {
  T loss;
  Dense<T> predictions;                                     // ŷ [T, B, K]
  Dense<T> states;                                          // h_1 .. h_T [T, B, H]
  Dense<T> cells;                                           // c_1 .. c_T [T, B, H]
  Dense<T> d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh;  // shaped as the parameters
  Dense<T> dV, dc;                                          // of the read-out
  Dense<T> d_h0, d_c0;                                      // [B, H]
  Dense<T> d_xs;                                            // [T, B, I]
  Dense<T> d_z;                                             // ∂L/∂z_t [T, B, 4H]
  Dense<T> d_o;                                             // ∂L/∂(V h_t + c) [T, B, K]
};

/// The loss alone, forward only.
template <class T>
[[nodiscard]] T lstm_loss(const LstmParameters<T>& parameters, const Dense<T>& xs,
                          const Dense<T>& ys, const Dense<T>& h0, const Dense<T>& c0);

/// The loss and its gradient by everything it depends on. Throws std::invalid_argument when shapes
/// do not fit.
template <class T>
[[nodiscard]] LstmGradients<T> lstm_backward(const LstmParameters<T>& parameters,
                                             const Dense<T>& xs, const Dense<T>& ys,
                                             const Dense<T>& h0, const Dense<T>& c0);

}  // namespace unroll::manual
