#include "unroll/autograd/elementwise.hpp"

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll::detail {
namespace {

// Enough for cotangents, results and inputs of the largest op.
constexpr std::size_t max_operands = max_inputs + 2 * max_results;
constexpr Size gather_block = 256;

template <class T>
struct Source {
  const T* data;
  const Block* block;  // null: one number, `data`
};

bool has_shape(const Block& b, const Shape& shape) {
  return b.rank == shape.rank() && equal_sizes(b.sizes(), shape.begin(), b.rank);
}
// Has it the elements of an array of these sizes in their order? (Leading axes of size 1 may be missing.)
bool fills(const Block& b, const Size* sizes, std::size_t rank) {
  if (!b.contiguous || b.rank > rank) return false;
  const std::size_t shift = rank - b.rank;
  for (std::size_t i = 0; i < shift; ++i) {
    if (sizes[i] != 1) return false;
  }
  return equal_sizes(b.sizes(), sizes + shift, b.rank);
}

// Runs a kernel over arrays that broadcast to `shape`. Outputs are contiguous in that shape (or null).
template <class T>
void run_map(MapFunction<T> kernel, const Shape& shape, const Source<T>* in, std::size_t in_count,
             T* const* out, std::size_t out_count, unsigned accumulate, const void* op) {
  const T* p[max_operands];
  Size step[max_operands];
  bool simple = true;  // every operand is a scalar, or contiguous and of full shape
  for (std::size_t i = 0; i < in_count; ++i) {
    p[i] = in[i].data;
    const Block* b = in[i].block;
    step[i] = b && b->rank != 0;
    if (step[i]) simple = simple && fills(*b, shape.begin(), shape.rank());
  }
  if (simple) {
    const Size n = shape.size();
    if (n > 0) kernel(out, p, step, n, accumulate, op);
    return;
  }
  constexpr std::size_t all = max_operands + max_inputs;
  std::array<Strides, all> strides{};
  std::array<T*, all> pointers{};
  const Strides full = row_major(shape);
  for (std::size_t i = 0; i < in_count; ++i) {
    pointers[i] = const_cast<T*>(p[i]);
    if (step[i] == 0) continue;
    Strides own{};
    in[i].block->get_strides(own.data());
    strides[i] = broadcast_strides(in[i].block->sizes(), own.data(), in[i].block->rank, shape);
  }
  for (std::size_t j = 0; j < out_count; ++j) {
    pointers[in_count + j] = out[j];
    if (out[j]) strides[in_count + j] = full;
  }
  const Loop<all> loop(shape, strides.data(), in_count + out_count);
  loop.run(pointers, [&](const std::array<T*, all>& q, const std::array<Size, all>& s, Size n) {
    std::array<const T*, max_operands> x{};
    std::array<Size, max_operands> inner{};
    std::array<T*, max_inputs> y{};
    bool direct = true;
    for (std::size_t i = 0; i < in_count; ++i) {
      x[i] = q[i];
      inner[i] = s[i];
      direct = direct && (s[i] == 0 || s[i] == 1);
    }
    for (std::size_t j = 0; j < out_count; ++j) y[j] = out[j] ? q[in_count + j] : nullptr;
    if (direct) {
      kernel(y.data(), x.data(), inner.data(), n, accumulate, op);
      return;
    }
    // Some operand jumps: gather it block by block.
    std::array<std::array<T, gather_block>, max_operands> gathered;
    for (Size at = 0; at < n; at += gather_block) {
      const Size m = std::min(gather_block, n - at);
      for (std::size_t i = 0; i < in_count; ++i) {
        const T* from = q[i] + at * s[i];
        inner[i] = s[i] == 0 ? 0 : 1;
        x[i] = from;
        if (s[i] == 0 || s[i] == 1) continue;
        for (Size k = 0; k < m; ++k) gathered[i][k] = from[k * s[i]];
        x[i] = gathered[i].data();
      }
      for (std::size_t j = 0; j < out_count; ++j) {
        y[j] = out[j] ? q[in_count + j] + at : nullptr;
      }
      kernel(y.data(), x.data(), inner.data(), m, accumulate, op);
    }
  });
}

// Computes an op of operands of any shapes and layouts; allocates the results.
template <class T>
[[gnu::noinline]] void forward_strided(const ElementwiseTable<T>& table, TapeCore* tape,
                                       Block* const* x, Block** y, const void* op) {
  Source<T> sources[max_inputs];
  T* out[max_results];
  Shape shape = x[0]->shape();
  for (std::size_t i = 0; i < table.inputs; ++i) {
    if (i > 0) shape = broadcast_shapes(table.name, shape, x[i]->shape());
    sources[i] = {x[i]->template data<T>(), x[i]};
  }
  for (std::size_t k = 0; k < table.results; ++k) {
    y[k] = new_result<T>(tape, shape.begin(), shape.rank());
    out[k] = y[k]->template data<T>();
  }
  run_map(table.forward, shape, sources, table.inputs, out, table.results, 0, op);
}

// An op all of whose operands are small, alike, and on one tape: nothing is left to look at, and the result's header is a copy.
// False, with nothing done, for any other.
template <class T, std::size_t N>
[[gnu::always_inline]] inline bool apply_alike(const ElementwiseTable<T>& table,
                                               const Var<T>* const* inputs, Var<T>* result,
                                               const void* op, std::size_t op_bytes) {
  Handle::Contents c[N];
#pragma GCC unroll 3
  for (std::size_t i = 0; i < N; ++i) {
    if (table.unit[i] == 0) return false;  // not recorded
    c[i] = inputs[i]->handle().contents();
  }
  const Block& x = *c[0].block;
  if (!c[0].tape || !x.is_common()) return false;
#pragma GCC unroll 3
  for (std::size_t i = 1; i < N; ++i) {
    const Block& other = *c[i].block;
    if (c[i].tape != c[0].tape || other.layout() != x.layout() ||
        !equal_sizes(other.sizes(), x.sizes(), 2)) {
      return false;
    }
  }
  auto* tape = static_cast<TapeCore*>(c[0].tape);
  const Size size = product(x.sizes(), 2);
  Node* n = tape->record_alike(x, static_cast<std::size_t>(size) * sizeof(T), &table, N, op_bytes);
  const T* p[N];
#pragma GCC unroll 3
  for (std::size_t i = 0; i < N; ++i) {
    n->inputs()[i] = Input(c[i].node);
    p[i] = c[i].block->template data<T>();
  }
  if (op_bytes) std::memcpy(elementwise_op(*n, 1), op, op_bytes);
  std::construct_at(result, Handle(n, tape));
  T* out = n->value->template data<T>();
  if (size > 0) table.forward(&out, p, nullptr, size, 0, op);
  return true;
}

}  // namespace

// ---- computing ---------------------------------------------------------------------------------------------------------

template <class T, std::size_t N>
void apply_elementwise(const ElementwiseTable<T>& table, const Var<T>* const* inputs,
                       Var<T>* results, const void* op, std::size_t op_bytes) {
  if constexpr (N > 0) {
    if (apply_alike<T, N>(table, inputs, results, op, op_bytes)) return;
  }
  const std::size_t count = N ? N : table.inputs, K = N ? 1 : table.results;
  constexpr std::size_t room = N ? N : max_inputs, results_room = N ? 1 : max_results;
  TapeState* state = nullptr;
  Block* x[room];
  Node* nodes[room];
  bool recorded[room];
  Block* full = nullptr;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    const Handle::Contents c = inputs[i]->handle().contents();
    x[i] = c.block;
    nodes[i] = c.node;
    recorded[i] = c.tape && table.differentiable && table.unit[i] != 0;
    if (recorded[i]) state = join(state, c.tape);
    if (i == 0 || x[i]->rank > full->rank) full = x[i];
  }
  // Nearly always the operands have one shape, besides numbers.
  bool plain = full->contiguous, dense = true;
  const T* p[room];
  Size step[room];
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    p[i] = x[i]->template data<T>();
    step[i] = x[i]->rank != 0;
    if (x[i] == full || x[i]->alike(*full)) continue;
    if (step[i] == 0) {
      dense = dense && !recorded[i];
    } else {
      plain = plain && fills(*x[i], full->sizes(), full->rank);
    }
  }
  auto* tape = static_cast<TapeCore*>(state);
  const std::size_t bytes = (K > 1 ? K * sizeof(Node*) : 0) + op_bytes;
  const Size size = plain ? full->size() : 0;
  Node* n = nullptr;
  Block* y[results_room];
  if (!plain) {
    forward_strided(table, tape, x, y, op);
  } else if (tape && K == 1) {
    n = tape->record_like(*full, size, &table, count, bytes, dense);
    y[0] = n->value;
  } else {
    for (std::size_t k = 0; k < K; ++k) y[k] = new_result_like(tape, *full, size);
  }
  if (tape && !n) {
    n = tape->record(&table, count, bytes, nullptr);
    n->dense = plain && dense;
    if (K == 1) n->value = y[0];
  }
