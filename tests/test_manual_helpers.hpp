// What the tests of the hand-derived references share: pseudo-random arrays, one-hot targets, and a
// gradient check by central differences that knows nothing of the rule under test.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

namespace unroll::test {

using Array = Dense<double>;

/// Values in (-scale, scale), the same on every machine.
inline Array random_array(std::initializer_list<std::size_t> shape, std::uint64_t seed,
                          double scale = 0.8) {
  std::mt19937_64 generator(seed);
  Array array = xt::empty<double>(std::vector<std::size_t>(shape));
  for (double& x : array)
    x = scale * (2.0 * static_cast<double>(generator() >> 11) * 0x1p-53 - 1.0);
  return array;
}

/// An array of this shape and these values in row order; xtensor's nested braces are ambiguous for
/// axes of 1.
inline Array filled(std::initializer_list<std::size_t> shape,
                    std::initializer_list<double> values) {
  Array array = xt::empty<double>(std::vector<std::size_t>(shape));
  REQUIRE(array.size() == values.size());
  std::copy(values.begin(), values.end(), array.begin());
  return array;
}

inline Array one_hot(std::size_t T, std::size_t B, std::size_t K, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  Array ys = xt::zeros<double>({T, B, K});
  for (std::size_t row = 0; row < T * B; ++row) ys.data()[row * K + generator() % K] = 1.0;
  return ys;
}

/// |a - b|∞ / |b|∞; |a|∞ when b is all zero.
template <class T>
double normwise_difference(const Dense<T>& a, const Dense<T>& b) {
  REQUIRE(a.shape() == b.shape());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(double(a.data()[i]) - double(b.data()[i])));
    size = std::max(size, std::abs(double(b.data()[i])));
  }
  return size > 0 ? difference / size : difference;
}

/// ∂loss()/∂array by the 5-point stencil, error O(h⁴). loss reads array by reference; array is left
/// as it was.
template <class Loss>
Array difference_gradient(Array& array, const Loss& loss) {
  const double h = 2e-3;
  Array gradient = xt::zeros_like(array);
  for (std::size_t i = 0; i < array.size(); ++i) {
    const double x = array.data()[i];
    const auto at = [&](double offset) {
      array.data()[i] = x + offset;
      return loss();
    };
    gradient.data()[i] = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    array.data()[i] = x;
  }
  return gradient;
}

template <class Loss>
void check_against_differences(const std::string& name, Array& array, const Array& gradient,
                               const Loss& loss) {
  CAPTURE(name);
  const Array numeric = difference_gradient(array, loss);
  CHECK(normwise_difference(gradient, numeric) <= 1e-8);
}

/// Σ_t a_tᵀ b_t for [T, B, m] and [T, B, n], written as four loops.
inline Array sum_of_products(const Array& a, const Array& b) {
  const std::size_t rows = a.shape(0) * a.shape(1), m = a.shape(2), n = b.shape(2);
  Array total = xt::zeros<double>({m, n});
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j) total(i, j) += a.data()[r * m + i] * b.data()[r * n + j];
  return total;
}

/// Σ_t Σ_b a for [T, B, m].
inline Array sum_of_rows(const Array& a) {
  return xt::sum(a, {0, 1}, xt::evaluation_strategy::immediate);
}

/// first at step 0, then steps 0 .. T-2 of states: what each step of a recurrence starts from.
inline Array previous_states(const Array& first, const Array& states) {
  Array previous = xt::zeros_like(states);
  std::copy(first.begin(), first.end(), previous.begin());
  std::copy(states.begin(), states.end() - static_cast<std::ptrdiff_t>(first.size()),
            previous.begin() + static_cast<std::ptrdiff_t>(first.size()));
  return previous;
}

}  // namespace unroll::test
