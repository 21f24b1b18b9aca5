// Shapes: ops that rearrange elements. Their results are views wherever strides can express them.
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
  return Var<T>(Handle(detail::new_view(const_cast<Block*>(b), offset, shape, strides.data())));
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

// Along one axis: `length` elements from `start` in steps of `step`; `drop` removes the axis.
struct Slice {
  static constexpr auto name = "slice";
  std::uint8_t axis = 0;
  bool drop = false;
  Size start = 0, step = 1, length = 0;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    Block* b = x.handle().block();
    if (axis == 0 && step == 1 && b->contiguous) {  // whole rows
      Size width = 1;
      for (std::size_t i = 1; i < b->rank; ++i) width *= b->sizes()[i];
      Shape shape(b->sizes() + 1, b->sizes() + b->rank);
      if (!drop) shape.insert(0, length);
      return Var<T>(Handle(detail::new_contiguous_view(b, start * width, shape)));
    }
    Strides strides = strides_of(b);
    Shape shape = b->shape();
    const Size offset = start * strides[axis];
    strides[axis] *= step;
    shape[axis] = length;
    if (drop) {
      shape.erase(axis);
      for (std::size_t i = axis; i < shape.rank(); ++i) strides[i] = strides[i + 1];
    }
    return view<T>(b, offset, shape, strides);
  }
  template <class T>
  detail::Region<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return {g, x.shape(), axis, start, step, drop};
  }
};

// Joins along an axis, or along a new one.
struct Concat {
  static constexpr auto name = "concat";
  std::uint8_t axis = 0;
  bool new_axis = false;
  Shape shape;  // of the result

