// Ragged batches: against each sequence run by itself, for every kind of layer; packing; bucketing.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "tree_distance.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr Size I = 3, H = 4;

// A user's cell without projection, its state a tuple.
struct Leaky {
  Var<double> rate;  // [H, I]
  static constexpr auto fields() { return std::tuple{field("rate", &Leaky::rate)}; }
  using State = std::tuple<Var<double>, Var<double>>;
  static Leaky make(const Key& key, Size in, Size n) { return {normal<double>(key, {n, in})}; }
  State initial_state(Size batch) const {
    const auto zero = zeros<double>({batch, rate.size(0)});
    return {zero, zero};
  }
  State operator()(const Var<double>& x, const State& s) const {
    const auto& [level, trace] = s;
    const auto next = tanh(0.5 * level + linear(x, rate));
    return {next, trace * level + next};
  }
  Var<double> output(const State& s) const { return std::get<1>(s); }
};

template <class Layer>
Size layer_size(const Layer& layer) {
  return unroll::unroll(layer, zeros<double>({1, 1, I}), layer.initial_state(1)).outputs.size(2);
}

template <class Layer>
void check_one_by_one(const Layer& layer, const std::vector<Size>& lengths, Size steps) {
  const Size B = static_cast<Size>(lengths.size());
  CAPTURE(shape_string(lengths));
  const auto xs = normal<double>(Key(1), {steps, B, I});
  const auto s0 = random_like(layer.initial_state(B), 10);
  using State = std::remove_const_t<decltype(s0)>;
  const auto out_weights = normal<double>(Key(2), {steps, B, layer_size(layer)});
  const auto state_weights = random_like(s0, 50);
  const auto state_loss = [](const State& s, const State& w) {
    Var<double> total(0);
    tree_for_each([&](const auto& p, const auto& v) { total = total + sum(square(p) * v); }, s, w);
    return total;
  };
  const auto together = value_and_grad(
      [&](const Layer& l, const Var<double>& x, const State& s) {
        const auto run = unroll::unroll(l, x, s, {.lengths = lengths});
        return std::tuple{
            sum(square(run.outputs) * out_weights) + state_loss(run.state, state_weights),
            run.outputs, run.state};
      },
      layer, xs, s0);
  const auto alone = value_and_grad(
      [&](const Layer& l, const Var<double>& x, const State& s) {
        Var<double> total(0);
        std::vector<Var<double>> columns;
        std::vector<State> states;
        for (Size b = 0; b < B; ++b) {
          const Size n = lengths[static_cast<std::size_t>(b)];
          const auto own = slice(x, {SliceRange{0, n}, SliceRange{b, b + 1}});
          State last = slice_rows(s, b, b + 1);
          Var<double> outputs = zeros<double>({0, 1, out_weights.size(2)});
          if (n > 0) {
            auto run = unroll::unroll(l, own, last);
            outputs = run.outputs;
            last = run.state;
          }
          columns.push_back(pad(outputs, 0, 0, steps - n));
          total = total +
                  sum(square(columns.back()) * slice(out_weights, 1, SliceRange{b, b + 1})) +
                  state_loss(last, slice_rows(state_weights, b, b + 1));
          states.push_back(last);
        }
        return std::tuple{total, concat(columns, 1), concat_rows(states)};
      },
      layer, xs, s0);
  CHECK(distance(together.value, alone.value) < 1e-13);
  CHECK(distance(together.auxiliary, alone.auxiliary) < 1e-13);
  CHECK(distance(together.gradient, alone.gradient) < 1e-12);

  // Padding is never read, and gets a gradient of exactly zero.
  const auto real = expand(transpose(length_mask<double>(Indices(lengths), steps)), -1);
  const auto& d_xs = std::get<1>(together.gradient);
  CHECK(max(abs(d_xs * (1 - real))).item() == 0);
  const auto poisoned = where(real, xs, std::numeric_limits<double>::quiet_NaN());
  const auto run = unroll::unroll(layer, poisoned, s0, {.lengths = lengths});
  CHECK(distance(std::tuple{run.outputs, run.state}, together.auxiliary) == 0);
}

template <class Layer>
void check_lengths(const Layer& layer) {
  check_one_by_one(layer, {4, 2, 5, 1, 2}, 6);
  check_one_by_one(layer, {3, 0, 1}, 3);
  check_one_by_one(layer, {4, 4}, 4);
  check_one_by_one(layer, {2}, 3);
}

}  // namespace

TEST_CASE("A ragged batch is its sequences one by one: every cell, values and gradients") {
  check_lengths(Elman<double>::make(Key(3), I, H));
  check_lengths(Rnn<double>::make(Key(3), I, H));
  check_lengths(Lstm<double>::make(Key(3), I, H));
  check_lengths(Gru<double>::make(Key(3), I, H));
  check_lengths(ProjectedLstm<double>::make(Key(3), I, H, 2));
  check_lengths(PeepholeLstm<double>::make(Key(3), I, H));
  check_lengths(LayerNormLstm<double>::make(Key(3), I, H));
  check_lengths(Leaky::make(Key(3), I, H));
}

