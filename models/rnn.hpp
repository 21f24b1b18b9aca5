// The recurrent network of the notes over the tape: written step by step as they write it, and with
// any other cell in its place.
//
//   a_t = tanh(U x_t + W a_{t-1} + b),   ŷ_t = softmax(V a_t + c),   L = Σ (ŷ - y)² / (T B)
//
//   NotesRnn<double> net{U, W, b, V, c};                      // [H, I], [H, H], [H], [K, H], [K]
//   auto [loss, gradient] = value_and_grad([&](const auto& n) { return n.loss(xs, ys, a0); }, net);
//   gradient.W;                                               // BPTT, and nobody derived it
//
//   CellNetwork<double, Lstm<double>> lstm{cell, V, c};       // another cell, the same loss
//
// xs is [T, B, I], ys [T, B, K], the first state [B, H]. models/*_manual.hpp derive the same
// gradients by hand. `probe` holds zeros to add to the pre-activations (nn/probe.hpp): the gradient
// by it is that of each step alone.
#pragma once

#include <vector>

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/probe.hpp"
#include "unroll/nn/unroll.hpp"

namespace unroll {

/// ŷ = softmax(V a + c), [..., H] -> [..., K].
template <FloatOrDouble T>
[[nodiscard]] Var<T> read_out(const Var<T>& a, const Var<T>& V, const Var<T>& c) {
  return softmax(linear(a, V) + c);
}

template <FloatOrDouble T>
struct NotesRnn {
  Var<T> U, W, b, V, c;

  static constexpr auto fields() {
    return std::tuple{field("U", &NotesRnn::U), field("W", &NotesRnn::W), field("b", &NotesRnn::b),
                      field("V", &NotesRnn::V), field("c", &NotesRnn::c)};
  }

  /// a_1 .. a_T, each [B, H]; probe, if any, is [T, B, H].
  [[nodiscard]] std::vector<Var<T>> states(const Var<T>& xs, Var<T> a,
                                           const Var<T>& probe = {}) const {
    std::vector<Var<T>> all;
    for (Size t = 0; t < xs.size(0); ++t) {
      Var<T> z = linear(index(xs, 0, t), U) + linear(a, W) + b;
      if (!probe.empty()) z = z + index(probe, 0, t);
      a = tanh(z);
      all.push_back(a);
    }
    return all;
  }

  /// ŷ_1 .. ŷ_T, [T, B, K].
  [[nodiscard]] Var<T> predictions(const Var<T>& xs, const Var<T>& a0,
                                   const Var<T>& probe = {}) const {
    std::vector<Var<T>> all;
    for (const Var<T>& a : states(xs, a0, probe)) all.push_back(read_out(a, V, c));
    return stack(all);
  }

  [[nodiscard]] Var<T> loss(const Var<T>& xs, const Var<T>& ys, const Var<T>& a0,
                            const Var<T>& probe = {}) const {
    return squared_error(predictions(xs, a0, probe), ys);
  }
};

template <FloatOrDouble T, class Cell>
struct CellNetwork {
  Cell cell;
  Var<T> V, c;

  static constexpr auto fields() {
    return std::tuple{field("cell", &CellNetwork::cell), field("V", &CellNetwork::V),
                      field("c", &CellNetwork::c)};
  }

  template <Tree State>
  [[nodiscard]] Var<T> predictions(const Var<T>& xs, const State& state) const {
    return read_out(unroll(cell, xs, state).outputs, V, c);
  }
  template <Tree State>
  [[nodiscard]] Var<T> loss(const Var<T>& xs, const Var<T>& ys, const State& state) const {
    return squared_error(predictions(xs, state), ys);
  }
  template <Tree State, Tree Probe>
  [[nodiscard]] Var<T> loss(const Var<T>& xs, const Var<T>& ys, const State& state,
                            const Probe& probe) const {
    return squared_error(read_out(unroll_probed(cell, xs, state, probe).outputs, V, c), ys);
  }
};

}  // namespace unroll
