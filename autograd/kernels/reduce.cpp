// Sums, maxima and minima over axes. Runs of neighbouring axes are reduced together, the innermost run first, each as an
// array [outer, reduced, inner].
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/tape.hpp"

namespace unroll::detail {
namespace {

template <class T>
struct Add {
  static constexpr T identity = 0;
  static T f(T a, T b) { return a + b; }
  static Lane<T> f(const Lane<T>& a, const Lane<T>& b) { return a + b; }
};
// A NaN wins, as in numpy.
template <class T>
struct Max {
  static constexpr T identity = -std::numeric_limits<T>::infinity();
  static T f(T a, T b) { return a != a || a > b ? a : b; }
  static Lane<T> f(const Lane<T>& a, const Lane<T>& b) { return maximum(a, b); }
};
template <class T>
struct Min {
  static constexpr T identity = std::numeric_limits<T>::infinity();
  static T f(T a, T b) { return a != a || a < b ? a : b; }
  static Lane<T> f(const Lane<T>& a, const Lane<T>& b) { return minimum(a, b); }
};

// A contiguous stretch, or what is left of it without `shift`: four lanes side by side up to 4096 elements, halves above.
template <class T, class Op, bool shifted = false>
T reduce_row(const T* p, Size n, T shift = 0) {
  constexpr Size w = Lane<T>::width;
  if (n > 4096) {
    const Size half = (n / 2 + w - 1) / w * w;
    return Op::f(reduce_row<T, Op, shifted>(p, half, shift),
                 reduce_row<T, Op, shifted>(p + half, n - half, shift));
  }
  const auto load = [&](const T* from) {
    const auto x = Lane<T>::load(from);
    if constexpr (shifted) {
      return x - Lane<T>(shift);
    } else {
      return x;
    }
  };
  T total = Op::identity;
  Size i = 0;
  if (n >= w) {
    Lane<T> sum[4] = {Lane<T>(Op::identity), Lane<T>(Op::identity), Lane<T>(Op::identity),
                      Lane<T>(Op::identity)};
    for (; i + 4 * w <= n; i += 4 * w) {
      for (Size k = 0; k < 4; ++k) sum[k] = Op::f(sum[k], load(p + i + k * w));
    }
    for (; i + w <= n; i += w) sum[0] = Op::f(sum[0], load(p + i));
    T tmp[Lane<T>::width];
    Op::f(Op::f(sum[0], sum[1]), Op::f(sum[2], sum[3])).store(tmp);
    for (Size half = w / 2; half > 0; half /= 2) {
      for (Size k = 0; k < half; ++k) tmp[k] = Op::f(tmp[k], tmp[k + half]);
    }
    total = tmp[0];
  }
  for (; i < n; ++i) total = Op::f(total, shifted ? p[i] - shift : p[i]);
  return total;
}

// The mean of a stretch, to which what the sum lost to rounding is added: equal numbers have their value as their mean.
template <class T>
T mean_of_row(const T* p, Size n) {
  const T divisor = static_cast<T>(n), mean = reduce_row<T, Add<T>>(p, n) / divisor;
  if (std::isfinite(mean)) {
    const T rest = reduce_row<T, Add<T>, true>(p, n, mean) / divisor;
    return std::isfinite(rest) ? mean + rest : mean;
  }
  if (!std::all_of(p, p + n, [](T x) { return std::isfinite(x); })) return mean;
  // Only the sum is too large: that of the numbers divided by a power of two is not.
  const int exponent = std::ilogb(divisor) + 1;
  std::vector<T> scaled(p, p + n);
  for (T& x : scaled) x = std::ldexp(x, -exponent);
  return std::ldexp(mean_of_row(scaled.data(), n), exponent);
}

// `Lanes` lanes of columns, the last of them of `columns` elements, over rows that are `inner` apart.
template <class T, class Op, int Lanes>
void reduce_columns(const T* p, Size rows, Size inner, Size columns, T* out) {
  using L = Lane<T>;
  constexpr Size w = L::width;
  const bool whole = columns == w;
  const auto load = [&](const T* row, int k) {
    return whole ? L::load(row + k * w) : L::load_part(row + k * w, columns);
  };
  L sum[Lanes];
  for (int k = 0; k < Lanes; ++k) sum[k] = load(p, k);
  for (Size i = 1; i < rows; ++i) {
    for (int k = 0; k < Lanes; ++k) sum[k] = Op::f(sum[k], load(p + i * inner, k));
  }
  for (int k = 0; k < Lanes; ++k) {
    whole ? sum[k].store(out + k * w) : sum[k].store_part(out + k * w, columns);
  }
}

// Rows [reduced, inner] into one row; in halves above 32 rows.
template <class T, class Op>
void reduce_rows(const T* p, Size reduced, Size inner, T* __restrict out) {
  if (reduced > 32) {
    const Size half = reduced / 2;
    reduce_rows<T, Op>(p, half, inner, out);
    const Ref rest = new_block<T>(Shape{inner});
    T* __restrict q = rest->template data<T>();
    reduce_rows<T, Op>(p + half * inner, reduced - half, inner, q);
    for (Size j = 0; j < inner; ++j) out[j] = Op::f(out[j], q[j]);
    return;
  }
  if (reduced == 0) {
    std::fill_n(out, inner, Op::identity);
    return;
  }
  constexpr Size w = Lane<T>::width;
  Size j = 0;
  for (; j + 4 * w <= inner; j += 4 * w) {
    reduce_columns<T, Op, 4>(p + j, reduced, inner, w, out + j);
  }
  for (; j < inner; j += w) {
    reduce_columns<T, Op, 1>(p + j, reduced, inner, std::min(w, inner - j), out + j);
  }
}

template <class T, class Op>
Ref reduce_axes(const Block& x, unsigned axes, KeepDims keep) {
  Ref current = contiguous(const_cast<Block*>(&x));
  Shape shape = x.shape();
  for (std::size_t last = shape.rank(); last-- > 0;) {
    if (!(axes >> last & 1)) continue;
    std::size_t first = last;
    while (first > 0 && (axes >> (first - 1) & 1)) --first;
    Size outer = 1, reduced = 1, inner = 1;
    for (std::size_t i = 0; i < shape.rank(); ++i) {
      (i < first ? outer : i <= last ? reduced : inner) *= shape[i];
    }
    Shape next = shape;
    for (std::size_t i = first; i <= last; ++i) next[i] = 1;
    Ref out = new_block<T>(next);
    const T* p = current->data<T>();
    T* q = out->template data<T>();
    for (Size o = 0; o < outer; ++o) {
      if (inner == 1) {
        q[o] = reduce_row<T, Op>(p + o * reduced, reduced);
      } else {
        reduce_rows<T, Op>(p + o * reduced * inner, reduced, inner, q + o * inner);
      }
    }
    current = std::move(out);
    shape = next;
    last = first;
  }
  if (keep == KeepDims::yes || axes == 0) return current;
  Shape squeezed;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (!(axes >> i & 1)) squeezed.push_back(shape[i]);
  }
  return relabel(std::move(current), squeezed);
}

}  // namespace

