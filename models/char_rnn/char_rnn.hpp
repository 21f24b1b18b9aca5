// A network that predicts the next character of a text: embedding, LSTM, read-out.
//
//   x_t = E[character t],  (h_t, c_t) = lstm(x_t, h_{t-1}, c_{t-1}),  p_{t+1} = softmax(V h_t + b)
//
//   auto net = CharRnn<float>::make(Key(1), {.characters = 98});
//   auto [loss, state] = net.loss(window.inputs, window.targets, net.initial_state(64));
//
// The loss is the mean of -ln p over the characters of a window; divided by ln 2 it is bits per
// character. The state that comes back begins the next window: values pass from window to window,
// gradients do not (truncated BPTT), because a state that left its tape is a constant.
#pragma once

#include "unroll/autograd/random.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/unroll.hpp"

namespace unroll {

struct CharRnnSizes {
  Size characters = 0;
  Size embedding = 64;
  Size hidden = 256;
};

/// Sets a part of what enters and leaves the LSTM to zero while training.
struct CharRnnDropout {
  double rate = 0;
  Key key = {};
};

template <FloatOrDouble T>
struct CharRnn {
  Embedding<T> embedding;
  Lstm<T> cell;
  Linear<T> read_out;

  static constexpr auto fields() {
    return std::tuple{field("embedding", &CharRnn::embedding), field("cell", &CharRnn::cell),
                      field("read_out", &CharRnn::read_out)};
  }

  [[nodiscard]] static CharRnn make(const Key& key, const CharRnnSizes& sizes) {
    const auto [a, b, c] = split<3>(key);
    return {Embedding<T>::make(a, sizes.characters, sizes.embedding),
            Lstm<T>::make(b, sizes.embedding, sizes.hidden),
            Linear<T>::make(c, sizes.hidden, sizes.characters)};
  }

  [[nodiscard]] LstmState<T> initial_state(Size batch) const { return cell.initial_state(batch); }

  /// The logits of the next characters [T, B, K] after inputs [T, B], and the state after them.
  [[nodiscard]] std::pair<Var<T>, LstmState<T>> logits(const Indices& inputs,
                                                       const LstmState<T>& state,
                                                       const CharRnnDropout& drop = {}) const {
    const auto [in, out] = split(drop.key);
    Var<T> xs = embedding(inputs);  // [T, B, E]
    if (drop.rate > 0) xs = dropout(xs, drop.rate, in);
    auto run = unroll::unroll(cell, xs, state);  // outputs [T, B, H]
    if (drop.rate > 0) run.outputs = dropout(run.outputs, drop.rate, out);
    return {read_out(run.outputs), std::move(run.state)};
  }

  /// The mean of -ln p(target) and the state after the window.
  [[nodiscard]] std::pair<Var<T>, LstmState<T>> loss(const Indices& inputs, const Indices& targets,
                                                     const LstmState<T>& state,
                                                     const CharRnnDropout& drop = {}) const {
    auto [scores, last] = logits(inputs, state, drop);
    return {cross_entropy(scores, targets), std::move(last)};
  }
};

}  // namespace unroll
