// Making arrays, and looking elements up by integers.
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Node;
using detail::Ref;
using detail::Sweep;

// rows of x [n, ...] -> [rows..., ...]
struct Take {
  static constexpr auto name = "take";
  Indices rows;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    Shape shape = rows.shape();
    Size width = 1;
    for (std::size_t i = 1; i < b->rank; ++i) {
      shape.push_back(b->sizes()[i]);
      width *= b->sizes()[i];
    }
    Ref out = detail::new_block<T>(shape);
    for (Size i = 0; i < rows.size(); ++i) {
      std::copy_n(b->template data<T>() + rows(i) * width, width,
                  out->template data<T>() + i * width);
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  detail::RowSum<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return {g, rows, x.size(0)};
  }
};

// The adjoint of Take.
struct ScatterRows {
  static constexpr auto name = "scatter_rows";
  Indices rows;
  Size n = 0;
  template <class T>
  Var<T> f(const Var<T>& g) const {
    const Ref b = detail::contiguous(g.handle().block());
    Shape shape{n};
    Size width = 1;
    for (std::size_t i = rows.rank(); i < b->rank; ++i) {
      shape.push_back(b->sizes()[i]);
      width *= b->sizes()[i];
    }
    Ref out = detail::zeros_block<T>(shape);
    detail::add_rows(out->template data<T>(), b->template data<T>(), rows, width, n);
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& h, const Var<T>&) const {
    return take(h, rows);
  }
};

// add(out, begin, end) adds items of `width` elements to places in out [size]. Halves of many items, to whose sum an array more adds
// little, are summed by themselves: where millions meet in one place, a float's sum would stand still.
template <class T, class Add>
void add_in_halves(T* out, Size size, Size begin, Size end, Size width, const Add& add) {
  const Size count = end - begin;
  if (count <= 4096 || count * width <= 4 * size) return add(out, begin, end);
  add_in_halves(out, size, begin, begin + count / 2, width, add);
  const Ref rest = detail::filled_block<T>(Shape{size}, T(0));
  T* const from = rest->template data<T>();
  add_in_halves(from, size, begin + count / 2, end, width, add);
  for (Size i = 0; i < size; ++i) out[i] += from[i];
}

// Walks `indices` from `begin` to `end` beside an array whose axis `axis` they index: f(position in indices, position in the array).
template <class F>
void for_each_place(const Indices& indices, const Shape& array, std::size_t axis, Size begin,
                    Size end, F&& f) {
  const Shape shape = indices.shape();
  bool rows = axis + 1 == array.rank();  // along the last axis, in every row
  for (std::size_t k = 0; k < axis; ++k) rows = rows && shape[k] == array[k];
  if (rows) {
    const Size width = array.back(), each = shape.back();
    for (Size i = begin; i < end;) {
      const Size row = i / each;
      for (const Size last = std::min(end, (row + 1) * each); i < last; ++i) {
        f(i, row * width + indices(i));
      }
    }
    return;
  }
  const detail::Strides steps = detail::row_major(array);
  std::array<Size, Shape::max_rank> at{};
  for (Size k = static_cast<Size>(shape.rank()), left = begin; begin < end && k-- > 0;) {
    at[static_cast<std::size_t>(k)] = left % shape[static_cast<std::size_t>(k)];
    left /= shape[static_cast<std::size_t>(k)];
  }
  for (Size i = begin; i < end; ++i) {
    Size place = 0;
    for (std::size_t k = 0; k < shape.rank(); ++k) {
      place += (k == axis ? indices(i) : at[k]) * steps[k];
    }
    f(i, place);
    for (std::size_t k = shape.rank(); k-- > 0;) {
      if (++at[k] < shape[k]) break;
      at[k] = 0;
    }
  }
}

// out[place] += g[i] for each of them.
template <class T>
void add_at_places(T* out, const T* g, const Indices& indices, const Shape& array,
                   std::size_t axis) {
  add_in_halves(out, array.size(), Size{0}, indices.size(), Size{1},
                [&](T* sum, Size begin, Size end) {
                  for_each_place(indices, array, axis, begin, end,
                                 [&](Size i, Size place) { sum[place] += g[i]; });
                });
}

