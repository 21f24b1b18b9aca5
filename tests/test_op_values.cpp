// The values of ops against plain loops (plain_array.hpp), over every layout of the inputs, in float and double.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "op_samples.hpp"
#include "plain_array.hpp"

using namespace unroll;
using namespace unroll::testing;

namespace {

// Values spread over [low, high], without order.
template <class T>
Var<T> spread(const Shape& shape, double low = -2, double high = 2, double offset = 0.4) {
  std::vector<T> values;
  const Size n = shape.size();
  for (Size k = 0; k < n; ++k) {
    const double at = (static_cast<double>((k * 37 + 5) % n) + offset) / static_cast<double>(n);
    values.push_back(static_cast<T>(low + (high - low) * at));
  }
  return Var<T>(shape, std::span<const T>(values));
}

template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 2e-6 : 4e-15;

template <class T, class Op, class F>
void check_unary(const std::string& name, Op op, F f, double low = -3, double high = 3,
                 double within = tolerance<T>) {
  Tape<T> tape;
  for (const Shape& shape :
       {Shape{}, Shape{1}, Shape{37}, Shape{5, 7}, Shape{3, 0}, Shape{2, 3, 5}}) {
    const Var<T> x = spread<T>(shape, low, high);
    const PlainArray p = PlainArray::of(x);
    const PlainArray expected = PlainArray::make(shape, [&](const Index& i) { return f(p.at(i)); });
    for (const auto& layout : layouts(x, tape)) expect_equal(name, op(layout), expected, within);
  }
}

template <class T, class Op, class F>
void check_binary(const std::string& name, Op op, F f, double low = -3, double high = 3) {
  const std::vector<std::array<Shape, 3>> cases{{Shape{}, Shape{}, Shape{}},
                                                {Shape{9}, Shape{9}, Shape{9}},
                                                {Shape{5, 1}, Shape{1, 4}, Shape{5, 4}},
                                                {Shape{3, 4}, Shape{4}, Shape{3, 4}},
                                                {Shape{}, Shape{2, 3}, Shape{2, 3}},
                                                {Shape{2, 1, 3}, Shape{4, 1}, Shape{2, 4, 3}},
                                                {Shape{0, 3}, Shape{1}, Shape{0, 3}},
                                                {Shape{1, 4}, Shape{0, 1}, Shape{0, 4}},
                                                {Shape{3, 5}, Shape{3, 5}, Shape{3, 5}}};
  Tape<T> tape;
  for (const auto& [left, right, out] : cases) {
    const Var<T> a = spread<T>(left, low, high), b = spread<T>(right, low, high, 0.7);
    const PlainArray p = PlainArray::of(a), q = PlainArray::of(b);
    const PlainArray expected = PlainArray::make(
        out, [&](const Index& i) { return f(p.broadcast_at(i), q.broadcast_at(i)); });
    for (const auto& x : layouts(a, tape)) {
      for (const auto& y : layouts(b, tape)) expect_equal(name, op(x, y), expected, tolerance<T>);
    }
  }
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE_TEMPLATE("Elementwise functions agree with those of <cmath>", T, double, float) {
  using V = Var<T>;
  check_unary<T>(
      "neg", [](const V& x) { return -x; }, [](double x) { return -x; });
  check_unary<T>(
      "square", [](const V& x) { return square(x); }, [](double x) { return x * x; });
  check_unary<T>(
      "sqrt", [](const V& x) { return sqrt(x); }, [](double x) { return std::sqrt(x); }, 0.1, 9);
  check_unary<T>(
      "abs", [](const V& x) { return abs(x); }, [](double x) { return std::abs(x); });
  check_unary<T>(
      "exp", [](const V& x) { return exp(x); }, [](double x) { return std::exp(x); });
  check_unary<T>(
      "expm1", [](const V& x) { return expm1(x); }, [](double x) { return std::expm1(x); });
  check_unary<T>(
      "log", [](const V& x) { return log(x); }, [](double x) { return std::log(x); }, 0.1, 9);
  check_unary<T>(
      "log1p", [](const V& x) { return log1p(x); }, [](double x) { return std::log1p(x); }, -0.9,
      9);
  check_unary<T>(
      "sin", [](const V& x) { return sin(x); }, [](double x) { return std::sin(x); }, -9, 9);
  check_unary<T>(
      "cos", [](const V& x) { return cos(x); }, [](double x) { return std::cos(x); }, -9, 9);
  check_unary<T>(
      "erf", [](const V& x) { return erf(x); }, [](double x) { return std::erf(x); }, -3, 3,
      4 * tolerance<T>);
  check_unary<T>(
      "tanh", [](const V& x) { return tanh(x); }, [](double x) { return std::tanh(x); }, -12, 12);
  check_unary<T>(
      "sigmoid", [](const V& x) { return sigmoid(x); }, logistic, -30, 30);
  check_unary<T>(
      "relu", [](const V& x) { return relu(x); }, [](double x) { return std::max(x, 0.0); });
  check_unary<T>(
      "gelu", [](const V& x) { return gelu(x); },
      [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); });
  check_unary<T>(
      "softplus", [](const V& x) { return softplus(x); },
      [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }, -60, 60);
  check_unary<T>(
      "clamp", [](const V& x) { return clamp(x, -1, 1.5); },
      [](double x) { return std::clamp(x, -1.0, 1.5); });
  check_unary<T>(
      "leaky_relu", [](const V& x) { return leaky_relu(x, 0.25); },
      [](double x) { return x > 0 ? x : 0.25 * x; });
  check_unary<T>(
      "elu", [](const V& x) { return elu(x); }, [](double x) { return x > 0 ? x : std::expm1(x); });
}

TEST_CASE_TEMPLATE("Operators broadcast as numpy's do", T, double, float) {
  using V = Var<T>;
  check_binary<T>(
      "add", [](const V& a, const V& b) { return a + b; },
      [](double a, double b) { return a + b; });
  check_binary<T>(
      "sub", [](const V& a, const V& b) { return a - b; },
      [](double a, double b) { return a - b; });
  check_binary<T>(
      "mul", [](const V& a, const V& b) { return a * b; },
      [](double a, double b) { return a * b; });
  check_binary<T>(
      "div", [](const V& a, const V& b) { return a / b; }, [](double a, double b) { return a / b; },
      0.5, 3);
  check_binary<T>(
      "pow", [](const V& a, const V& b) { return pow(a, b); },
      [](double a, double b) { return std::pow(a, b); }, 0.5, 3);
  check_binary<T>(
      "minimum", [](const V& a, const V& b) { return minimum(a, b); },
      [](double a, double b) { return std::min(a, b); });
  check_binary<T>(
      "maximum", [](const V& a, const V& b) { return maximum(a, b); },
      [](double a, double b) { return std::max(a, b); });
  check_binary<T>(
      "less", [](const V& a, const V& b) { return a < b; },
      [](double a, double b) { return double(a < b); });
  check_binary<T>(
      "less_equal", [](const V& a, const V& b) { return a <= b; },
      [](double a, double b) { return double(a <= b); });
  check_binary<T>(
      "greater", [](const V& a, const V& b) { return a > b; },
      [](double a, double b) { return double(a > b); });
  check_binary<T>(
      "greater_equal", [](const V& a, const V& b) { return a >= b; },
      [](double a, double b) { return double(a >= b); });
  check_binary<T>(
      "equal", [](const V& a, const V& b) { return a == b; },
      [](double a, double b) { return double(a == b); });
  check_binary<T>(
      "not_equal", [](const V& a, const V& b) { return a != b; },
      [](double a, double b) { return double(a != b); });
  check_binary<T>(
      "where", [](const V& a, const V& b) { return where(a, b, 7); },
      [](double a, double b) { return a != 0 ? b : 7; });
  check_binary<T>(
      "fuse",
      [](const V& a, const V& b) {
        return fuse([](auto x, auto y) { return tanh(x) + x * y; }, a, b);
      },
      [](double a, double b) { return std::tanh(a) + a * b; });
}

TEST_CASE_TEMPLATE("matmul follows numpy in every combination of ranks", T, double, float) {
  const std::vector<std::pair<Shape, Shape>> cases{{Shape{4}, Shape{4}},
                                                   {Shape{3, 4}, Shape{4}},
                                                   {Shape{4}, Shape{4, 5}},
                                                   {Shape{3, 4}, Shape{4, 5}},
                                                   {Shape{2, 3, 4}, Shape{4, 5}},
                                                   {Shape{2, 3, 4}, Shape{4}},
                                                   {Shape{4}, Shape{2, 4, 3}},
                                                   {Shape{3, 4}, Shape{2, 4, 5}},
                                                   {Shape{2, 3, 4}, Shape{2, 4, 5}},
                                                   {Shape{2, 1, 3, 4}, Shape{5, 4, 2}},
                                                   {Shape{17, 33}, Shape{33, 9}},
                                                   {Shape{3, 0}, Shape{0, 2}},
                                                   {Shape{0, 3}, Shape{3, 2}},
                                                   {Shape{2, 0, 4}, Shape{4, 3}},
                                                   {Shape{1, 1}, Shape{1, 1}}};
  Tape<T> tape;
  for (const auto& shapes : cases) {
    const Shape left = shapes.first, right = shapes.second;
    const Var<T> a = spread<T>(left), b = spread<T>(right, -1, 1, 0.7);
    const PlainArray p = PlainArray::of(a), q = PlainArray::of(b);
    // As numpy defines it: a vector becomes a matrix, whose extra axis is removed in the end.
    Shape batch;
    const std::size_t pr = left.rank(), qr = right.rank();
    const Shape pb = pr > 2 ? Shape(left.begin(), left.end() - 2) : Shape{};
    const Shape qb = qr > 2 ? Shape(right.begin(), right.end() - 2) : Shape{};
    batch = broadcast_shapes("test", pb, qb);
    Shape out = batch;
    if (pr > 1) out.push_back(left[pr - 2]);
    if (qr > 1) out.push_back(right[qr - 1]);
    const PlainArray expected = PlainArray::make(out, [&](const Index& i) {
      double sum = 0;
      std::size_t at = batch.rank();
      const Size row = pr > 1 ? i[at++] : 0;
      const Size column = qr > 1 ? i[at] : 0;
      const auto lead = [&](const Shape& own) {
        Index k;
        for (std::size_t d = 0; d < own.rank(); ++d)
          k.push_back(own[d] == 1 ? 0 : i[batch.rank() - own.rank() + d]);
        return k;
      };
      for (Size k = 0; k < left[pr - 1]; ++k) {
        Index pi = lead(pb), qi = lead(qb);
        if (pr > 1) pi.push_back(row);
        pi.push_back(k);
        qi.push_back(k);
        if (qr > 1) qi.push_back(column);
        sum += p.at(pi) * q.at(qi);
      }
      return sum;
    });
    for (const auto& x : layouts(a, tape)) {
      for (const auto& y : layouts(b, tape)) {
        expect_equal("matmul " + to_string(left) + to_string(right), matmul(x, y), expected,
                     20 * tolerance<T>);
      }
    }
  }
}

TEST_CASE_TEMPLATE("linear, outer and dot are the products they say", T, double, float) {
  Tape<T> tape;
  const Var<T> x = spread<T>(Shape{2, 3, 4}), W = spread<T>(Shape{5, 4}, -1, 1),
               b = spread<T>(Shape{5});
  const PlainArray px = PlainArray::of(x), pW = PlainArray::of(W), pb = PlainArray::of(b);
  const PlainArray y = PlainArray::make(Shape{2, 3, 5}, [&](const Index& i) {
    double sum = pb.at({i[2]});
    for (Size k = 0; k < 4; ++k) sum += px.at({i[0], i[1], k}) * pW.at({i[2], k});
    return sum;
  });
  for (const auto& xl : layouts(x, tape)) {
    for (const auto& Wl : layouts(W, tape))
      expect_equal("linear", linear(xl, Wl, b), y, 20 * tolerance<T>);
  }
  const Var<T> u = spread<T>(Shape{3}), v = spread<T>(Shape{4});
  const PlainArray pu = PlainArray::of(u), pv = PlainArray::of(v);
  expect_equal(
      "outer", outer(u, v),
      PlainArray::make(Shape{3, 4}, [&](const Index& i) { return pu.at({i[0]}) * pv.at({i[1]}); }),
      tolerance<T>);
  double sum = 0;
  for (double e : px.values) sum += e * e;
  expect_equal("dot", dot(x, x), PlainArray{Shape{}, {sum}}, 20 * tolerance<T>);
}

namespace {

// Reduces the axes of `mask`: f takes the elements that meet.
PlainArray reduced(const PlainArray& x, unsigned mask, bool keep,
                   const std::function<double(std::vector<double>)>& f) {
  Shape kept, dropped;
  for (std::size_t a = 0; a < x.shape.rank(); ++a) {
    const bool reduce = mask >> a & 1;
    kept.push_back(reduce ? 1 : x.shape[a]);
    if (!reduce) dropped.push_back(x.shape[a]);
  }
  PlainArray out = PlainArray::make(kept, [&](const Index& i) {
    std::vector<double> met;
    PlainArray::make(x.shape, [&](const Index& k) {
      bool same = true;
      for (std::size_t a = 0; a < k.size(); ++a) same = same && ((mask >> a & 1) || k[a] == i[a]);
      if (same) met.push_back(x.at(k));
      return 0.0;
    });
    return f(met);
  });
  if (!keep) out.shape = dropped;
  return out;
}

double plain_sum(const std::vector<double>& v) {
  double s = 0;
  for (double e : v) s += e;
  return s;
}

}  // namespace

TEST_CASE_TEMPLATE("Reductions agree with plain loops over all choices of axes", T, double, float) {
  Tape<T> tape;
  const double inf = std::numeric_limits<double>::infinity();
  for (const Shape& shape : {Shape{}, Shape{11}, Shape{3, 4}, Shape{4, 33}, Shape{2, 3, 5},
                             Shape{2, 1, 3, 2}, Shape{0}, Shape{3, 0}, Shape{0, 2}}) {
    const Var<T> x = spread<T>(shape, -1.5, 1.6);
    const PlainArray p = PlainArray::of(x);
    for (unsigned mask = 0; mask < 1U << shape.rank(); ++mask) {
      if (mask == 0 && shape.rank() > 0) continue;
      std::vector<Size> list;
      Size n = 1;
      for (std::size_t a = 0; a < shape.rank(); ++a) {
        if (mask >> a & 1) {
          list.push_back(a % 2 == 0 ? static_cast<Size>(a)
                                    : static_cast<Size>(a) - static_cast<Size>(shape.rank()));
          n *= shape[a];
        }
      }
      const Axes axes = list.size() == 0   ? Axes{}
                        : list.size() == 1 ? Axes(list[0])
                        : list.size() == 2 ? Axes{list[1], list[0]}
                        : list.size() == 3 ? Axes{list[1], list[2], list[0]}
                                           : Axes{list[0], list[1], list[2], list[3]};
      for (const KeepDims keep : {KeepDims::no, KeepDims::yes}) {
        for (const auto& v : layouts(x, tape)) {
          const auto expect = [&](const std::string& name, const Var<T>& got,
                                  const std::function<double(std::vector<double>)>& f) {
            expect_equal(name + " of " + to_string(shape) + ", axes " + std::to_string(mask), got,
                         reduced(p, mask, keep == KeepDims::yes, f), 20 * tolerance<T>);
          };
          expect("sum", sum(v, axes, keep), plain_sum);
          expect("norm", norm(v, axes, keep), [](std::vector<double> e) {
            for (double& d : e) d *= d;
            return std::sqrt(plain_sum(e));
          });
          expect("prod", prod(v, axes, keep), [](const std::vector<double>& e) {
            double y = 1;
            for (double d : e) y *= d;
            return y;
          });
          if (n == 0) continue;
          expect("mean", mean(v, axes, keep), [](const std::vector<double>& e) {
            return plain_sum(e) / static_cast<double>(e.size());
          });
          expect("max", max(v, axes, keep), [&](const std::vector<double>& e) {
            double y = -inf;
            for (double d : e) y = std::max(y, d);
            return y;
          });
          expect("min", min(v, axes, keep), [&](const std::vector<double>& e) {
            double y = inf;
            for (double d : e) y = std::min(y, d);
            return y;
          });
          expect("logsumexp", logsumexp(v, axes, keep), [](std::vector<double> e) {
            for (double& d : e) d = std::exp(d);
            return std::log(plain_sum(e));
          });
          const Size ddof = n > 1 ? 1 : 0;
          expect("var", var(v, axes, ddof, keep), [&](std::vector<double> e) {
            const double mean = plain_sum(e) / static_cast<double>(e.size());
            for (double& d : e) d = (d - mean) * (d - mean);
            return plain_sum(e) / static_cast<double>(static_cast<Size>(e.size()) - ddof);
          });
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("What runs along one axis agrees with plain loops", T, double, float) {
  Tape<T> tape;
  for (const Shape& shape :
       {Shape{7}, Shape{67}, Shape{3, 4}, Shape{2, 3, 5}, Shape{1, 1}, Shape{0, 3}}) {
    const Var<T> x = spread<T>(shape);
    const PlainArray p = PlainArray::of(x);
    const Size rank = static_cast<Size>(shape.rank());
    for (Size axis = -rank; axis < rank; ++axis) {
      const std::size_t a = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
      const auto along = [&](const Index& i, const std::function<void(double, Size)>& f) {
        Index k = i;
        for (k[a] = 0; k[a] < shape[a]; ++k[a]) f(p.at(k), k[a]);
      };
      const auto exp_sum = [&](const Index& i) {
        double s = 0;
        along(i, [&](double e, Size) { s += std::exp(e); });
        return s;
      };
      for (const auto& v : layouts(x, tape)) {
        expect_equal("cumsum", cumsum(v, axis),
                     PlainArray::make(shape,
                                      [&](const Index& i) {
                                        double s = 0;
                                        along(i, [&](double e, Size k) { s += k <= i[a] ? e : 0; });
                                        return s;
                                      }),
                     20 * tolerance<T>);
        expect_equal(
            "softmax", softmax(v, axis),
            PlainArray::make(shape, [&](const Index& i) { return std::exp(p.at(i)) / exp_sum(i); }),
            tolerance<T>);
        expect_equal(
            "log_softmax", log_softmax(v, axis),
            PlainArray::make(shape, [&](const Index& i) { return p.at(i) - std::log(exp_sum(i)); }),
            3 * tolerance<T>);
        expect_equal("flip", flip(v, axis),
                     PlainArray::make(shape,
                                      [&](Index i) {
                                        i[a] = shape[a] - 1 - i[a];
                                        return p.at(i);
                                      }),
                     0);
        Shape rest = shape;
        rest.erase(a);
        if (shape[a] == 0) continue;
        const Indices largest = argmax(v, axis), smallest = argmin(v, axis);
        REQUIRE(largest.shape() == rest);
        Size at = 0;
        PlainArray::make(rest, [&](Index i) {
          i.insert(i.begin() + static_cast<std::ptrdiff_t>(a), 0);
          Size best = 0, least = 0;
          double top = p.at(i), low = top;
          along(i, [&](double e, Size k) {
            if (e > top) top = e, best = k;
            if (e < low) low = e, least = k;
          });
          CHECK(largest(at) == best);
          CHECK(smallest(at++) == least);
          return 0.0;
        });
      }
    }
  }
}

TEST_CASE("Slices follow Python for every start, stop and step") {
  const Size n = 5;
  const Var<double> x = arange<double>(n);
  std::vector<std::optional<Size>> ends{std::nullopt};
  for (Size e = -7; e <= 7; ++e) ends.emplace_back(e);
  for (const auto& start : ends) {
    for (const auto& stop : ends) {
      for (const Size step : {-3, -2, -1, 1, 2, 3}) {
        // The definition: from start in steps until stop is reached or passed, with the ends moved into the array.
        const auto moved = [&](Size e) { return e < 0 ? e + n : e; };
        Size from = start ? moved(*start) : (step > 0 ? 0 : n - 1);
        Size to = stop ? moved(*stop) : (step > 0 ? n : -1);
        if (step > 0) {
          from = std::max<Size>(from, 0);
        } else {
          from = std::min(from, n - 1);
          to = std::max<Size>(to, -1);
        }
        std::vector<double> expected;
        for (Size i = from; step > 0 ? i < std::min(to, n) : i > to; i += step)
          expected.push_back(static_cast<double>(i));
        CHECK(slice(x, 0, {start, stop, step}).to_vector() == expected);
      }
    }
  }
}

TEST_CASE_TEMPLATE("Ops that rearrange put each element where it belongs", T, double, float) {
  Tape<T> tape;
  const Shape shape{2, 3, 4};
  const Var<T> x = spread<T>(shape);
  const PlainArray p = PlainArray::of(x);
  for (const auto& v : layouts(x, tape)) {
    const auto expect = [&](const std::string& name, const Var<T>& got, const Shape& s,
                            const std::function<double(Index)>& f) {
      expect_equal(name, got, PlainArray::make(s, f), 0);
    };
    expect("reshape", reshape(v, {6, -1}), Shape{6, 4},
           [&](Index i) { return p.values[static_cast<std::size_t>(i[0] * 4 + i[1])]; });
    expect("transpose", transpose(v), Shape{2, 4, 3}, [&](Index i) {
      return p.at({i[0], i[2], i[1]});
    });
    expect("permute", permute(v, {2, 0, 1}), Shape{4, 2, 3}, [&](Index i) {
      return p.at({i[1], i[2], i[0]});
    });
    expect("expand", expand(v, 1), Shape{2, 1, 3, 4}, [&](Index i) {
      return p.at({i[0], i[2], i[3]});
    });
    expect("expand, last", expand(v, -1), Shape{2, 3, 4, 1}, [&](Index i) {
      return p.at({i[0], i[1], i[2]});
    });
    expect("squeeze", squeeze(expand(expand(v, 1), -1)), shape, [&](Index i) { return p.at(i); });
    expect("broadcast_to", broadcast_to(expand(v, 0), Shape{3, 2, 3, 4}), Shape{3, 2, 3, 4},
           [&](Index i) {
             return p.at({i[1], i[2], i[3]});
           });
    expect("index", index(v, 1, -1), Shape{2, 4}, [&](Index i) { return p.at({i[0], 2, i[1]}); });
    expect("slice", slice(v, {{}, {.step = -2}, {1, 3}}), Shape{2, 2, 2}, [&](Index i) {
      return p.at({i[0], 2 - 2 * i[1], 1 + i[2]});
    });
    expect("pad", pad(v, -2, 1, 2, T(9)), Shape{2, 6, 4}, [&](Index i) {
      return i[1] < 1 || i[1] > 3 ? 9 : p.at({i[0], i[1] - 1, i[2]});
    });
    expect("repeat", repeat(v, 3, 1), Shape{2, 9, 4}, [&](Index i) {
      return p.at({i[0], i[1] / 3, i[2]});
    });
    expect("concat", concat({v, slice(v, 1, {0, 1})}, 1), Shape{2, 4, 4}, [&](Index i) {
      return p.at({i[0], i[1] % 3, i[2]});
    });
    expect("stack", stack({v, v * 2, v}, -1), Shape{2, 3, 4, 3}, [&](Index i) {
      return p.at({i[0], i[1], i[2]}) * (i[3] == 1 ? 2 : 1);
    });
    expect("split", split(v, 2, 2)[1], Shape{2, 3, 2}, [&](Index i) {
      return p.at({i[0], i[1], i[2] + 2});
    });
    expect("split by sizes", split(v, {1, 2}, -2)[1], Shape{2, 2, 4}, [&](Index i) {
      return p.at({i[0], i[1] + 1, i[2]});
    });
    expect("unbind", unbind(v, -1)[3], Shape{2, 3}, [&](Index i) { return p.at({i[0], i[1], 3}); });
    expect("take", take(v, Indices({3}, {1, 0, 1})), Shape{3, 3, 4}, [&](Index i) {
      return p.at({(i[0] + 1) % 2, i[1], i[2]});
    });
    const Indices places({2, 2, 4}, {0, 1, 2, 0, 2, 2, 2, 2, 1, 1, 0, 0, 0, 1, 2, 0});
    const auto place = [&](const Index& i) {
      return static_cast<Size>(places(i[0] * 8 + i[1] * 4 + i[2]));
    };
    expect("gather", gather(v, places, 1), Shape{2, 2, 4}, [&](Index i) {
      return p.at({i[0], place(i), i[2]});
    });
    expect("masked_fill", masked_fill(v, v > 0, T(-3)), shape,
           [&](Index i) { return p.at(i) > 0 ? -3 : p.at(i); });
    PlainArray scattered = p;
    const Var<T> source = spread<T>(Shape{2, 2, 4}, -1, 1);
    const PlainArray ps = PlainArray::of(source);
    PlainArray::make(ps.shape, [&](const Index& i) {
      scattered.values[static_cast<std::size_t>(i[0] * 12 + place(i) * 4 + i[2])] += ps.at(i);
      return 0.0;
    });
    expect_equal("scatter_add", scatter_add(v, places, source, 1), scattered, tolerance<T>);
    for (const Shape& target : {Shape{}, Shape{4}, Shape{3, 1}, Shape{1, 3, 4}, Shape{2, 1, 1}}) {
      PlainArray total = PlainArray::make(target, [](const Index&) { return 0.0; });
      PlainArray::make(shape, [&](const Index& i) {
        Size at = 0;
        for (std::size_t a = 0; a < target.rank(); ++a) {
          at = at * target[a] + (target[a] == 1 ? 0 : i[3 - target.rank() + a]);
        }
        total.values[static_cast<std::size_t>(at)] += p.at(i);
        return 0.0;
      });
      expect_equal("sum_to " + to_string(target), sum_to(v, target), total, 10 * tolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("Arrays are made as asked", T, double, float) {
  CHECK(zeros<T>({2, 2}).to_vector() == std::vector<T>{0, 0, 0, 0});
  CHECK(ones<T>({3}).to_vector() == std::vector<T>{1, 1, 1});
  CHECK(full<T>({}, 7).item() == 7);
  CHECK(arange<T>(3).to_vector() == std::vector<T>{0, 1, 2});
  CHECK(eye<T>(2).to_vector() == std::vector<T>{1, 0, 0, 1});
  CHECK(one_hot<T>(Indices({2, 1}, {2, 0}), 3).to_vector() == std::vector<T>{0, 0, 1, 1, 0, 0});
  CHECK(one_hot<T>(Indices({2, 1}, {2, 0}), 3).shape() == Shape{2, 1, 3});
  CHECK(zeros<T>({0, 2}).to_vector().empty());
  CHECK(arange<T>(0).size() == 0);
}

TEST_CASE("Sums of many floats do not lose digits as a running sum would") {
  const Size n = 1 << 20;
  const Var<float> x = full<float>({n}, 0.1F);
  CHECK(std::abs(sum(x).item() - 0.1F * static_cast<double>(n)) < 0.5);
  CHECK(std::abs(sum(reshape(x, {1024, 1024}), 0).to_vector()[5] - 102.4) < 1e-3);
}

TEST_CASE_TEMPLATE("linear over more axes has the gradients of linear over rows", T, double,
                   float) {
  // x used twice, so that one cotangent is added to another; in order, transposed, and with an axis of no elements.
  const Var<T> W = spread<T>({6, 5}), b = spread<T>({6}, -1, 1);
  const auto differs = [](const Var<T>& a, const Var<T>& e) {
    REQUIRE(a.shape() == e.shape());
    const auto p = a.to_vector(), q = e.to_vector();
    double most = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      most = std::max(most, std::abs(static_cast<double>(p[i]) - static_cast<double>(q[i])));
    }
    return most;
  };
  for (const Shape& shape : {Shape{4, 3, 5}, Shape{1, 1, 5}, Shape{2, 1, 3, 5}, Shape{7, 5},
                             Shape{1, 5}, Shape{3, 0, 5}}) {
    CAPTURE(to_string(shape));
    const Size rows = shape.size() / 5;
    for (const bool biased : {false, true}) {
      for (const bool transposed : {false, true}) {
        const auto loss = [&](bool flat) {
          return [&, flat](const Var<T>& x, const Var<T>& w, const Var<T>& c) {
            const Var<T> at = transposed ? transpose(transpose(x) * T(1)) : x * T(1);
            const Var<T> rows_of = flat ? reshape(at, Shape{rows, 5}) : at;
            const auto y = [&](const Var<T>& v) { return biased ? linear(v, w, c) : linear(v, w); };
            const Var<T> z = y(rows_of), again = y(rows_of * T(0.5));
            return sum(tanh(z) * again) + sum(rows_of * rows_of);
          };
        };
        const Var<T> x = spread<T>(shape);
        const auto got = grad(loss(false))(x, W, b), expected = grad(loss(true))(x, W, b);
        CHECK(differs(std::get<0>(got), std::get<0>(expected)) < 20 * tolerance<T>);
        CHECK(differs(std::get<1>(got), std::get<1>(expected)) < 100 * tolerance<T>);
        CHECK(differs(std::get<2>(got), std::get<2>(expected)) < 100 * tolerance<T>);
        if (rows > 0) CHECK(differs(std::get<1>(got), zeros<T>({6, 5})) > 0.01);
      }
    }
  }
}
