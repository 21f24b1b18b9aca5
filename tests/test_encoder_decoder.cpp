// Teacher forcing, scheduled sampling and the decoders with attention.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unroll/autograd/check.hpp"
#include "unroll/nn/encoder_decoder.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/optimizers.hpp"

using namespace unroll;

namespace {

constexpr DecoderSizes sizes{.vocabulary = 4, .embedding = 2, .hidden = 3, .context = 5};
const auto bahdanau =
    BahdanauDecoder<double>::make(Key(1), AdditiveAttention<double>::make(Key(2), 3, 5, 4), sizes);
const auto luong =
    LuongDecoder<double>::make(Key(3), GeneralAttention<double>::make(Key(4), 3, 5), sizes);
const auto plain =
    PlainLuongDecoder<double>::make(Key(11), GeneralAttention<double>::make(Key(12), 3, 5), sizes);
const Var<double> memory = normal<double>(Key(5), {3, 2, 5});  // [S, B, M]
const Var<double> mask = length_mask<double>(Indices({2}, {3, 2}), 3);
const Indices inputs({4, 2}, {0, 3, 1, 1, 2, 0, 3, 2});

// f(decoder, first state of its cell)
template <class F>
void for_each_decoder(F&& f) {
  f(bahdanau, normal<double>(Key(6), {2, 3}));
  f(luong, LstmState<double>{normal<double>(Key(7), {2, 3}), normal<double>(Key(8), {2, 3})});
  f(plain, normal<double>(Key(13), {2, 3}));
}

double difference(const Var<double>& a, const Var<double>& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs(a - b)).item();
}

// Says how likely its last token makes each next one; remembers what it was fed.
struct Table {
  Var<double> logits;  // [K, K]
  std::vector<Indices>* fed;
  std::pair<Var<double>, Var<double>> step(const Indices& tokens, const Var<double>& count) const {
    fed->push_back(tokens);
    return {take(logits, tokens), count + 1.0};
  }
};

// Says again what it was told.
struct Copier {
  using Decoder = LuongDecoder<float, Gru<float>, DotAttention<float>>;
  Embedding<float> embedding;
  Gru<float> encoder;
  Decoder decoder;
  static constexpr auto fields() {
    return std::tuple{field("embedding", &Copier::embedding), field("encoder", &Copier::encoder),
                      field("decoder", &Copier::decoder)};
  }

  Var<float> loss(const Indices& source) const {
    const Size batch = source.shape()[1];
    std::vector<std::int64_t> fed(static_cast<std::size_t>(batch), 0);  // token 0 begins
    fed.insert(fed.end(), source.values().begin(), source.values().end() - batch);
    const auto run = unroll::unroll(encoder, embedding(source), encoder.initial_state(batch));
    const auto taught = teacher_forced(attending(decoder, run.outputs),
                                       Indices(source.shape(), fed), decoder.start(run.state));
    return cross_entropy(taught.outputs, source);
  }
};

}  // namespace

TEST_CASE("Bahdanau's decoder attends with the state before, Luong's with the state after") {
  const Indices tokens({2}, {1, 3});
  const auto m = bahdanau.attention.prepare(memory, mask);
  const Var<double> s = normal<double>(Key(9), {2, 3});
  const auto b = bahdanau.advance(bahdanau.embed(tokens), s, m);
  const auto [context, weights] = bahdanau.attention(s, m);
  const Var<double> h =
      bahdanau.cell(concat({take(bahdanau.embedding.weight, tokens), context}, 1), s);
  CHECK(difference(b.state, h) == 0);
  CHECK(difference(b.features, concat({h, context}, 1)) == 0);
  CHECK(difference(b.weights, weights) == 0);

  const auto k = luong.attention.prepare(memory, mask);
  const auto start = luong.start(LstmState<double>{s, s});
  CHECK(difference(start.attentional, zeros<double>({2, 3})) == 0);
  const auto first = luong.advance(luong.embed(tokens), start, k);
  const auto second = luong.advance(luong.embed(tokens), first.state, k);
  const auto next = luong.cell(concat({take(luong.embedding.weight, tokens), first.features}, 1),
                               first.state.cell);
  const auto seen = luong.attention(next.h, k);
  CHECK(difference(second.features, tanh(linear(concat({seen.context, next.h}, 1), luong.W))) == 0);
  CHECK(difference(second.weights, seen.weights) == 0);
}

