// A fused lambda against the same expression of plain ops, whatever its operands look like and whether the backward pass reads
// what the forward pass kept or computes it again.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/autograd/xtensor.hpp"

using namespace unroll;

namespace {

template <class T>
Var<T> numbers(const Shape& shape, std::uint64_t seed) {
  return normal<T>(Key(seed), shape);
}

// Costly ops as operands of one another and side by side, so that their order matters.
constexpr auto gates = [](auto i, auto f, auto g, auto o, auto before) {
  auto cell = sigmoid(f) * before + sigmoid(i) * tanh(g);
  return std::tuple{sigmoid(o) * tanh(cell), cell};
};
constexpr auto every_op = [](auto a, auto b) {
  auto positive = exp(a * 0.5) + 0.25;
  return softplus(a) * log(positive) - sin(b) * cos(a) + erf(a - b) * expm1(b * 0.25) +
         log1p(positive) * gelu(b) + pow(positive, b) / (1 + sigmoid(a)) + elu(a, 0.5) * tanh(b);
};

template <class T>
void same(const Var<T>& a, const Var<T>& b, double epsilon) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(x[i] == doctest::Approx(y[i]).epsilon(epsilon).scale(1));
  }
}

template <class T>
constexpr double precision = sizeof(T) == 4 ? 2e-6 : 1e-14;

template <class T>
Var<T> loss_of(const std::tuple<Var<T>, Var<T>>& results, const Var<T>& weight) {
  const auto& [h, c] = results;
  return sum(h * weight) + sum(square(c) * weight);
}

