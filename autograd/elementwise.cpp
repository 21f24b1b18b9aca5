#include "unroll/autograd/elementwise.hpp"

#include "unroll/autograd/kernels.hpp"

namespace unroll::detail {
namespace {

template <class T>
const OpTable result_table{
    "result", [](Node&, Sweep&) {}, [](Node&, Push&) {}, nullptr, OpTable::Kind::result};

// Enough for sums, cotangents, results and inputs of the largest op.
constexpr std::size_t max_operands = 2 * max_inputs + 2 * max_results;
constexpr Size gather_block = 256;

template <class T>
struct Source {
  const T* data = nullptr;
  const Block* block = nullptr;  // null: one number, `data`
};

// Runs a kernel over arrays that broadcast to `shape`. Outputs are contiguous in that shape (or null).
template <class T>
void run_map(MapFunction<T> kernel, const Shape& shape, const Source<T>* in, std::size_t in_count,
             T* const* out, std::size_t out_count, const void* op) {
  std::array<const T*, max_operands> p{};
  std::array<Size, max_operands> step{};
  bool simple = true;  // every operand is a scalar, or contiguous and of full shape
  for (std::size_t i = 0; i < in_count; ++i) {
    p[i] = in[i].data;
    const Block* b = in[i].block;
    if (!b || b->rank == 0) continue;
    step[i] = 1;
    simple = simple && b->contiguous && b->rank == shape.rank() &&
             std::equal(shape.begin(), shape.end(), b->sizes());
  }
  if (simple) {
    const Size n = shape.size();
    if (n > 0) kernel(out, p.data(), step.data(), n, op);
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
    strides[i] =
        broadcast_strides(in[i].block->sizes(), own.data(), in[i].block->rank, shape);
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

// The block whose shape all others broadcast to, or null when no input alone has it.
template <class T>
bool one_shape(Block* const* blocks, std::size_t n, Block** full) {
  *full = blocks[0];
  for (std::size_t i = 1; i < n; ++i) {
    if ((*full)->rank == 0 && blocks[i]->rank > 0) *full = blocks[i];
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (blocks[i]->rank != 0 && !blocks[i]->same_shape(**full)) return false;
  }
  return true;
}

}  // namespace

template <class T>
void apply_elementwise(const ElementwiseTable<T>& table, const Var<T>* const* inputs,
                       Var<T>* results, const void* op, std::size_t op_bytes) {
  TapeState* state = nullptr;
  std::array<Block*, max_inputs> blocks;
  std::array<Source<T>, max_inputs> operands;
  for (std::size_t i = 0; i < table.inputs; ++i) {
    const Handle& h = inputs[i]->handle();
    if (table.differentiable && table.unit[i] != 0) state = join(state, h.tape());
    blocks[i] = h.block();
    operands[i] = {blocks[i]->template data<T>(), blocks[i]};
  }
  Block* full = nullptr;
  Shape shape;
  if (one_shape<T>(blocks.data(), table.inputs, &full)) {
    shape = full->shape();
  } else {
    shape = blocks[0]->shape();
    for (std::size_t i = 1; i < table.inputs; ++i) {
      shape = broadcast_shapes(table.name, shape, blocks[i]->shape());
    }
  }
  auto* tape = static_cast<TapeCore*>(state);
  Pool& pool = tape ? tape->pool() : local_pool();
  std::array<Ref, max_results> y;
  std::array<T*, max_results> out;
  for (std::size_t k = 0; k < table.results; ++k) {
    y[k] = new_block<T>(pool, shape);
    out[k] = y[k]->template data<T>();
  }
  run_map(table.forward, shape, operands.data(), table.inputs, out.data(), table.results, op);
  if (!tape) {
    for (std::size_t k = 0; k < table.results; ++k) results[k] = Var<T>(Handle(std::move(y[k])));
    return;
  }
  const bool several = table.results > 1;
  const std::size_t pointers = several ? table.results * sizeof(Node*) : 0;
  Node* n = tape->record(&table, table.inputs, pointers + op_bytes, several ? nullptr : y[0].give());
  for (std::size_t i = 0; i < table.inputs; ++i) tape->set_input(n, i, inputs[i]->handle());
  if (op_bytes) std::memcpy(elementwise_op(*n, table.results), op, op_bytes);
  if (!several) {
    results[0] = Var<T>(Handle(n, tape));
    return;
  }
  for (std::size_t k = 0; k < table.results; ++k) {
    Node* r = tape->record(&result_table<T>, 1, 0, y[k].give());
    r->inputs()[0] = Input(n);
    static_cast<Node**>(n->op())[k] = r;
    results[k] = Var<T>(Handle(r, tape));
  }
}

namespace {

template <class T>
void sweep_one(Node& n, Sweep& sweep, const ElementwiseTable<T>& table) {
  if (sweep.recorded()) {
    table.rule(n, sweep);
    return;
  }
  const std::size_t N = table.inputs, K = table.results;
  // Cotangents of the results; one that nothing reached is zero.
  static constexpr T zero = 0;
  std::array<Var<T>, max_results> g;
  std::array<Source<T>, max_operands> operands;
  const Node* first = K > 1 ? static_cast<Node**>(n.op())[0] : &n;
  const Shape shape = first->value->shape();
  for (std::size_t k = 0; k < K; ++k) {
    Node& r = K > 1 ? *static_cast<Node**>(n.op())[k] : n;
    g[k] = sweep.take<T>(r);
    operands[N + k] = {&zero, nullptr};
    if (!g[k].empty()) operands[N + k] = {g[k].handle().block()->template data<T>(), g[k].handle().block()};
    operands[N + K + k] = {r.value->data<T>(), r.value};
  }
  // Inputs whose cotangent is g itself.
  std::array<bool, max_inputs> computed{};
  bool any_computed = false;
  for (std::size_t i = 0; i < N; ++i) {
    computed[i] = sweep.wants(n, i) && table.unit[i] == 2;
    any_computed = any_computed || computed[i];
  }
  if (any_computed) {
    std::array<T*, max_inputs> out{};
    std::array<Ref, max_inputs> fresh;
    std::array<bool, max_inputs> same{};
    bool g_free = K == 1 && !g[0].empty() && g[0].handle().block()->exclusive();
    for (std::size_t i = 0; i < N; ++i) {
      if (!sweep.wants(n, i) || table.unit[i] != 2) g_free = g_free && !sweep.wants(n, i);
    }
    for (std::size_t i = 0; i < N; ++i) {
      Block* x = n.input_block(i);
      operands[i] = {&zero, nullptr};
      operands[N + 2 * K + i] = {x->data<T>(), x};
      if (!computed[i]) continue;
      same[i] = x->rank == shape.rank() && std::equal(shape.begin(), shape.end(), x->sizes());
      Node& target = *n.inputs()[i].node();
      bool twice = false;  // f(x, x): both add to one target, so neither may write into it yet
      for (std::size_t j = 0; j < i; ++j) twice = twice || (computed[j] && n.inputs()[j].node() == &target);
      if (Block* sum = same[i] && !twice ? sweep.accumulator<T>(target) : nullptr) {
        operands[i] = {sum->data<T>(), sum};
        out[i] = sum->data<T>();
      } else if (same[i] && g_free) {
        g_free = false;
        fresh[i] = Ref::share(g[0].handle().block());
        out[i] = fresh[i]->template data<T>();
      } else {
        fresh[i] = new_block<T>(shape);
        out[i] = fresh[i]->template data<T>();
      }
    }
    run_map(table.backward, shape, operands.data(), 2 * N + 2 * K, out.data(), N,
            elementwise_op(n, K));
    for (std::size_t i = 0; i < N; ++i) {
      if (!fresh[i]) continue;
      if (!same[i]) fresh[i] = sum_to<T>(*fresh[i], n.input_block(i)->shape());
      sweep.add_block<T>(*n.inputs()[i].node(), std::move(fresh[i]));
    }
  }
  for (std::size_t i = 0; i < N; ++i) {
    if (!sweep.wants(n, i) || table.unit[i] != 1) continue;
    sweep.add_block<T>(*n.inputs()[i].node(),
                       sum_to<T>(*g[0].handle().block(), n.input_block(i)->shape()));
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
