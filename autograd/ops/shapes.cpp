// Shapes: ops that show the same elements in another arrangement. Their results are views wherever strides can express them.
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Ref;
using detail::Strides;

template <class T>
Var<T> view(const Block* b, Size offset, const Shape& shape, const Strides& strides) {
  return Var<T>(Handle(detail::new_view(const_cast<Block*>(b), offset, shape.begin(), shape.rank(),
                                        strides.data())));
}

Strides strides_of(const Block* b) {
  Strides s{};
  b->get_strides(s.data());
  return s;
}

struct Reshape {
  static constexpr auto name = "reshape";
  Shape shape;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    Block* b = x.handle().block();
    if (b->contiguous) return Var<T>(Handle(detail::new_contiguous_view(b, 0, shape)));
    return Var<T>(Handle(detail::relabel(detail::contiguous(b), shape)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return reshape(g, x.shape());
  }
};

struct Permute {
  static constexpr auto name = "permute";
  std::array<std::uint8_t, Shape::max_rank> order{};
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Block* b = x.handle().block();
    const Strides from = strides_of(b);
    Strides to{};
    Shape shape = b->shape();
    for (std::size_t i = 0; i < b->rank; ++i) {
      shape[i] = b->sizes()[order[i]];
      to[i] = from[order[i]];
    }
    return view<T>(b, 0, shape, to);
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    Permute inverse;
    for (std::size_t i = 0; i < x.rank(); ++i)
      inverse.order[order[i]] = static_cast<std::uint8_t>(i);
    return apply(inverse, g);
  }
};

struct BroadcastTo {
  static constexpr auto name = "broadcast_to";
  Shape shape;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    const Block* b = x.handle().block();
    const Strides own = strides_of(b);
    return view<T>(b, 0, shape, detail::broadcast_strides(b->sizes(), own.data(), b->rank, shape));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return sum_to(g, x.shape());
  }
};

struct SumTo {
  static constexpr auto name = "sum_to";
  Shape shape;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return Var<T>(Handle(detail::sum_to<T>(x.handle().share(), shape)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return broadcast_to(g, x.shape());
  }
};

}  // namespace

template <FloatOrDouble T>
Var<T> reshape(const Var<T>& x, const Shape& shape) {
  const Shape old = x.shape();
  if (old == shape) return x;
  detail::check_size("reshape", shape);
  if (old.size() != shape.size()) {
    fail("reshape", "cannot make " + to_string(shape) + " (" + std::to_string(shape.size()) +
                        " elements) from " + to_string(old) + " (" + std::to_string(old.size()) +
                        ")");
  }
  return apply(Reshape{shape}, x);
}

template <FloatOrDouble T>
Var<T> reshape(const Var<T>& x, std::initializer_list<Size> sizes) {
  Shape shape;
  std::optional<std::size_t> open;
  for (Size n : sizes) {
    if (n == -1 && !open) {
      open = shape.rank();
      shape.push_back(1);
      continue;
    }
    if (n < 0) fail("reshape", n == -1 ? "more than one size is -1" : "a size is negative");
    shape.push_back(n);
  }
  if (open) {
    detail::check_size("reshape", shape);
    const Size known = shape.size();
    if (known == 0 || x.size() % known != 0) {
      fail("reshape", "cannot work out the size given as -1: " + std::to_string(x.size()) +
                          " elements of " + to_string(x.shape()) + " do not divide by " +
                          std::to_string(known));
    }
    shape[*open] = x.size() / known;
  }
  return reshape(x, shape);
}

template <FloatOrDouble T>
Var<T> permute(const Var<T>& x, std::span<const Size> order) {
  Permute op;
  const std::size_t rank = x.rank();
  unsigned seen = 0;
  if (order.size() == rank) {
    for (std::size_t i = 0; i < rank; ++i) {
      const std::size_t axis = normalize_axis("permute", order[i], rank);
      op.order[i] = static_cast<std::uint8_t>(axis);
      seen |= 1U << axis;
    }
  }
  if (order.size() != rank || seen != (1U << rank) - 1) {
    fail("permute", "the order " + shape_string(order) + " does not name each axis of " +
                        to_string(x.shape()) + " once");
  }
  return apply(op, x);
}
template <FloatOrDouble T>
Var<T> permute(const Var<T>& x, std::initializer_list<Size> order) {
  return permute(x, std::span<const Size>(order.begin(), order.size()));
}

