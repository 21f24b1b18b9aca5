// Arrays cut into consecutive parts along one axis.
#include <memory>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/ops/slice.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Node;
using detail::OpTable;
using detail::Push;
using detail::Ref;
using detail::Slice;
using detail::Sweep;
using detail::TapeCore;

// One node with several results. A sweep gathers their cotangents in one pass, where a slice for each would clear the whole array
// first. Those of equal parts that are stretches of memory may be written in place: the node's slot is an array of the input's
// shape then, with a header for each part behind its elements.
template <class T>
struct Parts : detail::PartsRoom {
  // `header` is 0 for parts that TapeCore::record_parts did not make, or of several shapes.
  std::uint32_t count;
  std::uint8_t axis;
  bool drop;                    // each part is one element wide, and lacks the axis
  std::uint8_t room_class = 0;  // of the array of cotangents, in its pool
  std::uint32_t part_bytes = 0;

  Parts(std::size_t parts, std::uint8_t along, bool drops)
      : count(static_cast<std::uint32_t>(parts)), axis(along), drop(drops) {}
  static Parts& of(Node& n) { return *static_cast<Parts*>(n.op()); }
  static Node& record(TapeCore& tape, Node* x, const Slice& part, std::size_t count) {
    return record(tape, x, Parts(count, part.axis, part.drop));
  }
  static Node& record(TapeCore& tape, Node* x, const Parts& parts) {
    Node* n = tape.record(&table, 1, sizeof(Parts) + parts.count * sizeof(Node*), nullptr);
    n->inputs()[0] = detail::Input(x);
    n->alike = true;
    new (n->op()) Parts(parts);
    return *n;
  }
  // Behind the elements of the array of cotangents.
  std::size_t room_behind() const { return alignof(Block) + count * header; }
  void set_model(const Block& part, const Block& x) {
    header = static_cast<std::uint32_t>(part.header());
    part_bytes = static_cast<std::uint32_t>(part.size()) * sizeof(T);
    const auto bytes = static_cast<std::size_t>(x.size()) * sizeof(T);
    room_class = static_cast<std::uint8_t>(
        detail::class_of(detail::pooled_header(x.header(), bytes) + bytes + room_behind()));
  }
  Node** results() { return reinterpret_cast<Node**>(this + 1); }
  Size extent(const Node& result) const { return drop ? 1 : result.value->sizes()[axis]; }