template <class T>
void compare_gates(const Shape& shape, const std::function<Var<T>(const Var<T>&)>& lay_out) {
  std::vector<Var<T>> x;
  for (std::uint64_t k = 0; k < 5; ++k) x.push_back(numbers<T>(shape, k + 1));
  const Var<T> weight = numbers<T>(shape, 9);
  const auto run = [&](bool fused) {
    return grad([&, fused](const std::vector<Var<T>>& v) {
      std::vector<Var<T>> a;
      for (const Var<T>& p : v) a.push_back(lay_out(p * 1));
      const auto results =
          fused ? fuse(gates, a[0], a[1], a[2], a[3], a[4]) : gates(a[0], a[1], a[2], a[3], a[4]);
      return loss_of(results, lay_out(weight));
    })(x);
  };
  const auto by_fuse = run(true), by_ops = run(false);
  for (std::size_t k = 0; k < x.size(); ++k) {
    CAPTURE(k);
    same(by_fuse[k], by_ops[k], precision<T>);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("A fused cell has the gradients of its plain ops at every size", T, float,
                   double) {
  // Whole lanes, parts of them, more than is kept (a mebibyte), rows and matrices.
  const Shape shapes[] = {{1, 16}, {1, 1}, {1, 7},    {1, 50},   {3, 21},
                          {64},    {33},   {2, 3, 5}, {160, 400}};
  for (const Shape& shape : shapes) {
    CAPTURE(to_string(shape));
    compare_gates<T>(shape, [](const Var<T>& x) { return x; });
  }
}

TEST_CASE_TEMPLATE("Operands of a fused cell may lie in any order", T, float, double) {
  const Shape shapes[] = {{4, 16}, {3, 7}};
  for (const Shape& shape : shapes) {
    CAPTURE(to_string(shape));
    compare_gates<T>(shape, [](const Var<T>& x) { return transpose(x); });
  }
}

TEST_CASE("A cotangent that lies in another order than what was kept") {
  const Shape shape{24, 16};  // too large to be written out in order first
  const Var<double> a = numbers<double>(shape, 1), b = numbers<double>(shape, 2),
                    weight = numbers<double>({16, 24}, 3);
  const auto run = [&](bool fused) {
    return grad([&, fused](const Var<double>& v) {
      const Var<double> y = fused ? fuse(every_op, v * 1, sin(v) * b) : every_op(v * 1, sin(v) * b);
      return sum(transpose(y) * weight);
    })(a);
  };
  same(run(true), run(false), 1e-13);
}

TEST_CASE_TEMPLATE("Every costly op is kept and read in one order", T, float, double) {
  for (const Size n : {1, 5, 16, 40}) {
    CAPTURE(n);
    const Var<T> a = numbers<T>({2, n}, 4), b = numbers<T>({2, n}, 5);
    const auto run = [&](bool fused) {
      return value_and_grad(
          [&, fused](const std::vector<Var<T>>& v) {
            const Var<T> x = v[0] * 1, y = v[1] * 1;
            return sum(fused ? fuse(every_op, x, y) : every_op(x, y));
          },
          std::vector<Var<T>>{a, b});
    };
    const auto [value, slopes] = run(true);
    const auto [expected, expected_slopes] = run(false);
    same(value, expected, 4 * precision<T>);
    for (std::size_t k = 0; k < 2; ++k) same(slopes[k], expected_slopes[k], 4 * precision<T>);
  }
}

TEST_CASE("Numbers, constants and rows among a fused cell's operands") {
  using V = Var<double>;
  const V x = numbers<double>({3, 11}, 1), row = numbers<double>({11}, 2), number(0.3),
          constant = numbers<double>({3, 11}, 3);
  const auto f = [&](bool fused) {
    return [&, fused](const std::vector<V>& v) {
      const V wide = v[0] * 1, narrow = v[1] * 1, one = v[2] * 1;
      const auto with = [&](const V& i, const V& g, const V& before) {
        return fused ? fuse(gates, i, wide, g, one, before) : gates(i, wide, g, one, before);
      };
      V total(0);
      for (const auto& [h, c] : {with(narrow, constant, number), with(constant, one, wide),
                                 with(one, narrow, constant), with(number, wide, narrow)}) {
        total = total + sum(h * c) + sum(c);
      }
      return total;
    };
  };
  const std::vector<V> at{x, row, number};
  const auto by_fuse = grad(f(true))(at), by_ops = grad(f(false))(at);
  for (std::size_t k = 0; k < at.size(); ++k) {
    CAPTURE(k);
    same(by_fuse[k], by_ops[k], 1e-13);
  }
  CHECK_NOTHROW(check_grads(f(true), at));
}

TEST_CASE_TEMPLATE("Rows share the vectors among a fused cell's operands", T, float, double) {
  using V = Var<T>;
  for (const Size rows : {2, 3, 70}) {
    for (const Size width : {16, 7}) {
      CAPTURE(rows);
      CAPTURE(width);
      const V constant = numbers<T>({width}, 3), late = numbers<T>({rows, width}, 4);
      const auto f = [&](bool fused) {
        return [&, fused](const std::vector<V>& v) {
          const V x = v[0] * 1, bias = v[1] * 1;
          const auto one = [&](const V& a, const V& b) {
            return fused ? fuse(every_op, a, b) : every_op(a, b);
          };
          const auto two = [&](const V& i, const V& g, const V& before) {
            return fused ? fuse(gates, i, bias, g, bias, before) : gates(i, bias, g, bias, before);
          };
          const auto [h, c] = two(x, x, constant);
          const auto [unused, cell] = two(bias, constant, x);
          return mean(one(x, bias) * late) + mean(one(v[1], v[0])) + mean(h * c * late) +
                 mean(square(cell));
        };
      };
      const std::vector<V> at{numbers<T>({rows, width}, 1), numbers<T>({width}, 2)};
      const auto [value, slopes] = value_and_grad(f(true), at);
      const auto [expected, expected_slopes] = value_and_grad(f(false), at);
      same(value, expected, 4 * precision<T>);
      for (std::size_t k = 0; k < at.size(); ++k) {
        CAPTURE(k);
        same(slopes[k], expected_slopes[k], 4 * precision<T>);
      }
      if constexpr (sizeof(T) == 8) {
        if (rows == 2) {
          CHECK_NOTHROW(check_grads(f(true), at));
        }
      }
    }
  }
}

TEST_CASE("How many costly ops a lambda calls may depend on what it captures") {
  using V = Var<double>;
  const V x = numbers<double>({1, 12}, 1);
  const auto chain = [](const auto& a, int times) {
    auto y = a;
    for (int i = 0; i < times; ++i) y = sin(y) + 0.5 * a;
    return y;
  };
  for (const int times : {0, 1, 3}) {
    CAPTURE(times);
    const auto fused = [&](const V& v) {
      return sum(fuse([chain, times](auto a) { return chain(a, times); }, v * 1));
    };
    same(grad(fused)(x), grad([&](const V& v) { return sum(chain(v * 1, times)); })(x), 1e-14);
  }
}

TEST_CASE("A tape with fused cells is read again, and recorded readings too") {
  using V = Var<double>;
  const V x = numbers<double>({2, 8}, 1);
  Tape<double> tape;
  const V leaf = tape.leaf(x);
  V h = leaf * 1, c = leaf * 0.5;
  for (int t = 0; t < 4; ++t) {
    const auto [next, cell] = fuse(gates, h, c, h - c, c * h, c);
    h = next;
    c = cell;
  }
  const V y = sum(h * c);
  const auto first = tape.pullback(y), second = tape.pullback(y);
  CHECK(first(leaf).to_vector() == second(leaf).to_vector());

  const auto f = [](const V& v) {
    const auto [p, q] = fuse(gates, v * 1, v * 2, v * 0.5, sin(v), v);
    return sum(p * q);
  };
  const V direction = numbers<double>({2, 8}, 2);
  CHECK_NOTHROW(check_grads(f, x));
  CHECK_NOTHROW(check_grads([&](const V& v) { return sum(grad(f)(v) * direction); }, x));
}

TEST_CASE("More fused cells than a tape keeps values of") {
  using V = Var<double>;
  const V x = numbers<double>({1, 200}, 1), w = numbers<double>({1, 200}, 2);
  const auto f = [&](bool fused) {
    return [&, fused](const V& v) {
      V h = v * 1, c = v * 0.5;
      for (int t = 0; t < 150; ++t) {  // 5 · 208 · 8 bytes each
        const auto results = fused ? fuse(gates, h, w, c, h, c) : gates(h, w, c, h, c);
        h = std::get<0>(results);
        c = std::get<1>(results);
      }
      return sum(h * w);
    };
  };
  same(grad(f(true))(x), grad(f(false))(x), 1e-12);
}

TEST_CASE("A choice between numbers, by a number, is a constant to its derivatives") {
  using V = Var<double>;
  const V c({4}, {0, 1, 0, 2}), x({4}, {-0.5, 0.25, 1.5, -2});
  const auto chosen = [](const auto& condition, const auto& a) {
    return exp(where(condition, where(a > 0, 1, 0), 0.5)) * a;
  };
  const V g = grad([&](const V& v) {
    return sum(fuse([chosen](auto condition, auto a) { return chosen(condition, a); }, c, v * 1));
  })(x);
  const double e = std::exp(1), half = std::exp(0.5);
  same(g, V({4}, {half, e, half, 1}), 1e-14);
}

TEST_CASE_TEMPLATE("A fused lambda may return its results as a pair, a tuple or an array", T, float,
                   double) {
  const auto x = numbers<T>({3, 2}, 31), y = numbers<T>({3, 2}, 32);
  const auto check = [&](const auto& results) {
    const auto [product, doubled] = results;
    CHECK(product.to_vector() == (x * y).to_vector());
    CHECK(doubled.to_vector() == (2 * x).to_vector());
  };
  check(fuse([](auto a, auto b) { return std::tuple{a * b, 2 * a}; }, x, y));
  check(fuse([](auto a, auto b) { return std::pair{a * b, 2 * a}; }, x, y));
  check(fuse([](auto a, auto b) { return std::array{a * b, 2 * a + 0 * b}; }, x, y));
  // Σ xy · 2x has the derivatives 4xy and 2x².
  const auto [of_x, of_y] = grad([](const Var<T>& p, const Var<T>& q) {
    const auto [product, doubled] = fuse(
        [](auto a, auto b) {
          return std::array{a * b, 2 * a + 0 * b};
        },
        p, q);
    return sum(product * doubled);
  })(x, y);
  const auto close = [](const Var<T>& a, const Var<T>& b) {
    return max(abs(a - b)).item() < (std::is_same_v<T, float> ? 1e-5 : 1e-13);
  };
  CHECK(close(of_x, 4 * x * y));
  CHECK(close(of_y, 2 * x * x));
}

TEST_CASE("A fused lambda captures numbers by value, and nothing that could be gone") {
  struct Scale {
    double factor;
    int times;
    auto by_value() const {
      return [*this](auto x) { return x * factor; };
    }
    auto by_pointer() const {
      return [this](auto x) { return x * factor; };
    }
  };
  const auto accepted = []<class F>(const F&) { return detail::OwnsCaptures<F>; };
  double k = 2;
  const float single = 3;
  const std::array<Scale, 2> scales{};
  const auto by_value = [k](auto x) { return x * k; };
  const auto by_reference = [&k](auto x) { return x * k; };
  CHECK(accepted([](auto x) { return x; }));
  CHECK(accepted(by_value));
  CHECK(accepted([k, single, scales](auto x) { return x * k * single * scales[1].factor; }));
  CHECK(accepted([by_value](auto x) { return by_value(x); }));
  CHECK(accepted([&](auto x) { return x; }));
  CHECK(accepted(Scale{}.by_value()));
  CHECK_FALSE(accepted(by_reference));
  CHECK_FALSE(accepted([&](auto x) { return x * k; }));
  CHECK_FALSE(accepted([by_reference](auto x) { return by_reference(x); }));
  CHECK_FALSE(accepted([p = &k](auto x) { return x * *p; }));
  CHECK_FALSE(accepted(Scale{}.by_pointer()));
  CHECK_FALSE(accepted([v = Var<double>(2)](auto x) { return x * v; }));
}