#pragma GCC unroll 3
  for (std::size_t i = 0; n && i < count; ++i) {
    if (!nodes[i]) retain(x[i]);
    n->inputs()[i] = nodes[i] ? Input(nodes[i]) : Input(x[i]);
  }
  if (n && op_bytes) std::memcpy(elementwise_op(*n, K), op, op_bytes);
  for (std::size_t k = 0; k < K; ++k) {
    if (!tape) {
      std::construct_at(results + k, Handle(Ref(y[k])));
      continue;
    }
    Node* r = n;
    if (K > 1) {
      r = tape->record(&result_table, 1, 0, nullptr);
      r->value = y[k];
      r->inputs()[0] = Input(n);
      static_cast<Node**>(n->op())[k] = r;
    }
    std::construct_at(results + k, Handle(r, tape));
  }
  if (size > 0) {  // last: everything has its owner should a user's function throw
    T* out[results_room];
    for (std::size_t k = 0; k < K; ++k) out[k] = y[k]->template data<T>();
    table.forward(out, p, step, size, 0, op);
  }
}

// ---- sweeping ------------------------------------------------------------------------------------------------------------

namespace {

Node& result_node(Node& n, std::size_t K, std::size_t k) {
  return K > 1 ? *static_cast<Node**>(n.op())[k] : n;
}

// What a node's inputs are to get: computed cotangents, or the result's own.
struct Wanted {
  bool computed[max_inputs];
  std::size_t computed_count = 0, passed_on = 0;