  Size extent(const Shape& s) const { return new_axis ? 1 : s[axis]; }
  template <class T>
  Var<T> f(std::span<const Var<T>> parts) const {
    Ref out = detail::new_block<T>(shape);
    Size inner = 1, outer = 1;
    for (std::size_t i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
    for (std::size_t i = 0; i < axis; ++i) outer *= shape[i];
    const Size row = inner * shape[axis];
    Size at = 0;
    for (const Var<T>& part : parts) {
      const Ref b = detail::contiguous(part.handle().block());
      const Size width = inner * (new_axis ? 1 : b->sizes()[axis]);
      for (Size o = 0; o < outer; ++o) {
        std::copy_n(b->template data<T>() + o * width, width,
                    out->template data<T>() + o * row + at);
      }
      at += width;
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(std::size_t, Size at, const Var<T>& g, const Shape& part) const {
    if (new_axis) return index(g, axis, at);
    return slice(g, axis, {at, at + part[axis]});
  }
};

// The sum of regions placed into zeros.
struct Assemble {
  static constexpr auto name = "assemble";
  struct Place {
    std::uint8_t axis;
    bool drop;
    Size start, step;
  };
  Shape shape;
  std::vector<Place> places;

  Size extent(const Shape&) const { return 0; }
  template <class T>
  Var<T> f(std::span<const Var<T>> parts) const {
    Ref out = detail::zeros_block<T>(shape);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Place& p = places[i];
      Strides strides = detail::row_major(shape);
      T* at = out->template data<T>() + p.start * strides[p.axis];
      strides[p.axis] *= p.step;
      if (p.drop) {
        for (std::size_t k = p.axis; k + 1 < shape.rank(); ++k) strides[k] = strides[k + 1];
      }
      detail::add_into_window(at, strides, *parts[i].handle().block());
    }
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(std::size_t i, Size, const Var<T>& g, const Shape& part) const {
    const Place& p = places[i];
    return apply(Slice{p.axis, p.drop, p.start, p.step, p.drop ? 1 : part[p.axis]}, g);
  }
};

struct Length {
  Size start, length;
};
// Python's rules for start:stop:step on an axis of n elements.
Length resolve(const Range& r, Size n) {
  if (r.step == 0) fail("slice", "the step is 0");
  const auto clip = [&](Size i, Size low, Size high) {
    return std::clamp(i < 0 ? i + n : i, low, high);
  };
  const Size low = r.step > 0 ? 0 : -1, high = r.step > 0 ? n : n - 1;
  const Size start = r.start ? clip(*r.start, low, high) : (r.step > 0 ? 0 : n - 1);
  const Size stop = r.stop ? clip(*r.stop, low, high) : (r.step > 0 ? n : -1);
  const Size span = r.step > 0 ? stop - start : start - stop;
  const Size stride = r.step > 0 ? r.step : -r.step;
  return {start, span <= 0 ? 0 : (span + stride - 1) / stride};
}

}  // namespace

template <Real T>
Var<T> reshape(const Var<T>& x, const Shape& shape) {
  const Shape old = x.shape();
  if (old == shape) return x;
  if (old.size() != shape.size()) {
    fail("reshape", "cannot make " + to_string(shape) + " (" + std::to_string(shape.size()) +
                        " elements) from " + to_string(old) + " (" + std::to_string(old.size()) +
                        ")");
  }
  return apply(Reshape{shape}, x);
}

template <Real T>
Var<T> reshape(const Var<T>& x, std::initializer_list<Size> sizes) {
  Shape shape;
  Size known = 1;
  std::optional<std::size_t> open;
  for (Size n : sizes) {
    if (n == -1 && !open) {
      open = shape.rank();
      shape.push_back(1);
      continue;
    }
    if (n < 0) fail("reshape", n == -1 ? "more than one size is -1" : "a size is negative");
    shape.push_back(n);
    known *= n;
  }
  if (open) {
    if (known == 0 || x.size() % known != 0) {
      fail("reshape", "cannot work out the size given as -1: " + std::to_string(x.size()) +
                          " elements of " + to_string(x.shape()) + " do not divide by " +
                          std::to_string(known));
    }
    shape[*open] = x.size() / known;
  }
  return reshape(x, shape);
}

template <Real T>
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
template <Real T>
Var<T> permute(const Var<T>& x, std::initializer_list<Size> order) {
  return permute(x, std::span<const Size>(order.begin(), order.size()));
}

template <Real T>
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

template <Real T>
Var<T> squeeze(const Var<T>& x, const Axes& axes) {
  const Shape old = x.shape();
  const unsigned mask = axes.mask("squeeze", old.rank());
  const bool all = mask == (1U << old.rank()) - 1;
  Shape shape;
  for (std::size_t i = 0; i < old.rank(); ++i) {
    if (!(mask >> i & 1) || (all && old[i] != 1)) {
      shape.push_back(old[i]);
    } else if (old[i] != 1) {
      fail("squeeze",
           "axis " + std::to_string(i) + " of " + to_string(old) + " does not have size 1");
    }
  }
  return reshape(x, shape);
}

template <Real T>
Var<T> expand(const Var<T>& x, Size axis) {
  Shape shape = x.shape();
  shape.insert(normalize_axis("expand", axis, shape.rank() + 1), 1);
  return reshape(x, shape);
}

template <Real T>
Var<T> broadcast_to(const Var<T>& x, const Shape& shape) {
  const Shape old = x.shape();
  if (old == shape) return x;
  if (old.rank() > shape.rank() || !(broadcast_shapes("broadcast_to", old, shape) == shape)) {
    fail("broadcast_to", to_string(old) + " does not broadcast to " + to_string(shape));
  }
  return apply(BroadcastTo{shape}, x);
}

template <Real T>
Var<T> sum_to(const Var<T>& x, const Shape& shape) {
  const Shape old = x.shape();
  if (old == shape) return x;
  if (shape.rank() > old.rank() || !(broadcast_shapes("sum_to", old, shape) == old)) {
    fail("sum_to", to_string(shape) + " does not broadcast to " + to_string(old));
  }
  return apply(SumTo{shape}, x);
}

template <Real T>
Var<T> slice(const Var<T>& x, Size axis, const Range& range) {
  const std::size_t a = normalize_axis("slice", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  const Length part = resolve(range, n);
  return apply(Slice{static_cast<std::uint8_t>(a), false, part.length ? part.start : 0, range.step,
                     part.length},
               x);
}
template <Real T>
Var<T> slice(const Var<T>& x, std::initializer_list<Range> ranges) {
  if (ranges.size() > x.rank()) {
    fail("slice",
         std::to_string(ranges.size()) + " ranges for an array of shape " + to_string(x.shape()));
  }
  Var<T> y = x;
  Size axis = 0;
  for (const Range& r : ranges) {
    if (r.start || r.stop || r.step != 1) y = slice(y, axis, r);
    ++axis;
  }
  return y;
}
template <Real T>
Var<T> index(const Var<T>& x, Size axis, Size i) {
  const std::size_t a = normalize_axis("index", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  if (i < -n || i >= n) {
    fail("index", "index " + std::to_string(i) + " is out of range for axis " + std::to_string(a) +
                      " of " + to_string(x.shape()));
  }
  return apply(Slice{static_cast<std::uint8_t>(a), true, i < 0 ? i + n : i, 1, 1}, x);
}
template <Real T>
Var<T> flip(const Var<T>& x, Size axis) {
  return slice(x, axis, {.step = -1});
}

namespace {
template <class T>
Var<T> join_parts(const char* name, std::span<const Var<T>> parts, Size axis, bool new_axis) {
  if (parts.empty()) fail(name, "there is nothing to join");
  Shape shape = parts[0].shape();
  Concat op;
  const std::size_t a = normalize_axis(name, axis, shape.rank() + (new_axis ? 1 : 0));
  op.axis = static_cast<std::uint8_t>(a);
  op.new_axis = new_axis;
  Size total = 0;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const Block* b = parts[k].handle().block();
    bool fits = b->rank == shape.rank();
    for (std::size_t i = 0; fits && i < b->rank; ++i) {
      fits = b->sizes()[i] == shape[i] || (i == a && !new_axis);
    }
    if (!fits) {
      fail(name, "part " + std::to_string(k) + " has shape " + to_string(parts[k].shape()) +
                     ", part 0 has " + to_string(parts[0].shape()) +
                     (new_axis ? "; they must be equal"
                               : "; they may differ along the joined axis only"));
    }
    total += new_axis ? 1 : b->sizes()[a];
  }
  if (new_axis) {
    shape.insert(a, total);
  } else {
    shape[a] = total;
  }
  op.shape = shape;
  return detail::apply_variadic(op, parts);
}
}  // namespace

template <Real T>
Var<T> concat(std::span<const Var<T>> parts, Size axis) {
  return join_parts("concat", parts, axis, false);
}
template <Real T>
Var<T> stack(std::span<const Var<T>> parts, Size axis) {
  return join_parts("stack", parts, axis, true);
}

template <class T>
Size detail::split_width(const Var<T>& x, Size count, Size axis) {
  const std::size_t a = normalize_axis("split", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  if (count <= 0 || n % count != 0) {
    fail("split", "axis " + std::to_string(a) + " of " + to_string(x.shape()) +
                      " does not divide into " + std::to_string(count) + " equal parts");
  }
  return n / count;
}
template <Real T>
std::vector<Var<T>> split(const Var<T>& x, Size count, Size axis) {
  const Size width = detail::split_width(x, count, axis);
  std::vector<Var<T>> parts;
  parts.reserve(static_cast<std::size_t>(count));
  for (Size k = 0; k < count; ++k) parts.push_back(slice(x, axis, {k * width, (k + 1) * width}));
  return parts;
}
template <Real T>
std::vector<Var<T>> split(const Var<T>& x, std::initializer_list<Size> sizes, Size axis) {
  const std::size_t a = normalize_axis("split", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  Size total = 0;
  for (Size s : sizes) total += s < 0 ? n + 1 : s;
  if (total != n) {
    fail("split", "the sizes " + shape_string({sizes.begin(), sizes.size()}) +
                      " do not add up to axis " + std::to_string(a) + " of " +
                      to_string(x.shape()));
  }
  std::vector<Var<T>> parts;
  Size at = 0;
  for (Size s : sizes) {
    parts.push_back(apply(Slice{static_cast<std::uint8_t>(a), false, s ? at : 0, 1, s}, x));
    at += s;
  }
  return parts;
}
template <Real T>
std::vector<Var<T>> unbind(const Var<T>& x, Size axis) {
  const std::size_t a = normalize_axis("unbind", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  std::vector<Var<T>> parts;
  parts.reserve(static_cast<std::size_t>(n));
  for (Size k = 0; k < n; ++k) {
    parts.push_back(apply(Slice{static_cast<std::uint8_t>(a), true, k, 1, 1}, x));
  }
  return parts;
}

template <Real T>
Var<T> pad(const Var<T>& x, Size axis, Size before, Size after, T value) {
  if (before < 0 || after < 0) fail("pad", "a width is negative; use slice to cut");
  const std::size_t a = normalize_axis("pad", axis, x.rank());
  Shape left = x.shape(), right = left;
  left[a] = before;
  right[a] = after;
  return concat({full<T>(left, value), x, full<T>(right, value)}, static_cast<Size>(a));
}
template <Real T>
Var<T> repeat(const Var<T>& x, Size times, Size axis) {
  if (times < 0) fail("repeat", "the count is negative");
  const std::size_t a = normalize_axis("repeat", axis, x.rank());
  Shape wide = x.shape();
  Shape merged = wide;
  merged[a] *= times;
  wide.insert(a + 1, times);
  return reshape(broadcast_to(expand(x, static_cast<Size>(a) + 1), wide), merged);
}

namespace detail {
template <class T>
Var<T> assemble(const Shape& shape, std::span<const Region<T>> regions) {
  Assemble op{shape, {}};
  std::vector<Var<T>> parts;
  for (const Region<T>& r : regions) {
    op.places.push_back({static_cast<std::uint8_t>(r.axis), r.drop, r.start, r.step});
    parts.push_back(r.g);
  }
  return apply_variadic(op, std::span<const Var<T>>(parts));
}
template Var<float> assemble(const Shape&, std::span<const Region<float>>);
template Var<double> assemble(const Shape&, std::span<const Region<double>>);
}  // namespace detail

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
template Var<float> slice(const Var<float>&, Size, const Range&);
template Var<double> slice(const Var<double>&, Size, const Range&);
template Var<float> slice(const Var<float>&, std::initializer_list<Range>);
template Var<double> slice(const Var<double>&, std::initializer_list<Range>);
template Var<float> index(const Var<float>&, Size, Size);
template Var<double> index(const Var<double>&, Size, Size);
template Var<float> flip(const Var<float>&, Size);
template Var<double> flip(const Var<double>&, Size);
template Var<float> concat(std::span<const Var<float>>, Size);
template Var<double> concat(std::span<const Var<double>>, Size);
template Var<float> stack(std::span<const Var<float>>, Size);
template Var<double> stack(std::span<const Var<double>>, Size);
template Size detail::split_width(const Var<float>&, Size, Size);
template Size detail::split_width(const Var<double>&, Size, Size);
template std::vector<Var<float>> split(const Var<float>&, Size, Size);
template std::vector<Var<double>> split(const Var<double>&, Size, Size);
template std::vector<Var<float>> split(const Var<float>&, std::initializer_list<Size>, Size);
template std::vector<Var<double>> split(const Var<double>&, std::initializer_list<Size>, Size);
template std::vector<Var<float>> unbind(const Var<float>&, Size);
template std::vector<Var<double>> unbind(const Var<double>&, Size);
template Var<float> pad(const Var<float>&, Size, Size, Size, float);
template Var<double> pad(const Var<double>&, Size, Size, Size, double);
template Var<float> repeat(const Var<float>&, Size, Size);
template Var<double> repeat(const Var<double>&, Size, Size);

}  // namespace unroll
