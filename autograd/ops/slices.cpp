// Slices of arrays, and arrays joined of parts.
#include <limits>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/ops/slice.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Node;
using detail::Ref;
using detail::Slice;
using detail::Strides;
using detail::Sweep;
using detail::TapeCore;

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
    const Size outer = detail::product(shape.begin(), axis),
               inner = detail::product(shape.begin() + axis + 1, shape.rank() - axis - 1);
    const Size row = inner * shape[axis];
    Size at = 0;
    for (const Var<T>& part : parts) {
      Block* b = part.handle().block();
      const Ref copy = b->contiguous ? Ref() : detail::contiguous(b);
      if (copy) b = copy.get();
      const Size width = inner * (new_axis ? 1 : b->sizes()[axis]);
      detail::copy_rows(outer, width, b->template data<T>(), width, out->template data<T>() + at,
                        row);
      at += width;
    }
    return Var<T>(Handle(std::move(out)));
  }
  // Rows of an array of cotangents that nobody else holds become the parts' own, to be added to. One block has the headers of
  // all of them, and keeps the array in which the elements lie: not the part of it that this one was, or a chain of joined
  // arrays would become a chain of owners.
  template <class T>
  static bool sweep_values(Node& n, Sweep& sweep) {
    Block* g = detail::writable_block(n.slot);
    if (!g || static_cast<const Concat*>(n.op())->axis != 0) return false;
    n.slot = 0;
    const std::size_t header = Block::header_of_sizes(n.input_block(0)->rank);
    Block* host = detail::take_block(detail::this_pool(), sizeof(Block) + n.input_count * header);
    host->refs.store(1, std::memory_order_relaxed);
    host->base = g->owns_part ? (g->base->base ? g->base->base : g->base) : g;
    if (g->owns_part) detail::share(host->base);
    host->packable = host->in_tape = false;
    auto* at = reinterpret_cast<char*>(host + 1);
    T* elements = g->data<T>();
    for (std::size_t i = 0; i < n.input_count; ++i) {
      const Block& x = *n.input_block(i);
      if (sweep.wants(n, i)) {
        auto* part = reinterpret_cast<Block*>(at);
        detail::init_block(part, x.dtype, false, true, x.sizes(), x.rank);
        part->own_part();
        part->holder = part->base = host;
        part->elements = elements;
        detail::retain_local(*host);
        sweep.add_block<T>(*n.inputs()[i].node(), Ref(part));
        at += header;
      }
      elements += x.size();
    }
    if (g->owns_part) detail::release(g);
    detail::release(host);
    return true;
  }
  template <class T>
  Var<T> adjoint(std::size_t, Size at, const Var<T>& g, const Shape& part) const {
    Block* b = g.handle().block();
    if (axis == 0 && !g.is_tracked() && b->contiguous && shape[0] > 0) {
      return Var<T>(Handle(detail::new_contiguous_view(b, at * (b->size() / shape[0]), part)));
    }
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
  Size start, length, step;
};
// Python's rules for start:stop:step on an axis of n elements.
Length resolve(const SliceRange& r, Size n) {
  if (r.step == 0) fail("slice", "the step is 0");
  const auto clip = [&](Size i, Size low, Size high) {
    return std::clamp(i < 0 ? i + n : i, low, high);
  };
  const Size low = r.step > 0 ? 0 : -1, high = r.step > 0 ? n : n - 1;
  const Size start = r.start ? clip(*r.start, low, high) : (r.step > 0 ? 0 : n - 1);
  const Size stop = r.stop ? clip(*r.stop, low, high) : (r.step > 0 ? n : -1);
  const Size span = r.step > 0 ? stop - start : start - stop;
  if (span <= 0) return {0, 0, 1};
  const Size step = std::clamp(r.step, -n, n);  // a longer one leaves the axis at once too
  return {start, 1 + (span - 1) / std::abs(step), step};
}

}  // namespace

