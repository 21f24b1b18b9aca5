// Keys and the numbers made from them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <thread>

#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"

using namespace unroll;

namespace {

struct Moments {
  double mean, variance;
};
template <class T>
Moments moments(const std::vector<T>& x) {
  const double n = static_cast<double>(x.size());
  double mean = 0, square = 0;
  for (T e : x) mean += static_cast<double>(e) / n;
  for (T e : x) square += (static_cast<double>(e) - mean) * (static_cast<double>(e) - mean) / n;
  return {mean, square};
}

std::vector<std::int64_t> list(const Indices& i) { return {i.values().begin(), i.values().end()}; }

}  // namespace

TEST_CASE("Threefry-2x64-20 gives the published known answers") {
  // Random123's kat_vectors.
  using Words = std::array<std::uint64_t, 2>;
  CHECK(detail::threefry(Key(0, 0), 0, 0) == Words{0xc2b6e3a8c2c69865, 0x6f81ed42f350084d});
  constexpr std::uint64_t all = ~std::uint64_t{0};
  CHECK(detail::threefry(Key(all, all), all, all) == Words{0xe02cb7c4d95d277a, 0xd06633d0893b8b68});
  CHECK(detail::threefry(Key(0xa4093822299f31d0, 0x082efa98ec4e6c89), 0x243f6a8885a308d3,
                         0x13198a2e03707344) == Words{0x263c7d30bb0f0af1, 0x56be8361d3311526});
}

TEST_CASE("Numbers are those of an independent implementation") {
  // Threefry in Python's integers; the quantile by statistics.NormalDist, which uses libm's log.
  const Key key(7);
  const std::vector<double> u{0.8699513921157375,  0.41249522322649035, 0.00923317051555339,
                              0.30156907184275084, 0.6294391033501829,  0.23513551735656057,
                              0.38406352188532267, 0.1755334226572981};
  CHECK(uniform<double>(key, {8}).to_vector() == u);
  const std::vector<double> z{1.1261613832617192,  -0.22113098293246958, -2.356132269701505,
                              -0.5198930156103713, 0.3303681646711285,   -0.7220381303649797,
                              -0.2948256856854699, -0.932521955912337};
  const std::vector<double> normals = normal<double>(key, {8}).to_vector();
  for (std::size_t i = 0; i < 8; ++i) CHECK(std::abs(normals[i] - z[i]) <= 4e-16 * std::abs(z[i]));
  CHECK(list(randint(key, {8}, 0, 10)) == std::vector<std::int64_t>{8, 4, 0, 3, 6, 2, 3, 1});
  CHECK(list(permutation(key, 8)) == std::vector<std::int64_t>{2, 7, 6, 4, 0, 3, 1, 5});
  CHECK(split<2>(key)[1] == Key(0x0469d7df71d429b7, 0xa0b5fa1cd6c510dd));
  CHECK(fold_in(key, 1) == Key(0x691c5d0233681623, 0x1a562b30188a8a8d));
}

TEST_CASE("The logarithm and the quantile of the generator are accurate over their whole range") {
  for (double x = 1e-300; x < 1e300; x *= 1.37) {
    const double exact = std::log(x);
    CHECK(std::abs(detail::portable_log(x) - exact) <= 4e-16 * std::max(std::abs(exact), 1e-3));
  }
  for (double z = -8.2; z < 8.2; z += 0.037) {
    // The distribution function undoes the quantile: compared in the nearer tail, where it has
    // digits.
    const double tail = 0.5 * std::erfc(std::abs(z) / std::sqrt(2.0));
    const double back = detail::normal_quantile(tail);
    CHECK(std::abs(back + std::abs(z)) <= 3e-15 * std::max(1.0, std::abs(z)));
    // An odd function of p - 1/2, exactly.
    if (1 - tail < 1 && 1 - (1 - tail) == tail) CHECK(detail::normal_quantile(1 - tail) == -back);
  }
}

TEST_CASE("The same call gives the same bits, on any thread, and a prefix of a longer call") {
  const Key key(3);
  const auto once = normal<float>(key, {37, 5}).to_vector();
  std::vector<float> elsewhere;
  std::thread([&] { elsewhere = normal<float>(key, {37, 5}).to_vector(); }).join();
  CHECK(once == elsewhere);
  const auto longer = normal<float>(key, {1000}).to_vector();
  CHECK(std::equal(once.begin(), once.end(), longer.begin()));
  // Float numbers are the double ones, rounded.
  const auto doubles = normal<double>(key, {37, 5}).to_vector();
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(once[i] == static_cast<float>(doubles[i]));
  CHECK_FALSE(normal<float>(key, {4}).is_tracked());
}

