// Sequences: the loop, hoisting, users' cells, and per-step derivatives by probes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "unroll/autograd/check.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr Size T = 6, B = 3, I = 2, H = 4;
const Var<double> xs = normal<double>(Key(1), {T, B, I});
const Var<double> weights = normal<double>(Key(2), {T, B, H});

template <class A>
double distance(const A& a, const A& b) {
  double d = 0;
  tree_for_each(
      [&](const auto& p, const auto& q) {
        CHECK(p.shape() == q.shape());
        if (p.size() > 0) d = std::max(d, static_cast<double>(max(abs(p - q)).item()));
      },
      a, b);
  return d;
}

// A user's cell: two numbers carried along as a tuple, no projection.
struct Counter {
  Var<double> rate;
  static constexpr auto fields() { return std::tuple{field("rate", &Counter::rate)}; }
  using State = std::tuple<Var<double>, Var<double>>;
  State operator()(const Var<double>& x, const State& s) const {
    const auto& [total, count] = s;
    return {total * rate + x, count + 1};
  }
  Var<double> output(const State& s) const { return std::get<0>(s) / std::get<1>(s); }
};

template <class Cell>
void check_hoisting() {
  const Cell cell = Cell::make(Key(3), I, H);
  const auto s0 = tree_map([](const auto& p) { return p + normal<double>(Key(4), p.shape()); },
                           cell.initial_state(B));
  const auto loss = [&](Hoist hoist) {
    return [&, hoist](const Cell& m, const Var<double>& x, const auto& s) {
      const auto run = unroll::unroll(m, x, s, {.hoist = hoist});
      return std::tuple{sum(weights * run.outputs), run.outputs, run.state};
    };
  };
  const auto hoisted = value_and_grad(loss(Hoist::automatic), cell, xs, s0);
  const auto plain = value_and_grad(loss(Hoist::never), cell, xs, s0);
  CHECK(distance(hoisted.auxiliary, plain.auxiliary) < 1e-14);
  CHECK(distance(hoisted.gradient, plain.gradient) < 1e-14);

  // And both are the loop one would write.
  auto s = s0;
  for (Size t = 0; t < T; ++t) {
    s = cell(index(xs, 0, t), s);
    CHECK(distance(index(std::get<0>(plain.auxiliary), 0, t), Var<double>(cell.output(s))) < 1e-15);
  }
  CHECK(distance(std::get<1>(plain.auxiliary), s) < 1e-15);
}

// ∂L/∂z_t by central differences: the recurrence run on from a shifted z_t.
template <class Cell, class State, class Shift>
double loss_with_shift(const Cell& cell, const State& s0, Size at, Shift&& shift) {
  State s = s0;
  double total = 0;
  for (Size t = 0; t < T; ++t) {
    auto z = cell.pre_activation(cell.project(index(xs, 0, t)), s);
    if (t == at) shift(z);
    s = cell.from_pre_activation(z, s);
    total += sum(index(weights, 0, t) * cell.output(s)).item();
  }
  return total;
}

template <class Cell>
void check_probe() {
  const Cell cell = Cell::make(Key(3), I, H);
  const auto s0 = cell.initial_state(B);
  const auto probe = zero_probe(cell, xs, s0);
  const auto loss = [&](const auto& p) {
    return sum(weights * unroll_probed(cell, xs, s0, p).outputs);
  };
  // A probe of zeros changes no value.
  CHECK(distance(unroll_probed(cell, xs, s0, probe).outputs, unroll::unroll(cell, xs, s0).outputs) <
        1e-15);
  const auto d_z = grad(loss)(probe);
  double largest = 0;
  tree_for_each(
      [&](const auto& all) {
        CHECK(all.shape() == Shape{T, B, static_cast<Size>(Cell::gates.size()) * H});
        largest = std::max(largest, max(abs(all)).item());
      },
      d_z);
  CHECK(largest > 0.1);
  for (Size at : {Size{0}, Size{3}, T - 1}) {
    // Along a random direction at this step.
    auto direction = tree_map(
        [&](const auto& p) { return normal<double>(Key(7), index(p, 0, at).shape()); }, probe);
    double expected = 0;
    tree_for_each(
        [&](const auto& d, const auto& g) { expected += sum(d * index(g, 0, at)).item(); },
        direction, d_z);
    const auto shifted = [&](double by) {
      return loss_with_shift(cell, s0, at, [&](auto& z) {
        tree_for_each([&](auto& part, const auto& d) { part = part + d * by; }, z, direction);
      });
    };
    const double e = 1e-3;
    const double difference =
        (8 * (shifted(e) - shifted(-e)) - (shifted(2 * e) - shifted(-2 * e))) / (12 * e);
    CHECK(std::abs(difference - expected) < 1e-8 * std::max(1.0, std::abs(expected)));
  }
}

