// Layers on top of each other: each goes over the whole sequence that the one below puts out.
//
//   auto net = Stack<Lstm<float>>::make(Key(1), {.layers = 2, .dropout = 0.3}, 64, 128);
//   auto run = unroll::unroll(net, xs, net.initial_state(B));                     // nothing is dropped
//   auto run = unroll::unroll(net, xs, net.initial_state(B), {.key = key});       // training
//   auto mixed = chain(Gru<float>::make(a, 64, 128), Bidirectional<MyCell>::make(b, 128, 32));
//
// Layers are cells, built-in or a user's own, and other combinators; each runs as fast as by itself. A
// stack of cells is a cell too: net(x, state) is one step of all layers (without dropout), output(state) what
// the uppermost puts out. Dropout stands between layers, not behind the last, as in PyTorch. Invariant: masks
// are a function of the key; without a key nothing is dropped.
#pragma once

#include "unroll/nn/unroll.hpp"

namespace unroll {

namespace detail {

// How many numbers a layer puts out at each step.
template <class Layer>
Size output_size(const Layer& layer) {
  if constexpr (requires { layer.output_size(); }) {
    return layer.output_size();
  } else {
    return cell_output(layer, layer.initial_state(1)).size(-1);
  }
}
// The options for one part of a layer: with a key of its own.
inline UnrollOptions options_for(const UnrollOptions& options, std::uint64_t part) {
  UnrollOptions own = options;
  if (own.key) own.key = fold_in(*own.key, part);
  return own;
}
// What layer number k + 1 gets of what number k puts out.
template <class Xs>
Xs drop_between(const Xs& xs, double rate, const UnrollOptions& options, std::size_t k) {
  if (!options.key || rate == 0) return xs;
  const Key key = fold_in(*options.key, 2 * k + 1);
  return map_steps([&](const auto& x) { return dropout(x, rate, key); }, xs);
}

}  // namespace detail

struct StackOptions {
  Size layers = 1;
  double dropout = 0;  // the share set to 0 of what passes from a layer to the next
};

// Layers of one type; the state is a vector, from the lowest to the uppermost layer.
template <class Layer>
struct Stack {
  std::vector<Layer> layers;
  double dropout = 0;
  static constexpr auto fields() { return std::tuple{field("layers", &Stack::layers)}; }

  // Each layer is Layer::make(key, in, sizes...), with `in` of all but the first what the one below puts
  // out: make(key, {.layers = 3}, 64, 128). Throws when there would be no layer.
  template <class... Sizes>
  [[nodiscard]] static Stack make(const Key& key, const StackOptions& options, Size in,
                                  const Sizes&... sizes) {
    if (options.layers < 1) fail("Stack", "at least one layer is needed");
    Stack stack{{}, options.dropout};
    for (const Key& k : split(key, static_cast<std::size_t>(options.layers))) {
      stack.layers.push_back(Layer::make(k, in, sizes...));
      in = detail::output_size(stack.layers.back());
    }
    return stack;
  }

  [[nodiscard]] auto initial_state(Size batch) const {
    std::vector<decltype(layers[0].initial_state(batch))> state;
    for (const Layer& layer : layers) state.push_back(layer.initial_state(batch));
    return state;
  }
  [[nodiscard]] Size output_size() const { return detail::output_size(layers.back()); }
  template <class State>
  [[nodiscard]] auto output(const std::vector<State>& state) const {
    return detail::cell_output(layers.back(), state.back());
  }
  // One step. x [B, in]
  template <FloatOrDouble T, class State>
  requires CellOver<Layer, Var<T>, State>
  [[nodiscard]] std::vector<State> operator()(const Var<T>& x,
                                              const std::vector<State>& state) const {
    check(state.size());
    std::vector<State> next;
    for (std::size_t k = 0; k < layers.size(); ++k) {
      next.push_back(
          layers[k](k == 0 ? x : detail::cell_output(layers[k - 1], next[k - 1]), state[k]));
    }
    return next;
  }
  template <class Xs, class State>
  [[nodiscard]] Unrolled<Xs, std::vector<State>> run(const Xs& xs, const std::vector<State>& state,
                                                     const UnrollOptions& options) const {
    check(state.size());
    Unrolled<Xs, std::vector<State>> all{xs, {}};
    for (std::size_t k = 0; k < layers.size(); ++k) {
      if (k > 0) all.outputs = detail::drop_between(all.outputs, dropout, options, k - 1);
      auto layer =
          unroll::unroll(layers[k], all.outputs, state[k], detail::options_for(options, 2 * k));
      all.outputs = std::move(layer.outputs);
      all.state.push_back(std::move(layer.state));
    }
    return all;
  }