template <class T>
Ref reduce(Reduction kind, const Block& x, unsigned axes, KeepDims keep) {
  switch (kind) {
    case Reduction::max:
      return reduce_axes<T, Max<T>>(x, axes, keep);
    case Reduction::min:
      return reduce_axes<T, Min<T>>(x, axes, keep);
    default:
      return reduce_axes<T, Add<T>>(x, axes, keep);
  }
}

template <class T>
void mean_of_rows(const T* x, Size rows, Size n, T* out) {
  for (Size i = 0; i < rows; ++i) out[i] = mean_of_row(x + i * n, n);
}

template <class T>
Ref sum_to(Ref x, const Shape& shape) {
  if (x->size() == shape.size()) {
    return relabel(x->contiguous ? std::move(x) : contiguous(x.get()), shape);
  }
  const std::size_t shift = x->rank - shape.rank();
  unsigned axes = 0;
  for (std::size_t i = 0; i < x->rank; ++i) {
    if (i < shift || (shape[i - shift] == 1 && x->sizes()[i] != 1)) axes |= 1U << i;
  }
  return relabel(reduce<T>(Reduction::sum, *x, axes, KeepDims::yes), shape);
}

template Ref reduce<float>(Reduction, const Block&, unsigned, KeepDims);
template Ref reduce<double>(Reduction, const Block&, unsigned, KeepDims);
template void mean_of_rows(const float*, Size, Size, float*);
template void mean_of_rows(const double*, Size, Size, double*);
template Ref sum_to<float>(Ref, const Shape&);
template Ref sum_to<double>(Ref, const Shape&);

}  // namespace unroll::detail

namespace unroll {

const char* kernel_level() { return xsimd::default_arch::name(); }

const int detail::library_level = detail::own_level;
// In wide registers computing again costs less than reading what has left the caches; in narrower ones more (decision 26).
const std::size_t detail::most_kept = std::size_t{detail::own_level >= 4 ? 1 : 64} << 20;

}  // namespace unroll
