// Layers on top of each other: against the layers run by hand one after the other; dropout by key; states.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "tree_distance.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/inspect.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr Size T = 5, B = 3, I = 2, H = 4;
const Var<double> xs = normal<double>(Key(1), {T, B, I});

// A user's cell, as one would write it: a leaky integrator with two parts in its state.
struct Leaky {
  Linear<double> in;
  Var<double> rate;  // [n]
  static constexpr auto fields() {
    return std::tuple{field("in", &Leaky::in), field("rate", &Leaky::rate)};
  }
  using State = std::pair<Var<double>, Var<double>>;
  static Leaky make(const Key& key, Size in, Size n) {
    return {Linear<double>::make(key, in, n), uniform<double>(fold_in(key, 9), {n})};
  }
  State initial_state(Size batch) const {
    const auto zero = zeros<double>({batch, rate.size()});
    return {zero, zero};
  }
  State operator()(const Var<double>& x, const State& s) const {
    const auto level = s.first * rate + in(x);
    return {level, tanh(level + s.second)};
  }
  Var<double> output(const State& s) const { return s.second; }
};

// The loss and its gradient by cell, inputs and state.
template <class Layer, class State>
auto derivatives(const Layer& layer, const State& s0, const UnrollOptions& options = {}) {
  return value_and_grad(
      [&](const Layer& l, const Var<double>& x, const State& s) {
        const auto run = unroll::unroll(l, x, s, options);
        return weighted_squares<double>(std::tuple{run.outputs, run.state}, 40);
      },
      layer, xs, s0);
}

template <class Cell>
void check_stack() {
  const auto net = Stack<Cell>::make(Key(3), {.layers = 3}, I, H);
  REQUIRE(net.layers.size() == 3);
  CHECK(net.output_size() == H);
  const auto s0 = random_like(net.initial_state(B), 10);
  const auto run = unroll::unroll(net, xs, s0);
  auto outputs = xs;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto layer = unroll::unroll(net.layers[k], outputs, s0[k]);
    outputs = layer.outputs;
    CHECK(distance(run.state[k], layer.state) == 0);
  }
  CHECK(distance(run.outputs, outputs) == 0);

  // As a cell, step by step.
  auto s = s0;
  for (Size t = 0; t < T; ++t) {
    s = net(index(xs, 0, t), s);
    CHECK(distance(Var<double>(net.output(s)), index(outputs, 0, t)) < 1e-14);
  }
  CHECK(distance(s, run.state) < 1e-14);
  const auto steps = unroll_steps(net, xs, s0);
  CHECK(distance(stack(steps.outputs), outputs) == 0);
  CHECK(distance(unroll::unroll(net, unbind(xs), s0).outputs, outputs) < 1e-14);
}

}  // namespace

TEST_CASE("A stack is its layers one after the other, of built-in cells and of a user's own") {
  check_stack<Rnn<double>>();
  check_stack<Lstm<double>>();
  check_stack<Gru<double>>();
  check_stack<Leaky>();
}

TEST_CASE("Stacked layers of built-in cells run as one node each") {
  const auto net = Stack<Lstm<double>>::make(Key(3), {.layers = 3}, I, H);
  Tape<double> tape;
  const auto x = tape.leaf(normal<double>(Key(1), {200, B, I}));
  const auto y = unroll::unroll(net, x, net.initial_state(B));
  const std::string nodes = to_text(tape);
  CHECK(std::count(nodes.begin(), nodes.end(), '\n') < 40);  // of 200 steps
  CHECK(y.outputs.is_tracked());
}

