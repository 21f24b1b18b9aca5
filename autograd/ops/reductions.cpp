// Sums, extremes and what is composed from them.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/kernels/softmax.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/transforms.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Ref;

// x's shape with the reduced axes set to 1: what a reduction's result is before they are dropped.
Shape kept_shape(Shape shape, unsigned axes) {
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (axes >> i & 1) shape[i] = 1;
  }
  return shape;
}

struct Sum {
  static constexpr auto name = "sum";
  unsigned axes = 0;
  KeepDims keep = KeepDims::no;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return Var<T>(
        Handle(detail::reduce<T>(detail::Reduction::sum, *x.handle().block(), axes, keep)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return broadcast_to(reshape(g, kept_shape(x.shape(), axes)), x.shape());
  }
};

template <class T>
Size reduced_count(const Var<T>& x, unsigned mask) {
  Size n = 1;
  const Shape shape = x.shape();
  for (std::size_t i = 0; i < shape.rank(); ++i) n *= mask >> i & 1 ? shape[i] : 1;
  return n;
}

// x with the reduced axes last and as one: [rest..., n].
template <class T>
Var<T> as_rows(const Var<T>& x, unsigned mask) {
  const Shape shape = x.shape();
  std::array<Size, Shape::max_rank> axes{};
  std::size_t count = 0;
  Shape flat;
  for (const bool reduced : {false, true}) {
    for (std::size_t i = 0; i < shape.rank(); ++i) {
      if ((mask >> i & 1) != reduced) continue;
      axes[count++] = static_cast<Size>(i);
      if (!reduced) flat.push_back(shape[i]);
    }
  }
  flat.push_back(reduced_count(x, mask));
  const std::span<const Size> order(axes.data(), count);
  const Var<T> last = std::ranges::is_sorted(order) ? x : permute(x, order);
  return flat == last.shape() ? last : reshape(last, flat);
}

// What a reduction of x gives, from the reduction of as_rows(x, axes) (or of x with its axes kept).
template <class T>
Var<T> from_rows(const Var<T>& y, const Var<T>& x, unsigned axes, KeepDims keep) {
  Shape shape = kept_shape(x.shape(), axes);
  if (keep == KeepDims::no) {
    for (std::size_t i = shape.rank(); i-- > 0;) {
      if (axes >> i & 1) shape.erase(i);
    }
  }
  return y.shape() == shape ? y : reshape(y, shape);
}

struct Mean {
  static constexpr auto name = "mean";
  unsigned axes = 0;
  KeepDims keep = KeepDims::no;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Var<T> rows = as_rows(x, axes);
    const Ref b = detail::contiguous(rows.handle().block());
    Shape shape = b->shape();
    const Size n = shape.back();
    shape.erase(shape.rank() - 1);
    Ref out = detail::new_block<T>(shape);
    detail::mean_of_rows(b->template data<T>(), shape.size(), n, out->template data<T>());
    return from_rows(Var<T>(Handle(std::move(out))), x, axes, keep);
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return Sum{axes, keep}.adjoint(wrt<0>{}, g / static_cast<T>(reduced_count(x, axes)), x);
  }
};

// x - mean(x), and what rounding of the mean left of a mean subtracted once more. A projection, which is its own adjoint.
struct Centre {
  static constexpr auto name = "centre";
  unsigned axes = 0;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Mean mean{axes, KeepDims::yes};
    const Var<T> y = x - mean.f(x);
    return y - mean.f(y);
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&) const {
    return apply(*this, g);
  }
};

// √Σ x², over numbers of any size.
struct Norm {
  static constexpr auto name = "norm";
  unsigned axes = 0;
  KeepDims keep = KeepDims::no;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Var<T> rows = as_rows(x, axes);
    Var<T> total = unroll::sum(square(rows), -1);
    // Where a square may have become infinite, or lost digits because it is small, all are scaled first.
    constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
    const auto exact = [&](T s) { return s >= least && s <= std::numeric_limits<T>::max(); };
    if (rows.size(-1) > 0 && !std::ranges::all_of(total.to_vector(), exact)) {
      const Var<T> scale = detail::power_of_two_below(rows, {-1});
      total = sqrt(unroll::sum(square(rows / scale), -1)) * reshape(scale, total.shape());
    } else {
      total = sqrt(total);
    }
    return from_rows(total, x, axes, keep);
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>& y, const Var<T>& x) const {
    const Shape kept = kept_shape(x.shape(), axes);
    const Var<T> length = reshape(y, kept), is_zero = length == 0;
    return reshape(g, kept) * where(is_zero, 0, x / where(is_zero, 1, length));
  }
};

