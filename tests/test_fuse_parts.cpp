// fuse(f, parts<N>(z), ...) against the same lambda given split(z), which is recorded part by part.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/inspect.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/autograd/xtensor.hpp"

using namespace unroll;

namespace {

template <class T>
Var<T> numbers(const Shape& shape, std::uint64_t seed) {
  return normal<T>(Key(seed), shape);
}

constexpr auto lstm = [](auto i, auto f, auto g, auto o, auto before) {
  auto cell = sigmoid(f) * before + sigmoid(i) * tanh(g);
  return std::tuple{sigmoid(o) * tanh(cell), cell};
};
constexpr auto gru = [](auto xr, auto xz, auto xn, auto hr, auto hz, auto hn, auto br, auto bz,
                        auto bn, auto before) {
  auto z = sigmoid(xz + hz + bz);
  auto n = tanh(xn + sigmoid(xr + hr + br) * (hn + bn));
  return n + z * (before - n);
};

template <class T>
auto lstm_of(bool parted, const Var<T>& z, const Var<T>& c) {
  if (parted) return fuse(lstm, parts<4>(z), c);
  const auto [i, f, g, o] = split<4>(z, -1);
  return fuse(lstm, i, f, g, o, c);
}
template <class T>
Var<T> gru_of(bool parted, const Var<T>& x, const Var<T>& s, const Var<T>& b, const Var<T>& h) {
  if (parted) return fuse(gru, parts<3>(x), parts<3>(s), parts<3>(b), h);
  const auto in = split<3>(x, -1), rec = split<3>(s, -1), bias = split<3>(b, -1);
  return fuse(gru, in[0], in[1], in[2], rec[0], rec[1], rec[2], bias[0], bias[1], bias[2], h);
}

template <class T>
void same(const Var<T>& a, const Var<T>& b, double epsilon = sizeof(T) == 4 ? 2e-6 : 1e-14) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(x[i] == doctest::Approx(y[i]).epsilon(epsilon).scale(1));
  }
}
// Of a loss f(parted) of these arguments: value and gradient.
template <class T, class F>
void same_with_parts(const F& f, const std::vector<Var<T>>& at) {
  const auto run = [&](bool parted) {
    return value_and_grad([&](const std::vector<Var<T>>& v) { return f(parted, v); }, at);
  };
  const auto [value, slopes] = run(true);
  const auto [expected, expected_slopes] = run(false);
  same(value, expected, sizeof(T) == 4 ? 1e-5 : 1e-13);
  for (std::size_t k = 0; k < at.size(); ++k) {
    CAPTURE(k);
    same(slopes[k], expected_slopes[k]);
  }
}
const Size widths[] = {1, 3, 16, 21, 40};

}  // namespace

TEST_CASE_TEMPLATE("Parts of fused operands have the gradients of split ones", T, float, double) {
  for (const Size rows : {1, 2, 5}) {
    for (const Size H : widths) {
      CAPTURE(rows);
      CAPTURE(H);
      const std::vector<Var<T>> at{numbers<T>({rows, 4 * H}, 1), numbers<T>({rows, H}, 2)};
      const Var<T> weight = numbers<T>({rows, H}, 3);
      same_with_parts<T>(
          [&](bool parted, const std::vector<Var<T>>& v) {
            const Var<T> z = v[0] * 1;
            Var<T> c = v[1] * 1, h = c;
            for (int t = 0; t < 3; ++t) {  // z and c are read again: their cotangents are sums
              std::tie(h, c) = lstm_of(parted, t == 1 ? z * 2 : z, c);
            }
            return sum(h * weight) + sum(square(c)) + sum(square(z));
          },
          at);
    }
  }
}

TEST_CASE_TEMPLATE("Rows share a vector whose parts are fused with theirs", T, float, double) {
  for (const Size rows : {1, 2, 7}) {
    for (const Size H : widths) {
      CAPTURE(rows);
      CAPTURE(H);
      const std::vector<Var<T>> at{numbers<T>({rows, 3 * H}, 1), numbers<T>({rows, 3 * H}, 2),
                                   numbers<T>({3 * H}, 3), numbers<T>({rows, H}, 4)};
      const Var<T> weight = numbers<T>({rows, H}, 5);
      same_with_parts<T>(
          [&](bool parted, const std::vector<Var<T>>& v) {
            Var<T> h = v[3] * 1;
            const Var<T> b = v[2] * 1;
            for (int t = 0; t < 3; ++t) h = gru_of(parted, v[0] * 1, v[1] * h.size(), b, h);
            return sum(h * weight) + sum(square(b));
          },
          at);
    }
  }
}