template <FloatOrDouble T>
Var<T> transpose(const Var<T>& x) {
  const std::size_t rank = x.rank();
  if (rank < 2) {
    fail("transpose",
         "needs at least two axes, got " + to_string(x.shape()) +
             ". A vector is its own transpose; expand(x, 0) or expand(x, 1) makes a matrix");
  }
  Permute op;
  for (std::size_t i = 0; i < rank; ++i) op.order[i] = static_cast<std::uint8_t>(i);
  std::swap(op.order[rank - 1], op.order[rank - 2]);
  return apply(op, x);
}

template <FloatOrDouble T>
Var<T> squeeze(const Var<T>& x, const Axes& axes) {
  const Shape old = x.shape();
  const unsigned mask = axes.mask("squeeze", old.rank());
  Shape shape;
  for (std::size_t i = 0; i < old.rank(); ++i) {
    if (!(mask >> i & 1) || (axes.all() && old[i] != 1)) {
      shape.push_back(old[i]);
    } else if (old[i] != 1) {
      fail("squeeze",
           "axis " + std::to_string(i) + " of " + to_string(old) + " does not have size 1");
    }
  }
  return reshape(x, shape);
}

template <FloatOrDouble T>
Var<T> expand(const Var<T>& x, Size axis) {
  Shape shape = x.shape();
  shape.insert(normalize_axis("expand", axis, shape.rank() + 1), 1);
  return reshape(x, shape);
}

template <FloatOrDouble T>
Var<T> broadcast_to(const Var<T>& x, const Shape& shape) {
  const Shape old = x.shape();
  if (old == shape) return x;
  if (old.rank() > shape.rank() || !(broadcast_shapes("broadcast_to", old, shape) == shape)) {
    fail("broadcast_to", to_string(old) + " does not broadcast to " + to_string(shape));
  }
  detail::check_size("broadcast_to", shape);
  return apply(BroadcastTo{shape}, x);
}

template <FloatOrDouble T>
Var<T> sum_to(const Var<T>& x, const Shape& shape) {
  const Shape old = x.shape();
  if (old == shape) return x;
  if (shape.rank() > old.rank() || !(broadcast_shapes("sum_to", old, shape) == old)) {
    fail("sum_to", to_string(shape) + " does not broadcast to " + to_string(old));
  }
  return apply(SumTo{shape}, x);
}

template <FloatOrDouble T>
Var<T> repeat(const Var<T>& x, Size times, Size axis) {
  if (times < 0) {
    fail("repeat", "cannot repeat " + to_string(x.shape()) + " " + std::to_string(times) +
                       " times: the count is negative");
  }
  const std::size_t a = normalize_axis("repeat", axis, x.rank());
  Shape wide = x.shape();
  Shape merged = wide;
  wide.insert(a + 1, times);
  detail::check_size("repeat", wide);
  if (__builtin_mul_overflow(merged[a], times, &merged[a])) {  // beside an axis of size 0
    fail("repeat", "axis " + std::to_string(a) + " of " + to_string(x.shape()) + " repeated " +
                       std::to_string(times) + " times is longer than any number");
  }
  return reshape(broadcast_to(expand(x, static_cast<Size>(a) + 1), wide), merged);
}

template Var<float> reshape(const Var<float>&, const Shape&);
template Var<double> reshape(const Var<double>&, const Shape&);
template Var<float> reshape(const Var<float>&, std::initializer_list<Size>);
template Var<double> reshape(const Var<double>&, std::initializer_list<Size>);
template Var<float> permute(const Var<float>&, std::span<const Size>);
template Var<double> permute(const Var<double>&, std::span<const Size>);
template Var<float> permute(const Var<float>&, std::initializer_list<Size>);
template Var<double> permute(const Var<double>&, std::initializer_list<Size>);
template Var<float> transpose(const Var<float>&);
template Var<double> transpose(const Var<double>&);
template Var<float> squeeze(const Var<float>&, const Axes&);
template Var<double> squeeze(const Var<double>&, const Axes&);
template Var<float> expand(const Var<float>&, Size);
template Var<double> expand(const Var<double>&, Size);
template Var<float> broadcast_to(const Var<float>&, const Shape&);
template Var<double> broadcast_to(const Var<double>&, const Shape&);
template Var<float> sum_to(const Var<float>&, const Shape&);
template Var<double> sum_to(const Var<double>&, const Shape&);
template Var<float> repeat(const Var<float>&, Size, Size);
template Var<double> repeat(const Var<double>&, Size, Size);

}  // namespace unroll
