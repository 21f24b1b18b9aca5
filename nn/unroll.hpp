// A cell, or a network of layers, applied to a sequence: the loop one would write.
//
//   const auto [outputs, last] = unroll::unroll(cell, xs, a0);   // xs [T, B, in] -> [T, B, H]
//   const auto [steps, last] = unroll_steps(cell, xs, a0);       // outputs as T arrays [B, H]
//   const auto run = unroll::unroll(cell, xs, a0, {.lengths = lengths});      // ragged: see ragged.hpp
//   const auto run = unroll::unroll(net, xs, state, {.key = key});            // training: with dropout
//
// Any callable (x, state) -> state will do whose state is a tree (a Var, a struct with fields(), a
// tuple, ...); what it puts out is cell.output(state), or the state itself where that is a Var. A
// cell with project() and step() gets its input product for all steps at once (hoisting), and one
// with sequence() runs as a single node where all outputs are wanted. A layer with
// run(xs, state, options), such as Stack and Bidirectional, goes over the sequence in its own way.
// Invariant: hoisting changes neither values nor gradients, except in rounding. The call is always
// written unroll::unroll: after `using namespace unroll` the bare name would be ambiguous.
#pragma once

#include <algorithm>

#include "unroll/nn/ragged.hpp"
#include "unroll/nn/state.hpp"