TEST_CASE("The bits are those of every other machine, compiler and instruction level") {
  // FNV-1a over the bits, found equal for g++ -O0, g++ -O2 with AVX2 and with AVX-512, and clang
  // -O3.
  const auto hash = [](const auto& numbers) {
    std::uint64_t h = 1469598103934665603ULL;
    for (auto x : numbers) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &x, sizeof x);
      h = (h ^ bits) * 1099511628211ULL;
    }
    return h;
  };
  CHECK(hash(normal<double>(Key(1), {100003}, 0.3, 1.7).to_vector()) == 0xcd9b8864c760086d);
  CHECK(hash(normal<float>(Key(1), {100003}).to_vector()) == 0x18e54dc0788c5c92);
  CHECK(hash(uniform<float>(Key(2), {100003}, -0.1, 0.7).to_vector()) == 0x7e3f6171921a0a74);
  const Indices chosen = categorical(Key(3), normal<float>(Key(4), {10007, 9}));
  CHECK(hash(chosen.values()) == 0x45d19b290ed3285a);
}

TEST_CASE("Keys that are split or folded differ from each other and from their parent") {
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  const Key key(11);
  seen.insert({key.a, key.b});
  for (const Key& k : split(key, 100)) seen.insert({k.a, k.b});
  for (std::uint64_t n = 0; n < 100; ++n) seen.insert({fold_in(key, n).a, fold_in(key, n).b});
  for (const Key& k : split<3>(split<2>(key)[0])) seen.insert({k.a, k.b});
  CHECK(seen.size() == 204);
  CHECK(split<5>(key)[1] == split<2>(key)[1]);
  CHECK(split(key, 5)[4] == split<5>(key)[4]);
  // Numbers made under one key and under its child are not correlated.
  const auto a = normal<double>(key, {20000}).to_vector();
  const auto b = normal<double>(split(key)[0], {20000}).to_vector();
  double correlation = 0;
  for (std::size_t i = 0; i < a.size(); ++i) correlation += a[i] * b[i] / 20000.0;
  CHECK(std::abs(correlation) < 4 / std::sqrt(20000.0));
}

TEST_CASE("Uniform and normal numbers have the moments and the range they should") {
  constexpr double n = 100000;
  const auto u = uniform<float>(Key(1), {100000}, -2, 3).to_vector();
  CHECK(*std::min_element(u.begin(), u.end()) >= -2.0f);
  CHECK(*std::max_element(u.begin(), u.end()) < 3.0f);
  CHECK(std::abs(moments(u).mean - 0.5) < 4 * 5 / std::sqrt(12 * n));
  CHECK(std::abs(moments(u).variance / (25.0 / 12) - 1) < 4 * std::sqrt(0.8 / n));
  const auto z = normal<double>(Key(2), {100000}, 1, 2).to_vector();
  CHECK(std::abs(moments(z).mean - 1) < 4 * 2 / std::sqrt(n));
  CHECK(std::abs(moments(z).variance / 4 - 1) < 4 * std::sqrt(2 / n));
  // Kolmogorov's distance to the distribution function; 1.95/√n is passed by one in a thousand.
  std::vector<double> sorted = normal<double>(Key(5), {100000}).to_vector();
  std::sort(sorted.begin(), sorted.end());
  double distance = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double p = 0.5 * std::erfc(-sorted[i] / std::sqrt(2.0));
    distance = std::max(distance, std::abs(p - (static_cast<double>(i) + 0.5) / n));
  }
  CHECK(distance < 1.95 / std::sqrt(n));
}

TEST_CASE("The upper end of a uniform interval is never reached by rounding") {
  // Of width 2^-22 at 1: in float [1, 1 + 2^-22) has two numbers only, and half of the draws round
  // up.
  const double high = 1 + 0x1p-22;
  for (float x : uniform<float>(Key(4), {2000}, 1, high).to_vector()) {
    CHECK(x >= 1.0f);
    CHECK(x < static_cast<float>(high));
  }
  CHECK(uniform<float>(Key(4), {3}, 2, 2).to_vector() == std::vector<float>{2, 2, 2});
}

TEST_CASE("Bernoulli numbers are 1 as often as asked for") {
  const auto x = bernoulli<float>(Key(1), {100000}, 0.3).to_vector();
  CHECK(std::abs(moments(x).mean - 0.3) < 4 * std::sqrt(0.21 / 1e5));
  CHECK(std::all_of(x.begin(), x.end(), [](float e) { return e == 0 || e == 1; }));
  CHECK(moments(bernoulli<double>(Key(1), {1000}, 1).to_vector()).mean ==
        doctest::Approx(1).epsilon(1e-12));
  CHECK(moments(bernoulli<double>(Key(1), {1000}, 0).to_vector()).mean == 0);
}