// ∂L/∂s_t by central differences: the rest of the sequence run on from a shifted state.
template <class Cell>
void check_state_gradients(const Cell& cell) {
  using State = decltype(cell.initial_state(B));
  const State s0 = cell.initial_state(B);
  // Of the last state, and of what was put out on the way.
  const auto loss = [](const State& last, const Var<double>& outputs, Size from) {
    Var<double> total = sum(slice(weights, 0, SliceRange{from}) * outputs);
    tree_for_each([&](const auto& part) { total = total + sum(square(part)); }, last);
    return total;
  };
  const auto gradients = state_gradients(
      cell, xs, s0, [&](const auto& run) { return loss(run.state, run.outputs, 0); });
  REQUIRE(gradients.size() == T);
  State s = s0;
  for (Size t = 0; t < T; ++t) {
    s = cell(index(xs, 0, t), s);
    const State direction =
        tree_map([&](const auto& p) { return normal<double>(Key(7), p.shape()); }, s);
    double expected = 0;
    const auto& at_t = gradients[static_cast<std::size_t>(t)];
    tree_for_each([&](const auto& d, const auto& g) { expected += sum(d * g).item(); }, direction,
                  at_t);
    const auto shifted = [&](double by) {
      State here = tree_map([&](const auto& p, const auto& d) { return p + by * d; }, s, direction);
      std::vector<Var<double>> outputs{Var<double>(cell.output(here))};
      for (Size later = t + 1; later < T; ++later) {
        here = cell(index(xs, 0, later), here);
        outputs.push_back(cell.output(here));
      }
      return loss(here, stack(outputs), t).item();
    };
    const double step = 1e-5;
    CHECK(std::abs(expected) > 1e-3);
    CHECK((shifted(step) - shifted(-step)) / (2 * step) == doctest::Approx(expected).epsilon(1e-7));
  }
}

}  // namespace

TEST_CASE("Hoisted, not hoisted and written as a loop are the same, for every cell") {
  check_hoisting<Elman<double>>();
  check_hoisting<ReluElman<double>>();
  check_hoisting<Lstm<double>>();
  check_hoisting<Gru<double>>();
}

TEST_CASE("Unrolled cells are right under differences, to second order") {
  const auto check = [](const auto& cell) {
    check_grads(
        [&](const auto& m, const Var<double>& x) {
          return sum(weights * unroll::unroll(m, x, m.initial_state(B)).outputs);
        },
        std::tuple{cell, xs});
  };
  check(Elman<double>::make(Key(3), I, H));
  check(Lstm<double>::make(Key(3), I, H));
  check(Gru<double>::make(Key(3), I, H));
}

TEST_CASE("Outputs come per step or stacked, from one array or from steps given one by one") {
  const auto cell = Gru<double>::make(Key(3), I, H);
  const auto h0 = cell.initial_state(B);
  const auto stacked = unroll::unroll(cell, xs, h0);
  CHECK(stacked.outputs.shape() == Shape{T, B, H});
  const auto steps = unroll_steps(cell, xs, h0);
  REQUIRE(steps.outputs.size() == static_cast<std::size_t>(T));
  CHECK(distance(stack(steps.outputs), stacked.outputs) < 1e-15);
  CHECK(distance(steps.outputs.back(), steps.state) == 0);
  const auto given = unroll::unroll(cell, unbind(xs), h0);
  CHECK(distance(given.outputs, stacked.outputs) < 1e-14);
  const auto [outputs, last] = unroll_steps(cell, unbind(xs), h0);
  CHECK(distance(last, stacked.state) < 1e-14);
  CHECK(outputs.size() == 6);
}