TEST_CASE("A chain joins layers of different types") {
  const auto net = Chain<Gru<double>, Leaky, Lstm<double>>::make(Key(4), I, {4, 3, 5});
  CHECK(net.output_size() == 5);
  const auto s0 = random_like(net.initial_state(B), 10);
  const auto run = unroll::unroll(net, xs, s0);
  const auto a = unroll::unroll(std::get<0>(net.layers), xs, std::get<0>(s0));
  const auto b = unroll::unroll(std::get<1>(net.layers), a.outputs, std::get<1>(s0));
  const auto c = unroll::unroll(std::get<2>(net.layers), b.outputs, std::get<2>(s0));
  CHECK(distance(run.outputs, c.outputs) == 0);
  CHECK(distance(run.state, std::tuple{a.state, b.state, c.state}) == 0);
  auto s = s0;
  for (Size t = 0; t < T; ++t) s = net(index(xs, 0, t), s);
  CHECK(distance(s, run.state) < 1e-14);
  CHECK(distance(Var<double>(net.output(s)), index(run.outputs, 0, T - 1)) < 1e-14);
  const auto joined = chain(std::get<0>(net.layers), std::get<1>(net.layers));
  CHECK(distance(unroll::unroll(joined, xs, joined.initial_state(B)).outputs,
                 unroll::unroll(joined, unbind(xs), joined.initial_state(B)).outputs) == 0);
  std::set<std::string> names;
  for_each_named(net, [&](const std::string& name, const auto&) { names.insert(name); });
  CHECK(names.contains("layers.0.weight_ih"));
  CHECK(names.contains("layers.1.in.weight"));
}

TEST_CASE("Dropout between layers: by key, never behind the last layer, nothing without a key") {
  auto net = Stack<Gru<double>>::make(Key(3), {.layers = 2, .dropout = 0.5}, I, H);
  const auto s0 = net.initial_state(B);
  const auto plain = unroll::unroll(net, xs, s0);
  const auto lower = unroll::unroll(net.layers[0], xs, s0[0]).outputs;
  CHECK(distance(plain.outputs, unroll::unroll(net.layers[1], lower, s0[1]).outputs) == 0);

  const auto a = unroll::unroll(net, xs, s0, {.key = Key(5)});
  CHECK(distance(a.outputs, unroll::unroll(net, xs, s0, {.key = Key(5)}).outputs) == 0);
  CHECK(distance(a.outputs, unroll::unroll(net, xs, s0, {.key = Key(6)}).outputs) > 1e-3);
  CHECK(distance(a.state[0], plain.state[0]) == 0);
  CHECK(distance(index(a.outputs, 0, T - 1), a.state[1]) == 0);
  CHECK(distance(a.outputs, plain.outputs) > 1e-3);

  // What the upper layer got: each number is gone or doubled, about half are gone, steps differ.
  struct Through {
    Var<double> operator()(const Var<double>& x, const Var<double>&) const { return x; }
    Var<double> nothing = zeros<double>({1});
    static constexpr auto fields() { return std::tuple{field("nothing", &Through::nothing)}; }
  };
  const auto watched = Chain<Through, Through>{{}, 0.5};
  const auto ones_in = ones<double>({50, 4, 8});
  const auto zero = zeros<double>({4, 8});
  const auto seen =
      unroll::unroll(watched, ones_in, std::tuple{zero, zero}, {.key = Key(7)}).outputs;
  const auto values = seen.to_vector();
  const auto gone = std::count(values.begin(), values.end(), 0.0);
  CHECK(gone + std::count(values.begin(), values.end(), 2.0) == 1600);
  CHECK(gone > 700);
  CHECK(gone < 900);
  CHECK(distance(index(seen, 0, 0), index(seen, 0, 1)) > 0);

  net.dropout = 1;
  CHECK_THROWS_AS((void)unroll::unroll(net, xs, s0, {.key = Key(5)}), std::invalid_argument);
}

TEST_CASE("Variational dropout holds one mask for all steps, on inputs and on the state") {
  // Masks of rate 1/2: what is kept is doubled. The cell hands on what it saw of x and of its state.
  struct Watch {
    Var<double> nothing = zeros<double>({1});
    static constexpr auto fields() { return std::tuple{field("nothing", &Watch::nothing)}; }
    Var<double> operator()(const Var<double>& x, const Var<double>& s) const { return 0.5 * s + x; }
  };
  const Variational<Watch> input{{}, {.input = 0.5}};
  const auto once =
      unroll::unroll(input, ones<double>({3, 40, 5}), zeros<double>({40, 5}), {.key = Key(1)});
  const auto first = index(once.outputs, 0, 0);
  const auto values = first.to_vector();
  CHECK(std::count(values.begin(), values.end(), 0.0) +
            std::count(values.begin(), values.end(), 2.0) ==
        200);
  CHECK(std::count(values.begin(), values.end(), 0.0) > 70);
  CHECK(std::count(values.begin(), values.end(), 0.0) < 130);
  CHECK(distance(index(once.outputs, 0, 1), 1.5 * first) == 0);
  CHECK(distance(index(once.outputs, 0, 2), 1.75 * first) == 0);

  // s' = s m / 2 + 1 with m = 0 or 2: stays 1, or counts.
  const Variational<Watch> state{{}, {.state = 0.5}};
  const auto run =
      unroll::unroll(state, ones<double>({4, 30, 5}), zeros<double>({30, 5}), {.key = Key(2)});
  const auto last = run.state.to_vector();
  const auto stays = std::count(last.begin(), last.end(), 1.0);
  CHECK(stays + std::count(last.begin(), last.end(), 4.0) == 150);
  CHECK(stays > 50);
  CHECK(stays < 100);
}

