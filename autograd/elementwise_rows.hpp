// The short path of `fuse` over arrays, or parts of arrays, each of which is a matrix of so many rows, or a vector that all rows share:
// recorded as one node of whole arrays, whose kernel runs over row after row. Not promised to users; it becomes part of each call of
// `fuse` that has parts, where the table is a constant, and is compiled once for those that have none.
//
//   if (!apply_to_rows<T, results>(table, arrays, y, &op, sizeof(op), kernel)) ...        // of split parts instead
//   if (!sweep_rows<T, results>(n, sweep, table, kernel)) ...                             // by the rule over Vars instead
//
// Invariant: they return false, with nothing done, for what they do not take.
#pragma once

#include "unroll/autograd/elementwise_alike.hpp"

namespace unroll::detail {

// The operands of a kernel that takes a matrix row by row: where each begins in the first row.
template <class P>
struct RowOperands {
  P* at[max_operands];
  std::size_t count = 0;

  // An array's parts, of so many columns each.
  [[gnu::always_inline]] void add(P* first, std::size_t parts, Size columns) {
    P** to = at + count;
    P** const end = to + parts;
    do {
      *to++ = apart(first);  // they are few: compilers would write them several at a time
      first += columns;
    } while (to != end);
    count += parts;
  }
};
// How far it is to their next row.
struct RowSteps {
  Size of[max_operands];
  std::size_t count = 0;

