// From one sequence to another: training a decoder on known targets, and decoders with attention.
//
//   const auto [encoded, last] = unroll::unroll(encoder, embedding(source), encoder.initial_state(B));
//   const auto step = attending(decoder, encoded, length_mask<float>(lengths, S));
//   const auto start = decoder.start(last);
//   auto [logits, end] = teacher_forced(step, inputs, start);          // inputs [T, B] -> [T, B, K]
//   Var<float> loss = cross_entropy(logits, targets);                  // inputs moved on by one step
//   auto best = beam_search(first, start, step, {.beam = 8}, {.end = 1});      // decoding.hpp
//
// teacher_forced and scheduled_sampling take any step as decoding.hpp describes it: a callable or a
// struct with step(tokens [B], state) -> {logits [B, K], state}. One that also has
//   advance(tokens, state)  the step without its last layer: a struct with `features` and `state`
//   readout(features)       that layer, so that step = readout of advance
// gets the readout of all steps as one product; one with
//   embed(tokens)           what a token is before the state comes in; advance takes that too
// looks up all tokens at once; and one whose state does not hang on what it attends to, with
//   advance_all(embedded [T, B, ...], state)    the features of all steps, and the last state
// has no loop left at all. Invariant: none of that changes values but in rounding.
#pragma once

#include "unroll/nn/attention.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/decoding.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/unroll.hpp"

namespace unroll {

namespace detail {

template <class Step, class State>
concept ReadingOut = requires(const Step& step, const Indices& tokens, const State& state) {
  step.readout(step.advance(tokens, state).features);
};
template <class Step, class State>
concept EmbeddingFirst = requires(const Step& step, const Indices& tokens, const State& state) {
  step.advance(index(step.embed(tokens), 0, 0), state).features;
};
template <class Step, class State>
concept AdvancingAtOnce = requires(const Step& step, const Indices& tokens, const State& state) {
  step.advance_all(step.embed(tokens), state).features;
};

inline Size check_inputs(const char* op, const Indices& inputs) {
  if (inputs.rank() == 2 && inputs.shape()[0] > 0) return inputs.shape()[0];
  fail(op, "the inputs have shape " + to_string(inputs.shape()) +
               "; they are [steps, batch], of at least one step");
}

// take(what advance gives) for each step on the given tokens; the state after the last.
template <class Step, class State, class Take>
State advance_each(const Step& step, const Indices& inputs, State state, const Take& take) {
  const auto go_over = [&](const auto& input) {
    for (Size t = 0; t < inputs.shape()[0]; ++t) {
      auto next = step.advance(input(t), state);
      state = std::move(next.state);
      take(next);
    }
  };
  if constexpr (EmbeddingFirst<Step, State>) {
    const auto embedded = step.embed(inputs);
    go_over([&](Size t) { return index(embedded, 0, t); });
  } else {
    go_over([&](Size t) { return inputs[t]; });
  }
  return state;
}

// Steps whose token is chosen by choose(t, logits of t - 1) -> Indices [B].
template <class State, class Step, class Choose>
auto teach(const Step& step, Size steps, State state, const Choose& choose) {
  using Logits = std::remove_cvref_t<decltype(decoder_step(step, Indices(), state).first)>;
  std::vector<Logits> logits;
  for (Size t = 0; t < steps; ++t) {
    auto [scores, next] = decoder_step(step, choose(t, t > 0 ? logits.back() : Logits()), state);
    logits.push_back(std::move(scores));
    state = std::move(next);
  }
  return Unrolled<Logits, State>{stack(logits), std::move(state)};
}

// The tokens, some of them replaced by what the model would say: [B].
template <FloatOrDouble T>
Indices mix_tokens(const Key& key, const Indices& tokens, const Var<T>& logits,
                   double probability) {
  const auto [which, what] = split(key);
  const std::vector<double> replace =
      bernoulli<double>(which, tokens.shape(), probability).to_vector();
  const Indices drawn = categorical(what, stop_gradient(logits));
  std::vector<std::int64_t> mixed(tokens.values().begin(), tokens.values().end());
  for (std::size_t b = 0; b < mixed.size(); ++b) {
    if (replace[b] != 0) mixed[b] = drawn(static_cast<Size>(b));
  }
  return Indices(mixed);
}

}  // namespace detail

// A decoder that is fed the right tokens: inputs [T, B] -> logits [T, B, K], and the state after the
// last step.
template <Tree State, class Step>
[[nodiscard]] auto teacher_forced(const Step& step, const Indices& inputs, const State& state) {
  const Size steps = detail::check_inputs("teacher_forced", inputs);
  if constexpr (detail::AdvancingAtOnce<Step, State>) {
    auto all = step.advance_all(step.embed(inputs), state);
    return Unrolled<decltype(all.features), State>{step.readout(all.features),
                                                   std::move(all.state)};
  } else if constexpr (detail::ReadingOut<Step, State>) {
    using Features = std::remove_cvref_t<decltype(step.advance(inputs, state).features)>;
    std::vector<Features> features;
    State last = detail::advance_each(
        step, inputs, state, [&](auto& next) { features.push_back(std::move(next.features)); });
    return Unrolled<Features, State>{step.readout(stack(features)), std::move(last)};
  } else {
    return detail::teach(step, steps, state, [&](Size t, const auto&) { return inputs[t]; });
  }
}

// The same, but each token after the first is with this probability (1 - ε_i in the paper) one that
// is drawn from what the model said at the step before (Bengio et al., 2015). No gradient flows
// through the choice. With probability 0 it is teacher forcing.
template <Tree State, class Step>
[[nodiscard]] auto scheduled_sampling(const Step& step, const Indices& inputs, const State& state,
                                      double probability, const Key& key) {
  const Size steps = detail::check_inputs("scheduled_sampling", inputs);
  if (!(probability >= 0 && probability <= 1)) {
    fail("scheduled_sampling",
         "the probability " + std::to_string(probability) + " is not in [0, 1]");
  }
  if (probability == 0) return teacher_forced(step, inputs, state);
  return detail::teach(step, steps, state, [&](Size t, const auto& logits) {
    if (t == 0) return inputs[t];
    return detail::mix_tokens(fold_in(key, static_cast<std::uint64_t>(t)), inputs[t], logits,
                              probability);
  });
}

// The attention of each step under teacher forcing, for pictures: [T, B, S], a constant. For steps
// whose advance() also gives `weights`.
template <Tree State, class Step>
[[nodiscard]] auto attention_map(const Step& step, const Indices& inputs, const State& state) {
  detail::check_inputs("attention_map", inputs);
  std::vector<std::remove_cvref_t<decltype(step.advance(inputs, state).weights)>> weights;
  detail::advance_each(step, inputs, state,
                       [&](auto& next) { weights.push_back(stop_gradient(next.weights)); });
  return stack(weights);
}

// ---- decoders with attention -------------------------------------------------------------------

struct DecoderSizes {
  Size vocabulary = 0, embedding = 0, hidden = 0;
  Size context = 0;  // columns of what the attention gives: the memory's, with heads their size
};

// What a decoder's step gives before the readout.
template <FloatOrDouble T, class State>
struct DecoderAdvance {
  Var<T> features;  // [B, ...]
  State state;
  Var<T> weights;  // [B, S]
};

// Looks first, then steps (Bahdanau et al., 2015, with one layer as the readout):
//   c = attention(output of s, memory),   s' = cell([embedding; c], s),   logits = out([output; c])
template <FloatOrDouble T, class Cell = Gru<T>, class Attention = AdditiveAttention<T>>
struct BahdanauDecoder {
  Embedding<T> embedding;
  Cell cell;
  Attention attention;
  Linear<T> out;  // [hidden + context] -> [vocabulary]
  static constexpr auto fields() {
    return std::tuple{
        field("embedding", &BahdanauDecoder::embedding), field("cell", &BahdanauDecoder::cell),
        field("attention", &BahdanauDecoder::attention), field("out", &BahdanauDecoder::out)};
  }
  [[nodiscard]] static BahdanauDecoder make(const Key& key, const Attention& attention,
                                            const DecoderSizes& n) {
    const auto k = split<3>(key);
    return {Embedding<T>::make(k[0], n.vocabulary, n.embedding),
            Cell::make(k[1], n.embedding + n.context, n.hidden), attention,
            Linear<T>::make(k[2], n.hidden + n.context, n.vocabulary)};
  }