  template <class T>
  Wanted(const Node& n, const Sweep& sweep, const ElementwiseTable<T>& table, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const bool wanted = table.unit[i] != 0 && sweep.wants(n, i);
      computed[i] = wanted && table.unit[i] == 2;
      computed_count += computed[i];
      passed_on += wanted && table.unit[i] == 1;
    }
  }
  // Only one input of f(x, x) may write into the target's cotangent.
  bool is_first(const Node& n, std::size_t i) const {
    for (std::size_t j = 0; j < i; ++j) {
      if (computed[j] && n.inputs()[j].node() == n.inputs()[i].node()) return false;
    }
    return true;
  }
};

// Operands of any shapes and layouts.
template <class T>
[[gnu::noinline]] void sweep_strided(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  const std::size_t N = table.inputs, K = table.results;
  // Cotangents of the results; one that nothing reached is zero.
  static constexpr T zero = 0;
  Ref g[max_results];
  Source<T> sources[max_operands];
  const Shape shape = result_node(n, K, 0).value->shape();
  for (std::size_t k = 0; k < K; ++k) {
    Node& r = result_node(n, K, k);
    g[k] = sweep.take_block<T>(r);
    sources[k] = g[k] ? Source<T>{g[k]->template data<T>(), g[k].get()} : Source<T>{&zero, nullptr};
    sources[K + k] = {r.value->data<T>(), r.value};
  }
  Wanted wanted(n, sweep, table, N);
  if (wanted.computed_count > 0) {
    T* out[max_inputs];
    Block* fresh[max_inputs];
    unsigned accumulate = 0;
    // A cotangent that is computed may be written over g.
    bool reuse = K == 1 && wanted.passed_on == 0 && g[0]->exclusive();
    for (std::size_t i = 0; i < N; ++i) {
      Block* x = n.input_block(i);
      sources[2 * K + i] = {x->data<T>(), x};
      out[i] = nullptr;
      fresh[i] = nullptr;
      if (!wanted.computed[i]) continue;
      const bool same = has_shape(*x, shape);
      Block* sum =
          same && wanted.is_first(n, i) ? writable_block(n.inputs()[i].node()->slot) : nullptr;
      if (sum) {
        accumulate |= 1U << i;
        out[i] = sum->data<T>();
        continue;
      }
      if (same && reuse) {
        reuse = false;
        fresh[i] = g[0].get();
      } else {
        fresh[i] = new_block<T>(shape).give();
      }
      out[i] = fresh[i]->template data<T>();
    }
    run_map(table.backward, shape, sources, N + 2 * K, out, N, accumulate, elementwise_op(n, K));
    for (std::size_t i = 0; i < N; ++i) {
      if (!fresh[i]) continue;
      Ref d(fresh[i] == g[0].get() ? g[0].give() : fresh[i]);
      sweep.add(*n.inputs()[i].node(), Broadcasted<T>{Var<T>(Handle(std::move(d)))});
    }
  }
  for (std::size_t i = 0; wanted.passed_on > 0 && i < N; ++i) {
    if (table.unit[i] != 1 || !sweep.wants(n, i)) continue;
    Ref d = --wanted.passed_on == 0 ? std::move(g[0]) : g[0];
    sweep.add(*n.inputs()[i].node(), Broadcasted<T>{Var<T>(Handle(std::move(d)))});
  }
}

