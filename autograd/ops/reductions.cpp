// Sums, extremes and what is composed from them.
#include <cmath>
#include <limits>

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

// The sum times 1 / n.
struct Mean {
  static constexpr auto name = "mean";
  Sum sum;
  double factor = 1;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    Var<T> y = sum.f(x);
    if (factor == 1) return y;  // perhaps x itself
    T* const p = y.handle().block()->template data<T>();
    for (Size i = 0, n = y.size(); i < n; ++i) p[i] *= static_cast<T>(factor);
    return y;
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return sum.adjoint(wrt<0>{}, g * static_cast<T>(factor), x);
  }
};

// The largest or smallest element; ties share the cotangent evenly.
struct Extreme {
  static constexpr auto name = "max";
  detail::Reduction kind = detail::Reduction::max;
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
    for (Size i = 0; i < total; ++i) q[i] = (i / inner) % n == 0 ? p[i] : q[i - inner] + p[i];
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&) const {
    const Size a = static_cast<Size>(axis);
    return flip(cumsum(flip(g, a), a), a);
  }
};

// Over the last axis. Rules of their own because composing them costs seven passes over memory instead of two.
struct Softmax {
  static constexpr auto name = "softmax";
  bool logarithm = false;
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

// g · softmax(x) over the last axis, g [..., 1]: what a sweep through logsumexp gives, without a pass for the product.
struct ScaledSoftmax {
  static constexpr auto name = "scaled_softmax";
  template <class T>
  Var<T> f(const Var<T>& g, const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    const Ref scale = detail::contiguous(g.handle().block());
    Ref out = detail::new_block<T>(b->shape());
    const Size n = b->sizes()[b->rank - 1u], rows = scale->size();
    for (Size i = 0; i < rows; ++i) {
      detail::softmax_row(b->template data<T>() + i * n, out->template data<T>() + i * n, n,
                          scale->template data<T>()[i]);
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& c, const Var<T>&, const Var<T>&, const Var<T>& x) const {
    return unroll::sum(c * apply(Softmax{}, x), -1, KeepDims::yes);
  }
  template <class T>
  Var<T> vjp(wrt<1>, const Var<T>& c, const Var<T>& y, const Var<T>&, const Var<T>& x) const {
    return y * (c - unroll::sum(c * apply(Softmax{}, x), -1, KeepDims::yes));
  }
};

// log Σ exp over the last axis, which is kept with size 1. A rule of its own because composed of max, a difference, exp and
// sum it passes over memory four times and makes two arrays of x's size.
template <class T>
struct LogSumExp {
  static constexpr auto name = "logsumexp";
  detail::KeptSoftmax<T> kept;  // filled by f
  Var<T> f(const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    Shape shape = b->shape();
    const Size n = shape.back();
    shape[shape.rank() - 1] = 1;
    Ref out = detail::new_block<T>(shape);
    kept.logsumexp(b->template data<T>(), shape.size(), n, out->template data<T>(),
                   [](Size) { return true; });
    return Var<T>(Handle(std::move(out)));
  }
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x) const {
    if (!kept || g.is_tracked() || x.is_tracked()) return apply(ScaledSoftmax{}, g, x);
    const Ref scale = detail::contiguous(g.handle().block());
    Ref out = detail::new_block<T>(x.shape());
    const Size n = x.size(-1), rows = scale->size();
    for (Size i = 0; i < rows; ++i) {
      kept.pull_back(i, scale->template data<T>()[i], out->template data<T>() + i * n, n);
    }
    return Var<T>(Handle(std::move(out)));
  }
};

template <class T>
Var<T> extreme(const char* name, detail::Reduction kind, const Var<T>& x, const Axes& axes,
               KeepDims keep) {
  const Shape shape = x.shape();
  const unsigned mask = axes.mask(name, shape.rank());
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if ((mask >> i & 1) && shape[i] == 0) {
      fail(name, "there is nothing to choose from: axis " + std::to_string(i) + " of " +
                     to_string(shape) + " is empty");
    }
  }
  return apply(Extreme{kind, mask, keep}, x);
}

template <class T>
Size reduced_count(const Var<T>& x, unsigned mask) {
  Size n = 1;
  const Shape shape = x.shape();
  for (std::size_t i = 0; i < shape.rank(); ++i) n *= mask >> i & 1 ? shape[i] : 1;
  return n;
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

template <class T>
Var<T> over_last_axis(const char* name, bool logarithm, const Var<T>& x, Size axis) {
  const std::size_t rank = x.rank(), a = normalize_axis(name, axis, rank);
  if (a + 1 == rank) return apply(Softmax{logarithm}, x);
  std::vector<Size> order(rank);
  for (std::size_t i = 0; i < rank; ++i) order[i] = static_cast<Size>(i);
  std::swap(order[a], order[rank - 1]);
  return permute(apply(Softmax{logarithm}, permute(x, std::span<const Size>(order))),
                 std::span<const Size>(order));
}

}  // namespace

