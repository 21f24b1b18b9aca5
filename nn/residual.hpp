// A layer with a way around it: what it puts out is added to what it got (He et al., 2016).
//
//   auto net = Stack<Residual<Gru<float>>>::make(Key(1), {.layers = 4}, 128, 128);
//
// The layer must put out as many numbers as it takes. Over a cell it is a cell; its state then holds the last
// output too, since that is no function of the cell's state alone.
#pragma once

#include "unroll/nn/stack.hpp"

namespace unroll {

template <class State, FloatOrDouble T>
struct ResidualState {
  State inner;
  Var<T> output;  // [B, n]: of the last step
  static constexpr auto fields() {
    return std::tuple{field("inner", &ResidualState::inner),
                      field("output", &ResidualState::output)};
  }
};

namespace detail {

template <FloatOrDouble T>
Var<T> add_way_around(const Var<T>& x, const Var<T>& y) {
  if (!(x.shape() == y.shape())) {
    fail("Residual", "the layer makes " + to_string(y.shape()) + " of " + to_string(x.shape()) +
                         "; only equal shapes can be added");
  }
  return x + y;
}
// The element type of a tree's first Var.
template <class X>
auto first_var(const X& x) {
  if constexpr (is_var<X>) {
    return x;
  } else if constexpr (HasFields<X>) {
    return first_var(x.*(std::get<0>(X::fields()).member));
  } else if constexpr (is_sequence<X>) {
    return first_var(x.front());
  } else {
    return first_var(std::get<0>(x));
  }
}
template <class X>
using ElementType = typename decltype(first_var(std::declval<const X&>()))::value_type;

}  // namespace detail

template <class Layer>
struct Residual {
  Layer layer;
  static constexpr auto fields() { return std::tuple{field("layer", &Residual::layer)}; }

  // Layer::make(key, in, sizes...)
  template <class... Sizes>
  [[nodiscard]] static Residual make(const Key& key, Size in, const Sizes&... sizes) {
    return {Layer::make(key, in, sizes...)};
  }

  [[nodiscard]] auto initial_state(Size batch) const {
    auto inner = layer.initial_state(batch);
    using T = detail::ElementType<decltype(inner)>;
    return ResidualState<decltype(inner), T>{std::move(inner), zeros<T>({batch, output_size()})};
  }
  [[nodiscard]] Size output_size() const { return detail::output_size(layer); }
  template <class State, FloatOrDouble T>
  [[nodiscard]] const Var<T>& output(const ResidualState<State, T>& state) const {
    return state.output;
  }
  // One step. x [B, n]
  template <class State, FloatOrDouble T>
  requires CellOver<Layer, Var<T>, State>
  [[nodiscard]] ResidualState<State, T> operator()(const Var<T>& x,
                                                   const ResidualState<State, T>& state) const {
    State inner = layer(x, state.inner);
    Var<T> y = detail::add_way_around(x, Var<T>(detail::cell_output(layer, inner)));
    return {std::move(inner), std::move(y)};
  }
  template <class Xs, class State, FloatOrDouble T>
  [[nodiscard]] Unrolled<Xs, ResidualState<State, T>> run(const Xs& xs,
                                                          const ResidualState<State, T>& state,
                                                          const UnrollOptions& options) const {
    auto inner = unroll::unroll(layer, xs, state.inner, options);
    Xs outputs =
        map_steps([](const auto& x, const auto& y) { return detail::add_way_around(x, y); }, xs,
                  inner.outputs);
    Var<T> last = last_step(outputs, state.output);
    return {std::move(outputs), {std::move(inner.state), std::move(last)}};
  }
};

}  // namespace unroll
