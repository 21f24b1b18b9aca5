// Parts of arrays: slicing, splitting and joining.
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Node;
using detail::OpTable;
using detail::Push;
using detail::Ref;
using detail::Strides;
using detail::Sweep;
using detail::TapeCore;

// `width` consecutive elements of each of `rows` rows, which are so many apart.
template <class T>
void copy_rows(Size rows, Size width, const T* from, Size from_row, T* to, Size to_row) {
  const auto bytes = static_cast<std::size_t>(width) * sizeof(T);
  for (; rows > 0; --rows, from += from_row, to += to_row) std::memcpy(to, from, bytes);
}

// Along one axis: `length` elements from `start` in steps of `step`; `drop` removes the axis.
struct Slice {
  static constexpr auto name = "slice";
  std::uint8_t axis = 0;
  bool drop = false;
  Size start = 0, step = 1, length = 0;

  std::size_t shape(const Size* from, std::size_t from_rank, Size* sizes) const {
    std::size_t rank = 0;
    for (std::size_t i = 0; i < from_rank; ++i) {
      if (i != axis || !drop) sizes[rank++] = i == axis ? length : from[i];
    }
    return rank;
  }
  // Small stretches of rows are copied where a tape has room for them, anything else is a view.
  template <class T>
  Block* value(TapeCore* tape, Block& x) const {
    const Size* from = x.sizes();
    Size sizes[Shape::max_rank], outer = 1, inner = 1;
    const std::size_t rank = shape(from, x.rank, sizes);
    for (std::size_t i = 0; i < axis; ++i) outer *= from[i];
    for (std::size_t i = axis + 1u; i < x.rank; ++i) inner *= from[i];
    const Size width = inner * length, row = inner * from[axis];
    if (!x.contiguous || step != 1 ||
        width * outer * static_cast<Size>(sizeof(T)) > detail::small_value) {
      return view(x, sizes, rank);
    }
    if (!tape && outer == 1 && !x.in_tape && (!x.base || x.of_array)) {
      return detail::new_contiguous_view(&x, start * inner, sizes, rank).give();
    }
    Block* y = detail::new_result<T>(tape, sizes, rank);
    copy_rows(outer, width, x.data<T>() + start * inner, row, y->data<T>(), width);
    return y;
  }
  [[gnu::noinline]] Block* view(Block& x, const Size* sizes, std::size_t rank) const {
    Size strides[Shape::max_rank];
    x.get_strides(strides);
    const Size offset = start * strides[axis];
    strides[axis] *= step;
    if (drop) std::copy(strides + axis + 1, strides + x.rank, strides + axis);
    return detail::new_view(&x, offset, sizes, rank, strides).give();
  }
  template <class T>
  detail::Region<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return {detail::alias(g), x.shape(), axis, start, step, drop};
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
  // Rows of an array of cotangents that nobody else holds become the parts' own, to be added to. One block has the headers of
  // all of them, and keeps the array in which the elements lie: not the part of it that this one was, or a chain of joined
  // arrays would become a chain of owners.
  template <class T>
  static bool sweep_values(Node& n, Sweep& sweep) {
    Block* g = detail::writable_block(n.slot);
    if (!g || static_cast<const Concat*>(n.op())->axis != 0) return false;
    n.slot = 0;
    const std::size_t header = sizeof(Block) + n.input_block(0)->rank * sizeof(Size);
    Block* host = detail::take_block(detail::this_pool(), sizeof(Block) + n.input_count * header);
    host->refs.store(1, std::memory_order_relaxed);
    host->base = g->owns_part ? (g->base->base ? g->base->base : g->base) : g;
    if (g->owns_part) detail::retain(host->base);
    host->packable = host->in_tape = false;
    auto* at = reinterpret_cast<char*>(host + 1);
    T* elements = g->data<T>();
    for (std::size_t i = 0; i < n.input_count; ++i) {
      const Block& x = *n.input_block(i);
      if (sweep.wants(n, i)) {
        auto* part = reinterpret_cast<Block*>(at);
        detail::init_block(part, x.dtype, false, true, x.sizes(), x.rank);
        part->owns_part = true;
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

// Consecutive parts of an array along one axis: one node with several results. A sweep gathers their cotangents in one pass,
// where a slice for each would clear the whole array first. Those of parts that are stretches of memory may be written in
// place: the node's slot is an array of the input's shape then, with a header for each part behind its elements.
template <class T>
struct Parts {
  std::uint32_t count;
  std::uint8_t axis;
  bool drop;                // each part is one element wide, and lacks the axis
  std::size_t header = 0;   // of parts made by TapeCore::new_part, all of one shape; 0: others
  char* headers = nullptr;  // in the array of cotangents

  static Parts& of(Node& n) { return *static_cast<Parts*>(n.op()); }
  Node** results() { return reinterpret_cast<Node**>(this + 1); }
  Size extent(const Node& result) const { return drop ? 1 : result.value->sizes()[axis]; }
  static std::uint32_t& number(Node& result) { return *static_cast<std::uint32_t*>(result.op()); }

  static void sweep(Node& n, Sweep& sweep) {
    Parts& parts = of(n);
    if (sweep.recorded() || !sweep.wants(n, 0)) {
      parts.add_regions(n, sweep);
    } else {
      parts.gather(n, *n.inputs()[0].node(), sweep);
    }
    if (parts.header) return;
    for (std::uint32_t k = 0; k < parts.count; ++k) sweep.free_value(*parts.results()[k]);
  }
  static void push(Node& n, Push& push) {
    Parts& parts = of(n);
    const Var<T> t = push.input_tangent<T>(n, 0);
    Size at = 0;
    for (std::uint32_t k = 0; !t.empty() && k < parts.count; ++k) {
      Node& r = *parts.results()[k];
      const Size width = parts.extent(r);
      push.set(r, apply(Slice{parts.axis, parts.drop, at, 1, width}, t));
      at += width;
    }
  }
  static Block* room(Node& n, Node& result) {
    Parts& parts = of(n);
    if (parts.header == 0) return nullptr;
    auto* whole = reinterpret_cast<Block*>(n.slot);
    if (!whole) whole = parts.make_room(n);
    const Block& part = *result.value;
    Block* b = detail::place_header(parts.headers + number(result) * parts.header, part, whole);
    b->base = whole;
    b->owns_part = true;
    b->elements = whole->template data<T>() +
                  (part.template data<T>() - n.inputs()[0].node()->value->template data<T>());
    detail::retain_local(*whole);
    return b;
  }
  static constexpr OpTable table{"split", sweep, push, nullptr, OpTable::Kind::several, room};

 private:
  Block* make_room(Node& n) {
    Block* whole = detail::new_like(detail::this_pool(), *n.inputs()[0].node()->value,
                                    alignof(Block) + count * header);
    n.slot = reinterpret_cast<std::uintptr_t>(whole);
    const auto end = reinterpret_cast<std::uintptr_t>(whole->template data<T>() + whole->size());
    headers = reinterpret_cast<char*>((end + alignof(Block) - 1) & ~(alignof(Block) - 1));
    return whole;
  }

  void add_regions(Node& n, Sweep& sweep) {
    Size at = 0;
    for (std::uint32_t k = 0; k < count; ++k) {
      Node& r = *results()[k];
      Var<T> g = sweep.take<T>(r);
      if (!g.empty() && sweep.wants(n, 0)) {
        Node& x = *n.inputs()[0].node();
        sweep.add(x, detail::Region<T>{std::move(g), x.value->shape(), axis, at, 1, drop});
      }
      at += extent(r);
    }
  }

  void gather(Node& n, Node& x, Sweep& sweep) {
    bool any = false;
    for (std::uint32_t k = 0; k < count; ++k) any = any || results()[k]->slot;
    if (!any) return;
    const bool in_place = n.slot;                                      // some of them at least
    Block* sum = in_place ? nullptr : detail::writable_block(x.slot);  // what is there is added to
    Ref whole(in_place ? reinterpret_cast<Block*>(std::exchange(n.slot, 0))
              : sum    ? nullptr
                       : detail::new_like(detail::this_pool(), *x.value));
    T* const first = (sum ? sum : whole.get())->template data<T>();
    const Size* sizes = x.value->sizes();
    Size outer = 1, inner = 1, at = 0;
    for (std::size_t i = 0; i < axis; ++i) outer *= sizes[i];
    for (std::size_t i = axis + 1u; i < x.value->rank; ++i) inner *= sizes[i];
    const Size row = inner * sizes[axis];
    for (std::uint32_t k = 0; k < count; ++k) {
      Node& r = *results()[k];
      const Size width = inner * extent(r);
      auto* own = reinterpret_cast<Block*>(r.slot);
      if (in_place && r.slot == reinterpret_cast<std::uintptr_t>(headers + k * header) &&
          own->refs.load(std::memory_order_relaxed) == 1) {
        r.slot = 0;
        detail::release_local(*whole);
      } else {
        T* out = first + at;
        Ref g = sweep.take_block<T>(r);
        if (g && !g->contiguous) g = detail::contiguous(g.get());
        if (g && !sum) {
          copy_rows(outer, width, g->template data<T>(), width, out, row);
        } else if (g) {
          const T* from = g->template data<T>();
          for (Size o = 0; o < outer; ++o) {
            for (Size i = 0; i < width; ++i) out[o * row + i] += from[o * width + i];
          }
        } else if (!sum) {
          for (Size o = 0; o < outer; ++o) std::fill_n(out + o * row, width, T(0));
        }
      }
      at += width;
    }
    if (whole) sweep.add_block<T>(x, std::move(whole));
  }
};

// `width(k)` is the extent of part k, all are the same if `equal`; the Vars at `out` are empty.
template <class T, class Width>
void split_into(const Var<T>& x, std::size_t axis, bool drop, std::size_t count, bool equal,
                Width&& width, Var<T>* out) {
  Block* b = x.handle().block();
  auto* tape = static_cast<TapeCore*>(x.handle().tape());
  Slice part{static_cast<std::uint8_t>(axis), drop, 0, 1, 0};
  Size outer = 1, inner = 1;
  for (std::size_t i = 0; i < axis; ++i) outer *= b->sizes()[i];
  for (std::size_t i = axis + 1; i < b->rank; ++i) inner *= b->sizes()[i];
  Node* n = nullptr;
  Block *value = nullptr, *stretch = nullptr;
  if (tape && count > 0) {
    if (equal && outer == 1 && b->contiguous) {
      Size sizes[Shape::max_rank];
      part.length = width(0);
      stretch = tape->new_part(*b, sizes, part.shape(b->sizes(), b->rank, sizes));
      part.length = 0;
    }
    n = tape->record(&Parts<T>::table, 1, sizeof(Parts<T>) + count * sizeof(Node*), nullptr);
    tape->set_input(n, 0, x.handle());
    new (n->op()) Parts<T>{static_cast<std::uint32_t>(count), part.axis, drop};
    if (stretch) Parts<T>::of(*n).header = stretch->header();
  }
  for (std::size_t k = 0; k < count; ++k) {
    const Size length = width(k), row = inner * length;
    if (stretch) {
      value =
          k == 0 ? stretch : tape->new_part_like(*value, static_cast<std::size_t>(row) * sizeof(T));
    } else if (value && value->in_tape && length == part.length) {  // small, like the part before
      part.start += part.length;
      value = tape->new_value_like(*value, outer * row);
      copy_rows(outer, row, b->template data<T>() + part.start * inner, inner * b->sizes()[axis],
                value->template data<T>(), row);
    } else {
      part.start += part.length;
      part.length = length;
      value = part.template value<T>(tape, *b);
    }
    if (!n) {
      std::construct_at(out + k, Handle(Ref(value)));
      continue;
    }
    Node* r = tape->record(&detail::result_table, 1, sizeof(std::uint32_t), nullptr);
    r->value = value;
    r->inputs()[0] = detail::Input(n);
    Parts<T>::number(*r) = static_cast<std::uint32_t>(k);
    Parts<T>::of(*n).results()[k] = r;
    std::construct_at(out + k, Handle(r, tape));
  }
}

}  // namespace

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
void detail::split_equally(const Var<T>& x, std::size_t count, Size axis, Var<T>* parts) {
  const std::size_t a = normalize_axis("split", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a], k = static_cast<Size>(count);
  if (k <= 0 || n % k != 0) {
    fail("split", "axis " + std::to_string(a) + " of " + to_string(x.shape()) +
                      " does not divide into " + std::to_string(k) + " equal parts");
  }
  split_into(
      x, a, false, count, true, [&](std::size_t) { return n / k; }, parts);
}
template <Real T>
std::vector<Var<T>> split(const Var<T>& x, Size count, Size axis) {
  std::vector<Var<T>> parts(static_cast<std::size_t>(std::max<Size>(count, 0)));
  detail::split_equally(x, parts.size(), axis, parts.data());
  return parts;
}
template <Real T>
std::vector<Var<T>> split(const Var<T>& x, std::span<const Size> sizes, Size axis) {
  const std::size_t a = normalize_axis("split", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a];
  Size total = 0;
  for (Size s : sizes) total += s < 0 ? n + 1 : s;
  if (total != n) {
    fail("split", "the sizes " + shape_string(sizes) + " do not add up to axis " +
                      std::to_string(a) + " of " + to_string(x.shape()));
  }
  std::vector<Var<T>> parts(sizes.size());
  split_into(
      x, a, false, parts.size(), false, [&](std::size_t k) { return sizes[k]; }, parts.data());
  return parts;
}
template <Real T>
std::vector<Var<T>> unbind(const Var<T>& x, Size axis) {
  const std::size_t a = normalize_axis("unbind", axis, x.rank());
  std::vector<Var<T>> parts(static_cast<std::size_t>(x.handle().block()->sizes()[a]));
  split_into(
      x, a, true, parts.size(), true, [](std::size_t) { return Size{1}; }, parts.data());
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

template void detail::split_equally(const Var<float>&, std::size_t, Size, Var<float>*);
template void detail::split_equally(const Var<double>&, std::size_t, Size, Var<double>*);
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
template std::vector<Var<float>> split(const Var<float>&, Size, Size);
template std::vector<Var<double>> split(const Var<double>&, Size, Size);
template std::vector<Var<float>> split(const Var<float>&, std::span<const Size>, Size);
template std::vector<Var<double>> split(const Var<double>&, std::span<const Size>, Size);
template std::vector<Var<float>> unbind(const Var<float>&, Size);
template std::vector<Var<double>> unbind(const Var<double>&, Size);
template Var<float> pad(const Var<float>&, Size, Size, Size, float);
template Var<double> pad(const Var<double>&, Size, Size, Size, double);

}  // namespace unroll
