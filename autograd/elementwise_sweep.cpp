// Elementwise ops: the cotangents of their inputs.
#include "unroll/autograd/elementwise_rows.hpp"
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/kernels/strided_map.hpp"

namespace unroll::detail {
namespace {

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

// A node of matrices and of vectors that their rows share.
template <class T>
[[gnu::noinline]] bool sweep_whole_rows(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  return table.arrays && has_rows(n, *result_node(n, table.results, 0).value) &&
         sweep_rows<T, 0>(n, sweep, table, CalledKernel<T>{table});
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
      if (n.alike && sweep_alike<T, N>(n, sweep, table, CalledKernel<T>{table})) return;
    }
  }
  bool any = K == 1;
  for (std::size_t k = 0; K > 1 && k < K; ++k) any = any || result_node(n, K, k).slot;
  if (any) {
    if (sweep.recorded()) {
      table.rule(n, sweep);
    } else if (n.dense ? !sweep_dense<T, N>(n, sweep, table) : !sweep_whole_rows(n, sweep, table)) {
      sweep_strided(n, sweep, table);
    }
  }
  for (std::size_t k = 0; K > 1 && k < K; ++k) sweep.free_value(result_node(n, K, k));
}

namespace {
template <class T, std::size_t... N>
constexpr auto all_sweeps(std::index_sequence<N...>) {
  return std::tuple{&sweep_elementwise<T, N>...};
}
// Naming a function makes the compiler emit it.
[[gnu::used]] constinit auto float_sweeps = all_sweeps<float>(std::make_index_sequence<4>{});
[[gnu::used]] constinit auto double_sweeps = all_sweeps<double>(std::make_index_sequence<4>{});
}  // namespace

}  // namespace unroll::detail