TEST_CASE("A sequence can be continued from its last state") {
  const auto cell = Lstm<double>::make(Key(3), I, H);
  const auto whole = unroll::unroll(cell, xs, cell.initial_state(B));
  const auto first = unroll::unroll(cell, slice(xs, 0, SliceRange{0, 2}), cell.initial_state(B));
  const auto second = unroll::unroll(cell, slice(xs, 0, SliceRange{2}), first.state);
  CHECK(distance(concat({first.outputs, second.outputs}), whole.outputs) < 1e-15);
  CHECK(distance(second.state, whole.state) < 1e-15);
}

TEST_CASE("A user's cell needs a call operator and a state that is a tree") {
  const Counter cell{0.5};
  const Counter::State s0{zeros<double>({B, I}), 0.0};
  const auto run = unroll::unroll(cell, xs, s0);
  CHECK(run.outputs.shape() == xs.shape());
  CHECK(std::get<1>(run.state).item() == T);
  check_grads([&](const Counter& c) { return sum(square(unroll::unroll(c, xs, s0).outputs)); },
              cell);
  // A lambda is a cell too, when its state is one Var.
  const auto sums = unroll::unroll([](const Var<double>& x, const Var<double>& s) { return s + x; },
                                   xs, zeros<double>({B, I}));
  CHECK(distance(sums.outputs, cumsum(xs, 0)) < 1e-14);
}

TEST_CASE("One step, and a batch of one, are sequences like others") {
  const auto cell = Elman<double>::make(Key(3), I, H);
  const auto one = unroll::unroll(cell, slice(xs, 0, SliceRange{0, 1}), cell.initial_state(B));
  CHECK(distance(index(one.outputs, 0, 0), cell(index(xs, 0, 0), cell.initial_state(B))) < 1e-15);
  CHECK_THROWS_WITH_AS((void)unroll::unroll(cell, zeros<double>({0, B, I}), cell.initial_state(B)),
                       "[unroll] the sequence has no steps, so there is nothing to stack",
                       std::invalid_argument);
  CHECK(unroll_steps(cell, zeros<double>({0, B, I}), cell.initial_state(B)).outputs.empty());
  CHECK_THROWS_AS((void)zero_probe(cell, zeros<double>({0, B, I}), cell.initial_state(B)),
                  std::invalid_argument);
}

TEST_CASE("The gradient with respect to a probe is that with respect to the pre-activation") {
  check_probe<Elman<double>>();
  check_probe<Lstm<double>>();
  check_probe<Gru<double>>();
}

TEST_CASE("The state's gradient is what the rest of the sequence makes of a shifted state") {
  check_state_gradients(Lstm<double>::make(Key(3), I, H));
  check_state_gradients(Gru<double>::make(Key(3), I, H));
  check_state_gradients(Stack<Lstm<double>>::make(Key(3), {.layers = 2}, I, H));
}

TEST_CASE("Of a_t = a_{t-1} / 2 + x_t and the last a, the gradient halves with each step back") {
  const auto cell = [](const Var<double>& x, const Var<double>& a) { return 0.5 * a + x; };
  const Var<double> x(Shape{4, 1}, {3, -1, 2, 7});
  const auto last = [](const auto& run) { return sum(run.state); };
  CHECK(state_gradient_norms(cell, x, Var<double>(Shape{1}, {5}), last) ==
        std::vector<double>{0.125, 0.25, 0.5, 1});
  // The mean over all steps reaches every state by itself, too; of a batch the norm is that of all.
  const auto all = [](const auto& run) { return sum(run.outputs); };
  const Var<double> four = broadcast_to(x, {4, 4});
  CHECK(state_gradient_norms(cell, four, zeros<double>({4}), all) ==
        std::vector<double>{2 * 1.875, 2 * 1.75, 2 * 1.5, 2});
  CHECK(state_gradient_norms(cell, slice(x, 0, SliceRange{0, 1}), zeros<double>({1}), all) ==
        std::vector<double>{1});
  CHECK_THROWS_WITH_AS((void)state_gradients(cell, zeros<double>({0, 1}), zeros<double>({1}), last),
                       "[state_gradients] the sequence has no steps", std::invalid_argument);
}