template <Real T>
Var<T> sum(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return apply(Sum{axes.mask("sum", x.rank()), keep}, x);
}
template <Real T>
Var<T> mean(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const unsigned mask = axes.mask("mean", x.rank());
  const Size n = reduced_count(x, mask);
  if (n == 0) fail("mean", "there is nothing to average in " + to_string(x.shape()));
  return apply(Mean{{mask, keep}, T(1) / static_cast<T>(n)}, x);
}
template <Real T>
Var<T> max(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return extreme("max", detail::Reduction::max, x, axes, keep);
}
template <Real T>
Var<T> min(const Var<T>& x, const Axes& axes, KeepDims keep) {
  return extreme("min", detail::Reduction::min, x, axes, keep);
}
template <Real T>
Var<T> prod(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const unsigned mask = axes.mask("prod", x.rank());
  const Shape shape = x.shape();
  // Reduced axes last and flat, then halves are multiplied until one element is left.
  std::vector<Size> order;
  Shape rest;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (!(mask >> i & 1)) {
      order.push_back(static_cast<Size>(i));
      rest.push_back(shape[i]);
    }
  }
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (mask >> i & 1) order.push_back(static_cast<Size>(i));
  }
  Size n = reduced_count(x, mask);
  Shape flat = rest;
  flat.push_back(n);
  Var<T> y = n == 0 ? ones<T>(rest) : reshape(permute(x, std::span<const Size>(order)), flat);
  for (; n > 1; n = (n + 1) / 2) {
    const Size half = n / 2;
    const Var<T> pairs = slice(y, -1, {0, half}) * slice(y, -1, {half, 2 * half});
    y = n % 2 == 0 ? pairs : concat({pairs, slice(y, -1, {2 * half, n})}, -1);
  }
  return reshape(y, keep == KeepDims::yes ? kept_shape(shape, mask) : rest);
}
template <Real T>
Var<T> logsumexp(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const unsigned mask = axes.mask("logsumexp", x.rank());
  Var<T> y;
  if (x.rank() > 0 && mask == 1U << (x.rank() - 1) && x.size(-1) > 0) {
    y = apply(LogSumExp<T>{detail::KeptSoftmax<T>(x)}, x);
  } else {
    const Var<T> top =
        stop_gradient(extreme("logsumexp", detail::Reduction::max, x, axes, KeepDims::yes));
    const T infinity = std::numeric_limits<T>::infinity();
    const Var<T> shift = where(abs(top) == infinity, 0, top);
    y = log(apply(Sum{mask, KeepDims::yes}, exp(x - shift))) + shift;
  }
  if (keep == KeepDims::yes) return y;
  Shape shape;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    if (!(mask >> i & 1)) shape.push_back(x.shape()[i]);
  }
  return reshape(y, shape);
}
template <Real T>
Var<T> var(const Var<T>& x, const Axes& axes, Size ddof, KeepDims keep) {
  const unsigned mask = axes.mask("var", x.rank());
  const Size n = reduced_count(x, mask);
  if (n <= ddof) {
    fail("var", std::to_string(n) + " elements with ddof = " + std::to_string(ddof) + " in " +
                    to_string(x.shape()) + ": the divisor n - ddof must be positive");
  }
  const Var<T> centred = x - mean(x, axes, KeepDims::yes);
  return apply(Sum{mask, keep}, square(centred)) * (T(1) / static_cast<T>(n - ddof));
}
template <Real T>
Var<T> norm(const Var<T>& x, const Axes& axes, KeepDims keep) {
  const Var<T> total = sum(square(x), axes, keep);
  const Var<T> is_zero = total == 0;
  return where(is_zero, 0, sqrt(where(is_zero, 1, total)));
}
template <Real T>
Var<T> cumsum(const Var<T>& x, Size axis) {
  return apply(CumulativeSum{normalize_axis("cumsum", axis, x.rank())}, x);
}
template <Real T>
Indices argmax(const Var<T>& x, Size axis) {
  return arg_best("argmax", x, axis, [](T a, T b) { return a > b || (a != a && b == b); });
}
template <Real T>
Indices argmin(const Var<T>& x, Size axis) {
  return arg_best("argmin", x, axis, [](T a, T b) { return a < b || (a != a && b == b); });
}
template <Real T>
Var<T> softmax(const Var<T>& x, Size axis) {
  return over_last_axis("softmax", false, x, axis);
}
template <Real T>
Var<T> log_softmax(const Var<T>& x, Size axis) {
  return over_last_axis("log_softmax", true, x, axis);
}

template Var<float> sum(const Var<float>&, const Axes&, KeepDims);
template Var<float> mean(const Var<float>&, const Axes&, KeepDims);
template Var<float> max(const Var<float>&, const Axes&, KeepDims);
template Var<float> min(const Var<float>&, const Axes&, KeepDims);
template Var<float> prod(const Var<float>&, const Axes&, KeepDims);
template Var<float> logsumexp(const Var<float>&, const Axes&, KeepDims);
template Var<float> norm(const Var<float>&, const Axes&, KeepDims);
template Var<float> var(const Var<float>&, const Axes&, Size, KeepDims);
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
template Var<double> cumsum(const Var<double>&, Size);
template Var<double> softmax(const Var<double>&, Size);
template Var<double> log_softmax(const Var<double>&, Size);
template Indices argmax(const Var<double>&, Size);
template Indices argmin(const Var<double>&, Size);

}  // namespace unroll
