// What the C library's functions cost beside xsimd's: pow, and normal_cdf beside 1 + erf, in ns per element, at the level that
// this program is compiled for. The least of many runs over an array that stays in the caches, in turns.
//
//   costly_functions
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/bench/measure.hpp"

namespace {

using namespace unroll;

template <class T>
std::vector<T> values(std::uint64_t key, Size n, double low, double high) {
  return uniform<T>(Key(key), {n}, low, high).to_vector();
}

template <class T>
void measure(const char* type) {
  using L = Lane<T>;
  constexpr Size n = 1 << 14, width = Size{L::width};
  constexpr int runs = 200;
  const std::vector<T> x = values<T>(1, n, 0.01, 20), y = values<T>(2, n, -4, 4);
  std::vector<T> z(static_cast<std::size_t>(n));
  std::array<double, 4> least;
  least.fill(1e9);
  const auto time = [&](std::size_t k, auto f) {
    const double begin = bench::wall_seconds();
    for (Size i = 0; i < n; i += width) f(L::load(&x[i]), L::load(&y[i])).store(&z[i]);
    least[k] = std::min(least[k], (bench::wall_seconds() - begin) / static_cast<double>(n) * 1e9);
  };
  for (int run = 0; run < runs; ++run) {
    time(0, [](const L& a, const L& b) { return pow(a, b); });
    time(1, [](const L& a, const L& b) { return L(xsimd::pow(a.batch(), b.batch())); });
    time(2, [](const L&, const L& b) { return normal_cdf(b); });
    time(3, [](const L&, const L& b) { return L(0.5) * (L(1) + erf(b * L(0.7071067811865476))); });
  }
  fmt::print(
      "{:<7} pow {:>6.1f}   xsimd's {:>6.1f}   normal_cdf over [-4, 4] {:>6.1f}   1 + erf "
      "{:>6.1f}\n",
      type, least[0], least[1], least[2], least[3]);
}

}  // namespace

int main() {
  fmt::print("level: {}; ns per element\n", xsimd::default_arch::name());
  measure<float>("float");
  measure<double>("double");
}
