// Elementwise ops: the cotangents of their inputs.
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/kernels/strided_map.hpp"

namespace unroll::detail {
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
      Block* sum = same ? writable_block(n.inputs()[i].node()->slot) : nullptr;
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
    void* const op = elementwise_op(n, K);
    if (table.kept) *static_cast<T**>(op) = nullptr;  // it was written in another order
    run_map(table.backward, shape, sources, N + 2 * K, out, N, accumulate, op);
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

// A cotangent of zeros, for a result that none reached, as a slot holds it.
template <class T>
[[gnu::noinline]] std::uintptr_t zero_slot(const Block& y) {
  Block* const b = new_like(this_pool(), y);
  std::fill_n(b->data<T>(), b->size(), T(0));
  return reinterpret_cast<std::uintptr_t>(b);
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
bool sweep_sum(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
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

// A node that was recorded by apply_alike (hence table.all_recorded), each of whose operands gets a cotangent: computed or, beside
// such, a copy of the result's own. False, with nothing done, for others.
template <class T, std::size_t N>
bool sweep_alike(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
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
  Destinations<T, room> to;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    Node& m = *n.inputs()[i].known_node();
    in[2 * K + i] = m.value->data<T>();
    to.choose(i, m, over, 2);
  }
  if (const Size size = product(result_node(n, K, 0).value->sizes(), 2)) {
    table.backward(to.out, in, nullptr, size, to.accumulate, elementwise_op(n, K));
  }
  to.deliver(sweep);
  if (over) release_own(over);
  for (std::size_t k = 0; k < K; ++k) {
    if (g[k]) release_own(g[k]);
  }
  return true;
}

// The same for a node that apply_to_parts recorded; operands that want no cotangent get none.
template <class T, std::size_t K>
[[gnu::always_inline]] inline bool sweep_rows(Node& n, Sweep& sweep,
                                              const ElementwiseTable<T>& table) {
  const std::size_t count = table.arrays;
  Block* g[max_results];
  for (std::size_t k = 0; k < K; ++k) {
    Node& r = result_node(n, K, k);
    if (r.slot == 0) r.slot = zero_slot<T>(*r.value);
    g[k] = reinterpret_cast<Block*>(r.slot & 1 ? 0 : r.slot);
    if (!g[k] || !g[k]->contiguous) return false;
  }
  for (std::size_t k = 0; k < K; ++k) result_node(n, K, k).slot = 0;
  const Size* const sizes = result_node(n, K, 0).value->sizes();
  const Size rows = sizes[0], columns = sizes[1];
  RowOperands<const T> in;
  for (std::size_t k = 0; k < K; ++k) in.add(g[k]->template data<T>(), 1, columns);
  for (std::size_t k = 0; k < K; ++k) {
    in.add(result_node(n, K, k).value->template data<T>(), 1, columns);
  }
  Block* over = K == 1 && g[0]->exclusive() ? std::exchange(g[0], nullptr) : nullptr;
  Destinations<T, max_inputs> to;
  RowOperands<T> out;
  unsigned accumulate = 0, vectors = 0;
  const Block* x[max_inputs];
  for (std::size_t i = 0; i < count; ++i) {
    const Input input = n.inputs()[i];
    Node* const m = input.node();
    const std::size_t parts = table.parts[i];
    x[i] = m ? m->value : input.constant();
    in.add(x[i]->data<T>(), parts, columns);
    if (!m || !sweep.wants(*m)) {
      out.add(nullptr, parts, 0);
      continue;
    }
    Block* none = nullptr;
    to.choose(i, *m, parts == 1 ? over : none, 2);
    const unsigned bits = ((1U << parts) - 1) << out.count;
    if (to.accumulate >> i & 1) accumulate |= bits;
    if (x[i]->rank == 1) vectors |= bits;
    out.add(to.out[i], parts, columns);
  }
  const void* const op = elementwise_op(n, K);
  table.backward(out.at, in.at, nullptr, columns, accumulate, op);
  if (rows > 1) {  // which a vector's cotangent is the sum of
    RowSteps in_steps, out_steps;
    in_steps.add(2 * K, columns);
    in_steps.add(table, x, columns);
    out_steps.add(table, x, columns);
    for (std::size_t j = 0; j < out.count; ++j) {
      if (!out.at[j]) out_steps.of[j] = 0;
    }
    run_other_rows(table, table.backward, rows, columns, out, out_steps, in, in_steps,
                   accumulate | vectors, op);
  }
  to.deliver(sweep);
  if (over) release_own(over);
  for (std::size_t k = 0; k < K; ++k) {
    if (g[k]) release_own(g[k]);
  }
  return true;
}

// A node whose operands all lie in the result's order, as most do. False, with nothing done, if a cotangent does not.
template <class T, std::size_t N>
[[gnu::noinline]] bool sweep_dense(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  constexpr std::size_t room = N ? N : max_inputs, results_room = N ? 1 : max_results;
  const std::size_t count = N ? N : table.inputs, K = N ? 1 : table.results;
  static constexpr T zero = 0;
  const T* in[room + 2 * results_room];
  Size step[room + 2 * results_room];
  bool numbers = false;
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
    numbers = numbers || step[k] == 0;
  }
  Block& y = *result_node(n, K, 0).value;
  for (std::size_t k = 0; k < K; ++k) result_node(n, K, k).slot = 0;
  Node* passed_on[room];  // whom the result's own cotangent is passed on to
  std::size_t passed_count = 0;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    if (table.unit[i] == 1 && sweep.wants(n, i)) passed_on[passed_count++] = n.inputs()[i].node();
  }
  Block* over =
      K == 1 && passed_count == 0 && g[0]->exclusive() ? std::exchange(g[0], nullptr) : nullptr;
  Destinations<T, room> to;
  bool computes = false;
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    const Input input = n.inputs()[i];
    Node* const m = input.node();
    const Block* x = m ? m->value : input.constant();
    in[2 * K + i] = x->data<T>();
    step[2 * K + i] = x->rank != 0;
    numbers = numbers || x->rank == 0;
    if (m && table.unit[i] == 2 && sweep.wants(*m)) {
      computes = true;
      to.choose(i, *m, over, y.rank);
    } else {
      to.out[i] = nullptr;
    }
  }
  if (computes) {
    if (const Size size = y.size()) {
      table.backward(to.out, in, numbers ? step : nullptr, size, to.accumulate,
                     elementwise_op(n, K));
    }
    to.deliver(sweep);
  }
  if (over) release_own(over);
  for (std::size_t k = 0; k < passed_count; ++k) {
    pass_on<T>(*passed_on[k], g[0], k + 1 == passed_count, y, sweep);
  }
  for (std::size_t k = 0; k < K; ++k) {
    if (g[k]) release_own(g[k]);
  }
  return true;
}

}  // namespace