// The largest or smallest element; ties share the cotangent evenly.
template <detail::Reduction kind>
struct Extreme {
  static constexpr auto name = kind == detail::Reduction::max ? "max" : "min";
  unsigned axes = 0;
  KeepDims keep = KeepDims::no;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return Var<T>(Handle(detail::reduce<T>(kind, *x.handle().block(), axes, keep)));
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>& y, const Var<T>& x) const {
    const Shape kept = kept_shape(x.shape(), axes);
    const Var<T> chosen = reshape(y, kept) == x;
    return reshape(g, kept) * (chosen / apply(Sum{axes, KeepDims::yes}, chosen));
  }
};

// A sum that adds what each addition lost to rounding to the next one (Kahan, 1965).
template <class T>
struct RunningSum {
  T sum = 0, lost = 0;
  T add(T x) {
    const T term = x + lost, next = sum + term;
    lost = std::abs(sum) >= std::abs(term) ? (sum - next) + term : (term - next) + sum;
    if (!std::isfinite(next)) lost = 0;
    return sum = next;
  }
};

struct CumulativeSum {
  static constexpr auto name = "cumsum";
  std::size_t axis = 0;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    const Shape shape = b->shape();
    Ref out = detail::new_block<T>(shape);
    Size inner = 1;
    for (std::size_t i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
    const Size n = shape[axis], total = shape.size();
    const T* p = b->template data<T>();
    T* q = out->template data<T>();
    std::vector<RunningSum<T>> sums;
    for (Size i = 0; i < total; i += inner) {
      if ((i / inner) % n == 0) sums.assign(static_cast<std::size_t>(inner), {});
      for (Size j = 0; j < inner; ++j) q[i + j] = sums[static_cast<std::size_t>(j)].add(p[i + j]);
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&) const {
    const Size a = static_cast<Size>(axis);
    return flip(cumsum(flip(g, a), a), a);
  }
};

// Over the last axis. Rules of their own because composing them costs seven passes over memory instead of two.
template <bool logarithm = false>
struct Softmax {
  static constexpr auto name = logarithm ? "log_softmax" : "softmax";
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    Ref out = detail::new_block<T>(b->shape());
    const Size n = b->sizes()[b->rank - 1u];
    for (Size i = 0; n > 0 && i < b->size(); i += n) {
      const T* x_row = b->template data<T>() + i;
      T* y_row = out->template data<T>() + i;
      logarithm ? detail::log_softmax_row(x_row, y_row, n)
                : detail::softmax_row(x_row, y_row, n, T(1));
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>& y, const Var<T>&) const {
    if (logarithm) return g - exp(y) * unroll::sum(g, -1, KeepDims::yes);
    return y * (g - unroll::sum(g * y, -1, KeepDims::yes));
  }
};

// g · softmax(x) over the last axis, g [..., 1], and 0 in rows of nothing but -inf: what a sweep through logsumexp gives,
// without a pass for the product.
struct ScaledSoftmax {
  static constexpr auto name = "scaled_softmax";
  template <class T>
  Var<T> f(const Var<T>& g, const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    const Ref scale = detail::contiguous(g.handle().block());
    Ref out = detail::new_block<T>(b->shape());
    const Size n = b->sizes()[b->rank - 1u], rows = scale->size();
    for (Size i = 0; i < rows; ++i) {
      detail::scaled_softmax_row(b->template data<T>() + i * n, out->template data<T>() + i * n, n,
                                 scale->template data<T>()[i]);
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& c, const Var<T>&, const Var<T>&, const Var<T>& x) const {
    return unroll::sum(c * probabilities(x), -1, KeepDims::yes);
  }
  template <class T>
  Var<T> vjp(wrt<1>, const Var<T>& c, const Var<T>& y, const Var<T>&, const Var<T>& x) const {
    return y * (c - unroll::sum(c * probabilities(x), -1, KeepDims::yes));
  }

 private:
  template <class T>
  static Var<T> probabilities(const Var<T>& x) {
    return apply(ScaledSoftmax{}, ones<T>(kept_shape(x.shape(), 1U << (x.rank() - 1))), x);
  }
};

// log Σ exp over the last axis, which goes away. A rule of its own because composed of max, a difference, exp and
// sum it passes over memory four times and makes two arrays of x's size.
template <class T>
struct LogSumExp {
  static constexpr auto name = "logsumexp";
  detail::KeptSoftmax<T> kept;  // filled by f
  Var<T> f(const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    Shape shape = b->shape();
    const Size n = shape.back();
    shape.erase(shape.rank() - 1);
    Ref out = detail::new_block<T>(shape);
    kept.logsumexp(b->template data<T>(), shape.size(), n, out->template data<T>(),
                   [](Size) { return Size{-1}; });
    return Var<T>(Handle(std::move(out)));
  }
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x) const {
    if (!kept || g.is_tracked() || x.is_tracked()) {
      return apply(ScaledSoftmax{}, expand(g, -1), x);
    }
    const Ref scale = detail::contiguous(g.handle().block());
    Ref out = detail::new_block<T>(x.shape());
    const Size n = x.size(-1), rows = scale->size();
    for (Size i = 0; i < rows; ++i) {
      kept.pull_back(i, scale->template data<T>()[i], out->template data<T>() + i * n, n);
    }
    return Var<T>(Handle(std::move(out)));
  }
};

// The axes as bits; throws where one of them is empty.
unsigned mask_of_filled(const char* name, const Shape& shape, const Axes& axes) {
  const unsigned mask = axes.mask(name, shape.rank());
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if ((mask >> i & 1) && shape[i] == 0) {
      fail(name, "there is nothing to choose from: axis " + std::to_string(i) + " of " +
                     to_string(shape) + " is empty");
    }
  }
  return mask;
}