  static void sweep(Node& n, Sweep& sweep) {
    Parts& parts = of(n);
    if (sweep.recorded() || !sweep.wants(n, 0)) {
      parts.add_regions(n, sweep);
    } else if (n.slot) {
      parts.settle_in_place(n, sweep);
    } else if (detail::writable_block(n.inputs()[0].known_node()->slot)) {
      parts.add_regions(n, sweep);
    } else {
      parts.gather(n, sweep);
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
    Block* whole = parts.known_room(n);
    if (!whole) whole = parts.make_room(n);
    n.slot = reinterpret_cast<std::uintptr_t>(whole);
    Block* b = parts.place_of(result.result_number());
    b->refs.store(1, std::memory_order_relaxed);
    detail::retain_local(*whole);
    return b;
  }
  static constexpr OpTable table{"split", sweep, push, nullptr, OpTable::Kind::several, room};

 private:
  // An array that served a split like this one, and is the next of its class: nobody writes to the headers of parts, so all of them
  // are there. Null where there is none.
  [[gnu::always_inline]] Block* known_room(Node& n) {
    const Block &x = *n.inputs()[0].known_node()->value, &part = *results()[0]->value;
    detail::Pool& pool = detail::this_pool();
    Block* const whole = pool.next(room_class);
    if (!whole || !whole->has_parts || x.packable || !whole->same_form(x) || !whole->same_shape(x))
      return nullptr;
    char* const behind = headers_of(*whole);
    const Block& first = *reinterpret_cast<const Block*>(behind);
    if (!first.same_form(part) || !first.same_shape(part)) return nullptr;
    headers = behind;
    pool.take(room_class);
    whole->refs.store(1, std::memory_order_relaxed);
    whole->base = nullptr;
    return whole;
  }
  [[gnu::noinline]] Block* make_room(Node& n) {
    const Block &x = *n.inputs()[0].known_node()->value, &part = *results()[0]->value;
    detail::Pool& pool = detail::this_pool();
    Block* whole = detail::new_like(pool, x, room_behind());
    whole->has_parts = true;
    T* elements = whole->template data<T>();
    headers = headers_of(*whole);
    Block* first = detail::place_header(place_of(0), part, header, whole);
    first->base = whole;
    first->own_part();
    first->elements = elements;
    const Size size = first->size();
    for (std::uint32_t k = 1; k < count; ++k) {
      detail::place_header(place_of(k), *first, header, whole)->elements = elements += size;
    }
    return whole;
  }

  static char* headers_of(const Block& whole) {
    const auto end = reinterpret_cast<std::uintptr_t>(whole.data<T>() + whole.size());
    return reinterpret_cast<char*>((end + alignof(Block) - 1) & ~(alignof(Block) - 1));
  }

  // The array that make_room made becomes the input's cotangent.
  void settle_in_place(Node& n, Sweep& sweep) {
    Ref whole(reinterpret_cast<Block*>(std::exchange(n.slot, 0)));
    std::int32_t in_place = 0;
    char* at = headers;
    for (std::uint32_t k = 0; k < count; ++k, at += header) {
      Node& r = *results()[k];
      if (r.slot == reinterpret_cast<std::uintptr_t>(at) &&
          reinterpret_cast<Block*>(at)->refs.load(std::memory_order_relaxed) == 1) {
        r.slot = 0;
        ++in_place;
      } else {
        const Size size = r.value->size();
        copy_part(sweep, r, 1, size, whole->template data<T>() + k * size, size);
      }
    }
    // Only this thread can know of it so far.
    whole->refs.store(whole->refs.load(std::memory_order_relaxed) - in_place,
                      std::memory_order_relaxed);
    sweep.add_block<T>(*n.inputs()[0].known_node(), std::move(whole));
  }

  void add_regions(Node& n, Sweep& sweep) {
    Size at = 0;
    for (std::uint32_t k = 0; k < count; ++k) {
      Node& r = *results()[k];
      Var<T> g = sweep.take<T>(r);
      if (!g.empty() && sweep.wants(n, 0)) {
        Node& x = *n.inputs()[0].known_node();
        sweep.add(x, detail::Region<T>{std::move(g), x.value->shape(), axis, at, 1, drop});
      }
      at += extent(r);
    }
  }

  void gather(Node& n, Sweep& sweep) {
    bool any = false;
    for (std::uint32_t k = 0; k < count; ++k) any = any || results()[k]->slot;
    if (!any) return;
    Node& x = *n.inputs()[0].known_node();
    Ref whole(detail::new_like(detail::this_pool(), *x.value));
    T* out = whole->template data<T>();
    const Size* sizes = x.value->sizes();
    const Size outer = detail::product(sizes, axis),
               inner = detail::product(sizes + axis + 1, x.value->rank - axis - 1u);
    for (std::uint32_t k = 0; k < count; ++k) {
      Node& r = *results()[k];
      const Size width = inner * extent(r);
      copy_part(sweep, r, outer, width, out, inner * sizes[axis]);
      out += width;
    }
    sweep.add_block<T>(x, std::move(whole));
  }

  // What reached a result, as rows of `width` elements; zeros if nothing did.
  [[gnu::noinline]] static void copy_part(Sweep& sweep, Node& result, Size rows, Size width, T* out,
                                          Size out_row) {
    Ref g = sweep.take_block<T>(result);
    if (g) {
      if (!g->contiguous) g = detail::contiguous(g.get());
      detail::copy_rows(rows, width, g->template data<T>(), width, out, out_row);
    } else {
      for (; rows > 0; --rows, out += out_row) std::fill_n(out, width, T(0));
    }
  }
};

template <class T>
[[gnu::always_inline]] inline Node* record_parts(TapeCore& tape, const Handle::Contents& x,
                                                 const Parts<T>& parts, const Block& model,
                                                 std::size_t header, Var<T>* out) {
  Node& n = Parts<T>::record(tape, x.node, parts);
  Node** const results = Parts<T>::of(n).results();
  tape.record_parts(n, *x.block, model, header, parts.part_bytes, parts.count,
                    [&](std::uint32_t k, Node* result) {
                      results[k] = result;
                      std::construct_at(out + k, Handle(result, &tape));
                    });
  return &n;
}
// Equal parts of a tape's value that are small stretches of memory: they show it where it is. False, with nothing done, for others.
template <class T>
bool show_parts(TapeCore& tape, const Handle::Contents& x, const Slice& part, std::size_t count,
                Var<T>* out) {
  const Block& b = *x.block;
  if (!b.contiguous || detail::product(b.sizes(), part.axis) != 1) return false;
  Size sizes[Shape::max_rank];
  const Block* model = tape.new_part(b.dtype, sizes, part.shape(b.sizes(), b.rank, sizes));
  if (!model) return false;
  Parts<T> parts(count, part.axis, part.drop);
  parts.set_model(*model, b);
  tape.set_known_parts(record_parts(tape, x, parts, *model, parts.header, out));
  return true;
}
// The same for the columns of a row like one that was split before: all there is to know of them is known.
template <class T>
bool show_parts_again(TapeCore& tape, const Handle::Contents& x, std::size_t count, Var<T>* out) {
  Node* const known = tape.known_parts();
  if (!known || known->table != &Parts<T>::table) return false;
  Parts<T>& parts = Parts<T>::of(*known);
  const Block &b = *x.block, &model = *parts.results()[0]->value;
  if (parts.count != count || parts.axis != 1 || model.rank != 2 || b.rank != 2 || parts.drop ||
      !b.contiguous || b.sizes()[0] != 1 || b.sizes()[1] != model.sizes()[1] * parts.count) {
    return false;
  }
  record_parts(tape, x, parts, model, TapeCore::common_header, out);
  return true;
}

// `width(k)` is the extent of part k, all are the same if `equal`; the Vars at `out` are empty.
template <class T, class Width>
void split_into(const Var<T>& x, std::size_t axis, bool drop, std::size_t count, bool equal,
                Width&& width, Var<T>* out) {
  const Handle::Contents contents = x.handle().contents();
  Block* b = contents.block;
  auto* tape = static_cast<TapeCore*>(contents.tape);
  Slice part{static_cast<std::uint8_t>(axis), drop, 0, 1, 0};
  Node* n = nullptr;
  if (tape && count > 0) {
    if (equal) {
      part.length = width(0);
      if (show_parts(*tape, contents, part, count, out)) return;
      part.length = 0;
    }
    n = &Parts<T>::record(*tape, contents.node, part, count);
  }
  const Size outer = detail::product(b->sizes(), axis),
             inner = detail::product(b->sizes() + axis + 1, b->rank - axis - 1);
  Block* value = nullptr;
  for (std::uint32_t k = 0; k < count; ++k) {
    const Size length = width(k), row = inner * length;
    part.start += part.length;
    if (value && value->in_tape && length == part.length) {  // small, like the part before
      value = tape->new_value_like(*value, outer * row);
      detail::copy_rows(outer, row, b->template data<T>() + part.start * inner,
                        inner * b->sizes()[axis], value->template data<T>(), row);
    } else {
      part.length = length;
      value = part.template value<T>(tape, *b);
    }
    if (n) {
      Node* r = tape->record_result(*n, k, value);
      Parts<T>::of(*n).results()[k] = r;
      std::construct_at(out + k, Handle(r, tape));
    } else {
      std::construct_at(out + k, Handle(Ref(value)));
    }
  }
}

template <class T>
[[gnu::noinline]] void split_any_equally(const Var<T>& x, std::size_t count, Size axis,
                                         Var<T>* parts) {
  const std::size_t a = normalize_axis("split", axis, x.rank());
  const Size n = x.handle().block()->sizes()[a], k = static_cast<Size>(count);
  if (k <= 0 || n % k != 0) {
    fail("split", "axis " + std::to_string(a) + " of " + to_string(x.shape()) +
                      " does not divide into " + std::to_string(k) + " equal parts");
  }
  split_into(
      x, a, false, count, true, [&](std::size_t) { return n / k; }, parts);
}

}  // namespace