TEST_CASE("A probe for another number of steps is refused") {
  const auto cell = Elman<double>::make(Key(3), I, H);
  const auto h0 = cell.initial_state(B);
  CHECK_THROWS_WITH_AS(
      (void)unroll_probed(cell, slice(xs, 0, SliceRange{1}), h0, zero_probe(cell, xs, h0)),
      "[unroll_probed] the sequence [5, 3, 2] and the probe [6, 3, 4] differ in "
      "their number of steps",
      std::invalid_argument);
}

TEST_CASE("Both sides of a GRU's pre-activation agree in r and z, and differ by r in n") {
  const auto cell = Gru<double>::make(Key(3), I, H);
  const auto h0 = cell.initial_state(B);
  const auto d = grad([&](const auto& p) {
    return sum(weights * unroll_probed(cell, xs, h0, p).outputs);
  })(zero_probe(cell, xs, h0));
  const auto input = split<3>(d.input, -1), hidden = split<3>(d.hidden, -1);
  CHECK(distance(input[0], hidden[0]) < 1e-15);
  CHECK(distance(input[1], hidden[1]) < 1e-15);
  const auto states = unroll::unroll(cell, xs, h0).outputs;
  const auto before = concat({expand(h0, 0), slice(states, 0, SliceRange{0, T - 1})});
  const auto r = sigmoid(split<3>(cell.project(xs), -1)[0] +
                         split<3>(linear(before, cell.weight_hh, cell.bias_hh), -1)[0]);
  CHECK(distance(hidden[2], input[2] * r) < 1e-14);
}

TEST_CASE("Parameters and probe are differentiated in one reading") {
  const auto cell = Lstm<double>::make(Key(3), I, H);
  const auto s0 = cell.initial_state(B);
  const auto [value, gradient] = value_and_grad(
      [&](const auto& m, const auto& p) {
        return sum(weights * unroll_probed(m, xs, s0, p).outputs);
      },
      cell, zero_probe(cell, xs, s0));
  const auto& [d_cell, d_z] = gradient;
  // b_ih is added to every z_t, so its gradient is the sum of theirs; W_ih's is Σ_t d_zᵀ x.
  CHECK(distance(d_cell.bias_ih, sum(d_z, {0, 1})) < 1e-14);
  const auto flat_z = reshape(d_z, {T * B, 4 * H}), flat_x = reshape(xs, {T * B, I});
  CHECK(distance(d_cell.weight_ih, matmul(transpose(flat_z), flat_x)) < 1e-13);
  CHECK(value.rank() == 0);
}

TEST_CASE("A state of another batch than the input's is refused, sizes of 1 too") {
  const auto cell = Elman<double>::make(Key(1), 20, 30);
  const auto message = [&](const auto& xs, const auto& state) -> std::string {
    try {
      (void)unroll::unroll(cell, xs, state);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  using V = Var<double>;
  CHECK(message(zeros<double>({100, 1, 20}), zeros<double>({100, 30})) ==
        "[unroll] xs [100, 1, 20] is [T, B, in], so B = 1; the state has 100 rows");
  CHECK(message(zeros<double>({7, 4, 20}), zeros<double>({1, 30})) ==
        "[unroll] xs [7, 4, 20] is [T, B, in], so B = 4; the state has 1 row");
  CHECK(message(zeros<double>({4, 7, 20}), zeros<double>({4, 30})) ==
        "[unroll] xs [4, 7, 20] is [T, B, in], so B = 7; the state has 4 rows");
  CHECK(message(std::vector<V>(3, zeros<double>({4, 20})), zeros<double>({1, 30})) ==
        "[unroll] xs [4, 20] is [B, in] at each step, so B = 4; the state has 1 row");
  const auto lstm = Lstm<double>::make(Key(1), 20, 30);
  const LstmState<double> state{zeros<double>({4, 30}), zeros<double>({1, 30})};
  CHECK_THROWS_AS((void)unroll::unroll(lstm, zeros<double>({7, 4, 20}), state),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)unroll_steps(lstm, zeros<double>({7, 4, 20}), state),
                  std::invalid_argument);
  CHECK(
      unroll::unroll(cell, zeros<double>({7, 4, 20}), broadcast_to(zeros<double>({1, 30}), {4, 30}))
          .outputs.shape() == Shape{7, 4, 30});
  CHECK(unroll::unroll(cell, zeros<double>({7, 20}), zeros<double>({30})).outputs.shape() ==
        Shape{7, 30});
}
