// Variational dropout (Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent neural
// networks", 2016): one mask for all steps of a sequence, on what a cell reads and on the state that it carries on.
//
//   using Layer = Variational<Lstm<float>>;
//   auto net = Stack<Layer>::make(Key(1), {.layers = 2}, 64, VariationalRates{.input = 0.2, .state = 0.3}, 128);
//   auto run = unroll::unroll(net, xs, net.initial_state(B), {.key = key});        // without a key: nothing is dropped
//
// Each sequence of the batch has masks of its own. The state's mask falls on what enters the recurrent
// weights: h of an LSTM, not its c; and where a cell offers pre_activation (cells.hpp) not on what it carries past them, as the
// GRU's (1 - z) n + z h does. A user's cell whose state is neither one Var nor a struct with a member h says by
// masked(state, mask) what is dropped. Invariant: the same key gives the same masks, in each window of a long sequence.
// With a mask on the state the cell runs step by step; with one on the inputs alone as fast as ever.
#pragma once

#include "unroll/nn/probe.hpp"
#include "unroll/nn/stack.hpp"

namespace unroll {

struct VariationalRates {
  double input = 0;  // the share of the inputs set to 0
  double state = 0;  // ... of the state's numbers
};

namespace detail {

template <class State, FloatOrDouble T>
struct MaskedState {
  State inner;
  Var<T> mask;  // [B, H]; a part of the state, so that a ragged batch sorts and cuts it alike
  static constexpr auto fields() {
    return std::tuple{field("inner", &MaskedState::inner), field("mask", &MaskedState::mask)};
  }
};

// A cell that sees its state through a mask.
template <class Cell>
struct MaskedCell {
  const Cell& cell;

  template <class State, FloatOrDouble T>
  State seen(const MaskedState<State, T>& s) const {
    if constexpr (requires { cell.masked(s.inner, s.mask); }) {
      return cell.masked(s.inner, s.mask);
    } else if constexpr (is_var<State>) {
      return s.inner * s.mask;
    } else {
      static_assert(
          requires { s.inner.h* s.mask; },
          "Variational: the state is neither a Var nor a struct with a member h; the cell must say "
          "by masked(state, mask) what a mask [B, H] makes of it");
      State out = s.inner;
      out.h = out.h * s.mask;
      return out;
    }
  }
  template <class State, FloatOrDouble T>
  auto output(const MaskedState<State, T>& s) const {
    return cell_output(cell, s.inner);
  }
  template <class State, FloatOrDouble T>
  MaskedState<State, T> operator()(const Var<T>& x, const MaskedState<State, T>& s) const {
    if constexpr (Projecting<Cell, Var<T>, State>) {
      return step(project(x), s);
    } else {
      return {cell(x, seen(s)), s.mask};
    }
  }
  template <FloatOrDouble T>
  Var<T> project(const Var<T>& xs) const requires requires {
    cell.project(xs);
  }
  { return cell.project(xs); }
  template <class State, FloatOrDouble T>
  MaskedState<State, T> step(const Var<T>& projected, const MaskedState<State, T>& s) const requires
      Projecting<Cell, Var<T>, State> {
    if constexpr (Probeable<Cell, Var<T>, State>) {
      return {cell.from_pre_activation(cell.pre_activation(projected, seen(s)), s.inner), s.mask};
    } else {
      return {cell.step(projected, seen(s)), s.mask};
    }
  }
};

// Ones and zeros, scaled so that the expectation stays.
template <FloatOrDouble T>
Var<T> dropout_mask(const Shape& shape, double rate, const Key& key) {
  return dropout(ones<T>(shape), rate, key);
}
// All steps times one mask [B, n].
template <FloatOrDouble T>
Var<T> drop_in_all_steps(const Var<T>& xs, double rate, const Key& key) {
  if (xs.rank() == 0)
    fail("Variational", "the sequence is a scalar; it needs the steps as its first axis");
  Shape step = xs.shape();
  step.erase(0);
  return xs * dropout_mask<T>(step, rate, key);
}
template <FloatOrDouble T>
Packed<T> drop_in_all_steps(const Packed<T>& xs, double rate, const Key& key) {
  Shape step = xs.data.shape();
  step[0] = xs.layout->lengths.batch();
  return {xs.data * take(dropout_mask<T>(step, rate, key), xs.layout->sequence), xs.layout};
}

}  // namespace detail

template <class Cell>
struct Variational {
  Cell cell;
  VariationalRates rates;
  static constexpr auto fields() { return std::tuple{field("cell", &Variational::cell)}; }

  // The cell is Cell::make(key, in, sizes...).
  template <class... Sizes>
  [[nodiscard]] static Variational make(const Key& key, Size in, const VariationalRates& rates,
                                        const Sizes&... sizes) {
    return {Cell::make(key, in, sizes...), rates};
  }

  [[nodiscard]] auto initial_state(Size batch) const { return cell.initial_state(batch); }
  [[nodiscard]] Size output_size() const { return detail::output_size(cell); }
  template <class State>
  [[nodiscard]] auto output(const State& s) const {
    return detail::cell_output(cell, s);
  }
  // One step, without dropout.
  template <FloatOrDouble T, class State>
  requires CellOver<Cell, Var<T>, State>
  [[nodiscard]] State operator()(const Var<T>& x, const State& s) const { return cell(x, s); }

  template <class Xs, class State>
  [[nodiscard]] Unrolled<Xs, State> run(const Xs& xs, const State& s,
                                        const UnrollOptions& options) const {
    if (!options.key) return unroll::unroll(cell, xs, s, options);
    const auto [input, state] = split(*options.key);
    const Xs& all = rates.input == 0 ? xs : detail::drop_in_all_steps(xs, rates.input, input);
    if (rates.state == 0) return unroll::unroll(cell, all, s, {.hoist = options.hoist});
    const auto y = detail::cell_output(cell, s);
    using T = typename std::remove_cvref_t<decltype(y)>::value_type;
    auto run = unroll::unroll(
        detail::MaskedCell<Cell>{cell}, all,
        detail::MaskedState<State, T>{s, detail::dropout_mask<T>(y.shape(), rates.state, state)},
        {.hoist = options.hoist});
    return {std::move(run.outputs), std::move(run.state.inner)};
  }
};

}  // namespace unroll
