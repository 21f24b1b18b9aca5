// Parts of arrays share memory where they can: parts of a split with the whole, their cotangents with the whole's, rows of a
// joined array's cotangent with that array. Nobody may be able to tell, whatever else happens to the same values.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <optional>

#include "reuse_memory.hpp"
#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/autograd/xtensor.hpp"

using namespace unroll;
using unroll::testing::reuse_memory;

namespace {

using V = Var<double>;
using Parts = std::vector<V>;

V numbers(const Shape& shape, std::uint64_t seed) { return normal<double>(Key(seed), shape); }

// The parts by slices: other rules, which copy.
Parts slices(const V& x, Size count, Size axis) {
  const Size width = x.size(axis) / count;
  Parts parts;
  for (Size k = 0; k < count; ++k) parts.push_back(slice(x, axis, {k * width, (k + 1) * width}));
  return parts;
}

void same(const V& a, const V& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == doctest::Approx(y[i]).epsilon(1e-13));
}

// Both ways through a function of three parts, and of the whole.
void compare(const Shape& shape, Size axis, const std::function<V(const Parts&, const V&)>& f) {
  const V x = numbers(shape, 1);
  const auto through = [&](auto&& divide) {
    return [&, divide](const V& v) {
      const V whole = sin(v);  // small ones lie in the tape
      return f(divide(whole), whole);
    };
  };
  const auto by_split = through([&](const V& v) { return split(v, 3, axis); });
  const auto by_slices = through([&](const V& v) { return slices(v, 3, axis); });
  const V g = grad(by_split)(x);
  same(g, grad(by_slices)(x));
  CHECK_NOTHROW(check_grads(by_split, x));
  // A tape that is read twice gives the same twice.
  Tape<double> tape;
  const V leaf = tape.leaf(x), y = by_split(leaf);
  const auto first = tape.pullback(y), second = tape.pullback(y);
  same(first(leaf), g);
  same(second(leaf), g);
}

// u + v, of which the second has another shape: a user's op that gives both the same cotangent.
struct Sum2 {
  static constexpr auto name = "sum2";
  template <class T>
  Var<T> f(const Var<T>& u, const Var<T>& v) const {
    return u + reshape(v, u.shape());
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>&) const {
    return g;
  }
  template <class T>
  Var<T> adjoint(wrt<1>, const Var<T>& g, const Var<T>&, const Var<T>& v) const {
    return reshape(g, v.shape());
  }
};

}  // namespace

TEST_CASE("Cotangents of parts arrive whichever way the parts are used") {
  for (const Shape& shape :
       {Shape{24}, Shape{1, 24}, Shape{2, 24}, Shape{1, 1, 24}, Shape{1, 600}}) {
    CAPTURE(to_string(shape));
    const Size axis = static_cast<Size>(shape.rank()) - 1;
    compare(shape, axis,
            [](const Parts& p, const V&) { return sum(tanh(p[0]) * p[1] * exp(p[2])); });
    compare(shape, axis,
            [](const Parts& p, const V&) { return sum(p[1] * p[1]); });  // twice in one op
    compare(shape, axis,
            [](const Parts& p, const V&) { return sum(p[2] + p[2] + p[0]); });  // passed on
    compare(shape, axis, [](const Parts& p, const V& x) {  // used again, and the whole too
      return sum(tanh(p[0]) * p[1]) + sum(sin(p[0])) + sum(x * x) + sum(square(p[1] + p[0]));
    });
    compare(shape, axis, [](const Parts& p, const V& x) {  // the whole first, a part broadcast
      const V y = sum(cos(x));
      return y * sum(p[0]) + sum(p[2] * reshape(p[1], p[1].shape()) + 2);
    });
    compare(shape, axis, [](const Parts& p, const V&) {
      const auto [a, b] = fuse(
          [](auto u, auto v, auto w) {
            return std::tuple{tanh(u) * v + w, sigmoid(w) * u};
          },
          p[0], p[1], p[2]);
      return sum(a * b) + sum(a);
    });
    compare(shape, axis, [](const Parts& p, const V&) {
      return sum(fuse([](auto u, auto v) { return u * tanh(v) + v; }, p[0], p[0]));
    });
  }
  compare({3, 5}, 0,
          [](const Parts& p, const V&) { return sum(tanh(p[0]) * p[1] - square(p[2])); });
  compare({6, 64}, 0,
          [](const Parts& p, const V&) { return sum(tanh(p[0]) * p[1] - square(p[2])); });
}

