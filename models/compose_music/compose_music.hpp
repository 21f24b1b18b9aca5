// A composer: one LSTM network that writes tunes character by character, after their key and metre.
//
//   const auto model = Composer::make(Key(1), {.characters = vocabulary.size()});
//   Weighted<float> loss = model.loss(batch, {.outputs = 0.5, .key = key});          // bits per character
//   auto [logits, state] = model.step(characters, model.initial_state(B));        // to compose with
//
//   x_t = E[character t],  (h_t, c_t) = lstm(x_t, h_{t-1}, c_{t-1}),  p_{t+1} = softmax(V h_t + b)
//
// The text is the tune's ABC, whose header gives metre and key, so what follows is conditioned on them.
// One to many: from the few characters of a header comes a whole tune. Whole tunes are learned from, not
// windows, since a tune's last part comes back to its first. Invariant: a tune's loss does not depend on
// those that share its batch.
#pragma once

#include <numbers>

#include "unroll/models/compose_music/tunes.hpp"
#include "unroll/models/training/gradient_sum.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/stack.hpp"

namespace unroll {

struct ComposerSizes {
  Size characters = 0;
  Size embedding = 48, hidden = 384, layers = 1;
};

// Shares that are set to 0 while training: of what each layer puts out, and of the recurrent weights, the
// same in all steps (DropConnect; Merity et al., "Regularizing and optimizing LSTM language models", 2018).
struct ComposerDropout {
  double outputs = 0, weights = 0;
  Key key = {};
};

struct Composer {
  using State = std::vector<LstmState<float>>;

  Embedding<float> characters;
  Stack<Lstm<float>> lstm;
  Linear<float> next;
  static constexpr auto fields() {
    return std::tuple{field("characters", &Composer::characters), field("lstm", &Composer::lstm),
                      field("next", &Composer::next)};
  }

  [[nodiscard]] static Composer make(const Key& key, const ComposerSizes& n) {
    const auto [a, b, c] = split<3>(key);
    return {Embedding<float>::make(a, n.characters, n.embedding),
            Stack<Lstm<float>>::make(b, {.layers = n.layers}, n.embedding, n.hidden),
            Linear<float>::make(c, n.hidden, n.characters)};
  }
  [[nodiscard]] State initial_state(Size batch) const { return lstm.initial_state(batch); }

  // The mean of -log2 p over the characters of the tunes, their ends included.
  [[nodiscard]] Weighted<float> loss(const TuneBatch& b, const ComposerDropout& drop = {}) const {
    const auto [between, out, weights] = split<3>(drop.key);
    Stack<Lstm<float>> layers = lstm;
    layers.dropout = drop.outputs;
    for (std::size_t k = 0; drop.weights > 0 && k < layers.layers.size(); ++k) {
      Var<float>& w = layers.layers[k].weight_hh;
      w = dropout(w, drop.weights, fold_in(weights, k));
    }
    const Packed<float> xs{characters(b.inputs), b.layout};
    const auto run =
        unroll::unroll(layers, xs, initial_state(b.layout->lengths.batch()), {.key = between});
    const Var<float> h = dropout(run.outputs.data, drop.outputs, out);  // [N, hidden]
    return {cross_entropy(next(h), b.targets) * float(1 / std::numbers::ln2),
            double(b.targets.size())};
  }

  // The logits of the characters after these: [B] -> [B, characters].
  [[nodiscard]] std::pair<Var<float>, State> step(const Indices& before, const State& s) const {
    State after = lstm(characters(before), s);
    return {next(lstm.output(after)), std::move(after)};
  }
};

}  // namespace unroll