template <class T, std::size_t N>
void sweep_elementwise(Node& n, Sweep& sweep) {
  const auto& table = *static_cast<const ElementwiseTable<T>*>(n.table);
  const std::size_t K = N ? 1 : table.results;
  if (!sweep.recorded()) {
    if (N > 0 && table.only_passes_on) {
      if (n.dense && sweep_sum<T, N>(n, sweep, table)) return;
    } else {
      if (n.alike && sweep_alike<T, N>(n, sweep, table)) return;
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

template <class T, std::size_t K>
void sweep_parts(Node& n, Sweep& sweep) {
  const auto& table = *static_cast<const ElementwiseTable<T>*>(n.table);
  bool any = K == 1;
  for (std::size_t k = 0; K > 1 && k < K; ++k) any = any || result_node(n, K, k).slot;
  if (any && (sweep.recorded() || !sweep_rows<T, K>(n, sweep, table))) table.rule(n, sweep);
  for (std::size_t k = 0; K > 1 && k < K; ++k) sweep.free_value(result_node(n, K, k));
}

namespace {
template <class T, std::size_t... N>
constexpr auto all_counts(std::index_sequence<N...>) {
  return std::tuple{&sweep_elementwise<T, N>...};
}
// Naming a function makes the compiler emit it.
[[gnu::used]] constinit auto floats = all_counts<float>(std::make_index_sequence<4>{});
[[gnu::used]] constinit auto doubles = all_counts<double>(std::make_index_sequence<4>{});
template <class T, std::size_t... K>
constexpr auto all_result_counts(std::index_sequence<K...>) {
  return std::tuple{&sweep_parts<T, K + 1>...};
}
[[gnu::used]] constinit auto float_parts =
    all_result_counts<float>(std::make_index_sequence<max_results>{});
[[gnu::used]] constinit auto double_parts =
    all_result_counts<double>(std::make_index_sequence<max_results>{});
}  // namespace

}  // namespace unroll::detail