namespace unroll {

enum class Hoist { automatic, never };
struct UnrollOptions {
  Hoist hoist = Hoist::automatic;
  // Of ragged sequences. Past its end a sequence's state stays and zeros are put out.
  std::optional<Lengths> lengths = {};
  // Given in training, to those layers that draw masks; without it nothing is dropped.
  std::optional<Key> key = {};
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

// Goes over sequences, Var<T> [T, B, ...] or Packed<T>, in its own way.
template <class Layer, class Xs, class State>
concept SequenceLayer = requires(const Layer& layer, const Xs& xs, const State& s,
                                 const UnrollOptions& options) {
  { layer.run(xs, s, options) } -> std::convertible_to<Unrolled<Xs, State>>;
};
template <class Layer, class T, class State>
concept LayerOver = SequenceLayer<Layer, Var<T>, State> || CellOver<Layer, Var<T>, State>;

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

template <class Cell, class T, class State>
concept Sequenced = requires(const Cell& cell, const Var<T>& xs, const State& s) {
  cell.sequence(cell.project(xs), s)->second;
};

template <class List, class State>
auto stack_outputs(Unrolled<List, State> steps) {
  using V = typename List::value_type;
  if (steps.outputs.empty())
    fail("unroll", "the sequence has no steps, so there is nothing to stack");
  return Unrolled<V, State>{stack(std::span<const V>(steps.outputs)), std::move(steps.state)};
}

template <FloatOrDouble T, class State, class Cell>
Unrolled<Var<T>, State> run_dense(const Cell& cell, const Var<T>& xs, const State& state,
                                  const UnrollOptions& options) {
  if constexpr (Sequenced<Cell, T, State>) {
    if (options.hoist == Hoist::automatic && xs.rank() == 3) {
      const Var<T> projected = cell.project(xs);
      if (auto run = cell.sequence(projected, state)) {
        return {std::move(run->first), std::move(run->second)};
      }
      return stack_outputs(run_projected<PooledSteps>(cell, projected, state));
    }
  }
  return stack_outputs(run_array<PooledSteps>(cell, xs, state, options));
}

// ---- ragged ------------------------------------------------------------------------------------------------------------

template <class State>
void check_rows(const State& state, Size batch) {
  tree_for_each(
      [&](const auto& part) {
        if (part.rank() == 0 || part.size(0) != batch) {
          fail("unroll", "a part of the state has shape " + to_string(part.shape()) + "; with " +
                             std::to_string(batch) +
                             " sequences of their own lengths each part needs a row for each of "
                             "them");
        }
      },
      state);
}

// Throws where the state is of another batch than a step [B, in] of the input: sizes of 1 would broadcast without a word.
template <class State>
void check_batch(const Shape& xs, std::size_t batch_axis, const State& state) {
  if (xs.rank() < batch_axis + 2) return;  // one sequence, without an axis for more
  const Size batch = xs[batch_axis];
  tree_for_each(
      [&](const auto& part) {
        if (part.rank() < 2 || part.size(0) == batch) return;
        fail("unroll", "xs " + to_string(xs) +
                           (batch_axis == 1 ? " is [T, B, in]" : " is [B, in] at each step") +
                           ", so B = " + std::to_string(batch) + "; the state has " +
                           std::to_string(part.size(0)) + (part.size(0) == 1 ? " row" : " rows"));
      },
      state);
}

// Steps with the same sequences running, which are the rows of `rows`; outputs are added as rows.
template <class T, class State, class Cell>
State run_stretch(const Cell& cell, const Var<T>& rows, const PackedLayout::Stretch& stretch,
                  State s, PooledSteps<Var<T>>& outputs, bool projected) {
  const Size B = stretch.batch;
  if constexpr (Sequenced<Cell, T, State>) {
    if (projected && rows.rank() == 2) {
      if (auto run = cell.sequence(reshape(rows, {stretch.steps, B, rows.size(1)}), s)) {
        outputs.push_back(reshape(run->first, {stretch.steps * B, run->first.size(2)}));
        return std::move(run->second);
      }
    }
  }
  for (Size t = 0; t < stretch.steps; ++t) {
    const Var<T> x = slice(rows, 0, SliceRange{t * B, (t + 1) * B});
    if constexpr (Projecting<Cell, Var<T>, State>) {
      s = projected ? State(cell.step(x, s)) : State(cell(x, s));
    } else {
      s = cell(x, s);
    }
    outputs.push_back(cell_output(cell, s));
  }
  return s;
}

template <class T, class State, class Cell>
Unrolled<Packed<T>, State> run_packed(const Cell& cell, const Packed<T>& xs, const State& state,
                                      const UnrollOptions& options) {
  const PackedLayout& layout = *xs.layout;
  Size batch = layout.lengths.batch();
  check_rows(state, batch);
  if (layout.stretches.empty())
    fail("unroll", "no sequence has a step, so there is nothing to put out");
  Var<T> rows = xs.data;
  bool projected = false;
  if constexpr (Projecting<Cell, Var<T>, State>) {
    projected = options.hoist == Hoist::automatic;
    if (projected) rows = cell.project(rows);
  }
  State s = take_rows(state, layout.order);
  PooledSteps<State> ended;  // the shorter sequences first
  PooledSteps<Var<T>> outputs;
  PooledSteps<Size> sizes;
  for (const auto& stretch : layout.stretches) sizes.push_back(stretch.steps * stretch.batch);
  const auto parts = split(rows, std::span<const Size>(sizes), 0);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const auto& stretch = layout.stretches[k];
    if (stretch.batch < batch) {
      ended.push_back(slice_rows(s, stretch.batch, batch));
      s = slice_rows(s, 0, stretch.batch);
      batch = stretch.batch;
    }
    s = run_stretch(cell, parts[k], stretch, std::move(s), outputs, projected);
  }
  ended.push_back(std::move(s));
  std::reverse(ended.begin(), ended.end());
  const Var<T> all = outputs.size() == 1 ? outputs[0] : concat(std::span<const Var<T>>(outputs));
  return {{all, xs.layout}, take_rows(concat_rows(ended), layout.place)};
}

// ---- errors of the compiler ----------------------------------------------------------------------------------------------

// Says why a layer is no LayerOver<T, State>.
template <class Layer, class T, class State>
struct CheckCell {
  static constexpr bool tree = Tree<State>,
                        callable = std::invocable<Layer&, const Var<T>&, const State&>,
                        callable_as_const =
                            std::invocable<const Layer&, const Var<T>&, const State&>;
  static_assert(
      tree,
      "unroll: the state is no Var, struct with fields(), or vector, array, optional, tuple or "
      "pair of these");
  static_assert(
      !tree || callable,
      "unroll: the cell cannot be called as cell(x, state) with a Var x of the sequence's "
      "element type and the state given");
  static_assert(!callable || callable_as_const,
                "unroll: the call of the cell is not const: write operator()(x, state) const");
  static_assert(
      !tree || !callable_as_const,
      "unroll: the cell gives another type than the state given: the first state must have "
      "the type of those that follow");
};
template <class Xs>
struct ElementOf;
template <class T>
struct ElementOf<Var<T>> {
  using type = T;
};
template <class T>
struct ElementOf<std::vector<Var<T>>> : ElementOf<Var<T>> {};
template <class T>
struct ElementOf<Packed<T>> : ElementOf<Var<T>> {};

}  // namespace detail

