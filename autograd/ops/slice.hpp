// One part of an array, for the ops that cut arrays up and put them together.
//
// Invariant: a slice reads its array and nothing else; whether its value is a view or a copy is its own choice.
#pragma once

#include <cstring>

#include "unroll/autograd/op.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll::detail {

// `width` consecutive elements of each of `rows` rows, which are so many apart.
template <class T>
void copy_rows(Size rows, Size width, const T* from, Size from_row, T* to, Size to_row) {
  const auto bytes = static_cast<std::size_t>(width) * sizeof(T);
  for (; rows > 0; --rows, from += from_row, to += to_row) std::memcpy(to, from, bytes);
}

// Along one axis: `length` elements from `start` in steps of `step`; `drop` removes the axis.
struct Slice {
  static constexpr auto name = "slice";
  std::uint8_t axis = 0;
  bool drop = false;
  Size step : 48 = 1;  // in the same word: slices are many
  Size start = 0, length = 0;

  Slice() = default;
  Slice(std::uint8_t along, bool drops, Size first, Size stride, Size count)
      : axis(along), drop(drops), start(first), length(count) {
    if (count > 1) step = stride;  // else it may be any number
  }

  std::size_t shape(const Size* from, std::size_t from_rank, Size* sizes) const {
    std::size_t rank = 0;
    for (std::size_t i = 0; i < from_rank; ++i) {
      if (i != axis || !drop) sizes[rank++] = i == axis ? length : from[i];
    }
    return rank;
  }
  // Are rows of this constant shown where they are, however small? A sequence is mostly such an array (kernels/read_ahead.hpp).
  static bool shows_rows(const Block& x) {
    return x.contiguous && !x.in_tape && (!x.base || x.of_array);
  }
  // Small stretches of rows are copied where a tape has room for them, anything else is a view.
  template <class T>
  Block* value(TapeCore* tape, Block& x) const {
    const Size* from = x.sizes();
    Size sizes[Shape::max_rank];
    const std::size_t rank = shape(from, x.rank, sizes);
    const Size outer = product(from, axis), inner = product(from + axis + 1, x.rank - axis - 1u);
    const Size width = inner * length, row = inner * from[axis];
    if (!x.contiguous || step != 1 || width * outer * static_cast<Size>(sizeof(T)) > small_value) {
      return view(x, sizes, rank);
    }
    if (!tape && outer == 1 && shows_rows(x)) {
      return new_contiguous_view(&x, start * inner, sizes, rank).give();
    }
    Block* y = new_result<T>(tape, sizes, rank);
    copy_rows(outer, width, x.data<T>() + start * inner, row, y->data<T>(), width);
    return y;
  }
  [[gnu::noinline]] Block* view(Block& x, const Size* sizes, std::size_t rank) const {
    Size strides[Shape::max_rank];
    x.get_strides(strides);
    const Size offset = start * strides[axis];
    strides[axis] *= step;
    if (drop) std::copy(strides + axis + 1, strides + x.rank, strides + axis);
    return new_view(&x, offset, sizes, rank, strides).give();
  }
  template <class T>
  Region<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& x) const {
    return {alias(g), x.shape(), axis, start, step, drop};
  }
};

}  // namespace unroll::detail
