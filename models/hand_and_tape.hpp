// One network, one batch, two gradients: the one derived by hand and the one from the tape, ready
// to be compared.
//
//   CellNetwork<double, Lstm<double>> net{cell, V, c};
//   auto r = compare_gradients(gradients_by_hand(net, xs, ys, state),
//                              gradients_by_tape(net, xs, ys, state));
//
// The networks are NotesRnn, and CellNetwork with Elman, Lstm or Gru. Both sides give the
// parameters, the initial state ("a0", "h0", "c0"), the inputs ("xs") and the pre-activations of
// each step.
#pragma once

#include "unroll/models/compare_gradients.hpp"
#include "unroll/models/rnn.hpp"
#include "unroll/nn/cells.hpp"

namespace unroll {

// ---- by hand -----------------------------------------------------------------------------------

template <FloatOrDouble T>
[[nodiscard]] Dense<T> dense(const Var<T>& x) {
  return x.value();
}

template <FloatOrDouble T>
[[nodiscard]] GradientSet gradients_by_hand(const NotesRnn<T>& n, const Var<T>& xs,
                                            const Var<T>& ys, const Var<T>& a0) {
  const manual::RnnParameters<T> p{dense(n.U), dense(n.W), dense(n.b), dense(n.V), dense(n.c)};
  return gradient_set(manual::rnn_backward(p, dense(xs), dense(ys), dense(a0)));
}
template <FloatOrDouble T>
[[nodiscard]] GradientSet gradients_by_hand(const CellNetwork<T, Elman<T>>& n, const Var<T>& xs,
                                            const Var<T>& ys, const Var<T>& a0) {
  return gradients_by_hand(NotesRnn<T>{n.cell.U, n.cell.W, n.cell.b, n.V, n.c}, xs, ys, a0);
}
template <FloatOrDouble T>
[[nodiscard]] GradientSet gradients_by_hand(const CellNetwork<T, Lstm<T>>& n, const Var<T>& xs,
                                            const Var<T>& ys, const LstmState<T>& state) {
  const manual::LstmParameters<T> p{dense(n.cell.weight_ih),
                                    dense(n.cell.weight_hh),
                                    dense(n.cell.bias_ih),
                                    dense(n.cell.bias_hh),
                                    dense(n.V),
                                    dense(n.c)};
  return gradient_set(
      manual::lstm_backward(p, dense(xs), dense(ys), dense(state.h), dense(state.c)));
}
template <FloatOrDouble T>
[[nodiscard]] GradientSet gradients_by_hand(const CellNetwork<T, Gru<T>>& n, const Var<T>& xs,
                                            const Var<T>& ys, const Var<T>& h0) {
  const manual::GruParameters<T> p{dense(n.cell.weight_ih),
                                   dense(n.cell.weight_hh),
                                   dense(n.cell.bias_ih),
                                   dense(n.cell.bias_hh),
                                   dense(n.V),
                                   dense(n.c)};
  return gradient_set(manual::gru_backward(p, dense(xs), dense(ys), dense(h0)));
}

// ---- by tape -----------------------------------------------------------------------------------

namespace detail {

// Parameters, state, inputs and probes in one sweep.
template <class Net, FloatOrDouble T, Tree State, Tree Probe>
auto all_gradients(const Net& net, const Var<T>& xs, const Var<T>& ys, const State& state,
                   const Probe& probe) {
  return value_and_grad([&](const Net& n, const State& s, const Var<T>& x,
                            const Probe& p) { return n.loss(x, ys, s, p); },
                        net, state, xs, probe)
      .gradient;
}

template <FloatOrDouble T>
void add_state(GradientSet& set, const char* name, const Var<T>& a) {
  set.parameters.push_back({name, double_array(a)});
}
template <FloatOrDouble T>
void add_state(GradientSet& set, const char*, const LstmState<T>& state) {
  add_state(set, "h0", state.h);
  add_state(set, "c0", state.c);
}

template <FloatOrDouble T>
void add_steps(GradientSet& set, const std::vector<std::string>& gates, const Var<T>& d_z) {
  set.steps.push_back({"z", double_array(d_z), gates});
}
template <FloatOrDouble T>
void add_steps(GradientSet& set, const std::vector<std::string>& gates,
               const GruPreActivation<T>& d_z) {
  set.steps.push_back({"z", double_array(d_z.input), gates});
  set.steps.push_back({"z_hidden", double_array(d_z.hidden), gates});
}

template <class Gradients>
GradientSet as_set(const Gradients& g, const char* state, const std::vector<std::string>& gates) {
  GradientSet set = gradient_set(std::get<0>(g));
  add_state(set, state, std::get<1>(g));
  set.parameters.push_back({"xs", double_array(std::get<2>(g))});
  add_steps(set, gates, std::get<3>(g));
  return set;
}

}  // namespace detail

template <FloatOrDouble T>
[[nodiscard]] GradientSet gradients_by_tape(const NotesRnn<T>& net, const Var<T>& xs,
                                            const Var<T>& ys, const Var<T>& a0) {
  const Var<T> probe = zeros<T>({xs.size(0), xs.size(1), net.W.size(0)});
  return detail::as_set(detail::all_gradients(net, xs, ys, a0, probe), "a0", {"a"});
}
template <FloatOrDouble T, class Cell, Tree State>
[[nodiscard]] GradientSet gradients_by_tape(const CellNetwork<T, Cell>& net, const Var<T>& xs,
                                            const Var<T>& ys, const State& state) {
  const auto probe = zero_probe(net.cell, xs, state);
  const std::vector<std::string> gates(Cell::gates.begin(), Cell::gates.end());
  const char* name = std::is_same_v<Cell, Elman<T>> ? "a0" : "h0";
  return detail::as_set(detail::all_gradients(net, xs, ys, state, probe), name, gates);
}

}  // namespace unroll
