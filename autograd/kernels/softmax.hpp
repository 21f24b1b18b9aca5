// Rows of a softmax and of what is near it, over lanes: each row is shifted by its largest element, so nothing overflows.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/var.hpp"

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
  return lane_math::sum_of_elements(sums.batch());
}

// y = scale · softmax(x), or the logarithm of the softmax: (x - max) - log Σ, in which a number common to all x is gone.
template <class T>
void softmax_row(const T* x, T* y, Size n, T scale) {
  const T total = row_exp_sum(x, n, row_top(x, n), y);
  const T factor = scale / total;
  for (Size i = 0; i < n; ++i) y[i] *= factor;
}
template <class T>
void log_softmax_row(const T* x, T* y, Size n) {
  const T top = row_top(x, n);
  const T log_total = std::log(row_exp_sum<T>(x, n, top, nullptr));
  for (Size i = 0; i < n; ++i) y[i] = (x[i] - top) - log_total;
}
// The derivative of logsumexp times scale: scale · softmax(x), and 0 where all x are -inf.
template <class T>
void scaled_softmax_row(const T* x, T* y, Size n, T scale) {
  if (row_top(x, n) == -std::numeric_limits<T>::infinity() &&
      std::none_of(x, x + n, [](T e) { return e != e; })) {
    std::fill_n(y, n, T(0));
  } else {
    softmax_row(x, y, n, scale);
  }
}

// What logsumexp over an array's rows leaves for the sweep, which needs no exponentials then; empty where nothing is recorded.
template <class T>
class KeptSoftmax {
 public:
  explicit KeptSoftmax(const Var<T>& x) {
    if (!x.is_tracked()) return;
    Shape rows = x.shape();
    rows[rows.rank() - 1] = 1;
    terms_ = new_block<T>(x.shape());
    factors_ = new_block<T>(rows);
  }
  explicit operator bool() const { return bool(terms_); }

  // out[i] = logsumexp of row i less its element number taken(i), if that is not negative; 0 where taken(i) is `no_row`. The
  // logarithm is -inf of nothing but -inf, and inf where there is one.
  static constexpr Size no_row = -2;
  template <class Taken>
  void logsumexp(const T* x, Size rows, Size n, T* out, Taken&& taken) const {
    using L = Lane<T>;
    constexpr Size w = L::width;
    for (Size first = 0; first < rows; first += w) {  // as many rows as one logarithm is taken of
      const Size count = std::min(w, rows - first);
      T total[w], shift[w];
      std::fill_n(total, w, T(1));
      std::fill_n(shift, w, T(0));
      for (Size j = 0; j < count; ++j) {
        const Size i = first + j;
        const Size element = taken(i);
        if (element == no_row) continue;
        const T* row = x + i * n;
        const T top = row_top(row, n);
        if (!std::isinf(top)) shift[j] = top;
        total[j] =
            row_exp_sum(row, n, shift[j], terms_ ? terms_->template data<T>() + i * n : nullptr);
        if (factors_) factors_->template data<T>()[i] = total[j] == 0 ? 0 : 1 / total[j];
        if (element >= 0) shift[j] -= row[element];
      }
      (log(L::load(total)) + L::load(shift)).store_part(out + first, count);
    }
  }
  // y = scale · softmax of the row.
  void pull_back(Size row, T scale, T* __restrict y, Size n) const {
    const T* __restrict e = terms_->template data<T>() + row * n;
    const T s = scale * factors_->template data<T>()[row];
    for (Size k = 0; k < n; ++k) y[k] = s * e[k];
  }

 private:
  Ref terms_, factors_;
};

}  // namespace unroll::detail