 private:
  void check(std::size_t states) const {
    if (layers.empty()) fail("Stack", "there are no layers; Stack::make makes them");
    if (states != layers.size()) {
      fail("Stack", "there are " + std::to_string(layers.size()) + " layers and " +
                        std::to_string(states) + " states");
    }
  }
};

// Layers of different types; the state is a tuple.
template <class... Layers>
struct Chain {
  static_assert(sizeof...(Layers) > 0, "Chain: at least one layer is needed");
  std::tuple<Layers...> layers;
  double dropout = 0;
  static constexpr auto fields() { return std::tuple{field("layers", &Chain::layers)}; }

  // Layer k is made by make(key, in, sizes[k]); those that take more are made by hand, and joined by
  // chain().
  [[nodiscard]] static Chain make(const Key& key, Size in,
                                  const std::array<Size, sizeof...(Layers)>& sizes) {
    const auto keys = split<sizeof...(Layers)>(key);
    std::size_t k = 0;
    const auto next = [&]<class Layer>(std::type_identity<Layer>) {
      Layer layer = Layer::make(keys[k], in, sizes[k]);
      in = detail::output_size(layer);
      ++k;
      return layer;
    };
    return {std::tuple<Layers...>{next(std::type_identity<Layers>{})...}};
  }

  [[nodiscard]] auto initial_state(Size batch) const {
    return std::apply(
        [&](const auto&... layer) {
          using States = std::tuple<decltype(layer.initial_state(batch))...>;
          return States{layer.initial_state(batch)...};
        },
        layers);
  }
  [[nodiscard]] Size output_size() const { return detail::output_size(std::get<last>(layers)); }
  template <class... State>
  [[nodiscard]] auto output(const std::tuple<State...>& state) const {
    return detail::cell_output(std::get<last>(layers), std::get<last>(state));
  }
  // One step. x [B, in]
  template <FloatOrDouble T, class... State>
  requires(CellOver<Layers, Var<T>, State>&&...) [[nodiscard]] std::tuple<State...> operator()(
      const Var<T>& x, const std::tuple<State...>& state) const {
    std::tuple<State...> next = state;
    Var<T> input = x;
    for_each_layer([&](auto k) {
      const auto& layer = std::get<k>(layers);
      std::get<k>(next) = layer(input, std::get<k>(state));
      input = detail::cell_output(layer, std::get<k>(next));
    });
    return next;
  }
  template <class Xs, class... State>
  [[nodiscard]] Unrolled<Xs, std::tuple<State...>> run(const Xs& xs,
                                                       const std::tuple<State...>& state,
                                                       const UnrollOptions& options) const {
    Unrolled<Xs, std::tuple<State...>> all{xs, state};
    for_each_layer([&](auto k) {
      if (k > 0) all.outputs = detail::drop_between(all.outputs, dropout, options, k - 1);
      auto layer = unroll::unroll(std::get<k>(layers), all.outputs, std::get<k>(state),
                                  detail::options_for(options, 2 * k));
      all.outputs = std::move(layer.outputs);
      std::get<k>(all.state) = std::move(layer.state);
    });
    return all;
  }

 private:
  static constexpr std::size_t last = sizeof...(Layers) - 1;
  template <class F>
  static void for_each_layer(F&& f) {
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      (f(std::integral_constant<std::size_t, K>{}), ...);
    }
    (std::index_sequence_for<Layers...>{});
  }
};
template <class... Layers>
[[nodiscard]] Chain<Layers...> chain(const Layers&... layers) {
  return {std::tuple<Layers...>{layers...}};
}

}  // namespace unroll
