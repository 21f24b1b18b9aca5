// The short paths of an elementwise op: all of whose operands are nodes of one tape and have the result's elements in their order, as
// a cell's mostly do. Not promised to users.
//
//   if (apply_alike<T, N>(table, inputs, results, op, op_bytes, kernel)) return;        // recorded, and computed
//   if (n.alike && sweep_alike<T, N>(n, sweep, table, kernel)) return;                  // its inputs' cotangents
//
// They are compiled once for all ops, which the table tells apart (elementwise.cpp, elementwise_sweep.cpp), and once more for each
// call of `fuse` and each of the few ops that cells are made of (ops/elementwise.cpp): there the table is a constant.
// Invariant: they return false, with nothing done, for what they do not take.
#pragma once

#include "unroll/autograd/elementwise_table.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll::detail {

// The table's kernels, as functions that are called.
template <class T>
struct CalledKernel {
  const ElementwiseTable<T>& table;

  void forward(T* const* out, const T* const* in, Size n, const void* op) const {
    table.forward(out, in, nullptr, n, 0, op);
  }
  void backward(T* const* out, const T* const* in, Size n, unsigned accumulate,
                const void* op) const {
    table.backward(out, in, nullptr, n, accumulate, op);
  }
};

// Copies the op object into its node, which has `size` elements in one order, in calls of so many each, with room for what it keeps;
// returns it.
template <class T>
[[gnu::always_inline]] inline const void* own_op(const ElementwiseTable<T>& table, TapeCore& tape,
                                                 Node& n, std::size_t results, Size size,
                                                 const void* op, std::size_t op_bytes,
                                                 Size calls = 1) {
  if (op_bytes == 0) return op;
  void* const own = elementwise_op(n, results);
  constexpr std::size_t word = sizeof(void*);
  for (std::size_t at = 0; at < op_bytes; at += word) {
    asm("" : "+r"(at));  // not to become one call, which takes longer for a few words
    std::memcpy(static_cast<char*>(own) + at, static_cast<const char*>(op) + at, word);
  }
  if (table.kept) {
    const auto bytes = static_cast<std::size_t>(calls * table.kept(own, size)) * sizeof(T);
    *static_cast<void**>(own) = tape.keep(bytes);
  }
  return own;
}

// Is it a vector with the elements of a matrix that has one row?
inline bool is_row(const Block& v, Size rows, Size columns) {
  return v.rank == 1 && v.contiguous && rows == 1 && v.sizes()[0] == columns;
}

// An op all of whose operands are on one tape and have the elements of the first, a small array, in their order: nothing is left to
// look at, and the results' headers are copies of its own. False, with nothing done, for any other.
template <class T, std::size_t N, class Kernel>
[[gnu::always_inline]] inline bool apply_alike(const ElementwiseTable<T>& table,
                                               const Var<T>* const* inputs, Var<T>* results,
                                               const void* op, std::size_t op_bytes,
                                               const Kernel& kernel) {
  const std::size_t count = N ? N : table.inputs, K = N ? 1 : table.results;
  constexpr std::size_t room = N ? N : max_inputs, results_room = N ? 1 : max_results;
  const std::size_t node_op = (K > 1 ? K * sizeof(Node*) : 0) + op_bytes;
  const Handle::Contents first = inputs[0]->handle().contents();
  const Block& x = *first.block;
  if (!first.tape || !table.all_recorded || !x.common) return false;
  // Read once: what is written below could be the same for all that the compiler knows.
  const Handle::Origin origin = inputs[0]->handle().origin();
  const BlockKind kind = x;
  const Size rows = x.sizes()[0], columns = x.sizes()[1];
  auto* tape = static_cast<TapeCore*>(first.tape);
  const Size size = rows * columns;
  const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
  Input* const own =
      K > 1 ? tape->inputs_of_several(count, node_op) : tape->inputs_of_next(bytes, count, node_op);
  const T* p[room];
  own[0] = Input(first.node);
  p[0] = x.template data<T>();
#pragma GCC unroll 3
  for (std::size_t i = 1; i < count; ++i) {
    Node* const node = inputs[i]->handle().node_of(origin);
    if (!node) return false;
    const Block& other = *node->value;
    const bool same =
        other.same_type(kind) && other.sizes()[0] == rows && other.sizes()[1] == columns;
    if (!same && !is_row(other, rows, columns)) return false;
    own[i] = Input(node);
    p[i] = other.template data<T>();
  }
  Node* n = K > 1 ? tape->record_several(&table, count, node_op)
                  : tape->record_alike(x, bytes, own, &table, count, node_op);
  op = own_op(table, *tape, *n, K, size, op, op_bytes);
  T* out[results_room];
  for (std::size_t k = 0; k < K; ++k) {
    Node* r = n;
    if (K > 1) {
      r = tape->record_result(*n, static_cast<std::uint32_t>(k), tape->new_common(x, bytes));
      static_cast<Node**>(n->op())[k] = r;
    }
    out[k] = r->value->template data<T>();
    std::construct_at(results + k, Handle(r, tape));
  }
  if (size > 0) kernel.forward(out, p, size, op);
  return true;
}

