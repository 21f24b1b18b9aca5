// A cell applied to a sequence: the loop one would write.
//
//   const auto [outputs, last] = unroll::unroll(cell, xs, a0);   // xs [T, B, in] -> [T, B, H]
//   const auto [steps, last] = unroll_steps(cell, xs, a0);       // outputs as T arrays [B, H]
//
// Any callable (x, state) -> state will do whose state is a tree (a Var, a struct with fields(), a
// tuple, ...); what it puts out is cell.output(state), or the state itself where that is a Var. A
// cell with project() and step() gets its input product for all steps at once (hoisting), and one
// with sequence() runs as a single node where all outputs are wanted. Invariant: hoisting changes
// neither values nor gradients, except in rounding. The call is always
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

// advance(t, state) -> state for each step; the outputs go into a list of the kind asked for.
template <template <class> class List, class Cell, class State, class Advance>
auto run_steps(const Cell& cell, Size steps, State state, Advance&& advance) {
  using Output = std::remove_cvref_t<decltype(cell_output(cell, state))>;
  Unrolled<List<Output>, State> out;
  out.outputs.reserve(static_cast<std::size_t>(steps));
  for (Size t = 0; t < steps; ++t) {
    state = advance(t, state);
    out.outputs.push_back(cell_output(cell, state));
  }
  out.state = std::move(state);
  return out;
}

template <class X>
using StepVector = std::vector<X>;  // handed to the user
template <class X>
using PooledSteps = std::vector<X, PoolAllocator<X>>;  // dropped again: asks the system for nothing

template <template <class> class List, class T, class State, class Cell>
auto run_projected(const Cell& cell, const Var<T>& projected, const State& state) {
  return run_steps<List>(cell, projected.size(0), state, [&](Size t, const State& s) -> State {
    return cell.step(index(projected, 0, t), s);
  });
}
template <template <class> class List, class T, class State, class Cell>
auto run_array(const Cell& cell, const Var<T>& xs, const State& state,
               const UnrollOptions& options) {
  if (xs.rank() == 0)
    fail("unroll", "the sequence is a scalar; it needs the steps as its first axis");
  if constexpr (Projecting<Cell, Var<T>, State>) {
    if (options.hoist == Hoist::automatic) {
      return run_projected<List>(cell, cell.project(xs), state);
    }
  }
  return run_steps<List>(cell, xs.size(0), state,
                         [&](Size t, const State& s) -> State { return cell(index(xs, 0, t), s); });
}
template <template <class> class List, class T, class State, class Cell>
auto run_vector(const Cell& cell, const std::vector<Var<T>>& xs, const State& state) {
  return run_steps<List>(
      cell, static_cast<Size>(xs.size()), state,
      [&](Size t, const State& s) -> State { return cell(xs[static_cast<std::size_t>(t)], s); });
}

template <class List, class State>
auto stack_outputs(Unrolled<List, State> steps) {
  using V = typename List::value_type;
  if (steps.outputs.empty())
    fail("unroll", "the sequence has no steps, so there is nothing to stack");
  return Unrolled<V, State>{stack(std::span<const V>(steps.outputs)), std::move(steps.state)};
}

}  // namespace detail

// Steps given one by one are taken one by one: nothing is hoisted.
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll_steps(const Cell& cell, const std::vector<Var<T>>& xs, const State& state,
                                const UnrollOptions& = {}) {
  return detail::run_vector<detail::StepVector>(cell, xs, state);
}
// xs [T, ...]: steps along the first axis.
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll_steps(const Cell& cell, const Var<T>& xs, const State& state,
                                const UnrollOptions& options = {}) {
  return detail::run_array<detail::StepVector>(cell, xs, state, options);
}

// The same with the outputs stacked: [T, ...]. Throws std::invalid_argument when there are no
// steps.
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll(const Cell& cell, const Var<T>& xs, const State& state,
                          const UnrollOptions& options = {}) {
  if constexpr (requires { cell.sequence(cell.project(xs), state)->second; }) {
    if (options.hoist == Hoist::automatic && xs.rank() == 3) {
      const Var<T> projected = cell.project(xs);
      if (auto run = cell.sequence(projected, state)) {
        return Unrolled<Var<T>, State>{std::move(run->first), std::move(run->second)};
      }
      return detail::stack_outputs(
          detail::run_projected<detail::PooledSteps>(cell, projected, state));
    }
  }
  return detail::stack_outputs(detail::run_array<detail::PooledSteps>(cell, xs, state, options));
}
template <Real T, Tree State, CellOver<Var<T>, State> Cell>
[[nodiscard]] auto unroll(const Cell& cell, const std::vector<Var<T>>& xs, const State& state,
                          const UnrollOptions& = {}) {
  return detail::stack_outputs(detail::run_vector<detail::PooledSteps>(cell, xs, state));
}

}  // namespace unroll