template <FloatOrDouble T>
Var<T> slice(const Var<T>& x, Size axis, const SliceRange& range) {
  const std::size_t a = normalize_axis("slice", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  const Length part = resolve(range, n);
  return apply(Slice{static_cast<std::uint8_t>(a), false, part.start, part.step, part.length}, x);
}
template <FloatOrDouble T>
Var<T> slice(const Var<T>& x, std::initializer_list<SliceRange> ranges) {
  if (ranges.size() > x.rank()) {
    fail("slice",
         std::to_string(ranges.size()) + " ranges for an array of shape " + to_string(x.shape()));
  }
  Var<T> y = x;
  Size axis = 0;
  for (const SliceRange& r : ranges) {
    if (r.start || r.stop || r.step != 1) y = slice(y, axis, r);
    ++axis;
  }
  return y;
}
template <FloatOrDouble T>
Var<T> index(const Var<T>& x, Size axis, Size i) {
  const Handle::Contents c = x.handle().contents();
  Block& b = *c.block;
  const std::size_t a = normalize_axis("index", axis, b.rank);
  const Size n = b.sizes()[a];
  if (i < -n || i >= n) {
    fail("index", "index " + std::to_string(i) + " is out of range for axis " + std::to_string(a) +
                      " of " + to_string(b.shape()));
  }
  if (i < 0) i += n;
  if (!c.tape && a == 0 && Slice::shows_rows(b)) {
    const Size row = detail::product(b.sizes() + 1, b.rank - 1u);
    const std::size_t rank = b.rank - 1u;
    return Var<T>(Handle(Ref(
        detail::new_view_header(&b, i * row, b.sizes() + 1, rank, Block::header_of_sizes(rank)))));
  }
  return apply(Slice{static_cast<std::uint8_t>(a), true, i, 1, 1}, x);
}
template <FloatOrDouble T>
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
    if (__builtin_add_overflow(total, new_axis ? 1 : b->sizes()[a], &total)) {
      total = std::numeric_limits<Size>::max();
    }
  }
  if (new_axis) {
    shape.insert(a, total);
  } else {
    shape[a] = total;
  }
  detail::check_size(name, shape);
  op.shape = shape;
  return detail::apply_variadic(op, parts);
}
}  // namespace

template <FloatOrDouble T>
Var<T> concat(std::span<const Var<T>> parts, Size axis) {
  return join_parts("concat", parts, axis, false);
}
template <FloatOrDouble T>
Var<T> stack(std::span<const Var<T>> parts, Size axis) {
  return join_parts("stack", parts, axis, true);
}

template <FloatOrDouble T>
Var<T> pad(const Var<T>& x, Size axis, Size before, Size after, T value) {
  if (before < 0 || after < 0) fail("pad", "a width is negative; use slice to cut");
  const std::size_t a = normalize_axis("pad", axis, x.rank());
  Shape left = x.shape(), right = left, whole = left;
  left[a] = before;
  right[a] = after;
  if (__builtin_add_overflow(whole[a], before, &whole[a]) ||
      __builtin_add_overflow(whole[a], after, &whole[a])) {
    fail("pad", "axis " + std::to_string(a) + " of " + to_string(x.shape()) + " padded by " +
                    std::to_string(before) + " and " + std::to_string(after) +
                    " is longer than any memory");
  }
  detail::check_size("pad", whole);
  return concat({full<T>(left, value), x, full<T>(right, value)}, static_cast<Size>(a));
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

template Var<float> slice(const Var<float>&, Size, const SliceRange&);
template Var<double> slice(const Var<double>&, Size, const SliceRange&);
template Var<float> slice(const Var<float>&, std::initializer_list<SliceRange>);
template Var<double> slice(const Var<double>&, std::initializer_list<SliceRange>);
template Var<float> index(const Var<float>&, Size, Size);
template Var<double> index(const Var<double>&, Size, Size);
template Var<float> flip(const Var<float>&, Size);
template Var<double> flip(const Var<double>&, Size);
template Var<float> concat(std::span<const Var<float>>, Size);
template Var<double> concat(std::span<const Var<double>>, Size);
template Var<float> stack(std::span<const Var<float>>, Size);
template Var<double> stack(std::span<const Var<double>>, Size);
template Var<float> pad(const Var<float>&, Size, Size, Size, float);
template Var<double> pad(const Var<double>&, Size, Size, Size, double);

}  // namespace unroll
