// Walking several strided arrays together: axes are merged where all operands allow it, and the innermost stretch is handed
// to a function as pointers and steps.
//
//   Loop<2> loop(shape, {strides_a, strides_b});
//   loop.run({a, b}, [](std::array<char*, 2> p, const std::array<Size, 2>& step, Size n) { ... });
//
// Strides and steps are in elements; a step of 0 repeats an element (broadcasting).
#pragma once

#include <array>

#include "unroll/autograd/shape.hpp"

namespace unroll::detail {

using Strides = std::array<Size, Shape::max_rank>;

// Strides with which an array of `shape` (and its own strides) is read as if it had the shape `out`.
inline Strides broadcast_strides(const Size* sizes, const Size* strides, std::size_t rank,
                                 const Shape& out) {
  Strides s{};
  const std::size_t shift = out.rank() - rank;
  for (std::size_t i = 0; i < rank; ++i) s[i + shift] = sizes[i] == 1 ? 0 : strides[i];
  return s;
}

inline Strides row_major(const Shape& shape) {
  Strides s{};
  Size step = 1;
  for (std::size_t i = shape.rank(); i-- > 0;) {
    s[i] = step;
    step *= shape[i];
  }
  return s;
}

template <std::size_t N>
class Loop {
 public:
  // `count` operands are in use (at most N).
  Loop(const Shape& shape, const Strides* strides, std::size_t count = N) : count_(count) {
    // Innermost axis first; an axis of size 1 disappears, one that continues its neighbour joins it.
    for (std::size_t i = shape.rank(); i-- > 0;) {
      const Size n = shape[i];
      if (n == 1) continue;
      if (n == 0) empty_ = true;
      bool joins = rank_ > 0;
      for (std::size_t k = 0; joins && k < count; ++k) {
        joins = strides[k][i] == steps_[rank_ - 1][k] * sizes_[rank_ - 1];
      }
      if (joins) {
        sizes_[rank_ - 1] *= n;
        continue;
      }
      sizes_[rank_] = n;
      for (std::size_t k = 0; k < count; ++k) steps_[rank_][k] = strides[k][i];
      ++rank_;
    }
  }

  template <class T, class F>
  void run(std::array<T*, N> p, F&& inner) const {
    if (empty_) return;
    if (rank_ == 0) {
      inner(p, std::array<Size, N>{}, Size{1});
      return;
    }
    if (rank_ == 1) {
      inner(p, steps_[0], sizes_[0]);
      return;
    }
    std::array<Size, Shape::max_rank> at{};
    while (true) {
      inner(p, steps_[0], sizes_[0]);
      std::size_t axis = 1;
      for (; axis < rank_; ++axis) {
        for (std::size_t k = 0; k < count_; ++k) p[k] += steps_[axis][k];
        if (++at[axis] < sizes_[axis]) break;
        at[axis] = 0;
        for (std::size_t k = 0; k < count_; ++k) p[k] -= steps_[axis][k] * sizes_[axis];
      }
      if (axis == rank_) return;
    }
  }

 private:
  std::size_t count_;
  std::size_t rank_ = 0;
  bool empty_ = false;
  std::array<Size, Shape::max_rank> sizes_{};
  std::array<std::array<Size, N>, Shape::max_rank> steps_{};
};

}  // namespace unroll::detail
