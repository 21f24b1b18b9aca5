// Arrays for checking values: nothing but a shape, a vector in row-major order, and loops over indices. It shares no code
// with the library's kernels.
//
//   PlainArray y = PlainArray::make(Shape{2, 3}, [&](const Index& i) { return x.at({i[1], i[0]}); });
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "unroll/autograd/autograd.hpp"

namespace unroll::testing {

using Index = std::vector<Size>;

struct PlainArray {
  Shape shape;
  std::vector<double> values;

  template <class T>
  static PlainArray of(const Var<T>& x) {
    const auto v = x.to_vector();
    return {x.shape(), {v.begin(), v.end()}};
  }
  static PlainArray make(const Shape& shape, const std::function<double(const Index&)>& f) {
    PlainArray out{shape, {}};
    for (Size k = 0; k < shape.size(); ++k) {
      Index i(shape.rank());
      Size rest = k;
      for (std::size_t a = shape.rank(); a-- > 0; rest /= shape[a]) i[a] = rest % shape[a];
      out.values.push_back(f(i));
    }
    return out;
  }
  [[nodiscard]] double at(const Index& i) const {
    Size k = 0;
    for (std::size_t a = 0; a < shape.rank(); ++a) k = k * shape[a] + i[a];
    return values.at(static_cast<std::size_t>(k));
  }
  // The element that meets index i of an array that this one broadcasts to.
  [[nodiscard]] double broadcast_at(const Index& i) const {
    Index own(i.end() - static_cast<std::ptrdiff_t>(shape.rank()), i.end());
    for (std::size_t a = 0; a < own.size(); ++a) own[a] = shape[a] == 1 ? 0 : own[a];
    return at(own);
  }
};

// NaN equals NaN and inf equals inf; other numbers to a relative tolerance.
inline bool close(double a, double b, double tolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b));
}

template <class T>
void expect_equal(const std::string& what, const Var<T>& got, const PlainArray& expected,
                  double tolerance) {
  INFO(what << ": shape " << to_string(got.shape()) << ", expected " << to_string(expected.shape));
  REQUIRE(got.shape() == expected.shape);
  const auto values = got.to_vector();
  for (std::size_t k = 0; k < values.size(); ++k) {
    INFO(what << ", element " << k << ": " << values[k] << ", expected " << expected.values[k]);
    CHECK(close(values[k], expected.values[k], tolerance));
  }
}

// The same values contiguous, with gaps, backwards in memory, by columns, and on a tape.
template <class T>
std::vector<Var<T>> layouts(const Var<T>& x, Tape<T>& tape) {
  std::vector<Var<T>> out{x, tape.leaf(x)};
  if (x.rank() == 0) return out;
  const auto stored = [](const Var<T>& v) {  // in memory as it is seen
    const auto values = v.to_vector();
    return Var<T>(v.shape(), std::span<const T>(values));
  };
  out.push_back(flip(stored(flip(x, 0)), 0));
  out.push_back(slice(stored(repeat(x, 2, -1)), -1, {.step = 2}));
  if (x.rank() >= 2) {
    out.push_back(transpose(stored(transpose(x))));
    const Var<T> wide = stored(pad(pad(x, 0, 1, 1), -1, 2, 1));
    out.push_back(slice(slice(wide, 0, {1, -1}), -1, {2, -1}));
  }
  return out;
}

}  // namespace unroll::testing