// Where the cotangent of one of several results may be written: its slot's from then on. Null where there is no such place.
inline Block* room_for(Node& n) {
  if (n.slot || n.table->kind != OpTable::Kind::result) return nullptr;
  Node& whole = *n.inputs()[0].node();
  Block* room = whole.table->room ? whole.table->room(whole, n) : nullptr;
  n.slot = reinterpret_cast<std::uintptr_t>(room);
  return room;
}

// Gives g, which has the elements of y in their order, to a target; the last one of several gets the block itself.
template <class T>
[[gnu::always_inline]] inline void pass_on(Node& target, Block*& g, bool last, const Block& y,
                                           Sweep& sweep) {
  if (Block* sum = writable_block(target.slot)) {
    add_into<T>(*sum, *g);
    return;
  }
  if (Block* room = room_for(target)) {
    std::copy_n(g->data<T>(), y.size(), room->data<T>());
    return;
  }
  Ref d = last ? Ref(std::exchange(g, nullptr)) : Ref::share(g);
  if (target.slot == 0 && target.value->rank == y.rank) {
    target.slot = reinterpret_cast<std::uintptr_t>(d.give());
  } else {
    sweep.add_same_size<T>(target, std::move(d));
  }
}

// A dense node that only passes its cotangent on, as a sum does. False, with nothing done, for others, and for a cotangent that
// is not one whole array.
template <class T, std::size_t N>
bool sweep_sum(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  for (std::size_t i = 0; i < N; ++i) {
    if (table.unit[i] == 2) return false;
  }
  auto* g = reinterpret_cast<Block*>(n.slot & 1 ? 0 : n.slot);
  if (!g || !g->contiguous) return false;
  n.slot = 0;
  Node* before = nullptr;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < N; ++i) {
    if (table.unit[i] != 1 || !sweep.wants(n, i)) continue;
    if (before) pass_on<T>(*before, g, false, *n.value, sweep);
    before = n.inputs()[i].node();
  }
  if (before) pass_on<T>(*before, g, true, *n.value, sweep);
  if (g) release(g);
  return true;
}

// A node that was recorded by apply_alike and computes each operand's cotangent. False, with nothing done, for others, and where
// two operands are one node.
template <class T, std::size_t N>
bool sweep_alike(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  auto* g = reinterpret_cast<Block*>(n.slot & 1 ? 0 : n.slot);
  if (!g || !g->contiguous) return false;
  Node* target[N];
#pragma GCC unroll 3
  for (std::size_t i = 0; i < N; ++i) {
    target[i] = n.inputs()[i].node();
    if (table.unit[i] != 2 || !sweep.wants(*target[i])) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (target[j] == target[i]) return false;
    }
  }
  n.slot = 0;
  Block& y = *n.value;
  bool reuse = g->exclusive();  // one of the cotangents may be written over g
  const T* in[2 + N] = {g->data<T>(), y.data<T>()};
  T* out[N];
  Block* fresh[N];
  unsigned accumulate = 0;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < N; ++i) {
    Node& m = *target[i];
    in[2 + i] = m.value->data<T>();
    fresh[i] = nullptr;
    if (Block* sum = writable_block(m.slot)) {
      accumulate |= 1U << i;
      out[i] = sum->data<T>();
    } else if (Block* room = room_for(m)) {
      out[i] = room->data<T>();
    } else {
      fresh[i] = reuse ? std::exchange(g, nullptr) : new_like(this_pool(), y);
      reuse = false;
      out[i] = fresh[i]->template data<T>();
    }
  }
  if (const Size size = product(y.sizes(), 2)) {
    table.backward(out, in, nullptr, size, accumulate, elementwise_op(n, 1));
  }
#pragma GCC unroll 3
  for (std::size_t i = 0; i < N; ++i) {
    if (fresh[i]) sweep.add_block<T>(*target[i], Ref(fresh[i]));
  }
  if (g) release(g);
  return true;
}