TEST_CASE("Variational dropout of an LSTM and a GRU is masks on x_t and h_{t-1}, by hand") {
  constexpr double rate = 0.4;
  const auto check = [&](const auto& cell, const auto& h_of, const auto& step_by_hand) {
    using Cell = std::remove_cvref_t<decltype(cell)>;
    const Variational<Cell> layer{cell, {.input = rate, .state = rate}};
    const auto s0 = random_like(layer.initial_state(B), 20);
    const Key key(8);
    const auto [a, b] = split(key);
    const auto input_mask = dropout(ones<double>({B, I}), rate, a);
    const auto state_mask = dropout(ones<double>({B, H}), rate, b);
    auto s = s0;
    std::vector<Var<double>> outputs;
    for (Size t = 0; t < T; ++t) {
      s = step_by_hand(cell, index(xs, 0, t) * input_mask, s, h_of(s) * state_mask);
      outputs.push_back(h_of(s));
    }
    const auto run = unroll::unroll(layer, xs, s0, {.key = key});
    CHECK(distance(run.outputs, stack(outputs)) < 1e-14);
    CHECK(distance(run.state, s) < 1e-14);
    CHECK(distance(unroll::unroll(layer, xs, s0).outputs, unroll::unroll(cell, xs, s0).outputs) ==
          0);
    check_grads(
        [&](const auto& l, const Var<double>& x) {
          return weighted_squares<double>(unroll::unroll(l, x, s0, {.key = key}).outputs, 3);
        },
        std::tuple{layer, xs});
  };
  using State = LstmState<double>;
  check(
      Lstm<double>::make(Key(3), I, H), [](const State& s) { return s.h; },
      [](const Lstm<double>& cell, const Var<double>& x, const State& s, const Var<double>& h) {
        return cell(x, State{h, s.c});
      });
  // The GRU carries (1 - z) n + z h with h as it was.
  check(
      Gru<double>::make(Key(3), I, H), [](const Var<double>& h) { return h; },
      [](const Gru<double>& cell, const Var<double>& x, const Var<double>& h,
         const Var<double>& masked) {
        const auto in = split<3>(linear(x, cell.weight_ih, cell.bias_ih), -1);
        const auto rec = split<3>(linear(masked, cell.weight_hh, cell.bias_hh), -1);
        const auto r = sigmoid(in[0] + rec[0]), z = sigmoid(in[1] + rec[1]);
        return (1 - z) * tanh(in[2] + r * rec[2]) + z * h;
      });
}

TEST_CASE("A residual layer adds what it got; with its state it is a cell") {
  const auto net = Stack<Residual<Gru<double>>>::make(Key(3), {.layers = 2}, H, H);
  const auto x = normal<double>(Key(1), {T, B, H});
  const auto s0 = net.initial_state(B);
  const auto run = unroll::unroll(net, x, s0);
  const auto lower = x + unroll::unroll(net.layers[0].layer, x, s0[0].inner).outputs;
  const auto upper = lower + unroll::unroll(net.layers[1].layer, lower, s0[1].inner).outputs;
  CHECK(distance(run.outputs, upper) == 0);
  auto s = s0;
  for (Size t = 0; t < T; ++t) {
    s = net(index(x, 0, t), s);
    CHECK(distance(Var<double>(net.output(s)), index(upper, 0, t)) < 1e-14);
  }
  CHECK(distance(s, run.state) < 1e-14);
  const auto wrong = Residual<Gru<double>>::make(Key(3), I, H);
  CHECK_THROWS_WITH_AS(
      (void)unroll::unroll(wrong, xs, wrong.initial_state(B)),
      "[Residual] the layer makes [5, 3, 4] of [5, 3, 2]; only equal shapes can be "
      "added",
      std::invalid_argument);
}