TEST_CASE(
    "Memory that served the cotangents of one split serves another, whatever became of its parts") {
  // Splits of one size into other parts, in turn; reshape gives cotangents of parts, and of wholes, other shapes.
  const auto f = [](const Shape& shape, Size count, bool by_slices) {
    return [=](const V& v) {
      const V whole = sin(reshape(v, shape));
      const Size axis = shape[0] == 1 ? 1 : 0;
      const Parts p = by_slices ? slices(whole, count, axis) : split(whole, count, axis);
      V total(0);
      for (const V& part : p) {
        const Size n = part.size();
        total = total + sum(tanh(part) * exp(part)) +
                sum(cos(reshape(tanh(part), {n / 2, 2}))) * sum(reshape(part, {n}));
      }
      return total;
    };
  };
  const V x = numbers({24}, 5);
  const std::pair<Shape, Size> splits[] = {{{1, 24}, 3}, {{1, 24}, 2}, {{24, 1}, 3}, {{6, 4}, 3},
                                           {{1, 24}, 4}, {{2, 12}, 2}, {{1, 24}, 3}};
  for (int round = 0; round < 3; ++round) {
    for (const std::pair<Shape, Size>& kind : splits) {
      CAPTURE(to_string(kind.first));
      CAPTURE(kind.second);
      same(grad(f(kind.first, kind.second, false))(x), grad(f(kind.first, kind.second, true))(x));
    }
  }
}

TEST_CASE("Rows of a vector of many parts, one by one") {
  const V x = numbers({200, 3}, 2);
  const auto f = [](const V& v) {
    V total(0);
    for (const V& row : unbind(v * 2, 0)) total = total + sum(tanh(row) * row);
    return total;
  };
  same(grad(f)(x), grad([](const V& v) { return sum(tanh(v * 2) * (v * 2)); })(x));
}

TEST_CASE("Second derivatives go through parts") {
  const V x = numbers({1, 12}, 3);
  const auto f = [](const V& v) {
    const auto p = split<3>(sin(v), -1);
    return sum(tanh(p[0]) * p[1] * p[2] + p[2] * p[2]);
  };
  const V direction = numbers({1, 12}, 4);
  const auto slope = [&](const V& v) { return sum(grad(f)(v) * direction); };
  CHECK_NOTHROW(check_grads(slope, x));
}

TEST_CASE("A part outlives its tape and what it was a part of") {
  for (const Size n : {Size{24}, Size{600}}) {  // in the tape, and not
    std::optional<decltype(std::declval<V>().value())> view;
    V stopped;
    const V x = numbers({1, n}, 5);
    (void)grad([&](const V& v) {
      const auto p = split<3>(v * 2, -1);
      view.emplace(p[1].value());
      stopped = stop_gradient(p[2]);
      return sum(p[0] * p[1] * stopped);
    })(x);
    reuse_memory();
    const auto values = x.to_vector(), kept = stopped.to_vector();
    REQUIRE(view->size() == static_cast<std::size_t>(n / 3));
    for (std::size_t i = 0; i < view->size(); ++i) {
      CHECK((*view)(0, i) == 2 * values[i + static_cast<std::size_t>(n / 3)]);
      CHECK(kept[i] == 2 * values[i + static_cast<std::size_t>(2 * n / 3)]);
    }
  }
}