TEST_CASE(
    "The plain decoder's state hangs on the tokens alone; it looks with the state after the step") {
  const auto m = plain.attention.prepare(memory, mask);
  const auto elsewhere = plain.attention.prepare(2.0 * memory, mask);
  const Var<double> s = normal<double>(Key(9), {2, 3});
  const Indices tokens({2}, {1, 3});
  const auto next = plain.advance(plain.embed(tokens), s, m);
  const Var<double> h = plain.cell(take(plain.embedding.weight, tokens), s);
  CHECK(difference(next.state, h) == 0);
  CHECK(difference(plain.advance(plain.embed(tokens), s, elsewhere).state, h) == 0);
  const auto seen = plain.attention(h, m);
  CHECK(difference(next.features, tanh(linear(concat({seen.context, h}, 1), plain.W))) == 0);
  CHECK(difference(next.weights, seen.weights) == 0);
}

TEST_CASE("Teacher forcing is the decoder's steps on the given tokens, whichever way it runs") {
  for_each_decoder([](const auto& decoder, const auto& cell_state) {
    const auto step = attending(decoder, memory, mask);
    const auto start = decoder.start(cell_state);
    const auto [logits, last] = teacher_forced(step, inputs, start);
    const Var<double> map = attention_map(step, inputs, start);
    CHECK(logits.shape() == Shape{4, 2, 4});
    CHECK(map.shape() == Shape{4, 2, 3});
    CHECK(difference(sum(map, -1), ones<double>({4, 2})) < 1e-15);
    CHECK(max(abs(index(index(map, 2, 2), 1, 1))).item() == 0);  // masked
    auto s = start;
    for (Size t = 0; t < 4; ++t) {
      CHECK(difference(step.advance(inputs[t], s).weights, index(map, 0, t)) == 0);
      auto [scores, next] = step.step(inputs[t], s);
      CHECK(difference(scores, index(logits, 0, t)) < 1e-15);
      s = next;
    }
    tree_for_each([](const auto& p, const auto& q) { CHECK(difference(p, q) < 1e-15); }, s, last);
    // A bare callable has no readout to take out of the loop.
    const auto called = teacher_forced(
        [&](const Indices& tokens, const auto& state) { return step.step(tokens, state); }, inputs,
        start);
    CHECK(difference(called.outputs, logits) < 1e-15);
  });
}

TEST_CASE("The decoders are right under differences, to second order") {
  const Indices two({2, 2}, {0, 3, 1, 1}), targets({2, 2}, {1, 1, 2, 0});
  for_each_decoder([&](const auto& decoder, const auto& cell_state) {
    check_grads(
        [&](const auto& d, const Var<double>& m, const auto& s) {
          return cross_entropy(teacher_forced(attending(d, m, mask), two, d.start(s)).outputs,
                               targets);
        },
        std::tuple{decoder, memory, cell_state});
  });
}

TEST_CASE("Scheduled sampling with probability 0 is teacher forcing, values and gradients") {
  const Indices targets({4, 2}, {3, 1, 1, 2, 0, 3, 2, 1});
  const auto loss = [&](const auto& d, double probability) {
    const auto s = d.start(LstmState<double>{zeros<double>({2, 3}), zeros<double>({2, 3})});
    return cross_entropy(
        scheduled_sampling(attending(d, memory, mask), inputs, s, probability, Key(1)).outputs,
        targets);
  };
  const auto forced = value_and_grad(
      [&](const auto& d) {
        const auto s = d.start(LstmState<double>{zeros<double>({2, 3}), zeros<double>({2, 3})});
        return cross_entropy(teacher_forced(attending(d, memory, mask), inputs, s).outputs,
                             targets);
      },
      luong);
  const auto sampled = value_and_grad([&](const auto& d) { return loss(d, 0); }, luong);
  CHECK(forced.value.item() == sampled.value.item());
  tree_for_each([](const auto& p, const auto& q) { CHECK(difference(p, q) == 0); }, forced.gradient,
                sampled.gradient);
  // The tokens drawn are a function of the key and do not change under small steps.
  check_grads([&](const auto& d) { return loss(d, 0.5); }, luong, {.order = 1});
  CHECK(loss(luong, 0.5).item() != forced.value.item());
}