TEST_CASE("... and every combinator") {
  check_lengths(Bidirectional<Gru<double>>::make(Key(3), I, H));
  check_lengths(Bidirectional<Leaky>::make(Key(3), I, H));
  check_lengths(Stack<Lstm<double>>::make(Key(3), {.layers = 2}, I, H));
  check_lengths(Stack<Bidirectional<Lstm<double>>>::make(Key(3), {.layers = 3}, I, H));
  check_lengths(Residual<Gru<double>>::make(Key(3), I, I));
  check_lengths(Chain<Rnn<double>, Bidirectional<Leaky>, Gru<double>>::make(Key(3), I, {H, 2, 3}));
  check_lengths(Variational<Gru<double>>::make(Key(3), I, VariationalRates{}, H));
}

TEST_CASE("Without hoisting a ragged batch is the same") {
  const auto cell = Lstm<double>::make(Key(3), I, H);
  const auto xs = normal<double>(Key(1), {5, 3, I});
  const Lengths lengths(Indices({3}, {2, 5, 4}));
  const auto s0 = random_like(cell.initial_state(3), 4);
  const auto plain = unroll::unroll(cell, xs, s0, {.hoist = Hoist::never, .lengths = lengths});
  const auto hoisted = unroll::unroll(cell, xs, s0, {.lengths = lengths});
  CHECK(distance(plain.outputs, hoisted.outputs) < 1e-14);
  CHECK(distance(plain.state, hoisted.state) < 1e-14);
  const auto steps = unroll_steps(cell, xs, s0, {.lengths = lengths});
  CHECK(distance(stack(steps.outputs), hoisted.outputs) == 0);
  CHECK(distance(unroll_steps(cell, unbind(xs), s0, {.lengths = lengths}).state, steps.state) == 0);
  CHECK(distance(unroll::unroll(cell, unbind(xs), s0, {.lengths = lengths}).outputs,
                 hoisted.outputs) == 0);
}

TEST_CASE("Ragged layers are right under differences, to second order") {
  const auto net = Stack<Bidirectional<Gru<double>>>::make(Key(3), {.layers = 2}, 2, 2);
  const auto s0 = net.initial_state(3);
  check_grads(
      [&](const auto& m, const Var<double>& x) {
        const auto run = unroll::unroll(m, x, s0, {.lengths = std::vector<Size>{2, 4, 1}});
        return weighted_squares<double>(std::tuple{run.outputs, run.state}, 3);
      },
      std::tuple{net, normal<double>(Key(1), {4, 3, 2})});
}

TEST_CASE("Variational masks belong to their sequence, ragged or not") {
  const auto layer =
      Variational<Lstm<double>>::make(Key(3), I, VariationalRates{.input = 0.4, .state = 0.4}, H);
  const auto xs = normal<double>(Key(1), {5, 4, I});
  const auto s0 = layer.initial_state(4);
  const auto dense = unroll::unroll(layer, xs, s0, {.key = Key(6)});
  const std::vector<Size> lengths{2, 5, 3, 5};
  const auto ragged = unroll::unroll(layer, xs, s0, {.lengths = lengths, .key = Key(6)});
  const auto mask = expand(transpose(length_mask<double>(Indices(lengths), 5)), -1);
  CHECK(distance(ragged.outputs, mask * dense.outputs) < 1e-14);
}

TEST_CASE("Packed, the real steps stand one after the other, longest first") {
  const auto xs = reshape(arange<double>(12), {4, 3, 1});
  const auto packed = pack(xs, Lengths(std::vector<Size>{2, 4, 1}));
  CHECK(packed.data.to_vector() == std::vector<double>{1, 0, 2, 4, 3, 7, 10});
  CHECK(packed.layout->order.values()[0] == 1);
  CHECK(reverse_sequences(packed).data.to_vector() == std::vector<double>{10, 3, 2, 7, 0, 4, 1});
  CHECK(unpack(packed).to_vector() == std::vector<double>{0, 1, 2, 3, 4, 0, 0, 7, 0, 0, 10, 0});
  CHECK(unpack(packed, 5).shape() == Shape{5, 3, 1});
  CHECK(last_step(packed).to_vector() == std::vector<double>{3, 10, 2});
  CHECK(distance(last_step(xs), index(xs, 0, 3)) == 0);
  const Indices words = pack(Indices({2, 2}, {7, 8, 9, 10}), std::vector<Size>{1, 2});
  CHECK(std::vector<Size>(words.values().begin(), words.values().end()) ==
        std::vector<Size>{8, 7, 10});
  check_grads([](const Packed<double>& p) { return unpack(reverse_sequences(p)); }, packed);
  const auto doubled =
      map_steps([](const auto& a, const auto& b) { return a + b; }, packed, packed);
  CHECK(distance(doubled.data, 2 * packed.data) == 0);

  const auto with_empty = pack(xs, Lengths(std::vector<Size>{2, 0, 1}));
  CHECK(last_step(with_empty, Var<double>({3, 1}, {-1, -2, -3})).to_vector() ==
        std::vector<double>{3, -2, 2});
  CHECK_THROWS_WITH_AS((void)last_step(with_empty), "[last_step] a sequence is empty",
                       std::invalid_argument);
}