TEST_CASE("A weight's products keep parts that are factors until they are settled") {
  const Size wide = 1100;  // rows that are not copied
  const V x = numbers({1, 96}, 6), w = numbers({wide, 32}, 7);
  const auto f = [](auto&& divide) {
    return [divide](const V& v, const V& weight) {
      V h = sin(v), total(0);
      for (int t = 0; t < 3; ++t) {
        const Parts p = divide(h);
        total = total + sum(tanh(linear(p[1], weight)));
        h = h * 0.5 + sin(h);
      }
      return total;
    };
  };
  const auto [a, b] = grad(f([](const V& v) { return split(v, 3, -1); }))(x, w);
  const auto [c, d] = grad(f([](const V& v) { return slices(v, 3, -1); }))(x, w);
  same(a, c);
  same(b, d);
}

TEST_CASE("Parts of a joined array get cotangents of their own") {
  const V a = numbers({1, 6}, 11), b = numbers({2, 6}, 12), w = numbers({4, 6}, 13);
  const auto f = [&](const V& u, const V& v) {
    const V s = sin(u), rows = concat({s, v, s}, 0);  // one part twice
    const V flat = reshape(s, {6});
    return sum(rows * rows * w) + sum(flat * flat) + sum(tanh(s));
  };
  CHECK_NOTHROW(check_grads([&](const V& u) { return f(u, b); }, a));
  CHECK_NOTHROW(check_grads([&](const V& v) { return f(a, v); }, b));

  // Gradients of leaves that were joined are told apart, and from what became of the array they came in.
  const auto [x, y] = grad([&](const V& u, const V& v) {
    const V rows = concat({u, v}, 0);
    return sum(square(rows)) + sum(u * 3);
  })(a, b);
  reuse_memory();
  same(x, a * 2 + 3);
  same(y, b * 2);

  // A part's cotangent is shared with a view of it when another contribution arrives.
  const auto shared = [&](const V& p, const V& q) {
    const V v = cos(q), u = sin(p), before = exp(u);
    const V rows = concat({unroll::apply(Sum2{}, u, v), b}, 0);
    return sum(rows * rows) + sum(before);
  };
  const V flat = numbers({6}, 15);
  const auto [gp, gq] = grad(shared)(a, flat);
  const V total = sin(a) + reshape(cos(flat), {1, 6});
  same(gp, (2 * total + exp(sin(a))) * cos(a));
  same(gq, reshape(2 * total, {6}) * -sin(flat));

  // A sequence of states that are joined and fed back, and the same without joining them.
  const V U = numbers({6, 6}, 14) * 0.3;
  const auto unrolled = [&](auto&& energy) {
    return [&, energy](const V& weight) {
      std::vector<V> states;
      V h = a;
      for (int t = 0; t < 5; ++t) states.push_back(h = tanh(linear(h, weight)));
      return energy(states) + sum(states[2]);
    };
  };
  const auto joined = unrolled([](const std::vector<V>& states) {
    const V all = concat(states, 0);
    return sum(all * all);
  });
  const auto one_by_one = unrolled([](const std::vector<V>& states) {
    V total(0);
    for (const V& h : states) total = total + sum(h * h);
    return total;
  });
  same(grad(joined)(U), grad(one_by_one)(U));
  CHECK_NOTHROW(check_grads(joined, U));
}

TEST_CASE("A long chain of joined arrays is no chain of owners") {
  const V x = numbers({2}, 16);
  const V g = grad([](const V& v) {
    V h = v;
    for (int k = 0; k < 200000; ++k) h = concat({h}, 0);
    return sum(h * h);
  })(x);
  same(g, x * 2);
}