template <class T>
void detail::split_equally(const Var<T>& x, std::size_t count, Size axis, Var<T>* parts) {
  const Handle::Contents contents = x.handle().contents();
  if (contents.tape && (axis == -1 || axis == 1)) {  // a recurrent network's gates
    auto& tape = *static_cast<TapeCore*>(contents.tape);
    if (show_parts_again(tape, contents, count, parts)) return;
  }
  split_any_equally(x, count, axis, parts);
}
template <FloatOrDouble T>
std::vector<Var<T>> split(const Var<T>& x, Size count, Size axis) {
  std::vector<Var<T>> parts(static_cast<std::size_t>(std::max<Size>(count, 0)));
  detail::split_equally(x, parts.size(), axis, parts.data());
  return parts;
}
template <FloatOrDouble T>
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
template <FloatOrDouble T>
std::vector<Var<T>> unbind(const Var<T>& x, Size axis) {
  const std::size_t a = normalize_axis("unbind", axis, x.rank());
  std::vector<Var<T>> parts(static_cast<std::size_t>(x.handle().block()->sizes()[a]));
  split_into(
      x, a, true, parts.size(), true, [](std::size_t) { return Size{1}; }, parts.data());
  return parts;
}

template void detail::split_equally(const Var<float>&, std::size_t, Size, Var<float>*);
template void detail::split_equally(const Var<double>&, std::size_t, Size, Var<double>*);
template std::vector<Var<float>> split(const Var<float>&, Size, Size);
template std::vector<Var<double>> split(const Var<double>&, Size, Size);
template std::vector<Var<float>> split(const Var<float>&, std::span<const Size>, Size);
template std::vector<Var<double>> split(const Var<double>&, std::span<const Size>, Size);
template std::vector<Var<float>> unbind(const Var<float>&, Size);
template std::vector<Var<double>> unbind(const Var<double>&, Size);

}  // namespace unroll