inline Node& result_node(Node& n, std::size_t K, std::size_t k) {
  return K > 1 ? *static_cast<Node**>(n.op())[k] : n;
}

// The Vars of the values y of n, or of constants where there is no tape; each of several gets a node of its own.
template <class T>
[[gnu::always_inline]] inline void hand_out(TapeCore* tape, Node* n, Block* const* y, std::size_t K,
                                            Var<T>* results) {
  for (std::size_t k = 0; k < K; ++k) {
    if (!tape) {
      std::construct_at(results + k, Handle(Ref(y[k])));
      continue;
    }
    Node* r = n;
    if (K > 1) {
      r = tape->record_result(*n, static_cast<std::uint32_t>(k), y[k]);
      static_cast<Node**>(n->op())[k] = r;
    }
    std::construct_at(results + k, Handle(r, tape));
  }
}

// Where the cotangent of one of several results may be written: its slot's from then on. Null where there is no such place.
[[gnu::noinline]] inline Block* room_for_result(Node& n) {
  Node& whole = *n.inputs()[0].known_node();
  Block* room = nullptr;
  if (auto* const all = reinterpret_cast<Block*>(whole.slot)) {
    room = static_cast<const PartsRoom*>(whole.op())->place_of(n.result_number());
    room->refs.store(1, std::memory_order_relaxed);
    retain_local(*all);
  } else if (whole.table->room) {
    room = whole.table->room(whole, n);
  }
  n.slot = reinterpret_cast<std::uintptr_t>(room);
  return room;
}
[[gnu::always_inline]] inline Block* room_for(Node& n) {
  if (n.slot || n.table->kind != OpTable::Kind::result) return nullptr;
  return room_for_result(n);
}

// Gives g, which has the elements of y in their order, to a target; the last one of several gets the block itself.
template <class T>
[[gnu::always_inline]] inline void pass_on(Node& target, Block*& g, bool last, const Block& y,
                                           Sweep& sweep) {
  const T* const from = g->data<T>();
  if (Block* sum = writable_block(target.slot)) {
    T* const to = sum->data<T>();
    for_each_lane<T>(y.size(), [&](auto load, auto store) { store(to, load(to) + load(from)); });
    return;
  }
  if (Block* room = room_for(target)) {
    T* const to = room->data<T>();
    for_each_lane<T>(y.size(), [&](auto load, auto store) { store(to, load(from)); });
    return;
  }
  Ref d = last ? Ref(std::exchange(g, nullptr)) : Ref::share(g);
  if (target.slot == 0 && target.value->rank == y.rank) {
    target.slot = reinterpret_cast<std::uintptr_t>(d.give());
  } else {
    sweep.add_same_size<T>(target, std::move(d));
  }
}

