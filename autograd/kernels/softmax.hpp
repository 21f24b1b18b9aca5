// Rows of a softmax and of what is near it, over lanes: each row is shifted by its largest element, so nothing overflows.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/shape.hpp"

namespace unroll::detail {

// The largest of a row, minus infinity of an empty one. A NaN may be passed over: the exponentials will show it.
template <class T>
T row_top(const T* x, Size n) {
  using L = Lane<T>;
  constexpr Size w = L::width;
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  typename L::Batch top(lowest);
  Size i = 0;
  for (; i + w <= n; i += w) top = xsimd::max(top, L::load(x + i).batch());
  if (i < n) top = xsimd::max(top, L::load_part(x + i, n - i, lowest).batch());
  T lanes[w];
  top.store_unaligned(lanes);
#pragma GCC unroll 8
  for (Size half = w / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (Size j = 0; j < half; ++j) {
      lanes[j] = lanes[j] < lanes[j + half] ? lanes[j + half] : lanes[j];
    }
  }
  return lanes[0];
}

// Σ exp(x - shift) over a row; the terms go to `terms`, where it is not null.
template <class T>
T row_exp_sum(const T* x, Size n, T shift, T* terms) {
  using L = Lane<T>;
  constexpr Size w = L::width;
  L sums(0);
  Size i = 0;
  for (; i + w <= n; i += w) {
    const L e = exp(L::load(x + i) - L(shift));
    if (terms) e.store(terms + i);
    sums = sums + e;
  }
  if (i < n) {
    const L e = exp(L::load_part(x + i, n - i, -std::numeric_limits<T>::infinity()) - L(shift));
    if (terms) e.store_part(terms + i, n - i);
    sums = sums + e;
  }
  return xsimd::hadd(sums.batch());
}

// y = scale · softmax(x), or the logarithm of the softmax.
template <class T>
void softmax_row(const T* x, T* y, Size n, T scale) {
  const T total = row_exp_sum(x, n, row_top(x, n), y);
  const T factor = scale / total;
  for (Size i = 0; i < n; ++i) y[i] *= factor;
}
template <class T>
void log_softmax_row(const T* x, T* y, Size n) {
  const T top = row_top(x, n);
  const T shift = top + std::log(row_exp_sum<T>(x, n, top, nullptr));
  for (Size i = 0; i < n; ++i) y[i] = x[i] - shift;
}
// -inf of nothing but -inf, and inf where there is one; the softmax goes to `softmax`, where it is not null.
template <class T>
T row_logsumexp(const T* x, Size n, T* softmax) {
  const T top = row_top(x, n), shift = std::isinf(top) ? T(0) : top;
  const T total = row_exp_sum<T>(x, n, shift, softmax), factor = 1 / total;
  for (Size i = 0; softmax && i < n; ++i) softmax[i] *= factor;
  return std::log(total) + shift;
}

}  // namespace unroll::detail