TEST_CASE("Splits like the one before and unlike it, in turns") {
  // A split like one before is recorded as that was; each difference must be seen.
  const auto loss = [](const std::function<Parts(const V&, Size)>& cut, const V& x) {
    V total = 0.0, y = x;
    const auto use = [&](const Parts& p) {
      for (std::size_t k = 0; k < p.size(); ++k) total += sum(sin(p[k]) * double(k + 1) * p[0]);
      return p;
    };
    for (int round = 0; round < 3; ++round) {
      y = tanh(y) * 1.5;
      use(cut(y, 3));                              // like the last one in round 0 alone
      use(cut(y, 3));                              // again: another node, the same array
      use(cut(cut(y, 3)[1], 2));                   // a part of a part: narrower
      use(cut(concat({y, y}, 1), 3));              // wider
      use(cut(y, 4));                              // more parts
      use(cut(transpose(y), 1));                   // a column
      use(cut(transpose(reshape(y, {3, 4})), 3));  // no rows of memory
      use(cut(reshape(y, {2, 6}), 3));             // two rows
      use(cut(reshape(y, {1, 1, 12}), 3));         // three axes
    }
    return sum(total * total);
  };
  const auto by_split = [](const V& x, Size count) { return split(x, count, -1); };
  const auto by_array = [](const V& x, Size count) {
    if (count == 3 && x.rank() == 2) {
      const auto p = split<3>(x, -1);
      return Parts(p.begin(), p.end());
    }
    return split(x, count, -1);
  };
  const auto by_slices = [](const V& x, Size count) {
    return slices(x, count, static_cast<Size>(x.rank()) - 1);
  };
  const V x = numbers({1, 12}, 41);
  const auto expected = value_and_grad([&](const V& v) { return loss(by_slices, v); }, x);
  for (int k = 0; k < 2; ++k) {
    const auto a = value_and_grad([&](const V&v) { return loss(by_split, v); }, x),
               b = value_and_grad([&](const V&v) { return loss(by_array, v); }, x);
    same(a.value, expected.value);
    same(a.gradient, expected.gradient);
    same(b.gradient, expected.gradient);
  }
  CHECK_THROWS_WITH_AS((void)grad([&](const V& v) {
                         (void)split<3>(v, -1);
                         return sum(split<5>(v, -1)[0]);
                       })(x),
                       doctest::Contains("does not divide into 5"), std::invalid_argument);
}

TEST_CASE("A row is not split as an array of more axes before it was") {
  const auto loss = [](const V& x) {
    V total = 0.0;
    for (const V& p : split(x, 3, 1)) total += sum(sin(p));  // [1, 4, 5] each
    const Parts row = split(slice(reshape(x, {1, 60}), 1, {0, 12}), 3, 1);
    for (std::size_t k = 0; k < row.size(); ++k) {
      CHECK(row[k].shape() == Shape{1, 4});
      total += sum(exp(row[k])) * double(k + 1);
    }
    return total;
  };
  const V x = numbers({1, 12, 5}, 43);
  std::vector<double> expected;
  const auto at = x.to_vector();
  for (std::size_t i = 0; i < at.size(); ++i)
    expected.push_back(std::cos(at[i]) + (i < 12 ? double(i / 4 + 1) * std::exp(at[i]) : 0));
  same(grad([&](const V& v) { return loss(v * 1.0); })(x), V(x.shape(), expected));
}

TEST_CASE("Memory that views left serves cotangents of the same sizes") {
  // A block that comes back to the pool is taken as it is for an array like it; what a view of the same sizes leaves behind
  // shows another array's elements.
  const V x = numbers({1, 1}, 31), table = numbers({9, 1, 1}, 32);
  const auto loss = [&](const V& at) {
    V y = at;
    for (Size t = 0; t < 9; ++t) y = tanh(y) * sin(y) * V(Shape{1, 1}, {0.5}) + index(table, 0, t);
    return sum(exp(y) * cos(y));
  };
  const auto before = table.to_vector();
  const V gradient = grad(loss)(x);
  for (int k = 0; k < 5; ++k) {
    for (Size t = 0; t < 9; ++t) (void)(index(table, 0, t) * 2.0);
    CHECK(grad(loss)(x).item() == gradient.item());
    CHECK(table.to_vector() == before);
  }
  const double h = 1e-6, at = x.item();
  const double slope =
      (loss(V(Shape{1, 1}, {at + h})).item() - loss(V(Shape{1, 1}, {at - h})).item()) / (2 * h);
  CHECK(gradient.item() == doctest::Approx(slope).epsilon(1e-7));
}