TEST_CASE("Parts of operands that do not lie as a node could read them") {
  using V = Var<double>;
  const auto loss = [](const auto& results) {
    const auto& [h, c] = results;
    return sum(square(h) + c);
  };
  SUBCASE("vectors alone") {
    same_with_parts<double>(
        [&](bool parted, const auto& v) { return loss(lstm_of(parted, v[0] * 1, v[1] * 1)); },
        {numbers<double>({20}, 1), numbers<double>({5}, 2)});
  }
  SUBCASE("three axes") {
    same_with_parts<double>(
        [&](bool parted, const auto& v) { return loss(lstm_of(parted, v[0] * 1, v[1] * 1)); },
        {numbers<double>({2, 3, 20}, 1), numbers<double>({2, 3, 5}, 2)});
  }
  SUBCASE("a state that is broadcast") {
    same_with_parts<double>(
        [&](bool parted, const auto& v) { return loss(lstm_of(parted, v[0] * 1, v[1] * 1)); },
        {numbers<double>({3, 20}, 1), numbers<double>({1, 5}, 2)});
  }
  SUBCASE("a transposed matrix") {
    same_with_parts<double>(
        [&](bool parted, const auto& v) {
          return loss(lstm_of(parted, transpose(v[0] * 1), transpose(v[1] * 1)));
        },
        {numbers<double>({20, 3}, 1), numbers<double>({5, 3}, 2)});
  }
  SUBCASE("a number for the state") {
    same_with_parts<double>(
        [&](bool parted, const auto& v) { return loss(lstm_of(parted, v[0] * 1, V(0.25))); },
        {numbers<double>({2, 20}, 1)});
  }
  SUBCASE("a matrix without rows, and one with some") {
    const V z = zeros<double>({0, 20}), c = zeros<double>({5, 5});
    for (const bool parted : {true, false}) {
      CHECK_THROWS_WITH_AS(lstm_of(parted, z, c),
                           doctest::Contains("[fuse] shapes do not broadcast: [0, 5] and [5, 5]"),
                           std::invalid_argument);
    }
  }
  SUBCASE("no rows, with a vector") {
    const V g = grad([&](const V& b) {
      return sum(gru_of(true, zeros<double>({0, 6}) + b * 0, zeros<double>({0, 6}) + b * 0, b,
                        zeros<double>({0, 2}) + sum(b)));
    })(numbers<double>({6}, 1));
    CHECK(g.to_vector() == std::vector<double>(6, 0.0));
  }
}

TEST_CASE_TEMPLATE("Constants among arrays in parts get no cotangent", T, float, double) {
  for (const Size rows : {1, 3}) {
    CAPTURE(rows);
    const Var<T> z = numbers<T>({rows, 20}, 1), c = numbers<T>({rows, 5}, 2);
    const auto loss = [](const auto& results) {
      const auto& [h, cell] = results;
      return sum(square(h) + cell);
    };
    same_with_parts<T>(
        [&](bool parted, const auto& v) { return loss(lstm_of<T>(parted, v[0] * 1, c)); }, {z});
    same_with_parts<T>(
        [&](bool parted, const auto& v) { return loss(lstm_of<T>(parted, z, v[0] * 1)); }, {c});
    // Each of four arrays in turn.
    const std::vector<Var<T>> at{numbers<T>({rows, 15}, 3), numbers<T>({rows, 15}, 4),
                                 numbers<T>({15}, 5), c};
    for (std::size_t constant = 0; constant < 4; ++constant) {
      CAPTURE(constant);
      same_with_parts<T>(
          [&](bool parted, const auto& v) {
            std::vector<Var<T>> x(v.begin(), v.end());
            x[constant] = at[constant];
            return sum(square(gru_of<T>(parted, x[0], x[1], x[2], x[3])));
          },
          at);
    }
  }
}
TEST_CASE("A constant in a node of parts goes with its tape") {
  const Size before = memory_report().live_bytes;
  {
    const Var<double> z = numbers<double>({1, 20}, 1);
    for (const bool swept : {true, false}) {
      Tape<double> tape;
      const Var<double> x = tape.leaf(z);
      const auto [h, c] =
          lstm_of<double>(true, x, numbers<double>({1, 5}, 2));  // a constant of its own
      CHECK(to_text(tape).find("split") == std::string::npos);
      if (swept) (void)tape.pullback(sum(h))(x);
    }
  }
  CHECK(memory_report().live_bytes == before);
}