  // The decoder's first state, from the cell's.
  template <class CellState>
  [[nodiscard]] CellState start(const CellState& state) const {
    return state;
  }
  [[nodiscard]] Var<T> embed(const Indices& tokens) const { return embedding(tokens); }
  template <class State>
  [[nodiscard]] DecoderAdvance<T, State> advance(const Var<T>& embedded, const State& state,
                                                 const AttentionMemory<T>& memory) const {
    auto [context, weights] = attention(cell.output(state), memory);
    State next = cell(concat({embedded, context}, -1), state);
    return {concat({cell.output(next), context}, -1), next, weights};
  }
};

template <FloatOrDouble T, class CellState>
struct LuongState {
  CellState cell;
  Var<T> attentional;  // [B, hidden], what is fed to the next step
  static constexpr auto fields() {
    return std::tuple{field("cell", &LuongState::cell),
                      field("attentional", &LuongState::attentional)};
  }
};

// Whether what a step saw is fed to the next one.
enum class InputFeeding { yes, no };

// Steps first, then looks, and feeds what it saw to the next step (Luong et al., 2015, section 3.3):
//   s' = cell([embedding; a], s),   c = attention(output of s', memory)
//   a' = tanh(W [c; output of s']),   logits = out(a')
template <FloatOrDouble T, class Cell = Lstm<T>, class Attention = GeneralAttention<T>,
          InputFeeding feeding = InputFeeding::yes>
struct LuongDecoder {
  Embedding<T> embedding;
  Cell cell;
  Attention attention;
  Var<T> W;       // [hidden, context + hidden]
  Linear<T> out;  // [hidden] -> [vocabulary]
  static constexpr auto fields() {
    return std::tuple{field("embedding", &LuongDecoder::embedding),
                      field("cell", &LuongDecoder::cell),
                      field("attention", &LuongDecoder::attention), field("W", &LuongDecoder::W),
                      field("out", &LuongDecoder::out)};
  }
  static constexpr bool feeds = feeding == InputFeeding::yes;
  [[nodiscard]] static LuongDecoder make(const Key& key, const Attention& attention,
                                         const DecoderSizes& n) {
    const auto k = split<4>(key);
    return {Embedding<T>::make(k[0], n.vocabulary, n.embedding),
            Cell::make(k[1], n.embedding + (feeds ? n.hidden : 0), n.hidden), attention,
            glorot_uniform<T>(k[2], {n.hidden, n.context + n.hidden}),
            Linear<T>::make(k[3], n.hidden, n.vocabulary)};
  }