struct Gather {
  static constexpr auto name = "gather";
  Indices indices;
  std::size_t axis = 0;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Ref b = detail::contiguous(x.handle().block());
    Ref out = detail::new_block<T>(indices.shape());
    const T* p = b->template data<T>();
    T* q = out->template data<T>();
    for_each_place(indices, b->shape(), axis, Size{0}, indices.size(),
                   [&](Size i, Size place) { q[i] = p[place]; });
    return Var<T>(Handle(std::move(out)));
  }
  // Into a cotangent that is there already, without an array of zeros.
  template <class T>
  static bool sweep_values(Node& n, Sweep& sweep) {
    Node* x = n.inputs()[0].node();
    Block* sum = x && sweep.wants(*x) ? detail::writable_block(x->slot) : nullptr;
    if (!sum) return false;
    const auto& op = *static_cast<const Gather*>(n.op());
    const Ref g = detail::contiguous(sweep.take_block<T>(n).get());
    add_at_places(sum->data<T>(), g->template data<T>(), op.indices, x->value->shape(), op.axis);
    return true;
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const;
};

// The adjoint of Gather.
struct Scatter {
  static constexpr auto name = "scatter_add";
  Indices indices;
  std::size_t axis = 0;
  Shape shape;
  template <class T>
  Var<T> f(const Var<T>& g) const {
    const Ref b = detail::contiguous(g.handle().block());
    Ref out = detail::zeros_block<T>(shape);
    add_at_places(out->template data<T>(), b->template data<T>(), indices, shape, axis);
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& h, const Var<T>&) const {
    return apply(Gather{indices, axis}, h);
  }
};
template <class T>
Var<T> Gather::adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
  return apply(Scatter{indices, axis, x.shape()}, g);
}

void check_range(const char* op, const Indices& indices, Size n, const Shape& array,
                 std::size_t axis) {
  for (const std::int64_t i : indices.values()) {
    if (i < 0 || i >= n) {
      fail(op, "index " + std::to_string(i) + " is out of range for axis " + std::to_string(axis) +
                   " of " + to_string(array) + " (0 to " + std::to_string(n - 1) + ")");
    }
  }
}

std::size_t check_places(const char* op, const Shape& array, const Indices& indices, Size axis) {
  const std::size_t a = normalize_axis(op, axis, array.rank());
  const Shape shape = indices.shape();
  bool fits = shape.rank() == array.rank();
  for (std::size_t i = 0; fits && i < shape.rank(); ++i) fits = i == a || shape[i] <= array[i];
  if (!fits) {
    fail(op, "the indices have shape " + to_string(shape) + ", the array " + to_string(array) +
                 "; they need the same number of axes, none longer than the array's except axis " +
                 std::to_string(a));
  }
  check_range(op, indices, array[a], array, a);
  return a;
}

}  // namespace

template <FloatOrDouble T>
Var<T> full(const Shape& shape, T value) {
  detail::check_size("full", shape);
  return Var<T>(Handle(detail::filled_block<T>(shape, value)));
}
template <FloatOrDouble T>
Var<T> zeros(const Shape& shape) {
  detail::check_size("zeros", shape);
  return full<T>(shape, 0);
}
template <FloatOrDouble T>
Var<T> ones(const Shape& shape) {
  detail::check_size("ones", shape);
  return full<T>(shape, 1);
}
template <FloatOrDouble T>
Var<T> arange(Size n) {
  detail::check_size("arange", Shape{n});
  Ref b = detail::new_block<T>(Shape{n});
  for (Size i = 0; i < n; ++i) b->template data<T>()[i] = static_cast<T>(i);
  return Var<T>(Handle(std::move(b)));
}
template <FloatOrDouble T>
Var<T> eye(Size n) {
  detail::check_size("eye", Shape{n, n});
  Ref b = detail::zeros_block<T>(Shape{n, n});
  for (Size i = 0; i < n; ++i) b->template data<T>()[i * n + i] = 1;
  return Var<T>(Handle(std::move(b)));
}
template <FloatOrDouble T>
Var<T> one_hot(const Indices& labels, Size n) {
  Shape shape = labels.shape();
  shape.push_back(n);
  detail::check_size("one_hot", shape);
  check_range("one_hot", labels, n, shape, shape.rank() - 1);
  Ref b = detail::zeros_block<T>(shape);
  for (Size i = 0; i < labels.size(); ++i) b->template data<T>()[i * n + labels(i)] = 1;
  return Var<T>(Handle(std::move(b)));
}
template <FloatOrDouble T>
Var<T> stop_gradient(const Var<T>& x) {
  return Var<T>(Handle(detail::own_share(x.handle().block())));
}

