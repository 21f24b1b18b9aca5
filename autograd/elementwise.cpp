#include "unroll/autograd/elementwise.hpp"

#include "unroll/autograd/kernels.hpp"

namespace unroll::detail {
namespace {

template <class T>
const OpTable result_table{"result", [](Node&, Sweep&) {}, [](Node&, Push&) {}, nullptr,
                           OpTable::Kind::result};

// Enough for sums, cotangents, results and inputs of the largest op.
constexpr std::size_t max_operands = 2 * max_inputs + 2 * max_results;
constexpr Size gather_block = 256;

template <class T>
struct Source {
  const T* data;
  const Block* block;  // null: one number, `data`
};

bool has_shape(const Block& b, const Shape& shape) {
  if (b.rank != shape.rank()) return false;
  for (std::size_t i = 0; i < b.rank; ++i) {
    if (b.sizes()[i] != shape[i]) return false;
  }
  return true;
}
// Has it the elements of an array of these sizes in their order? (Leading axes of size 1 may be missing.)
bool fills(const Block& b, const Size* sizes, std::size_t rank) {
  if (!b.contiguous || b.rank > rank) return false;
  const std::size_t shift = rank - b.rank;
  for (std::size_t i = 0; i < rank; ++i) {
    if (sizes[i] != (i < shift ? 1 : b.sizes()[i - shift])) return false;
  }
  return true;
}

// Runs a kernel over arrays that broadcast to `shape`. Outputs are contiguous in that shape (or null).
template <class T>
void run_map(MapFunction<T> kernel, const Shape& shape, const Source<T>* in, std::size_t in_count,
             T* const* out, std::size_t out_count, const void* op) {
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
    if (n > 0) kernel(out, p, step, n, op);
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
      kernel(y.data(), x.data(), inner.data(), n, op);
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
      kernel(y.data(), x.data(), inner.data(), m, op);
    }
  });
}

// Are all blocks contiguous and of one shape, besides scalars and missing leading axes of size 1? `full` is then one of it.
bool one_shape(Block* const* blocks, std::size_t n, Block** full) {
  *full = blocks[0];
  for (std::size_t i = 1; i < n; ++i) {
    if (blocks[i]->rank > (*full)->rank) *full = blocks[i];
  }
  for (std::size_t i = 0; i < n; ++i) {
    const Block& b = *blocks[i];
    if (b.rank != 0 && !fills(b, (*full)->sizes(), (*full)->rank)) return false;
  }
  return true;
}

}  // namespace

template <class T>
void apply_elementwise(const ElementwiseTable<T>& table, const Var<T>* const* inputs,
                       Var<T>* results, const void* op, std::size_t op_bytes) {
  TapeState* state = nullptr;
  Block* blocks[max_inputs];
  for (std::size_t i = 0; i < table.inputs; ++i) {
    const Handle& h = inputs[i]->handle();
    blocks[i] = h.block();
    if (table.differentiable && table.unit[i] != 0) state = join(state, h.tape());
  }
  auto* tape = static_cast<TapeCore*>(state);
  Pool& pool = tape ? tape->pool() : local_pool();
  Block* y[max_results];
  T* out[max_results];
  Block* full = nullptr;
  if (one_shape(blocks, table.inputs, &full)) {  // all contiguous, besides scalars
    const T* p[max_inputs];
    Size step[max_inputs];
    for (std::size_t i = 0; i < table.inputs; ++i) {
      p[i] = blocks[i]->template data<T>();
      step[i] = blocks[i]->rank != 0;
    }
    for (std::size_t k = 0; k < table.results; ++k) {
      y[k] = new_block(pool, dtype_of<T>, sizeof(T), full->sizes(), full->rank);
      out[k] = y[k]->template data<T>();
    }
    if (const Size n = full->size()) table.forward(out, p, step, n, op);
  } else {
    Source<T> sources[max_inputs];
    Shape shape;
    for (std::size_t i = 0; i < table.inputs; ++i) {
      shape = i == 0 ? blocks[0]->shape() : broadcast_shapes(table.name, shape, blocks[i]->shape());
      sources[i] = {blocks[i]->template data<T>(), blocks[i]};
    }
    for (std::size_t k = 0; k < table.results; ++k) {
      y[k] = new_block<T>(pool, shape).give();
      out[k] = y[k]->template data<T>();
    }
    run_map(table.forward, shape, sources, table.inputs, out, table.results, op);
  }
  if (!tape) {
    for (std::size_t k = 0; k < table.results; ++k) results[k] = Var<T>(Handle(Ref(y[k])));
    return;
  }
  const bool several = table.results > 1;
  const std::size_t pointers = several ? table.results * sizeof(Node*) : 0;
  Node* n = tape->record(&table, table.inputs, pointers + op_bytes, several ? nullptr : y[0]);
  for (std::size_t i = 0; i < table.inputs; ++i) tape->set_input(n, i, inputs[i]->handle());
  if (op_bytes) std::memcpy(elementwise_op(*n, table.results), op, op_bytes);
  if (!several) {
    results[0] = Var<T>(Handle(n, tape));
    return;
  }
  for (std::size_t k = 0; k < table.results; ++k) {
    Node* r = tape->record(&result_table<T>, 1, 0, y[k]);
    r->inputs()[0] = Input(n);
    static_cast<Node**>(n->op())[k] = r;
    results[k] = Var<T>(Handle(r, tape));
  }
}