// Where a kernel writes the cotangents of a node's operands: into a sum that is there already (in f(x, x), also the cotangent of
// the first x), into room that a split has, over the result's own cotangent, or into new blocks.
template <class T, std::size_t room>
struct Destinations {
  T* out[room];
  unsigned accumulate = 0;
  // Blocks to be added to what cannot be written to.
  std::size_t late_count = 0;
  Node* late_target[room];
  Block* late[room];

  // `g`: a block of the result's rank that may be written over, or null; it is taken.
  [[gnu::always_inline]] void choose(std::size_t i, Node& m, Block*& g, std::size_t rank) {
    if (Block* sum = writable_block(m.slot)) {
      accumulate |= 1U << i;
      out[i] = sum->data<T>();
      return;
    }
    if (Block* place = room_for(m)) {
      out[i] = place->data<T>();
      return;
    }
    const Block& x = *m.value;
    Block* d = g && x.rank == rank ? std::exchange(g, nullptr) : new_like(this_pool(), x);
    out[i] = d->data<T>();
    if (m.slot == 0) {
      m.slot = reinterpret_cast<std::uintptr_t>(d);
    } else {
      late_target[late_count] = &m;
      late[late_count++] = d;
    }
  }
  // Once the kernel has run.
  void deliver(Sweep& sweep) const {
    for (std::size_t k = 0; k < late_count; ++k) sweep.add_block<T>(*late_target[k], Ref(late[k]));
  }
};

// A dense node that only passes its cotangent on, as a sum does. False, with nothing done, for a cotangent that is not one whole
// array.
template <class T, std::size_t N>
[[gnu::always_inline]] inline bool sweep_sum(Node& n, Sweep& sweep,
                                             const ElementwiseTable<T>& table) {
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
  if (g) release_own(g);
  return true;
}

// What is left of the results' cotangents, one of which might have been written over.
[[gnu::always_inline]] inline void let_go(Block* over, Block* const* g, std::size_t K) {
  if (over) release_own(over);
  for (std::size_t k = 0; k < K; ++k) {
    if (g[k]) release_own(g[k]);
  }
}

// A node that was recorded by apply_alike (hence table.all_recorded), each of whose operands gets a cotangent: computed or, beside
// such, a copy of the result's own. False, with nothing done, for others.
template <class T, std::size_t N, class Kernel>
[[gnu::always_inline]] inline bool sweep_alike(Node& n, Sweep& sweep,
                                               const ElementwiseTable<T>& table,
                                               const Kernel& kernel) {
  constexpr std::size_t room = N ? N : max_inputs, results_room = N ? 1 : max_results;
  const std::size_t count = N ? N : table.inputs, K = N ? 1 : table.results;
  for (std::size_t i = 0; !sweep.wants_all() && i < count; ++i) {
    if (!sweep.wants(*n.inputs()[i].known_node())) return false;
  }
  Block* g[results_room];
  const T* in[room + 2 * results_room];
  for (std::size_t k = 0; k < K; ++k) {
    const Node& r = result_node(n, K, k);
    g[k] = reinterpret_cast<Block*>(r.slot & 1 ? 0 : r.slot);
    if (!g[k] || !g[k]->contiguous) return false;
    in[k] = g[k]->template data<T>();
    in[K + k] = r.value->data<T>();
  }
  for (std::size_t k = 0; k < K; ++k) result_node(n, K, k).slot = 0;
  Block* over = K == 1 && g[0]->exclusive() ? std::exchange(g[0], nullptr) : nullptr;
  const std::size_t rank = result_node(n, K, 0).value->rank;
  Destinations<T, room> to;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    Node& m = *n.inputs()[i].known_node();
    in[2 * K + i] = m.value->data<T>();
    to.choose(i, m, over, rank);
  }
  if (const Size size = product(result_node(n, K, 0).value->sizes(), 2)) {
    kernel.backward(to.out, in, size, to.accumulate, elementwise_op(n, K));
  }
  to.deliver(sweep);
  let_go(over, g, K);
  return true;
}

}  // namespace unroll::detail
