// Programs made at random from the ops, on a few small arrays: their derivatives to second order, the same whether the tape
// is consumed, read again, read forwards or recorded while it is read, and with some of the program inside inner
// transforms. What the sweep of single ops cannot see - cotangents that are shared, passed on, accumulated into and settled
// late - shows here.
#include <doctest/doctest.h>

#include <cmath>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"

using namespace unroll;
using V = Var<double>;

namespace {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  std::size_t operator()(std::size_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::size_t>((state_ >> 20) % n);
  }

 private:
  std::uint64_t state_;
};

// Everything is [3, 4], [4], [3] or a scalar, so that any operand can be brought to any shape.
const Shape full_shape{3, 4};
V column(const V& x) {
  return x.rank() == 1 && x.size() == 3 ? expand(x, 1) : x;
}  // broadcasts to the full shape
V to_matrix(const V& x) { return broadcast_to(column(x), full_shape); }
V to_row(const V& x) {
  if (x.rank() == 2) return sum(x, 0) * 0.3;
  return x.rank() == 1 && x.size() == 4 ? x
                                        : broadcast_to(x.rank() == 0 ? x : sum(x) * 0.3, Shape{4});
}

// One step: a new array from those that are there. Values stay of the order of 1.
V step(Dice& dice, const std::vector<V>& pool) {
  const auto any = [&]() -> const V& { return pool[dice(pool.size())]; };
  const V &a = any(), &b = any();
  switch (dice(26)) {
    case 0:
      return to_matrix(a) + to_matrix(b);
    case 1:
      return to_matrix(a) - column(b) * to_row(a);
    case 2:
      return tanh(column(a)) * to_matrix(b) * 0.7;
    case 3:
      return sin(to_matrix(a)) / (2 + cos(to_row(b)));
    case 4:
      return a + a;
    case 5:
      return tanh(matmul(matmul(to_matrix(a), transpose(to_matrix(b))), to_matrix(a)));
    case 6:
      return concat({slice(to_matrix(a), 0, {1, 3}), slice(to_matrix(b), 0, {0, 1})}, 0);
    case 7:
      return flip(to_matrix(a), -1);
    case 8:
      return index(to_matrix(a), 0, static_cast<Size>(dice(3)));
    case 9:
      return sum(to_matrix(a), 1) * 0.4;
    case 10:
      return mean(to_matrix(a) * to_matrix(b));
    case 11:
      return softmax(to_matrix(a), static_cast<Size>(dice(2)));
    case 12:
      return to_row(a) * to_row(b) + to_row(b);
    case 13: {
      const auto parts = split<2>(to_matrix(a), 1);
      return concat({parts[1], parts[0] * parts[1]}, 1);
    }
    case 14: {
      const auto [y, z] = fuse(
          [](auto p, auto q) {
            return std::tuple{tanh(p) * q, p + sigmoid(q)};
          },
          to_matrix(a), to_row(b));
      return dice(2) ? y * z * 0.5 : y;
    }
    case 15:
      return fuse([](auto p, auto q) { return p * sigmoid(q) - q * 0.5; }, column(a), to_matrix(b));
    case 16:
      return stack({to_row(a), to_row(b), to_row(a) * 0.5}, 0);
    case 17:
      return take(to_matrix(a), Indices({3}, {2, 0, 2}));
    case 18:
      return tanh(
          linear(to_matrix(a),
                 transpose(slice(stack({to_row(a), to_row(b), to_row(a), to_row(b)}, 0), 1, {}))));
    case 19:
      return reshape(transpose(to_matrix(a)), full_shape);
    case 20:
      return logsumexp(to_matrix(a), 1) * 0.3 - 0.5;
    case 21:
      return tanh(matmul(to_matrix(a), to_row(b)));
    case 22:
      return tanh(matmul(to_row(a), transpose(to_matrix(b)))) +
             tanh(matmul(to_matrix(b), to_row(a)));
    case 23: {  // the gradient of an inner function that uses both
      return grad([&](const V& x) { return sum(tanh(x) * to_matrix(a) * 0.5 + x * x * 0.2); })(
          to_matrix(b));
    }
    case 24: {
      return jvp([&](const V& x) { return sin(x * 0.5) * column(a); }, to_matrix(b),
                 tanh(to_matrix(a)))
          .tangent;
    }
    default: {
      const auto rows = unbind(to_matrix(a));
      return tanh(rows[0] * rows[2] + rows[1] + to_row(b));
    }
  }
}

