// Per-step derivatives with respect to what enters a cell's nonlinearities, from the tape.
//
//   auto probe = zero_probe(cell, xs, a0);              // Lstm: zeros [T, B, 4H]
//   auto d_z = grad([&](const auto& probe) {
//     return loss(unroll_probed(cell, xs, a0, probe).outputs);
//   })(probe);                                          // row t is ∂L/∂z_t
//
// At each step a zero is added to the pre-activation: it changes no value, and the gradient with
// respect to it is that with respect to the pre-activation at this step alone. Columns come in
// blocks of H named Cell::gates. The probe has the type of what the cell's pre_activation()
// returns: one Var [T, B, gates·H], and for the GRU {input, hidden}, which hand derivations call
// d_z (of W_ih x + b_ih) and d_z_hidden (of W_hh h + b_hh). The ordinary unroll knows nothing of
// this and pays nothing. The same for whole states, of any cell: state_gradients().
#pragma once

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/clipping.hpp"
#include "unroll/nn/unroll.hpp"

namespace unroll {

template <class Cell, class X, class State>
concept Probeable = Projecting<Cell, X, State> &&
    requires(const Cell& cell, const X& x, const State& s) {
  {
    cell.from_pre_activation(cell.pre_activation(cell.project(x), s), s)
    } -> std::convertible_to<State>;
};

// Zeros with the shapes of the pre-activations of all steps: T in front.
template <FloatOrDouble T, Tree State, Probeable<Var<T>, State> Cell>
[[nodiscard]] auto zero_probe(const Cell& cell, const Var<T>& xs, const State& state) {
  if (xs.rank() == 0 || xs.size(0) == 0) fail("zero_probe", "the sequence has no steps");
  const auto z = cell.pre_activation(cell.project(index(xs, 0, 0)), state);
  return tree_map(
      [&](const auto& part) {
        Shape shape = part.shape();
        shape.insert(0, xs.size(0));
        return zeros<T>(shape);
      },
      z);
}

// unroll(cell, xs, state) with probe(t) added to the pre-activation of step t; hoisted.
template <FloatOrDouble T, Tree State, Tree Probe, Probeable<Var<T>, State> Cell>
[[nodiscard]] auto unroll_probed(const Cell& cell, const Var<T>& xs, const State& state,
                                 const Probe& probe) {
  tree_for_each(
      [&](const auto& all) {
        if (all.rank() == 0 || xs.rank() == 0 || all.size(0) != xs.size(0)) {
          fail("unroll_probed", "the sequence " + to_string(xs.shape()) + " and the probe " +
                                    to_string(all.shape()) + " differ in their number of steps");
        }
      },
      probe);
  const auto projected = cell.project(xs);
  return detail::stack_outputs(detail::run_steps<detail::PooledSteps>(
      cell, xs.size(0), state, [&](Size t, const State& s) -> State {
        auto z = cell.pre_activation(index(projected, 0, t), s);
        static_assert(std::is_same_v<decltype(z), Probe>,
                      "unroll_probed: the probe is not one of this cell's; make it with "
                      "zero_probe(cell, xs, state)");
        tree_for_each([&](auto& part, const auto& all) { part = part + index(all, 0, t); }, z,
                      probe);
        return cell.from_pre_activation(z, s);
      }));
}

// The gradient of a loss with respect to the state after each step, first step first: all that this state
// (of an LSTM h and c together) still changes, at its own step and later. Any cell will do, a user's own
// or a stack.
//
//   auto g = state_gradients(cell, xs, s0, [&](const auto& run) { return loss(run.state); });   // T states
//
// `loss` takes what unroll(cell, xs, state) gives and returns a single number.
template <FloatOrDouble T, Tree State, CellOver<Var<T>, State> Cell, class Loss>
[[nodiscard]] std::vector<State> state_gradients(const Cell& cell, const Var<T>& xs,
                                                 const State& state, Loss&& loss) {
  if (xs.rank() == 0 || xs.size(0) == 0) fail("state_gradients", "the sequence has no steps");
  const State zero = tree_map([](const auto& part) { return zeros<T>(part.shape()); }, state);
  const std::vector<State> probe(static_cast<std::size_t>(xs.size(0)), zero);
  return grad([&](const std::vector<State>& added) {
    const auto advance = [&](Size t, const State& s) -> State {
      return tree_map([](const auto& a, const auto& b) { return a + b; },
                      State(cell(index(xs, 0, t), s)), added[static_cast<std::size_t>(t)]);
    };
    return loss(detail::stack_outputs(
        detail::run_steps<detail::PooledSteps>(cell, xs.size(0), state, advance)));
  })(probe);
}

// The norm of each of them: where it vanishes towards the first step, nothing is learnt from there.
template <FloatOrDouble T, Tree State, CellOver<Var<T>, State> Cell, class Loss>
[[nodiscard]] std::vector<double> state_gradient_norms(const Cell& cell, const Var<T>& xs,
                                                       const State& state, Loss&& loss) {
  std::vector<double> norms;
  for (const State& g : state_gradients(cell, xs, state, loss)) norms.push_back(global_norm(g));
  return norms;
}

}  // namespace unroll
