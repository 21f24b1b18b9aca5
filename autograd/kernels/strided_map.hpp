// Runs an elementwise kernel, which reads arrays in order, over operands of any shapes and layouts.
//
//   run_map(table.forward, shape, sources, count, outs, 1, /*accumulate=*/0, op);
//
// Invariant: what a kernel is given lies in order, or is one number; operands that jump are gathered block by block.
#pragma once

#include "unroll/autograd/elementwise_table.hpp"
#include "unroll/autograd/loop.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll::detail {

constexpr Size gather_block = 256;

template <class T>
struct Source {
  const T* data;
  const Block* block;  // null: one number, `data`
};

inline bool has_shape(const Block& b, const Shape& shape) {
  return b.rank == shape.rank() && equal_sizes(b.sizes(), shape.begin(), b.rank);
}
// Has it the elements of an array of these sizes in their order? (Leading axes of size 1 may be missing.)
inline bool fills(const Block& b, const Size* sizes, std::size_t rank) {
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
  bool numbers = false;
  for (std::size_t i = 0; i < in_count; ++i) {
    p[i] = in[i].data;
    const Block* b = in[i].block;
    step[i] = b && b->rank != 0;
    numbers = numbers || step[i] == 0;
    if (step[i]) simple = simple && fills(*b, shape.begin(), shape.rank());
  }
  if (simple) {
    const Size n = shape.size();
    if (n > 0) kernel(out, p, numbers ? step : nullptr, n, accumulate, op);
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
    bool direct = true, repeats = false;
    for (std::size_t i = 0; i < in_count; ++i) {
      x[i] = q[i];
      inner[i] = s[i];
      repeats = repeats || s[i] == 0;
      direct = direct && (s[i] == 0 || s[i] == 1);
    }
    for (std::size_t j = 0; j < out_count; ++j) y[j] = out[j] ? q[in_count + j] : nullptr;
    const Size* const steps = repeats ? inner.data() : nullptr;
    if (direct) {
      kernel(y.data(), x.data(), steps, n, accumulate, op);
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
      kernel(y.data(), x.data(), steps, m, accumulate, op);
    }
  });
}

}  // namespace unroll::detail
