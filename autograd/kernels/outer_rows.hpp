// The rows of two matrices whose product aᵀ b is wanted, as they come: one of a and one of b at a time.
//
//   OuterRows<float> rows;
//   if (rows.takes(m, n)) rows.add(a, b);            // copies m and n elements; settle it first where it is full()
//   rows.settle(c, /*accumulate=*/true);             // c [m, n] += Σ aᵀ b; it is empty again
//
// A row is copied to where the register tiles of the product read it (kernels/packed_gemm.hpp), so nothing is packed later. For the
// library's own files: what lies where depends on the instruction level that they are compiled for.
// Invariant: an element is summed over `depth` rows at a time, as by gemm; its bits do not depend on how much room there was.
#pragma once

#include <cstring>

#include "unroll/autograd/kernels/packed_gemm.hpp"

namespace unroll::detail {

template <class T>
class OuterRows {
 public:
  bool empty() const { return count_ == 0; }
  bool full() const { return count_ == depth; }
  // May a row of m and one of n elements be added? Rows of other widths may not wait.
  bool takes(Size m, Size n) {
    if (m == m_ && n == n_) return true;
    if (count_ > 0) return false;
    lay_out(m, n);
    return true;
  }
  void add(const T* a, const T* b) {
    if (count_ == capacity_) [[unlikely]]
      widen();
    if (packed_) [[likely]] {
      add_groups(a, a_ + count_ * rows);
      add_panels(b);
    } else {
      std::copy_n(a, m_, a_ + count_ * m_);
      std::copy_n(b, n_, b_ + count_ * n_);
    }
    ++count_;
  }
  void settle(T* c, bool accumulate);
  // Lets go of its memory.
  void clear() {
    room_ = Ref();
    if (settled_ > 0) expected_ = settled_;
    capacity_ = count_ = settled_ = 0;
  }

 private:
  static constexpr Size rows = Tile<T>::rows, lane = Lane<T>::width, width = Tile<T>::lanes * lane;
  static_assert(Tile<T>::lanes == 2);

  void add_groups(const T* from, T* to) const {
    Size left = m_;
    for (; left >= rows; left -= rows, from += rows, to += a_step_) {
      std::memcpy(to, from, rows * sizeof(T));
    }
    for (Size i = 0; i < left; ++i) to[i] = from[i];
  }
  void add_panels(const T* from) const {  // as Panels::of_tiles has them
    T* to = b_;
    Size left = n_;
    for (; left > lane; left -= width, from += width, to += b_step_) {
      T* const row = to + count_ * width;
      Lane<T>::load(from).store(row);
      (left >= width ? Lane<T>::load(from + lane) : Lane<T>::load_part(from + lane, left - lane))
          .store(row + lane);
    }
    if (left > 0) {
      (left == lane ? Lane<T>::load(from) : Lane<T>::load_part(from, left))
          .store(to + count_ * lane);
    }
  }
  void lay_out(Size m, Size n);
  void widen();

  Size m_ = 0, n_ = 0;
  bool packed_ =
      false;  // in groups of a and panels of b that tiles read; else as they come, for BLAS
  Size groups_ = 0, panels_ = 0;
  Size capacity_ = 0, count_ = 0;
  T *a_ = nullptr, *b_ = nullptr;
  Size a_step_ = 0, b_step_ = 0;  // from a group, or a panel, to the next
  Ref room_;
  Size settled_ = 0;   // since it was cleared
  Size expected_ = 0;  // as many as came last time: the next sequence is often as long
};

}  // namespace unroll::detail
