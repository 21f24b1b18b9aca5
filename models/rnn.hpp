// The recurrent network of the notes, written step by step as they write it, over the tape.
//
//   a_t = tanh(U x_t + W a_{t-1} + b),   ŷ_t = softmax(V a_t + c),   L = 1/(T B) Σ_t Σ_b Σ_k (ŷ - y)²
//
//   NotesRnn<double> net{U, W, b, V, c};                      // [H, I], [H, H], [H], [K, H], [K]
//   auto [loss, gradient] = value_and_grad([&](const auto& n) { return n.loss(xs, ys, a0); }, net);
//   gradient.W;                                               // BPTT, and nobody derived it
//
// xs is [T, B, I], ys [T, B, K], a0 [B, H]. models/rnn_manual.hpp derives the same gradient by hand. Where `probes`
// [T, B, H] are passed they are added to the pre-activations: the gradient by probes of zeros is ∂L/∂z_t, step by step.
#pragma once

#include <vector>

#include "unroll/autograd/transforms.hpp"

namespace unroll {

/// The notes' read-out and loss on a cell's states: ŷ = softmax(V a + c), squares summed over classes, mean over the rest.
template <Real T>
[[nodiscard]] Var<T> read_out(const Var<T>& a, const Var<T>& V, const Var<T>& c) {
  return softmax(linear(a, V) + c);
}
template <Real T>
[[nodiscard]] Var<T> notes_loss(const Var<T>& predictions, const Var<T>& ys) {
  if (!(predictions.shape() == ys.shape())) {
    fail("notes_loss", "predictions have shape " + to_string(predictions.shape()) + ", targets " +
                           to_string(ys.shape()));
  }
  return mean(sum(square(predictions - ys), -1));
}

template <Real T>
struct NotesRnn {
  Var<T> U, W, b, V, c;

  static constexpr auto fields() {
    return std::tuple{field("U", &NotesRnn::U), field("W", &NotesRnn::W), field("b", &NotesRnn::b),
                      field("V", &NotesRnn::V), field("c", &NotesRnn::c)};
  }

  /// a_1 .. a_T, each [B, H].
  [[nodiscard]] std::vector<Var<T>> states(const Var<T>& xs, Var<T> a,
                                           const Var<T>& probes = {}) const {
    std::vector<Var<T>> all;
    for (Size t = 0; t < xs.size(0); ++t) {
      Var<T> z = linear(index(xs, 0, t), U) + linear(a, W) + b;
      if (!probes.empty()) z = z + index(probes, 0, t);
      a = tanh(z);
      all.push_back(a);
    }
    return all;
  }

  /// ŷ_1 .. ŷ_T, [T, B, K].
  [[nodiscard]] Var<T> predictions(const Var<T>& xs, const Var<T>& a0,
                                   const Var<T>& probes = {}) const {
    std::vector<Var<T>> all;
    for (const Var<T>& a : states(xs, a0, probes)) all.push_back(read_out(a, V, c));
    return stack(all);
  }

  [[nodiscard]] Var<T> loss(const Var<T>& xs, const Var<T>& ys, const Var<T>& a0,
                            const Var<T>& probes = {}) const {
    return notes_loss(predictions(xs, a0, probes), ys);
  }
};

}  // namespace unroll