TEST_CASE("Scheduled sampling feeds the model's own tokens as often as it is told") {
  // Tokens 0 and 1 are given; the model always says 2 or 3, with odds of 1 : 3.
  const double no = -std::numeric_limits<double>::infinity();
  const Var<double> row({1, 4}, {no, no, 0, std::log(3.0)});
  const Indices given = randint(Key(1), {20, 500}, 0, 2);
  for (const double probability : {0.0, 0.3, 1.0}) {
    std::vector<Indices> fed;
    const Table table{broadcast_to(row, {4, 4}), &fed};
    const auto [logits, count] =
        scheduled_sampling(table, given, zeros<double>({500}), probability, Key(2));
    CHECK(logits.shape() == Shape{20, 500, 4});
    CHECK(count.to_vector() == std::vector<double>(500, 20));
    REQUIRE(fed.size() == 20);
    CHECK(std::ranges::equal(fed[0].values(), given[0].values()));
    double own = 0, threes = 0;
    for (Size t = 1; t < 20; ++t) {
      for (Size b = 0; b < 500; ++b) {
        const std::int64_t token = fed[static_cast<std::size_t>(t)](b);
        own += token >= 2;
        threes += token == 3;
        if (token < 2) CHECK(token == given[t](b));
      }
    }
    // Within four standard deviations of 9500 choices.
    CHECK(std::abs(own - 9500 * probability) <=
          4 * std::sqrt(9500 * probability * (1 - probability)));
    CHECK(std::abs(threes - own * 0.75) <= 4 * std::sqrt(own * 0.75 * 0.25));
  }
}

TEST_CASE("Beams share their sequence's memory") {
  for_each_decoder([](const auto& decoder, const auto& cell_state) {
    const Indices first({2}, {0, 2});
    const DecodingLimits limits{.max_length = 5, .end = 1};
    const auto found =
        beam_search(first, decoder.start(cell_state), attending(decoder, memory, mask),
                    {.beam = 3, .n_best = 3}, limits);
    for (Size b = 0; b < 2; ++b) {
      const Indices row({1}, {b});
      const auto alone =
          beam_search(Indices({1}, {first(b)}), take_rows(decoder.start(cell_state), row),
                      attending(decoder, slice(memory, 1, {b, b + 1}), take(mask, row)),
                      {.beam = 3, .n_best = 3}, limits);
      const auto& mine = found[static_cast<std::size_t>(b)];
      REQUIRE(mine.size() == alone[0].size());
      for (std::size_t i = 0; i < mine.size(); ++i) {
        CHECK(mine[i].tokens == alone[0][i].tokens);
        CHECK(std::abs(mine[i].score - alone[0][i].score) < 1e-14);
      }
    }
  });
}

TEST_CASE("A decoder with attention learns to copy") {
  const Size steps = 4, batch = 16, words = 6;
  Copier model{Embedding<float>::make(Key(1), words, 8), Gru<float>::make(Key(2), 8, 16),
               Copier::Decoder::make(
                   Key(3), {}, {.vocabulary = words, .embedding = 8, .hidden = 16, .context = 16})};
  Adam adam(model, {.learning_rate = 0.02});
  std::vector<double> losses;
  for (std::uint64_t i = 0; i < 150; ++i) {
    const Indices source = randint(fold_in(Key(4), i), {steps, batch}, 1, words);
    const auto [value, gradient] =
        value_and_grad([&](const Copier& m) { return m.loss(source); }, model);
    adam.step(model, gradient);
    losses.push_back(value.item());
  }
  CHECK(losses.front() > 1.2);
  CHECK(losses.back() < 0.1);
}

TEST_CASE("Inputs and probabilities that make no sense are refused") {
  const auto step = attending(bahdanau, memory);
  const Var<double> s = zeros<double>({2, 3});
  CHECK_THROWS_WITH_AS((void)teacher_forced(step, Indices({2}, {0, 1}), s),
                       "[teacher_forced] the inputs have shape [2]; they are [steps, batch], of at "
                       "least one step",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)attention_map(step, Indices({0, 2}, {}), s), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)scheduled_sampling(step, inputs, s, 1.5, Key(1)),
                       "[scheduled_sampling] the probability 1.500000 is not in [0, 1]",
                       std::invalid_argument);
}