// What is no layer over T is refused with a sentence.
template <class Layer, class Xs, class State, class T = typename detail::ElementOf<Xs>::type>
requires(!LayerOver<Layer, T, State>) Unrolled<Var<T>, State> unroll(const Layer&, const Xs&,
                                                                     const State& state,
                                                                     const UnrollOptions& = {}) {
  (void)detail::CheckCell<Layer, T, State>();
  return {{}, state};
}
template <class Layer, class Xs, class State, class T = typename detail::ElementOf<Xs>::type>
requires(!LayerOver<Layer, T, State>) Unrolled<std::vector<Var<T>>, State> unroll_steps(
    const Layer&, const Xs&, const State& state, const UnrollOptions& = {}) {
  (void)detail::CheckCell<Layer, T, State>();
  return {{}, state};
}

// Outputs of all steps and the last state. xs [T, B, ...] gives outputs [T, B, ...]; throws
// std::invalid_argument when there are no steps.
template <FloatOrDouble T, Tree State, LayerOver<T, State> Layer>
[[nodiscard]] Unrolled<Var<T>, State> unroll(const Layer& layer, const Var<T>& xs,
                                             const State& state,
                                             const UnrollOptions& options = {}) {
  if (options.lengths) {
    auto run = unroll(layer, pack(xs, *options.lengths), state,
                      {.hoist = options.hoist, .key = options.key});
    return {unpack(run.outputs, xs.size(0)), std::move(run.state)};
  }
  detail::check_batch(xs.shape(), 1, state);
  if constexpr (SequenceLayer<Layer, Var<T>, State>) {
    return layer.run(xs, state, options);
  } else {
    return detail::run_dense(layer, xs, state, options);
  }
}
// A ragged batch, packed. Each part of the state is [B, ...], in the order of the batch.
template <FloatOrDouble T, Tree State, LayerOver<T, State> Layer>
[[nodiscard]] Unrolled<Packed<T>, State> unroll(const Layer& layer, const Packed<T>& xs,
                                                const State& state,
                                                const UnrollOptions& options = {}) {
  if (options.lengths) fail("unroll", "a packed batch has its lengths already");
  if constexpr (SequenceLayer<Layer, Packed<T>, State>) {
    return layer.run(xs, state, options);
  } else {
    return detail::run_packed(layer, xs, state, options);
  }
}
// Steps given one by one; a cell takes them one by one: nothing is hoisted.
template <FloatOrDouble T, Tree State, LayerOver<T, State> Layer>
[[nodiscard]] Unrolled<Var<T>, State> unroll(const Layer& layer, const std::vector<Var<T>>& xs,
                                             const State& state,
                                             const UnrollOptions& options = {}) {
  if (!xs.empty()) detail::check_batch(xs[0].shape(), 0, state);
  if constexpr (!SequenceLayer<Layer, Var<T>, State>) {
    if (!options.lengths)
      return detail::stack_outputs(detail::run_vector<detail::PooledSteps>(layer, xs, state));
  }
  return unroll(layer, stack(xs), state, options);
}

// The same with the outputs of each step by itself: T arrays [B, ...].
template <FloatOrDouble T, Tree State, LayerOver<T, State> Layer>
[[nodiscard]] Unrolled<std::vector<Var<T>>, State> unroll_steps(const Layer& layer,
                                                                const std::vector<Var<T>>& xs,
                                                                const State& state,
                                                                const UnrollOptions& options = {}) {
  if (!xs.empty()) detail::check_batch(xs[0].shape(), 0, state);
  if constexpr (!SequenceLayer<Layer, Var<T>, State>) {
    if (!options.lengths) return detail::run_vector<detail::StepVector>(layer, xs, state);
  }
  auto run = unroll(layer, stack(xs), state, options);
  return {unbind(run.outputs), std::move(run.state)};
}
template <FloatOrDouble T, Tree State, LayerOver<T, State> Layer>
[[nodiscard]] Unrolled<std::vector<Var<T>>, State> unroll_steps(const Layer& layer,
                                                                const Var<T>& xs,
                                                                const State& state,
                                                                const UnrollOptions& options = {}) {
  detail::check_batch(xs.shape(), 1, state);
  if constexpr (!SequenceLayer<Layer, Var<T>, State>) {
    if (!options.lengths) return detail::run_array<detail::StepVector>(layer, xs, state, options);
  }
  auto run = unroll(layer, xs, state, options);
  return {unbind(run.outputs), std::move(run.state)};
}

}  // namespace unroll
