// Small values lie in their tape's own memory: what leaves a tape, and what is shared between nodes, must outlive it or go
// with it, as it always did.
#include <doctest/doctest.h>

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

V vec(std::vector<double> v) { return V({static_cast<Size>(v.size())}, v); }

// Returns its argument, as a user's op may.
struct Same {
  static constexpr auto name = "same";
  V f(const V& x) const { return x; }
  V adjoint(wrt<0>, const V& g, const V&) const { return g; }
};

}  // namespace

TEST_CASE("An xtensor view of a value keeps it after the tape is gone") {
  std::optional<decltype(std::declval<V>().value())> view;
  (void)grad([&](const V& x) {
    const V y = x * 2;
    view.emplace(y.value());
    return sum(y);
  })(vec({1, 2, 3}));
  reuse_memory();
  REQUIRE(view->size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK((*view)(i) == 2 * (static_cast<double>(i) + 1));
}

TEST_CASE("Auxiliary results, stopped gradients and gradients that are values outlive the tape") {
  V stopped;
  const auto r = value_and_grad(
      [&](const V& x, const V& y) {
        const V product = x * y;
        stopped = stop_gradient(product);
        const auto parts = split<2>(product, 0);
        return std::tuple{sum(product), product, parts[1], product * 1};
      },
      vec({1, 2, 3, 4}), vec({5, 6, 7, 8}));
  reuse_memory();
  CHECK(r.value.item() == 70);
  CHECK(stopped.to_vector() == std::vector<double>{5, 12, 21, 32});
  CHECK(std::get<0>(r.auxiliary).to_vector() == std::vector<double>{5, 12, 21, 32});
  CHECK(std::get<1>(r.auxiliary).to_vector() == std::vector<double>{21, 32});
  CHECK(std::get<0>(r.gradient).to_vector() == std::vector<double>{5, 6, 7, 8});
  CHECK(std::get<1>(r.gradient).to_vector() == std::vector<double>{1, 2, 3, 4});
}

TEST_CASE("An op that returns its argument shares it with the node that owns it") {
  const Size before = memory_report().live_bytes;
  {
    std::optional<decltype(std::declval<V>().value())> view;
    const V g = grad([&](const V& x) {
      const V y = exp(x);
      const V z = apply(Same{}, apply(Same{}, y));
      view.emplace(z.value());
      return sum(z * y);
    })(vec({0, 1}));
    reuse_memory();
    CHECK((*view)(1) == doctest::Approx(std::exp(1)).epsilon(1e-15));
    CHECK(g.to_vector()[1] == doctest::Approx(2 * std::exp(2)).epsilon(1e-14));
  }
  // Nothing is left behind: each chunk of a tape went back when the last that lay in it was dropped.
  CHECK(memory_report().live_bytes == before);
}

TEST_CASE("Those who hold a small value let go of it in any order, before the tape and after") {
  const Size before = memory_report().live_bytes;
  using View = decltype(std::declval<V>().value());
  for (int early = 0; early < 8; ++early) {  // which of three let go while the tape is there
    CAPTURE(early);
    std::vector<std::optional<View>> views(3);
    {
      Tape<double> tape;
      const V x = tape.leaf(vec({1, 2, 3, 4}));
      const V y = x * 2;
      const auto parts = split<2>(y * 1, 0);  // views of a value, in the tape themselves
      views[0].emplace(y.value());
      views[1].emplace(parts[1].value());
      views[2].emplace(y.value());
      (void)tape.pullback(sum(y))(x);
      for (std::size_t k = 0; k < 3; ++k) {
        if (early >> k & 1) views[k].reset();
      }
    }
    reuse_memory();
    if (views[0]) CHECK((*views[0])(3) == 8);
    if (views[1]) CHECK((*views[1])(1) == 8);
    views[0].reset();
    reuse_memory();
    if (views[2]) CHECK((*views[2])(0) == 2);
    if (views[1]) CHECK((*views[1])(0) == 6);
    views.clear();
    CHECK(memory_report().live_bytes == before);
  }
}

TEST_CASE("An inner transform's leaf may be a small value of the enclosing tape") {
  const Size before = memory_report().live_bytes;
  {
    const auto f = [](const V& x) {
      const V y = x * x;  // in the outer tape
      return sum(y * grad([](const V& u) { return sum(u * u * u); })(y));
    };
    // f = Σ 3 x⁶
    CHECK(f(vec({2})).item() == doctest::Approx(192));
    CHECK(grad(f)(vec({2})).item() == doctest::Approx(576));
    CHECK(grad([&](const V& x) { return sum(grad(f)(x)); })(vec({2})).item() ==
          doctest::Approx(1440));
  }
  CHECK(memory_report().live_bytes == before);
}

TEST_CASE("Values on either side of the limit for small ones are the same") {
  for (const Size n : {1, 127, 128, 129, 200, 1000}) {
    CAPTURE(n);
    const V x = uniform<double>(Key(1), {n}, -2, 2);
    const auto f = [](const V& u) { return sum(tanh(u) * u); };
    const std::vector<double> g = grad(f)(x).to_vector(), v = x.to_vector();
    for (std::size_t i = 0; i < v.size(); ++i) {
      const double t = std::tanh(v[i]);
      CHECK(g[i] == doctest::Approx(t + v[i] * (1 - t * t)).epsilon(1e-13));
    }
  }
}

TEST_CASE("split and unbind gather cotangents: all parts, some, one twice, on top of others") {
  const V x({2, 6}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  const auto by = [&](auto&& f) { return grad(f)(x).to_vector(); };
  CHECK(by([](const V& u) {
          const auto p = split<3>(u, -1);
          return sum(p[0] * 1.0) + sum(p[1] * 2.0) + sum(p[2] * p[2]);
        }) == std::vector<double>{1, 1, 2, 2, 10, 12, 1, 1, 2, 2, 22, 24});
  CHECK(by([](const V& u) { return sum(split<3>(u, 1)[1]); }) ==
        std::vector<double>{0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0});
  CHECK(by([](const V& u) {
          const auto p = split(u, {1, 0, 5}, 1);
          return sum(u) + sum(p[0]) + sum(p[0] * 3.0) + sum(p[1]);
        }) == std::vector<double>{5, 1, 1, 1, 1, 1, 5, 1, 1, 1, 1, 1});
  CHECK(by([](const V& u) {
          return sum(unbind(u, 1)[4] * vec({10, 20}));
        }) == std::vector<double>{0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 20, 0});
  // A transposed cotangent has gaps.
  CHECK(by([](const V& u) {
          const auto p = split<2>(u, 0);
          return sum(matmul(reshape(p[0], {2, 3}), transpose(reshape(p[1], {2, 3}))));
        }) == std::vector<double>{17, 19, 21, 17, 19, 21, 5, 7, 9, 5, 7, 9});
}

TEST_CASE("A vector beside matrices of one row gets a cotangent of its own shape") {
  const V x = normal<double>(Key(1), {1, 5}), b = normal<double>(Key(2), {5});
  const auto same = [](const V& a, const V& expected) {
    REQUIRE(a.shape() == expected.shape());
    for (std::size_t i = 0; i < 5; ++i)
      CHECK(a.to_vector()[i] == doctest::Approx(expected.to_vector()[i]).epsilon(1e-14));
  };
  // A product and a sum, each the first to reach b and on top of another; b in place of both operands.
  const auto product = [](const V& m, const V& v) {
    const V y = m * 3, row = v * 2;  // values of the tape
    return sum(y * row + row) + sum(y * row) + sum((y + row) * (row * row));
  };
  const auto [dx, db] = grad(product)(x, b);
  same(dx, reshape(12 * b + 12 * square(b), {1, 5}));
  same(db, 12 * reshape(x, {5}) + 2 + 24 * reshape(x, {5}) * b + 24 * square(b));
  // The same in one node with two results, of which one, the other, or both are used, and with an operand twice.
  for (const unsigned used : {1U, 2U, 3U}) {
    CAPTURE(used);
    const auto f = [used](const V& m, const V& v) {
      const V y = m * 3, row = v * 2;
      const auto [p, q] = fuse(
          [](auto a, auto r, auto again, auto s) {
            return std::tuple{tanh(a) * r + again, sigmoid(s) * a};
          },
          y, row, y, row);
      V total = sum(y * row);
      if (used & 1) total = total + sum(p * row);
      if (used & 2) total = total + sum(square(q));
      return total;
    };
    const auto by_ops = [used](const V& m, const V& v) {
      const V y = reshape(m, {5}) * 3, row = v * 2;
      V total = sum(y * row);
      if (used & 1) total = total + sum((tanh(y) * row + y) * row);
      if (used & 2) total = total + sum(square(sigmoid(row) * y));
      return total;
    };
    const auto fused = grad(f)(x, b), plain = grad(by_ops)(x, b);
    same(std::get<0>(fused), std::get<0>(plain));
    same(std::get<1>(fused), std::get<1>(plain));
    CHECK_NOTHROW(check_grads(f, std::tuple{x, b}));
  }
}