TEST_CASE("Combinators are right under differences, to second order, with dropout too") {
  const auto check = [](const auto& net, const UnrollOptions& options) {
    const auto s0 = random_like(net.initial_state(B), 30);
    check_grads(
        [&](const auto& m, const Var<double>& x, const auto& s) {
          const auto run = unroll::unroll(m, x, s, options);
          return weighted_squares<double>(std::tuple{run.outputs, run.state}, 3);
        },
        std::tuple{net, xs, s0});
  };
  check(Stack<Lstm<double>>::make(Key(3), {.layers = 2, .dropout = 0.3}, I, 3), {.key = Key(2)});
  check(Chain<Rnn<double>, Residual<Gru<double>>>::make(Key(3), I, {3, 3}), {});
  check(Stack<Leaky>::make(Key(3), {.layers = 2}, I, 3), {.hoist = Hoist::never});
}

TEST_CASE("A state can be kept and gone back to; rows of it can be chosen, cut and joined") {
  const auto net = Stack<Lstm<double>>::make(Key(3), {.layers = 2}, I, H);
  const auto start = unroll::unroll(net, xs, net.initial_state(B)).state;
  const auto live = memory_report().live_bytes;
  const std::vector<std::remove_const_t<decltype(start)>> copies(100, start);
  CHECK(memory_report().live_bytes == live);  // a hundred copies share every array
  const auto other = normal<double>(Key(8), {T, B, I});
  const auto a = unroll::unroll(net, xs, start).state;
  const auto b = unroll::unroll(net, other, start).state;
  CHECK(distance(unroll::unroll(net, xs, copies[57]).state, a) == 0);
  CHECK(distance(a, b) > 1e-3);

  const auto chosen = take_rows(a, Indices({4}, {2, 0, 0, 1}));
  CHECK(chosen[1].c.shape() == Shape{4, H});
  CHECK(distance(slice(chosen[1].c, 0, SliceRange{2, 3}), slice(a[1].c, 0, SliceRange{0, 1})) == 0);
  const std::vector parts{slice_rows(a, 0, 1), slice_rows(a, 1, 3)};
  CHECK(distance(concat_rows(parts), a) == 0);
  CHECK_THROWS_AS((void)take_rows(a, Indices({1}, {3})), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)concat_rows(std::vector<Var<double>>{}),
                       "[concat_rows] there are no states to join", std::invalid_argument);

  const auto through = [&](const Var<double>& x) {
    const auto s = detach(unroll::unroll(net, x, net.initial_state(B)).state);
    return sum(x) + sum(unroll::unroll(net, other, s).outputs);
  };
  CHECK(distance(grad(through)(xs), ones<double>(xs.shape())) == 0);
}

TEST_CASE("Stacks that do not fit say so") {
  const auto net = Stack<Gru<double>>::make(Key(3), {.layers = 2}, I, H);
  CHECK_THROWS_WITH_AS((void)unroll::unroll(net, xs, std::vector{zeros<double>({B, H})}),
                       "[Stack] there are 2 layers and 1 states", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)(Stack<Gru<double>>::make(Key(3), {.layers = 0}, I, H)),
                       "[Stack] at least one layer is needed", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)unroll::unroll(Stack<Gru<double>>{}, xs, std::vector<Var<double>>{}),
                       "[Stack] there are no layers; Stack::make makes them",
                       std::invalid_argument);
}

TEST_CASE("Floats run as doubles do") {
  const auto net = Stack<Residual<Variational<Lstm<float>>>>::make(
      Key(3), {.layers = 2, .dropout = 0.2}, H, VariationalRates{.input = 0.2, .state = 0.2}, H);
  const auto x = normal<float>(Key(1), {T, B, H});
  const auto run = unroll::unroll(net, x, net.initial_state(B), {.key = Key(1)});
  CHECK(run.outputs.shape() == Shape{T, B, H});
}