namespace {

// Adds d, which has the shape of the result, to the cotangent of an input x that may have been broadcast.
template <class T>
void add_cotangent(Sweep& sweep, Node& target, const Block& x, Ref d) {
  if (d->size() == x.size()) {
    sweep.add_same_size<T>(target, std::move(d));
  } else {
    sweep.add_block<T>(target, sum_to<T>(std::move(d), x.shape()));
  }
}

template <class T>
void sweep_one(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  if (sweep.recorded()) {
    table.rule(n, sweep);
    return;
  }
  const std::size_t N = table.inputs, K = table.results;
  // Cotangents of the results; one that nothing reached is zero.
  static constexpr T zero = 0;
  Ref g[max_results];
  Source<T> sources[max_operands];
  const Shape shape = (K > 1 ? **static_cast<Node**>(n.op()) : n).value->shape();
  for (std::size_t k = 0; k < K; ++k) {
    Node& r = K > 1 ? *static_cast<Node**>(n.op())[k] : n;
    g[k] = sweep.take_block<T>(r);
    sources[N + k] =
        g[k] ? Source<T>{g[k]->template data<T>(), g[k].get()} : Source<T>{&zero, nullptr};
    sources[N + K + k] = {r.value->data<T>(), r.value};
  }
  std::size_t passed_on = 0, computed_count = 0;  // inputs whose cotangent is g itself; others
  bool computed[max_inputs];
  for (std::size_t i = 0; i < N; ++i) {
    const bool wanted = table.unit[i] != 0 && sweep.wants(n, i);
    computed[i] = wanted && table.unit[i] == 2;
    computed_count += computed[i];
    passed_on += wanted && table.unit[i] == 1;
  }
  if (computed_count > 0) {
    T* out[max_inputs];
    Block* fresh[max_inputs];
    // The last cotangent that is computed may be written over g.
    bool reuse = K == 1 && passed_on == 0 && g[0]->exclusive();
    for (std::size_t i = 0; i < N; ++i) {
      Block* x = n.input_block(i);
      sources[i] = {&zero, nullptr};
      sources[N + 2 * K + i] = {x->data<T>(), x};
      out[i] = nullptr;
      fresh[i] = nullptr;
      if (!computed[i]) continue;
      Node& target = *n.inputs()[i].node();
      const bool same = has_shape(*x, shape);
      bool twice =
          false;  // f(x, x): both add to one target, so only one may write into it directly
      for (std::size_t j = 0; j < i; ++j)
        twice = twice || (computed[j] && n.inputs()[j].node() == &target);
      if (Block* sum = same && !twice ? sweep.accumulator<T>(target) : nullptr) {
        sources[i] = {sum->data<T>(), sum};
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
    run_map(table.backward, shape, sources, 2 * N + 2 * K, out, N, elementwise_op(n, K));
    for (std::size_t i = 0; i < N; ++i) {
      if (!fresh[i]) continue;
      Ref d(fresh[i] == g[0].get() ? g[0].give() : fresh[i]);
      const Block* x = n.input_block(i);
      add_cotangent<T>(sweep, *n.inputs()[i].node(), *x, std::move(d));
    }
  }
  for (std::size_t i = 0; passed_on > 0 && i < N; ++i) {
    if (table.unit[i] != 1 || !sweep.wants(n, i)) continue;
    const Block* x = n.input_block(i);
    Ref d = --passed_on == 0 ? std::move(g[0]) : g[0];
    add_cotangent<T>(sweep, *n.inputs()[i].node(), *x, std::move(d));
  }
}

}  // namespace

template <class T>
void sweep_elementwise(Node& n, Sweep& sweep) {
  const auto& table = *static_cast<const ElementwiseTable<T>*>(n.table);
  const std::size_t K = table.results;
  if (K > 1) {
    bool any = false;
    for (std::size_t k = 0; k < K; ++k) any = any || static_cast<Node**>(n.op())[k]->slot;
    if (any) sweep_one(n, sweep, table);
    for (std::size_t k = 0; k < K; ++k) sweep.free_value(*static_cast<Node**>(n.op())[k]);
    return;
  }
  sweep_one(n, sweep, table);
}

template void apply_elementwise(const ElementwiseTable<float>&, const Var<float>* const*,
                                Var<float>*, const void*, std::size_t);
template void apply_elementwise(const ElementwiseTable<double>&, const Var<double>* const*,
                                Var<double>*, const void*, std::size_t);
template void sweep_elementwise<float>(Node&, Sweep&);
template void sweep_elementwise<double>(Node&, Sweep&);

}  // namespace unroll::detail