template <detail::Reduction kind, class T>
Var<T> extreme(const Var<T>& x, const Axes& axes, KeepDims keep) {
  using Op = Extreme<kind>;
  return apply(Op{mask_of_filled(Op::name, x.shape(), axes), keep}, x);
}

template <class T, class Better>
Indices arg_best(const char* name, const Var<T>& x, Size axis, Better&& better) {
  const std::size_t a = normalize_axis(name, axis, x.rank());
  const Ref b = detail::contiguous(x.handle().block());
  Shape shape = b->shape();
  const Size n = shape[a];
  if (n == 0) fail(name, "there is nothing to choose from: " + to_string(shape));
  Size inner = 1;
  for (std::size_t i = a + 1; i < shape.rank(); ++i) inner *= shape[i];
  shape.erase(a);
  Ref out = detail::new_block<std::int64_t>(shape);
  const T* p = b->template data<T>();
  for (Size i = 0; i < shape.size(); ++i) {
    const T* row = p + i / inner * inner * n + i % inner;
    std::int64_t best = 0;
    for (Size k = 1; k < n; ++k) {
      if (better(row[k * inner], row[best * inner])) best = k;
    }
    out->data<std::int64_t>()[i] = best;
  }
  return Indices(std::move(out));
}

template <class Op, class T>
Var<T> over_last_axis(const Var<T>& x, Size axis) {
  const std::size_t rank = x.rank(), a = normalize_axis(Op::name, axis, rank);
  if (a + 1 == rank) return apply(Op{}, x);
  std::vector<Size> order(rank);
  for (std::size_t i = 0; i < rank; ++i) order[i] = static_cast<Size>(i);
  std::swap(order[a], order[rank - 1]);
  return permute(apply(Op{}, permute(x, std::span<const Size>(order))),
                 std::span<const Size>(order));
}

}  // namespace

