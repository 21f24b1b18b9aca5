// A cell applied to a sequence: the loop one would write.
//
//   const auto [outputs, last] = unroll::unroll(cell, xs, a0);   // xs [T, B, in] -> [T, B, H]
//   const auto [steps, last] = unroll_steps(cell, xs, a0);       // outputs as T arrays [B, H]
//
// Any callable (x, state) -> state will do whose state is a tree (a Var, a struct with fields(), a
// tuple, ...); what it puts out is cell.output(state), or the state itself where that is a Var. A
// cell with project() and step() gets its input product for all steps at once (hoisting).
// Invariant: hoisting changes neither values nor gradients, except in rounding. The call is always
// written unroll::unroll: after `using namespace unroll` the bare name would be ambiguous.
#pragma once

#include "unroll/autograd/model.hpp"

namespace unroll {

enum class Hoist { automatic, never };
struct UnrollOptions {
  Hoist hoist = Hoist::automatic;
};

template <class Outputs, class State>
struct Unrolled {
  Outputs outputs;
  State state;  // after the last step
};

// Has its input product split off: cell(x, s) is step(project(x), s).
template <class Cell, class X, class State>
concept Projecting = requires(const Cell& cell, const X& x, const State& s) {
  { cell.step(cell.project(x), s) } -> std::convertible_to<State>;
};
template <class Cell, class X, class State>
concept CellOver = Tree<State> && requires(const Cell& cell, const X& x, const State& s) {
  { cell(x, s) } -> std::convertible_to<State>;
};

namespace detail {

template <class Cell, class State>
auto cell_output(const Cell& cell, const State& s) {
  if constexpr (requires { cell.output(s); }) {
    return cell.output(s);
  } else {
    static_assert(
        is_var<State>,
        "unroll: the state is not a single Var, so the cell must say by output(state) what it "
        "puts out at each step");
    return s;
  }
}

template <class Cell, class X, class State, class Advance>
auto run_steps(const Cell& cell, const std::vector<X>& xs, State state, Advance&& advance) {
  using Output = std::remove_cvref_t<decltype(cell_output(cell, state))>;
  Unrolled<std::vector<Output>, State> out;
  out.outputs.reserve(xs.size());
  for (std::size_t t = 0; t < xs.size(); ++t) {
    state = advance(xs[t], state, static_cast<Size>(t));
    out.outputs.push_back(cell_output(cell, state));
  }
  out.state = std::move(state);
  return out;
}

template <class V, class State>
Unrolled<V, State> stack_outputs(Unrolled<std::vector<V>, State> steps) {
  if (steps.outputs.empty())
    fail("unroll", "the sequence has no steps, so there is nothing to stack");
  return {stack(steps.outputs), std::move(steps.state)};
}

}  // namespace detail

// Steps given one by one are taken one by one: nothing is hoisted.
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll_steps(const Cell& cell, const std::vector<Var<T>>& xs, const State& state,
                                const UnrollOptions& = {}) {
  return detail::run_steps(
      cell, xs, state, [&](const Var<T>& x, const State& s, Size) -> State { return cell(x, s); });
}
// xs [T, ...]: steps along the first axis.
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll_steps(const Cell& cell, const Var<T>& xs, const State& state,
                                const UnrollOptions& options = {}) {
  if constexpr (Projecting<Cell, Var<T>, State>) {
    if (options.hoist == Hoist::automatic) {
      return detail::run_steps(
          cell, unbind(cell.project(xs)), state,
          [&](const auto& p, const State& s, Size) -> State { return cell.step(p, s); });
    }
  }
  return unroll_steps(cell, unbind(xs), state, options);
}

// The same with the outputs stacked: [T, ...]. Throws std::invalid_argument when there are no
// steps.
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll(const Cell& cell, const Var<T>& xs, const State& state,
                          const UnrollOptions& options = {}) {
  return detail::stack_outputs(unroll_steps(cell, xs, state, options));
}
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll(const Cell& cell, const std::vector<Var<T>>& xs, const State& state,
                          const UnrollOptions& options = {}) {
  return detail::stack_outputs(unroll_steps(cell, xs, state, options));
}

}  // namespace unroll
