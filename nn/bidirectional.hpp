// A layer that reads a sequence from both ends (Schuster & Paliwal, 1997): at each step it puts out what came
// before and what comes after, side by side.
//
//   auto layer = Bidirectional<Lstm<float>>::make(Key(1), 64, 128);
//   auto run = unroll::unroll(layer, xs, layer.initial_state(B));                  // [T, B, 64] -> [T, B, 256]
//   auto tagger = Stack<Bidirectional<Lstm<float>>>::make(Key(1), {.layers = 3}, 64, 128);
//
// Any two layers of one type will do. In a ragged batch the backward run begins at each sequence's own end. It
// is no cell: there is no single step.
#pragma once

#include "unroll/nn/stack.hpp"

namespace unroll {

template <class State>
struct BidirectionalState {
  State forward;   // after the last step
  State backward;  // after the first
  static constexpr auto fields() {
    return std::tuple{field("forward", &BidirectionalState::forward),
                      field("backward", &BidirectionalState::backward)};
  }
};

template <class Layer>
struct Bidirectional {
  Layer forward, backward;
  static constexpr auto fields() {
    return std::tuple{field("forward", &Bidirectional::forward),
                      field("backward", &Bidirectional::backward)};
  }

  // Both are Layer::make(key, in, sizes...).
  template <class... Sizes>
  [[nodiscard]] static Bidirectional make(const Key& key, Size in, const Sizes&... sizes) {
    const auto [a, b] = split(key);
    return {Layer::make(a, in, sizes...), Layer::make(b, in, sizes...)};
  }

  [[nodiscard]] auto initial_state(Size batch) const {
    return BidirectionalState<decltype(forward.initial_state(batch))>{
        forward.initial_state(batch), backward.initial_state(batch)};
  }
  [[nodiscard]] Size output_size() const {
    return detail::output_size(forward) + detail::output_size(backward);
  }
  // Outputs are those of the forward run, then those of the backward run, along the last axis.
  template <class Xs, class State>
  [[nodiscard]] Unrolled<Xs, BidirectionalState<State>> run(const Xs& xs,
                                                            const BidirectionalState<State>& state,
                                                            const UnrollOptions& options) const {
    auto there = unroll::unroll(forward, xs, state.forward, detail::options_for(options, 0));
    auto back = unroll::unroll(backward, reverse_sequences(xs), state.backward,
                               detail::options_for(options, 1));
    return {map_steps(
                [](const auto& a, const auto& b) {
                  return concat({a, b}, -1);
                },
                there.outputs, reverse_sequences(back.outputs)),
            {std::move(there.state), std::move(back.state)}};
  }
};

}  // namespace unroll
