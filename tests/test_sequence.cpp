// A built-in cell's whole sequence as one node against its steps, which are what it stands for.
#include <doctest/doctest.h>

#include <algorithm>

#include "unroll/autograd/autograd.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

// The largest |a - b|, over the largest |b|.
template <class A>
double distance(const A& a, const A& b) {
  double difference = 0, size = 1e-300;
  tree_for_each(
      [&](const auto& p, const auto& q) {
        CHECK(p.shape() == q.shape());
        if (p.size() == 0) return;
        difference = std::max(difference, static_cast<double>(max(abs(p - q)).item()));
        size = std::max(size, static_cast<double>(max(abs(q)).item()));
      },
      a, b);
  return difference / size;
}

enum class Way { sequence, steps };

// Everything that a run gives goes into the loss: outputs, and each part of the last state.
template <class Cell, class T>
auto run(Way way, const Cell& cell, const Var<T>& xs, const auto& s0) {
  if (way == Way::sequence) {
    const auto whole = cell.sequence(cell.project(xs), s0);
    REQUIRE(whole.has_value());
    return std::pair(whole->first, whole->second);
  }
  const auto r = unroll_steps(cell, xs, s0);
  return std::pair(stack(r.outputs), r.state);
}
template <class T>
Var<T> weighted(const Var<T>& x, std::uint64_t seed) {
  return sum(x * normal<T>(Key(seed), x.shape()));
}
template <class Cell, class T>
auto loss_by(Way way) {
  return [way](const Cell& cell, const Var<T>& xs, const auto& s0) {
    const auto [outputs, last] = run(way, cell, xs, s0);
    Var<T> total = weighted(tanh(outputs), 11);
    std::uint64_t seed = 20;
    tree_for_each([&](const auto& part) { total = total + weighted(square(part), ++seed); }, last);
    return total;
  };
}
template <class Cell, class T>
auto random_state(const Cell& cell, Size B) {
  return tree_map([](const auto& p) { return normal<T>(Key(4), p.shape()); },
                  cell.initial_state(B));
}

template <class T, class Cell>
void check_cell(double tolerance) {
  for (const auto& size : {std::array<Size, 4>{1, 1, 1, 1},
                           {7, 1, 3, 16},
                           {5, 3, 2, 5},
                           {4, 17, 9, 33},
                           {50, 2, 4, 8}}) {
    const Size steps = size[0], B = size[1], in = size[2], H = size[3];
    INFO(to_string(Shape{steps, B, in, H}));
    const Cell cell = Cell::make(Key(1), in, H);
    const auto xs = normal<T>(Key(2), {steps, B, in});
    const auto s0 = random_state<Cell, T>(cell, B);
    const auto a = value_and_grad(loss_by<Cell, T>(Way::sequence), cell, xs, s0);
    const auto b = value_and_grad(loss_by<Cell, T>(Way::steps), cell, xs, s0);
    CHECK(distance(a.value, b.value) < tolerance);
    CHECK(distance(a.gradient, b.gradient) < tolerance);
  }
}

template <class Cell>
void check_higher_orders() {
  const Cell cell = Cell::make(Key(1), 3, 5);
  const auto xs = normal<double>(Key(2), {6, 2, 3});
  const auto s0 = random_state<Cell, double>(cell, 2);
  const auto point = std::tuple{cell, xs, s0};
  const auto direction =
      tree_map([](const auto& p) { return normal<double>(Key(9), p.shape()); }, point);
  const auto by = [](Way way) {
    return [way](const auto&... t) {
      if constexpr (sizeof...(t) == 1) {
        return std::apply(loss_by<Cell, double>(way), t...);
      } else {
        return loss_by<Cell, double>(way)(t...);
      }
    };
  };
  const auto whole = jvp(by(Way::sequence), point, direction);
  const auto steps = jvp(by(Way::steps), point, direction);
  CHECK(distance(whole.tangent, steps.tangent) < 1e-12);
  CHECK(distance(hvp(by(Way::sequence), point, direction), hvp(by(Way::steps), point, direction)) <
        1e-12);
  // A tape that is read more than once keeps what it read.
  Tape<double> tape;
  const Var<double> x = tape.leaf(xs);
  const Var<double> y = loss_by<Cell, double>(Way::sequence)(cell, x, s0);
  const Var<double> first = tape.pullback(y)(x), again = tape.pullback(y)(x);
  CHECK(distance(first, again) == 0);
}

}  // namespace

TEST_CASE("A sequence is its steps: values and gradients, any sizes, float and double") {
  check_cell<double, Elman<double>>(1e-13);
  check_cell<double, ReluElman<double>>(1e-13);
  check_cell<double, Lstm<double>>(1e-13);
  check_cell<double, Gru<double>>(1e-13);
  check_cell<float, Elman<float>>(2e-5);
  check_cell<float, Lstm<float>>(2e-5);
  check_cell<float, Gru<float>>(2e-5);
}

TEST_CASE("Tangents, second derivatives and repeated readings of a sequence") {
  check_higher_orders<Elman<double>>();
  check_higher_orders<Lstm<double>>();
  check_higher_orders<Gru<double>>();
}

TEST_CASE(
    "Only what is wanted of a sequence: constants get nothing, unused results count as zero") {
  const auto cell = Lstm<double>::make(Key(1), 3, 4);
  const auto xs = normal<double>(Key(2), {5, 2, 3});
  const auto s0 = random_state<Lstm<double>, double>(cell, 2);
  const auto c_only = [&](Way way) {
    return [&, way](const Var<double>& c0) {
      return sum(square(run(way, cell, xs, LstmState<double>{s0.h, c0}).second.c));
    };
  };
  CHECK(distance(grad(c_only(Way::sequence))(s0.c), grad(c_only(Way::steps))(s0.c)) < 1e-13);
  const auto h_only = [&](Way way) {
    return [&, way](const Lstm<double>& m) { return sum(run(way, m, xs, s0).second.h); };
  };
  CHECK(distance(grad(h_only(Way::sequence))(cell), grad(h_only(Way::steps))(cell)) < 1e-13);
}

TEST_CASE("Shapes that a sequence does not stand for run as steps") {
  const auto cell = Gru<double>::make(Key(1), 3, 4);
  const auto xs = normal<double>(Key(2), {5, 2, 3});
  // A row for all sequences is no state of the batch: it is broadcast before.
  const Var<double> one_state = normal<double>(Key(3), {1, 4}),
                    both = broadcast_to(one_state, {2, 4});
  CHECK_FALSE(cell.sequence(cell.project(xs), one_state).has_value());
  CHECK_THROWS_AS((void)unroll::unroll(cell, xs, one_state), std::invalid_argument);
  const auto run = unroll::unroll(cell, xs, both);
  CHECK(run.outputs.shape() == Shape{5, 2, 4});
  CHECK(distance(run.outputs, stack(unroll_steps(cell, xs, both).outputs)) < 1e-14);
  const Var<double> flat = normal<double>(Key(2), {5, 3});  // no batch
  CHECK(unroll::unroll(cell, flat, zeros<double>({4})).outputs.shape() == Shape{5, 4});
}