TEST_CASE("Parts where a result is not used, or its cotangent is one number") {
  for (const Size rows : {1, 2}) {
    const std::vector<Var<double>> at{numbers<double>({rows, 20}, 1),
                                      numbers<double>({rows, 5}, 2)};
    const auto through = [&](auto&& loss) {
      same_with_parts<double>(
          [&](bool parted, const auto& v) {
            const auto [h, c] = lstm_of(parted, v[0] * 1, v[1] * 1);
            return loss(h, c);
          },
          at);
    };
    through([](const auto& h, const auto&) { return sum(square(h)); });
    through([](const auto&, const auto& c) { return sum(square(c)); });
    through([](const auto& h, const auto& c) { return sum(h) + sum(c); });
  }
}

TEST_CASE("Parts without a tape are computed alike") {
  for (const Size rows : {1, 3}) {
    const Var<float> z = numbers<float>({rows, 40}, 1), c = numbers<float>({rows, 10}, 2);
    const auto [h1, c1] = lstm_of(true, z, c);
    const auto [h2, c2] = lstm_of(false, z, c);
    CHECK_FALSE(h1.is_tracked());
    CHECK(h1.to_vector() == h2.to_vector());
    CHECK(c1.to_vector() == c2.to_vector());
  }
}

TEST_CASE("One array in parts is enough: a gated linear unit") {
  const auto unit = [](auto a, auto b) { return a * sigmoid(b); };
  for (const Size rows : {1, 4}) {
    same_with_parts<double>(
        [&](bool parted, const auto& v) {
          const Var<double> z = v[0] * 1;
          const auto [a, b] = split<2>(z, -1);
          const Var<double> y = parted ? fuse(unit, parts<2>(z)) : fuse(unit, a, b);
          return sum(square(y));
        },
        {numbers<double>({rows, 14}, 1)});
  }
}

TEST_CASE("An array may be given whole, in parts, and twice") {
  const auto f = [](auto a, auto b, auto c, auto d, auto e) { return a * b + tanh(c * d) * e; };
  for (const Size rows : {1, 3}) {
    same_with_parts<double>(
        [&](bool parted, const auto& v) {
          const Var<double> z = v[0] * 1, x = v[1] * 1;
          const auto [a, b] = split<2>(z, -1);
          return sum(
              square(parted ? fuse(f, parts<2>(z), parts<2>(z), x) : fuse(f, a, b, a, b, x)));
        },
        {numbers<double>({rows, 10}, 1), numbers<double>({rows, 5}, 2)});
  }
}

TEST_CASE("Higher derivatives, tangents and repeated readings through parts") {
  using V = Var<double>;
  for (const Size rows : {1, 3}) {
    CAPTURE(rows);
    const V z = numbers<double>({rows, 12}, 1), c = numbers<double>({rows, 3}, 2);
    const auto f = [&](bool parted) {
      return [&, parted](const V& v) {
        const auto [h, cell] = lstm_of(parted, v * 1, c * sum(v));
        return h * cell;
      };
    };
    CheckOptions second;
    second.order = 2;
    CHECK_NOTHROW(check_grads(f(true), z, second));
    same(jacobian(f(true), z), jacobian(f(false), z), 1e-13);
    const auto scalar = [&](bool parted) {
      return [&, parted](const V& v) { return sum(square(f(parted)(v))); };
    };
    same(hessian(scalar(true), z), hessian(scalar(false), z), 1e-12);
    const V direction = numbers<double>({rows, 12}, 4);
    same(jvp(f(true), z, direction).tangent, jvp(f(false), z, direction).tangent, 1e-13);
  }
}

TEST_CASE("A last axis that does not divide into parts") {
  const Var<float> z = zeros<float>({2, 10}), c = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(
      fuse([](auto a, auto b, auto d, auto e) { return a + b + d + e; }, parts<3>(z), c),
      "[parts] the last axis of an array of shape [2, 10] does not divide into 3 equal parts",
      std::invalid_argument);
  CHECK_THROWS_AS(fuse([](auto a, auto b) { return a + b; }, parts<2>(Var<float>(1))),
                  std::invalid_argument);
  CHECK_THROWS_WITH_AS(fuse([](auto a, auto b, auto d) { return a + b + d; }, parts<2>(z), c),
                       doctest::Contains("[fuse] shapes do not broadcast: [2, 5] and [2, 3]"),
                       std::invalid_argument);
}