template <FloatOrDouble T>
Var<T> take(const Var<T>& x, const Indices& rows) {
  if (x.rank() == 0) fail("take", "the array has no axes");
  check_range("take", rows, x.size(0), x.shape(), 0);
  return apply(Take{rows}, x);
}
template <FloatOrDouble T>
Var<T> gather(const Var<T>& x, const Indices& indices, Size axis) {
  const std::size_t a = check_places("gather", x.shape(), indices, axis);
  return apply(Gather{indices, a}, x);
}
template <FloatOrDouble T>
Var<T> scatter_add(const Var<T>& x, const Indices& indices, const Var<T>& source, Size axis) {
  const std::size_t a = check_places("scatter_add", x.shape(), indices, axis);
  if (!(source.shape() == indices.shape())) {
    fail("scatter_add", "the source has shape " + to_string(source.shape()) + ", the indices " +
                            to_string(indices.shape()) + "; they must be equal");
  }
  return x + apply(Scatter{indices, a, x.shape()}, source);
}
template <FloatOrDouble T>
Var<T> masked_fill(const Var<T>& x, const Var<T>& mask, T value) {
  return where(mask, value, x);
}

namespace detail {
template <class T>
Var<T> scatter_rows(const Var<T>& g, const Indices& rows, Size n) {
  return apply(ScatterRows{rows, n}, g);
}
template <class T>
void add_rows(T* out, const T* g, const Indices& rows, Size width, Size n) {
  add_in_halves(out, n * width, Size{0}, rows.size(), width, [&](T* sum, Size begin, Size end) {
    for (Size i = begin; i < end; ++i) {
      T* __restrict to = sum + rows(i) * width;
      const T* __restrict from = g + i * width;
      for (Size k = 0; k < width; ++k) to[k] += from[k];
    }
  });
}
}  // namespace detail

template Var<float> full(const Shape&, float);
template Var<float> zeros(const Shape&);
template Var<float> ones(const Shape&);
template Var<float> arange(Size);
template Var<float> eye(Size);
template Var<float> one_hot(const Indices&, Size);
template Var<float> stop_gradient(const Var<float>&);
template Var<float> take(const Var<float>&, const Indices&);
template Var<float> gather(const Var<float>&, const Indices&, Size);
template Var<float> scatter_add(const Var<float>&, const Indices&, const Var<float>&, Size);
template Var<float> masked_fill(const Var<float>&, const Var<float>&, float);
template Var<float> detail::scatter_rows(const Var<float>&, const Indices&, Size);
template void detail::add_rows(float*, const float*, const Indices&, Size, Size);
template Var<double> full(const Shape&, double);
template Var<double> zeros(const Shape&);
template Var<double> ones(const Shape&);
template Var<double> arange(Size);
template Var<double> eye(Size);
template Var<double> one_hot(const Indices&, Size);
template Var<double> stop_gradient(const Var<double>&);
template Var<double> take(const Var<double>&, const Indices&);
template Var<double> gather(const Var<double>&, const Indices&, Size);
template Var<double> scatter_add(const Var<double>&, const Indices&, const Var<double>&, Size);
template Var<double> masked_fill(const Var<double>&, const Var<double>&, double);
template Var<double> detail::scatter_rows(const Var<double>&, const Indices&, Size);
template void detail::add_rows(double*, const double*, const Indices&, Size, Size);

}  // namespace unroll