// A node whose operands all lie in the result's order, as most do. False, with nothing done, if a cotangent does not.
template <class T, std::size_t N>
bool sweep_dense(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  constexpr std::size_t room = N ? N : max_inputs, results_room = N ? 1 : max_results;
  const std::size_t count = N ? N : table.inputs, K = N ? 1 : table.results;
  static constexpr T zero = 0;
  const T* in[room + 2 * results_room];
  Size step[room + 2 * results_room];
  Block* g[results_room];
  for (std::size_t k = 0; k < K; ++k) {
    Node& r = result_node(n, K, k);
    g[k] = reinterpret_cast<Block*>(r.slot);
    if (r.slot & 1) return false;
    if (g[k] && !g[k]->contiguous) {  // a broadcast, mostly: written out where that is cheap
      if (g[k]->size() * static_cast<Size>(sizeof(T)) > small_value) return false;
      Ref whole = contiguous(g[k]);
      release(g[k]);
      g[k] = whole.give();
      r.slot = reinterpret_cast<std::uintptr_t>(g[k]);
    }
    in[k] = g[k] ? g[k]->template data<T>() : &zero;
    in[K + k] = r.value->data<T>();
    step[K + k] = r.value->rank != 0;
    step[k] = g[k] && r.value->rank != 0;
  }
  Block& y = *result_node(n, K, 0).value;
  for (std::size_t k = 0; k < K; ++k) result_node(n, K, k).slot = 0;
  Node* passed_on[room];  // whom the result's own cotangent is passed on to
  std::size_t passed_count = 0;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    if (table.unit[i] == 1 && sweep.wants(n, i)) passed_on[passed_count++] = n.inputs()[i].node();
  }
  // A cotangent that is computed may be written over g.
  bool reuse = K == 1 && passed_count == 0 && g[0]->exclusive();
  T* out[room];
  Node* targets[room];  // of what is computed into arrays of its own
  Block* fresh[room];
  std::size_t fresh_count = 0;
  unsigned accumulate = 0, computed = 0;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    const Input input = n.inputs()[i];
    Node* const m = input.node();
    const Block* x = m ? m->value : input.constant();
    in[2 * K + i] = x->data<T>();
    step[2 * K + i] = x->rank != 0;
    out[i] = nullptr;
    if (!m || table.unit[i] != 2 || !sweep.wants(*m)) continue;
    // Only one input of f(x, x) may write into the target's cotangent.
    Block* sum = writable_block(m->slot);
    for (std::size_t j = 0; sum && j < i; ++j) {
      if ((computed >> j & 1) && n.inputs()[j].node() == m) sum = nullptr;
    }
    computed |= 1U << i;
    if (sum) {
      accumulate |= 1U << i;
      out[i] = sum->data<T>();
      continue;
    }
    if (Block* room = room_for(*m)) {
      out[i] = room->data<T>();
      continue;
    }
    Block* d = nullptr;
    if (reuse && x->rank == y.rank) {
      reuse = false;
      d = std::exchange(g[0], nullptr);
    } else {
      d = new_like(this_pool(), *x);
    }
    out[i] = d->data<T>();
    targets[fresh_count] = m;
    fresh[fresh_count++] = d;
  }
  if (computed) {
    if (const Size size = y.size()) {
      table.backward(out, in, step, size, accumulate, elementwise_op(n, K));
    }
    for (std::size_t k = 0; k < fresh_count; ++k) sweep.add_block<T>(*targets[k], Ref(fresh[k]));
  }
  for (std::size_t k = 0; k < passed_count; ++k) {
    pass_on<T>(*passed_on[k], g[0], k + 1 == passed_count, y, sweep);
  }
  for (std::size_t k = 0; k < K; ++k) {
    if (g[k]) release(g[k]);
  }
  return true;
}

}  // namespace

template <class T, std::size_t N>
void sweep_elementwise(Node& n, Sweep& sweep) {
  const auto& table = *static_cast<const ElementwiseTable<T>*>(n.table);
  const std::size_t K = N ? 1 : table.results;
  if constexpr (N > 0) {
    if (!sweep.recorded()) {
      if (n.alike && sweep_alike<T, N>(n, sweep, table)) return;
      if (n.dense && sweep_sum<T, N>(n, sweep, table)) return;
    }
  }
  bool any = K == 1;
  for (std::size_t k = 0; K > 1 && k < K; ++k) any = any || result_node(n, K, k).slot;
  if (any) {
    if (sweep.recorded()) {
      table.rule(n, sweep);
    } else if (!n.dense || !sweep_dense<T, N>(n, sweep, table)) {
      sweep_strided(n, sweep, table);
    }
  }
  for (std::size_t k = 0; K > 1 && k < K; ++k) sweep.free_value(result_node(n, K, k));
}

namespace {
template <class T, std::size_t... N>
constexpr auto all_counts(std::index_sequence<N...>) {
  return std::tuple{&apply_elementwise<T, N>..., &sweep_elementwise<T, N>...};
}
// Naming a function makes the compiler emit it.
[[gnu::used]] constinit auto floats = all_counts<float>(std::make_index_sequence<4>{});
[[gnu::used]] constinit auto doubles = all_counts<double>(std::make_index_sequence<4>{});
}  // namespace

}  // namespace unroll::detail
