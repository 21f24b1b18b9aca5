// Truncated BPTT against the whole gradient, and against loops that cut the state by hand.
#include <doctest/doctest.h>

#include "tree_distance.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr Size T = 7, B = 2, I = 3, H = 4;
const Var<double> xs = normal<double>(Key(1), {T, B, I});
const Var<double> ys = normal<double>(Key(2), {T, B, 2});

struct Net {
  Lstm<double> cell;
  Linear<double> out;
  static constexpr auto fields() {
    return std::tuple{field("cell", &Net::cell), field("out", &Net::out)};
  }
};
using State = LstmState<double>;
const Net net{Lstm<double>::make(Key(3), I, H), Linear<double>::make(Key(4), H, 2)};
const State s0 = random_like(net.cell.initial_state(B), 5);

// L_t of each step, by hand.
Var<double> step_loss(const Net& n, const State& s, Size t) {
  return sum(square(n.out(s.h) - index(ys, 0, t)));
}
std::pair<Var<double>, State> run(const Net& n, const State& s, const BpttSteps& steps) {
  const SliceRange range{steps.begin, steps.end};
  auto r = unroll::unroll(n.cell, slice(xs, 0, range), s);
  return {sum(square(n.out(r.outputs) - slice(ys, 0, range))), r.state};
}
Var<double> whole_loss(const Net& n) { return run(n, s0, {0, T, true}).first; }

struct Total {
  double loss = 0;
  Net gradient = zeros_like(net);
  int windows = 0;
};
Total accumulate(const BpttOptions& options) {
  Total total;
  TruncatedBptt bptt(s0, T, options);
  while (!bptt.done()) {
    const auto [loss, gradient] = bptt.next(net, run);
    total.loss += loss.item();
    total.gradient = tree_add(total.gradient, gradient);
    ++total.windows;
  }
  CHECK(bptt.step() == T);
  CHECK(distance(bptt.state(), run(net, s0, {0, T, true}).second) < 1e-14);
  return total;
}
// The same by one loop over all steps for each window, the state made constant where its reach ends.
Total by_hand(const BpttOptions& options) {
  Total total;
  for (Size begin = 0; begin < T; begin += options.k1, ++total.windows) {
    const Size end = std::min(begin + options.k1, T);
    const auto window = value_and_grad(
        [&](const Net& n) {
          State s = s0;
          Var<double> loss(0);
          for (Size t = 0; t < end; ++t) {
            if (t == begin - (options.k2 - options.k1))
              s = {stop_gradient(s.h), stop_gradient(s.c)};
            s = n.cell(index(xs, 0, t), s);
            if (t >= begin) loss = loss + step_loss(n, s, t);
          }
          return loss;
        },
        net);
    total.loss += window.value.item();
    total.gradient = tree_add(total.gradient, window.gradient);
  }
  return total;
}

}  // namespace

TEST_CASE("With k1 = k2 = T truncated BPTT is the whole gradient, exactly") {
  const auto whole = value_and_grad(whole_loss, net);
  const Total total = accumulate({.k1 = T, .k2 = T});
  CHECK(total.windows == 1);
  CHECK(total.loss == whole.value.item());
  CHECK(distance(total.gradient, whole.gradient) == 0);
  // More reach than steps changes nothing; and with it windows of any size add up to the whole.
  CHECK(distance(accumulate({.k1 = 3 * T, .k2 = 5 * T}).gradient, whole.gradient) == 0);
  for (const Size k1 : {1, 2, 3}) {
    CHECK(distance(accumulate({.k1 = k1, .k2 = T + k1}).gradient, whole.gradient) < 1e-13);
  }
}

TEST_CASE("Every loss counts once, and windows reach back k2 steps: against loops cut by hand") {
  const double whole = whole_loss(net).item();
  const Net full = grad(whole_loss)(net);
  for (const BpttOptions& k : std::vector<BpttOptions>{{1, 1},
                                                       {1, 2},
                                                       {2, 2},
                                                       {2, 3},
                                                       {3, 3},
                                                       {3, 4},
                                                       {3, 5},
                                                       {3, 6},
                                                       {4, 6},
                                                       {2, 5},
                                                       {6, 7},
                                                       {5, 5}}) {
    CAPTURE(k.k1);
    CAPTURE(k.k2);
    const Total total = accumulate(k), expected = by_hand(k);
    CHECK(total.windows == expected.windows);
    CHECK(total.loss == doctest::Approx(whole).epsilon(1e-13));
    CHECK(distance(total.gradient, expected.gradient) < 1e-12);
    if (k.k2 < T) CHECK(distance(total.gradient, full) > 1e-6);
  }
}