// The program of this seed: an odd array is fed through, all that is not used adds to the result.
V run(std::uint64_t seed, const std::vector<V>& inputs) {
  Dice dice(seed);
  std::vector<V> pool = inputs;
  const std::size_t steps = 4 + dice(10);
  for (std::size_t i = 0; i < steps; ++i) pool.push_back(step(dice, pool));
  V total = sum(pool.back());
  for (std::size_t i = pool.size() - 1; i-- > pool.size() - 4;) total += sum(pool[i]) * 0.5;
  return total;
}

std::vector<V> make_inputs(std::uint64_t seed) {
  const auto make = [&](const Shape& shape, std::uint64_t stream) {
    std::vector<double> values;
    for (double d : detail::check_direction(seed, stream, shape.size())) values.push_back(0.8 * d);
    return V(shape, std::span<const double>(values));
  };
  return {make(full_shape, 1), make({4}, 2), make({3}, 3), make({}, 4)};
}

void expect_near(const std::string& what, const V& a, const V& b, double tolerance) {
  REQUIRE(a.shape() == b.shape());
  const auto p = a.to_vector(), q = b.to_vector();
  for (std::size_t i = 0; i < p.size(); ++i) {
    INFO(what << ", element " << i << ": " << p[i] << " and " << q[i]);
    CHECK(std::abs(p[i] - q[i]) <= tolerance * std::max(1.0, std::abs(q[i])));
  }
}

}  // namespace

TEST_CASE("Random programs have the right derivatives to second order") {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    const CheckReport r =
        gradient_report([&](const std::vector<V>& x) { return run(seed, x); }, make_inputs(seed),
                        {.tolerance = 1e-7, .second_tolerance = 1e-5, .elements_of_each_input = 4});
    INFO("program " << seed << ": " << r.message);
    CHECK(r.ok);
  }
}

TEST_CASE("Random programs have one gradient, however the tape is read") {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    const std::vector<V> x = make_inputs(seed);
    const auto f = [&](const std::vector<V>& v) { return run(seed, v); };
    const auto [value, gradient] = value_and_grad(f, x);  // consumes the tape
    Tape<double> tape;
    std::vector<V> leaves;
    for (const V& v : x) leaves.push_back(tape.leaf(v));
    const V y = f(leaves);
    INFO("program " << seed);
    CHECK(y.item() == value.item());
    const auto first = tape.pullback(y), again = tape.pullback(y),
               recorded = tape.recorded_pullback(y), after = tape.pullback(y);
    double along = 0;
    std::vector<std::pair<V, V>> tangents;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::string what = "program " + std::to_string(seed) + ", input " + std::to_string(i);
      expect_near(what + ", read again", again(leaves[i]), first(leaves[i]), 0);
      expect_near(what + ", read after a recorded reading", after(leaves[i]), first(leaves[i]), 0);
      expect_near(what + ", consumed", gradient[i], first(leaves[i]), 1e-13);
      expect_near(what + ", recorded", recorded(leaves[i]), first(leaves[i]), 1e-13);
      tangents.emplace_back(leaves[i], cos(x[i]));
      along += sum(cos(x[i]) * gradient[i]).item();
    }
    CHECK(std::abs(tape.pushforward(tangents, y).item() - along) <=
          1e-12 * std::max(1.0, std::abs(along)));
  }
}

TEST_CASE("Random programs leave no memory behind") {
  const auto all = [] {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      const auto x = make_inputs(seed);
      const auto f = [&](const std::vector<V>& v) { return run(seed, v); };
      (void)grad(f)(x);
      (void)hvp(f, x, x);
    }
  };
  all();
  const Size before = memory_report().live_bytes;
  all();
  CHECK(memory_report().live_bytes == before);
}