template <FloatOrDouble T>
Var<T> sum(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return apply(Sum{axes.mask("sum", x.rank()), keep}, x);
}
template <FloatOrDouble T>
Var<T> mean(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const unsigned mask = axes.mask("mean", x.rank());
  const Size n = reduced_count(x, mask);
  if (n == 0) fail("mean", "there is nothing to average in " + to_string(x.shape()));
  return apply(Mean{mask, keep}, x);
}
template <FloatOrDouble T>
Var<T> max(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return extreme<detail::Reduction::max>(x, axes, keep);
}
template <FloatOrDouble T>
Var<T> min(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return extreme<detail::Reduction::min>(x, axes, keep);
}
template <FloatOrDouble T>
Var<T> prod(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const unsigned mask = axes.mask("prod", x.rank());
  // Halves are multiplied until one element is left.
  Var<T> y = as_rows(x, mask);
  Size n = y.size(-1);
  if (n == 0) y = ones<T>(kept_shape(y.shape(), 1U << (y.rank() - 1)));
  for (; n > 1; n = (n + 1) / 2) {
    const Size half = n / 2;
    const Var<T> pairs = slice(y, -1, {0, half}) * slice(y, -1, {half, 2 * half});
    y = n % 2 == 0 ? pairs : concat({pairs, slice(y, -1, {2 * half, n})}, -1);
  }
  return from_rows(y, x, mask, keep);
}
template <FloatOrDouble T>
Var<T> logsumexp(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const unsigned mask = mask_of_filled("logsumexp", x.shape(), axes);
  const Var<T> rows = as_rows(x, mask);
  return from_rows(apply(LogSumExp<T>{detail::KeptSoftmax<T>(rows)}, rows), x, mask, keep);
}
template <FloatOrDouble T>
Var<T> var(const Var<T>& x, const Axes& axes, Size ddof, KeepDims keep) {
  const unsigned mask = axes.mask("var", x.rank());
  const Size n = reduced_count(x, mask);
  if (n <= ddof) {
    fail("var", std::to_string(n) + " elements with ddof = " + std::to_string(ddof) + " in " +
                    to_string(x.shape()) + ": the divisor n - ddof must be positive");
  }
  return apply(Sum{mask, keep}, square(apply(Centre{mask}, x))) / static_cast<T>(n - ddof);
}
template <FloatOrDouble T>
Var<T> centre(const Var<T>& x, const Axes& axes) {
  return x.size() == 0 ? x : apply(Centre{axes.mask("centre", x.rank())}, x);
}
template <FloatOrDouble T>
Var<T> norm(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return apply(Norm{axes.mask("norm", x.rank()), keep}, x);
}
namespace detail {
template <class T>
bool all_finite(const Var<T>& x) {
  const Ref b = contiguous(x.handle().block());
  const T* const p = b->data<T>();
  return std::all_of(p, p + b->size(), [](T e) { return std::isfinite(e); });
}
template <class T>
Var<T> power_of_two_below(const Var<T>& x, const Axes& axes) {
  const Var<T> top = max(abs(stop_gradient(x)), axes, KeepDims::yes);
  std::vector<T> scale = top.to_vector();
  for (T& s : scale) s = s > 0 && std::isfinite(s) ? std::ldexp(T(1), std::ilogb(s)) : T(1);
  return Var<T>(top.shape(), scale);
}
}  // namespace detail
template <FloatOrDouble T>
Var<T> cumsum(const Var<T>& x, Size axis) {
  return apply(CumulativeSum{normalize_axis("cumsum", axis, x.rank())}, x);
}
template <FloatOrDouble T>
Indices argmax(const Var<T>& x, Size axis) {
  return arg_best("argmax", x, axis, [](T a, T b) { return a > b || (a != a && b == b); });
}
template <FloatOrDouble T>
Indices argmin(const Var<T>& x, Size axis) {
  return arg_best("argmin", x, axis, [](T a, T b) { return a < b || (a != a && b == b); });
}
template <FloatOrDouble T>
Var<T> softmax(const Var<T>& x, Size axis) {
  return over_last_axis<Softmax<>>(x, axis);
}
template <FloatOrDouble T>
Var<T> log_softmax(const Var<T>& x, Size axis) {
  return over_last_axis<Softmax<true>>(x, axis);
}

template Var<float> sum(const Var<float>&, const Axes&, KeepDims);
template Var<float> mean(const Var<float>&, const Axes&, KeepDims);
template Var<float> max(const Var<float>&, const Axes&, KeepDims);
template Var<float> min(const Var<float>&, const Axes&, KeepDims);
template Var<float> prod(const Var<float>&, const Axes&, KeepDims);
template Var<float> logsumexp(const Var<float>&, const Axes&, KeepDims);
template Var<float> norm(const Var<float>&, const Axes&, KeepDims);
template Var<float> var(const Var<float>&, const Axes&, Size, KeepDims);
template Var<float> centre(const Var<float>&, const Axes&);
template bool detail::all_finite(const Var<float>&);
template Var<float> detail::power_of_two_below(const Var<float>&, const Axes&);
template Var<float> cumsum(const Var<float>&, Size);
template Var<float> softmax(const Var<float>&, Size);
template Var<float> log_softmax(const Var<float>&, Size);
template Indices argmax(const Var<float>&, Size);
template Indices argmin(const Var<float>&, Size);
template Var<double> sum(const Var<double>&, const Axes&, KeepDims);
template Var<double> mean(const Var<double>&, const Axes&, KeepDims);
template Var<double> max(const Var<double>&, const Axes&, KeepDims);
template Var<double> min(const Var<double>&, const Axes&, KeepDims);
template Var<double> prod(const Var<double>&, const Axes&, KeepDims);
template Var<double> logsumexp(const Var<double>&, const Axes&, KeepDims);
template Var<double> norm(const Var<double>&, const Axes&, KeepDims);
template Var<double> var(const Var<double>&, const Axes&, Size, KeepDims);
template Var<double> centre(const Var<double>&, const Axes&);
template bool detail::all_finite(const Var<double>&);
template Var<double> detail::power_of_two_below(const Var<double>&, const Axes&);
template Var<double> cumsum(const Var<double>&, Size);
template Var<double> softmax(const Var<double>&, Size);
template Var<double> log_softmax(const Var<double>&, Size);
template Indices argmax(const Var<double>&, Size);
template Indices argmin(const Var<double>&, Size);

}  // namespace unroll