TEST_CASE("Updates between windows: the state is carried, later windows see the new weights") {
  const auto update = [](Net& n, const Net& g) {
    n = tree_map([](const auto& p, const auto& d) { return p - 0.05 * d; }, n, g);
  };
  Net trained = net;
  TruncatedBptt bptt(s0, T, {.k1 = 2, .k2 = 2});
  while (!bptt.done()) update(trained, bptt.next(trained, run).gradient);
  Net expected = net;
  State s = s0;
  for (Size begin = 0; begin < T; begin += 2) {
    const auto window = value_and_grad(
        [&](const Net& n) {
          return run(n, s, {begin, std::min(begin + 2, T), true});
        },
        expected);
    s = window.auxiliary;
    update(expected, window.gradient);
  }
  CHECK(distance(trained, expected) < 1e-14);
  CHECK(distance(bptt.state(), s) < 1e-14);
  // A stream goes on from there.
  TruncatedBptt more(bptt.state(), T, {.k1 = 3, .k2 = 3});
  CHECK(more.next(trained, run).value.item() ==
        doctest::Approx(run(expected, s, {0, 3, true}).first.item()).epsilon(1e-13));
}

TEST_CASE("Losses that do not count need not be computed") {
  Size counted = 0, passed = 0;
  TruncatedBptt bptt(s0, T, {.k1 = 2, .k2 = 5});
  while (!bptt.done()) {
    (void)bptt.next(net, [&](const Net& n, const State& s, const BpttSteps& steps) {
      (steps.counted ? counted : passed) += steps.end - steps.begin;
      return run(n, s, steps);
    });
  }
  CHECK(counted == T);
  CHECK(passed == 2 + 3 + 3);  // windows begin at 0, 2, 4, 6 and reach back to 0, 0, 1, 3
}

TEST_CASE("Stacks are truncated like cells") {
  const auto layers = Stack<Gru<double>>::make(Key(7), {.layers = 2}, I, H);
  const auto first = layers.initial_state(B);
  using Layers = Stack<Gru<double>>;
  const auto steps = [&](const Layers& m, const std::vector<Var<double>>& s,
                         const BpttSteps& part) {
    auto r = unroll::unroll(m, slice(xs, 0, SliceRange{part.begin, part.end}), s);
    return std::pair{sum(square(r.outputs)), r.state};
  };
  TruncatedBptt bptt(first, T, {.k1 = 3, .k2 = T + 2});
  auto total = zeros_like(layers);
  while (!bptt.done()) total = tree_add(total, bptt.next(layers, steps).gradient);
  const auto whole = grad([&](const Layers& m) { return steps(m, first, {0, T, true}).first; });
  CHECK(distance(total, whole(layers)) < 1e-12);
}

TEST_CASE("Windows that make no sense are refused") {
  const auto make = [](Size steps, const BpttOptions& o) { TruncatedBptt bptt(s0, steps, o); };
  CHECK_THROWS_WITH_AS(make(T, {.k1 = 3, .k2 = 2}),
                       "[TruncatedBptt] k1 = 3 and k2 = 2; 1 <= k1 <= k2 is needed, or some losses "
                       "would reach nothing",
                       std::invalid_argument);
  CHECK_THROWS_AS(make(T, {.k1 = 0, .k2 = 2}), std::invalid_argument);
  CHECK_THROWS_WITH_AS(make(0, {.k1 = 1, .k2 = 1}), "[TruncatedBptt] the sequence has no steps",
                       std::invalid_argument);
  TruncatedBptt bptt(s0, 1, {.k1 = 1, .k2 = 1});
  (void)bptt.next(net, run);
  CHECK_THROWS_WITH_AS((void)bptt.next(net, run),
                       "[TruncatedBptt] all steps were taken; done() says so",
                       std::invalid_argument);
}