  void add(std::size_t parts, Size step) {
    for (std::size_t k = 0; k < parts; ++k) of[count++] = step;
  }
  // Of arrays in parts: a vector is the same in every row.
  template <class T>
  void add(const ElementwiseTable<T>& table, const Block* const* arrays, Size columns) {
    for (std::size_t i = 0; i < table.arrays; ++i) {
      add(table.parts[i], arrays[i]->rank == 2 ? table.parts[i] * columns : 0);
    }
  }
};

// Runs a kernel over the rows behind the first.
template <class T>
[[gnu::noinline]] void run_other_rows(const ElementwiseTable<T>& table, MapFunction<T> kernel,
                                      Size rows, Size columns, RowOperands<T>& out,
                                      const RowSteps& out_steps, RowOperands<const T>& in,
                                      const RowSteps& in_steps, unsigned accumulate,
                                      const void* op) {
  T** const kept = static_cast<T**>(const_cast<void*>(op));  // each row has its own
  T* const first = *kept;
  const Size of_row = first ? table.kept(op, columns) : 0;
  for (Size r = 1; r < rows; ++r) {
    for (std::size_t i = 0; i < out.count; ++i) out.at[i] += out_steps.of[i];
    for (std::size_t i = 0; i < in.count; ++i) in.at[i] += in_steps.of[i];
    if (first) *kept = first + r * of_row;
    kernel(out.at, in.at, nullptr, columns, accumulate, op);
  }
  if (first) *kept = first;
}

template <class T>
Block* new_matrix(TapeCore* tape, const Block* model, Size rows, Size columns) {
  if (tape && model && model->common)
    return tape->new_common(*model, static_cast<std::size_t>(rows * columns) * sizeof(T));
  const Size sizes[] = {rows, columns};
  return new_result<T>(tape, sizes, 2);
}

// Computes and records an op of `table.arrays` arrays, with K results, or as many as the table says.
template <class T, std::size_t Results, class Kernel>
[[gnu::always_inline]] inline bool apply_to_rows(const ElementwiseTable<T>& table,
                                                 const Var<T>* const* arrays, Var<T>* results,
                                                 const void* op, std::size_t op_bytes,
                                                 const Kernel& kernel) {
  const std::size_t count = table.arrays, K = Results ? Results : table.results;
  const Block& unparted = *arrays[table.unparted]->handle().block();
  if (unparted.rank == 0) return false;
  Size columns = unparted.sizes()[unparted.rank - 1];
  if (const Size parts = table.parts[table.unparted]; parts != 1) columns /= parts;
  Size rows = 0;  // not known
  TapeState* state = nullptr;
  bool all_nodes = true;
  const Block* model = nullptr;  // of the results' size
  Block* blocks[max_inputs];
  Node* nodes[max_inputs];
  RowOperands<const T> in;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < count; ++i) {
    const Handle::Contents c = arrays[i]->handle().contents();
    Block& x = *c.block;
    const std::size_t parts = table.parts[i];
    const Size width = columns * static_cast<Size>(parts);
    const Size* const sizes = x.sizes();
    if (!x.contiguous) return false;
    if (c.tape && c.tape != state) {
      if (state) return false;
      state = c.tape;
    }
    all_nodes = all_nodes && c.node;
    if (x.rank == 2) {
      if (rows == 0) rows = sizes[0];
      if (rows == 0 || sizes[0] != rows || sizes[1] != width) return false;
      if (parts == 1 && c.node) model = &x;
    } else if (x.rank != 1 || sizes[0] != width) {
      return false;
    }
    blocks[i] = &x;
    nodes[i] = c.node;
    in.add(x.template data<T>(), parts, columns);
  }
  if (rows == 0 || columns == 0) return false;
  auto* tape = static_cast<TapeCore*>(state);
  Block* y[max_results];
  for (std::size_t k = 0; k < K; ++k) y[k] = new_matrix<T>(tape, model, rows, columns);
  Node* n = nullptr;
  if (tape) {
    const std::size_t node_op = (K > 1 ? K * sizeof(Node*) : 0) + op_bytes;
    Input* const own = tape->inputs_of_several(count, node_op);
    for (std::size_t i = 0; i < count; ++i) {
      if (!nodes[i]) share(blocks[i]);
      own[i] = nodes[i] ? Input(nodes[i]) : Input(blocks[i]);
    }
    n = tape->record_several(&table, count, node_op);
    const bool parted = count != table.inputs;  // else it would be like a node of apply_alike
    n->dense = parted;
    n->alike = parted && all_nodes && (K > 1 || y[0]->counted_by_holder());
    if (K == 1) n->value = y[0];
    op = own_op(table, *tape, *n, K, columns, op, op_bytes, rows);
  }
  RowOperands<T> out;
  for (std::size_t k = 0; k < K; ++k) out.add(y[k]->template data<T>(), 1, columns);
  hand_out(tape, n, y, K, results);
  kernel.forward(out.at, in.at, columns, op);
  if (rows > 1) {
    RowSteps in_steps, out_steps;
    in_steps.add(table, blocks, columns);
    out_steps.add(K, columns);
    run_other_rows(table, table.forward, rows, columns, out, out_steps, in, in_steps, 0, op);
  }
  return true;
}
// A cotangent of zeros, for a result that none reached, as a slot holds it.
template <class T>
[[gnu::noinline]] std::uintptr_t zero_slot(const Block& y) {
  Block* const b = new_like(this_pool(), y);
  std::fill_n(b->data<T>(), b->size(), T(0));
  return reinterpret_cast<std::uintptr_t>(b);
}

// Was a node without parts recorded so?
inline bool has_rows(const Node& n, const Block& y) {
  if (y.rank != 2 || y.size() == 0) return false;
  for (std::size_t i = 0; i < n.input_count; ++i) {
    const Block& x = *n.input_block(i);
    if (!x.contiguous || !(x.same_shape(y) || (x.rank == 1 && x.sizes()[0] == y.sizes()[1])))
      return false;
  }
  return true;
}
// The cotangents of the arrays of such a node; those that want none get none.
template <class T, std::size_t Results, class Kernel>
[[gnu::always_inline]] inline bool sweep_rows(Node& n, Sweep& sweep,
                                              const ElementwiseTable<T>& table,
                                              const Kernel& kernel) {
  const std::size_t count = table.arrays, K = Results ? Results : table.results;
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
#pragma GCC unroll 4
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
  kernel.backward(out.at, in.at, columns, accumulate, op);
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
  let_go(over, g, K);
  return true;
}

}  // namespace unroll::detail