  // The decoder's first state, from the cell's: nothing seen yet.
  template <class CellState>
  [[nodiscard]] auto start(const CellState& state) const {
    if constexpr (feeds) {
      return LuongState<T, CellState>{state, zeros<T>(cell.output(state).shape())};
    } else {
      return state;
    }
  }
  [[nodiscard]] Var<T> embed(const Indices& tokens) const { return embedding(tokens); }
  template <class State>
  [[nodiscard]] DecoderAdvance<T, State> advance(const Var<T>& embedded, const State& state,
                                                 const AttentionMemory<T>& memory) const {
    if constexpr (feeds) {
      auto next = cell(concat({embedded, state.attentional}, -1), state.cell);
      const auto seen = look(cell.output(next), memory);
      return {seen.context, {next, seen.context}, seen.weights};
    } else {
      State next = cell(embedded, state);
      const auto seen = look(cell.output(next), memory);
      return {seen.context, next, seen.weights};
    }
  }
  // embedded [T, B, embedding]: the features and weights of all steps, [T, B, ...].
  template <class State>
  [[nodiscard]] DecoderAdvance<T, State> advance_all(const Var<T>& embedded, const State& state,
                                                     const AttentionMemory<T>& memory) const
      requires(!feeds) {
    const auto run = unroll::unroll(cell, embedded, state);
    const auto seen = look(run.outputs, memory);
    return {seen.context, run.state, seen.weights};
  }

 private:
  // a', and the weights.
  Attended<T> look(const Var<T>& outputs, const AttentionMemory<T>& memory) const {
    auto [context, weights] = attention(outputs, memory);
    return {tanh(linear(concat({context, outputs}, -1), W)), weights};
  }
};

// Without that feeding (section 3.1 of the paper) the state hangs on the tokens alone:
//   s' = cell(embedding, s),   the rest as above
// Teacher forcing runs the cell over the whole sequence, and then looks with all steps at once.
template <FloatOrDouble T, class Cell = Gru<T>, class Attention = GeneralAttention<T>>
using PlainLuongDecoder = LuongDecoder<T, Cell, Attention, InputFeeding::no>;

// A decoder with the memory that it attends to: a step for teacher forcing and for decoding.
template <class Decoder, FloatOrDouble T>
struct Attending {
  Decoder decoder;  // shares its parameters
  AttentionMemory<T> memory;

  [[nodiscard]] Var<T> embed(const Indices& tokens) const { return decoder.embed(tokens); }
  template <class State>
  [[nodiscard]] auto advance(const Var<T>& embedded, const State& state) const {
    return decoder.advance(embedded, state, memory);
  }
  template <class State>
  [[nodiscard]] auto advance(const Indices& tokens, const State& state) const {
    return advance(embed(tokens), state);
  }
  template <class State>
  [[nodiscard]] auto advance_all(const Var<T>& embedded, const State& state) const requires
      requires(const AttentionMemory<T>& m) {
    decoder.advance_all(embedded, state, m);
  }
  { return decoder.advance_all(embedded, state, memory); }
  [[nodiscard]] Var<T> readout(const Var<T>& features) const { return decoder.out(features); }
  template <class State>
  [[nodiscard]] std::pair<Var<T>, State> step(const Indices& tokens, const State& state) const {
    auto next = advance(tokens, state);
    return {readout(next.features), std::move(next.state)};
  }
};

// memory [S, B, M] is prepared once; the mask [B, S] is 1 where it is real (attention.hpp).
template <class Decoder, FloatOrDouble T>
[[nodiscard]] Attending<Decoder, T> attending(
    const Decoder& decoder, const Var<T>& memory,
    const std::optional<std::type_identity_t<Var<T>>>& mask = std::nullopt) {
  return {decoder, decoder.attention.prepare(memory, mask)};
}

}  // namespace unroll
