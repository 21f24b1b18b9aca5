// Elementwise ops: computing their results and recording them.
#include "unroll/autograd/elementwise_rows.hpp"
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/kernels/strided_map.hpp"
#include "unroll/autograd/ops/ops.hpp"

namespace unroll::detail {
namespace {

// `fuse` over matrices and vectors that their rows share. False, with nothing done, for others.
template <class T>
[[gnu::noinline]] bool apply_to_whole_rows(const ElementwiseTable<T>& table,
                                           const Var<T>* const* inputs, Var<T>* results,
                                           const void* op, std::size_t op_bytes) {
  return apply_to_rows<T, 0>(table, inputs, results, op, op_bytes, CalledKernel<T>{table});
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
  check_size(table.name, shape);
  for (std::size_t k = 0; k < table.results; ++k) {
    y[k] = new_result<T>(tape, shape.begin(), shape.rank());
    out[k] = y[k]->template data<T>();
  }
  run_map(table.forward, shape, sources, table.inputs, out, table.results, 0, op);
}

}  // namespace

template <class T, std::size_t N>
void apply_unlike(const ElementwiseTable<T>& table, const Var<T>* const* inputs, Var<T>* results,
                  const void* op, std::size_t op_bytes) {
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
  bool plain = full->contiguous, dense = true, numbers = false;
  const T* p[room];
  Size step[room];
#pragma GCC unroll 3
  for (std::size_t i = 0; i < count; ++i) {
    p[i] = x[i]->template data<T>();
    step[i] = x[i]->rank != 0;
    if (x[i] == full || x[i]->alike(*full)) continue;
    if (step[i] == 0) {
      dense = dense && !recorded[i];
      numbers = true;
    } else {
      plain = plain && fills(*x[i], full->sizes(), full->rank);
    }
  }
  if (!plain && table.arrays && apply_to_whole_rows(table, inputs, results, op, op_bytes)) return;
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
    if (!nodes[i]) share(x[i]);
    n->inputs()[i] = nodes[i] ? Input(nodes[i]) : Input(x[i]);
  }
  if (n) op = own_op(table, *tape, *n, K, n->dense ? size : 0, op, op_bytes);
  hand_out(tape, n, y, K, results);
  if (size > 0) {  // last: everything has its owner should a user's function throw
    T* out[results_room];
    for (std::size_t k = 0; k < K; ++k) out[k] = y[k]->template data<T>();
    table.forward(out, p, numbers ? step : nullptr, size, 0, op);
  }
}

template <class T, std::size_t N>
void apply_elementwise(const ElementwiseTable<T>& table, const Var<T>* const* inputs,
                       Var<T>* results, const void* op, std::size_t op_bytes) {
  if (apply_alike<T, N>(table, inputs, results, op, op_bytes, CalledKernel<T>{table})) return;
  apply_unlike<T, N>(table, inputs, results, op, op_bytes);
}

template <class T>
void split_last_axis(const Var<T>& x, std::size_t count, Var<T>* parts) {
  const Shape shape = x.shape();
  if (shape.rank() == 0 || shape.back() % static_cast<Size>(count) != 0) {
    fail("parts", "the last axis of an array of shape " + to_string(shape) +
                      " does not divide into " + std::to_string(count) + " equal parts");
  }
  split_equally(x, count, -1, parts);
}
template void split_last_axis(const Var<float>&, std::size_t, Var<float>*);
template void split_last_axis(const Var<double>&, std::size_t, Var<double>*);

template <class T>
void run_with_numbers(ArraysFunction<T> arrays, T* const* out, std::size_t out_count,
                      const T* const* in, std::size_t in_count, const Size* step, Size n,
                      unsigned accumulate, const void* op, T* kept) {
  constexpr Size piece = 128;  // elements at a time; a whole number of any lanes
  constexpr std::size_t most_in = max_inputs + 2 * max_results;
  T numbers[most_in][piece];
  const T* from[most_in];
  T* to[max_inputs];
  std::copy_n(in, in_count, from);
  std::copy_n(out, out_count, to);
  for (std::size_t i = 0; i < in_count; ++i) {
    if (step[i] != 0) continue;
    std::fill_n(numbers[i], std::min(piece, n), *in[i]);
    from[i] = numbers[i];
  }
  for (Size at = 0; at < n; at += piece) {
    kept = arrays(to, from, std::min(piece, n - at), accumulate, op, kept);
    for (std::size_t i = 0; i < in_count; ++i) from[i] += step[i] * piece;
    for (std::size_t j = 0; j < out_count; ++j) to[j] += to[j] ? piece : 0;
  }
}
template void run_with_numbers(ArraysFunction<float>, float* const*, std::size_t,
                               const float* const*, std::size_t, const Size*, Size, unsigned,
                               const void*, float*);
template void run_with_numbers(ArraysFunction<double>, double* const*, std::size_t,
                               const double* const*, std::size_t, const Size*, Size, unsigned,
                               const void*, double*);

namespace {
template <class T, std::size_t... N>
constexpr auto all_counts(std::index_sequence<N...>) {
  return std::tuple{&apply_elementwise<T, N>..., &apply_unlike<T, N>...};
}
// Naming a function makes the compiler emit it.
[[gnu::used]] constinit auto floats = all_counts<float>(std::make_index_sequence<4>{});
[[gnu::used]] constinit auto doubles = all_counts<double>(std::make_index_sequence<4>{});
}  // namespace

}  // namespace unroll::detail