TEST_CASE("Whole numbers are spread evenly, also over negative and huge ranges") {
  std::array<int, 6> count{};
  for (std::int64_t i : list(randint(Key(1), {60000}, -3, 3))) {
    CHECK_FALSE((i < -3 || i >= 3));
    ++count[static_cast<std::size_t>(i + 3)];
  }
  double chi = 0;
  for (int c : count) chi += (c - 10000.0) * (c - 10000.0) / 10000;
  CHECK(chi < 20.5);  // 5 degrees of freedom, one in a thousand
  using Limits = std::numeric_limits<std::int64_t>;
  const auto wide = list(randint(Key(2), {1000}, Limits::min(), Limits::max()));
  CHECK(std::count_if(wide.begin(), wide.end(), [](std::int64_t i) { return i < 0; }) > 400);
  CHECK(list(randint(Key(2), {2}, 5, 6)) == std::vector<std::int64_t>{5, 5});
}

TEST_CASE("A permutation has each number once, and each place is equally likely") {
  auto order = list(permutation(Key(9), 1000));
  std::sort(order.begin(), order.end());
  for (std::int64_t i = 0; i < 1000; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
  std::array<std::array<int, 4>, 4> count{};
  for (std::uint64_t n = 0; n < 8000; ++n) {
    const auto p = list(permutation(fold_in(Key(1), n), 4));
    for (std::size_t i = 0; i < 4; ++i) ++count[i][static_cast<std::size_t>(p[i])];
  }
  for (const auto& row : count) {
    for (int c : row) CHECK(std::abs(c - 2000) < 4 * std::sqrt(8000 * 0.25 * 0.75));
  }
  CHECK(permutation(Key(1), 0).size() == 0);
}

TEST_CASE("Categorical choices follow softmax(logits)") {
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  const Var<double> row({4}, {std::log(0.1), std::log(0.6), minus_infinity, std::log(0.3)});
  const Indices chosen = categorical(Key(5), Var<double>(broadcast_to(row, {20000, 4})));
  CHECK(chosen.shape() == Shape{20000});
  std::array<double, 4> share{};
  for (std::int64_t i : chosen.values()) share[static_cast<std::size_t>(i)] += 1.0 / 20000;
  CHECK(std::abs(share[0] - 0.1) < 4 * std::sqrt(0.09 / 20000));
  CHECK(std::abs(share[1] - 0.6) < 4 * std::sqrt(0.24 / 20000));
  CHECK(share[2] == 0);
  CHECK(std::abs(share[3] - 0.3) < 4 * std::sqrt(0.21 / 20000));
  CHECK(categorical(Key(1), zeros<float>({2, 3, 5})).shape() == Shape{2, 3});
  CHECK(categorical(Key(1), zeros<float>({5})).rank() == 0);
}

TEST_CASE("Dropout keeps the expectation, and its gradient passes where the value did") {
  const Var<double> x = ones<double>({50000});
  const auto y = dropout(x, 0.2, Key(3)).to_vector();
  CHECK(std::all_of(y.begin(), y.end(), [](double e) { return e == 0 || e == 1.25; }));
  CHECK(std::abs(moments(y).mean - 1) < 4 * 1.25 * std::sqrt(0.16 / 50000));
  const auto g = grad([](const Var<double>& v) { return sum(dropout(v, 0.2, Key(3))); })(x);
  CHECK(g.to_vector() == y);
  CHECK(dropout(x, 0, Key(3)).to_vector() == x.to_vector());
  check_grads([](const Var<double>& v) { return sum(tanh(dropout(v, 0.5, Key(1)))); },
              normal<double>(Key(2), {3, 7}));
}

TEST_CASE("Arrays without elements are made without complaint") {
  CHECK(normal<float>(Key(1), {0, 3}).size() == 0);
  CHECK(randint(Key(1), {0}, 0, 2).size() == 0);
  CHECK(uniform<double>(Key(1), Shape{}).rank() == 0);
}

TEST_CASE("Requests that cannot be met name the function") {
  const Var<float> x = ones<float>({3});
  CHECK_THROWS_WITH_AS((void)dropout(x, 1.0, Key(1)),
                       "[dropout] the rate 1.000000 is not in [0, 1)", std::invalid_argument);
  CHECK_THROWS_AS((void)dropout(x, -0.1, Key(1)), std::invalid_argument);
  CHECK_THROWS_AS((void)bernoulli<float>(Key(1), {3}, 1.5), std::invalid_argument);
  CHECK_THROWS_AS((void)uniform<float>(Key(1), {3}, 2, 1), std::invalid_argument);
  CHECK_THROWS_AS((void)normal<float>(Key(1), {3}, 0, -1), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)randint(Key(1), {3}, 4, 4),
                       "[randint] no whole number n has 4 <= n < 4", std::invalid_argument);
  CHECK_THROWS_AS((void)permutation(Key(1), -1), std::invalid_argument);
  CHECK_THROWS_AS((void)categorical(Key(1), zeros<float>({3, 0})), std::invalid_argument);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS((void)categorical(Key(1), Var<float>({2}, {0, nan})), std::invalid_argument);
  const float low = -std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS((void)categorical(Key(1), Var<float>({2}, {low, low})),
                       "[categorical] all logits of row 0 are -inf", std::invalid_argument);
}