TEST_CASE("A network over packed steps needs no mask in its loss") {
  const auto net = Stack<Gru<double>>::make(Key(3), {.layers = 2}, I, H);
  const auto read_out = Linear<double>::make(Key(4), H, 5);
  const auto xs = normal<double>(Key(1), {6, 3, I});
  const Indices labels = randint(Key(2), {6, 3}, 0, 5);
  const Lengths lengths(std::vector<Size>{6, 2, 3});
  const auto run = unroll::unroll(net, pack(xs, lengths), net.initial_state(3));
  const auto loss = cross_entropy(read_out(run.outputs.data), pack(labels, lengths));
  double total = 0;
  for (Size b = 0; b < 3; ++b) {
    const Size n = lengths[b];
    const auto own = slice(xs, {SliceRange{0, n}, SliceRange{b, b + 1}});
    const auto outputs = unroll::unroll(net, own, net.initial_state(1)).outputs;
    std::vector<Size> own_labels;
    for (Size t = 0; t < n; ++t) own_labels.push_back(labels(t * 3 + b));
    total += static_cast<double>(n) *
             cross_entropy(read_out(reshape(outputs, {n, H})), Indices(own_labels)).item();
  }
  CHECK(loss.item() == doctest::Approx(total / 11).epsilon(1e-13));
}

TEST_CASE("Buckets hold each sequence once, with little padding, as the key says") {
  std::vector<Size> lengths;
  const Indices drawn = randint(Key(1), {1003}, 0, 60);
  for (const Size n : drawn.values()) lengths.push_back(n);
  const auto batches = bucket_by_length(lengths, 16, Key(2));
  CHECK(batches.size() == 63);
  std::set<Size> seen;
  Size padded = 0, real = 0, small = 0, descents = 0;
  Size before = 0;
  for (const Indices& batch : batches) {
    Size longest = 0;
    for (const Size i : batch.values()) {
      seen.insert(i);
      const Size n = lengths[static_cast<std::size_t>(i)];
      longest = std::max(longest, n);
      real += n;
    }
    padded += longest * batch.size();
    small += batch.size() != 16;
    descents += longest < before;
    before = longest;
  }
  CHECK(seen.size() == 1003);
  CHECK(small == 1);
  CHECK(static_cast<double>(padded) < 1.03 * static_cast<double>(real));
  CHECK(descents > 15);  // the batches do not come in the order of their lengths
  CHECK(descents < 48);
  const auto same = [](const std::vector<Indices>& a, const std::vector<Indices>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Indices& x, const Indices& y) {
                        return std::equal(x.values().begin(), x.values().end(), y.values().begin(),
                                          y.values().end());
                      });
  };
  CHECK(same(batches, bucket_by_length(lengths, 16, Key(2))));
  CHECK_FALSE(same(batches, bucket_by_length(lengths, 16, Key(3))));
  CHECK(bucket_by_length(std::vector<Size>{}, 4, Key(1)).empty());
}

TEST_CASE("Lengths and states that do not fit say so") {
  const auto cell = Gru<double>::make(Key(3), I, H);
  const auto xs = zeros<double>({4, 2, I});
  const auto h0 = cell.initial_state(2);
  const auto with = [&](const std::vector<Size>& lengths, const Var<double>& h) {
    return unroll::unroll(cell, xs, h, {.lengths = lengths});
  };
  CHECK_THROWS_WITH_AS(
      (void)with({1, 2, 3}, h0),
      "[pack] there are 3 lengths for a batch of shape [4, 2, 3]; it needs steps and "
      "batch as its first axes, and a length for each sequence",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      (void)with({5, 1}, h0),
      "[pack] a sequence has length 5, but the batch of shape [4, 2, 3] has 4 steps",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)with({-1, 1}, h0), "[lengths] a length is -1", std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      (void)with({2, 1}, zeros<double>({1, H})),
      "[unroll] a part of the state has shape [1, 4]; with 2 sequences of their own "
      "lengths each part needs a row for each of them",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)with({0, 0}, h0),
                       "[unroll] no sequence has a step, so there is nothing to put out",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      (void)Lengths(Indices({1, 2}, {1, 2})),
      "[lengths] one length for each sequence is needed, [B]; these have shape [1, 2]",
      std::invalid_argument);
  const auto packed = pack(xs, Lengths(std::vector<Size>{3, 2}));
  CHECK_THROWS_WITH_AS((void)unpack(packed, 2),
                       "[unpack] 2 steps are asked for, but the longest sequence has 3",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)unroll::unroll(cell, packed, h0, {.lengths = std::vector<Size>{3, 2}}),
                       "[unroll] a packed batch has its lengths already", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)bucket_by_length(std::vector<Size>{1}, 0, Key(1)),
                       "[bucket_by_length] the batch size is 0", std::invalid_argument);
}
