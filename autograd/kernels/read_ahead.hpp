// Products of a constant sequence's rows with one matrix, computed before they are asked for.
//
//   for (t ...) h = tanh(linear(index(xs, 0, t), U) + linear(h, W) + b);     // linear(x_t, U): xs is a constant [T, 1, in]
//
// A loop that multiplies the rows of one array by one matrix, in order, reads the matrix once for each row. From the second
// row on, `row` multiplies several of the rows that follow at once and hands them out as they are asked for.
// Invariant: a row has the bits that a product by itself has, so nobody can tell.
#pragma once

#include <array>

#include "unroll/autograd/block.hpp"

namespace unroll::detail {

class ReadAhead {
 public:
  // x · wᵀ [out] for a contiguous view x of `in` elements and a contiguous w [out, in]; null when it is not known ahead. Good
  // until the next call.
  template <class T>
  [[gnu::always_inline]] const T* row(const Block& x, Block& w) {
    // An entry keeps its array, so no other elements can be where it expects some.
    for (Entry& e : entries_) {
      if (e.expected != x.elements || e.w != &w || e.used == e.count) continue;
      e.expected = x.data<T>() + w.sizes()[1];
      return e.rows->template data<T>() + e.used++ * w.sizes()[0];
    }
    return new_row<T>(x, w);
  }
  void clear();

 private:
  struct Entry {
    Ref array;                       // whose rows are read
    const Block* w = nullptr;        // which the caller keeps alive
    const void* expected = nullptr;  // the elements of the row that comes next
    Ref rows;                        // [count, out], of which `used` were handed out
    Size used = 0, count = 0;
  };
  template <class T>
  const T* new_row(const Block& x, Block& w);

  std::array<Entry, 4> entries_;
  std::size_t oldest_ = 0;
};

}  // namespace unroll::detail
