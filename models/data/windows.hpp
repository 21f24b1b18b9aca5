// Overlapping square windows of images, each as one row: what a layer that sees a part of an image reads.
//
//   Var<float> seen = windows(images, 16, 4);             // [B, 32, 32, 3] -> [25, B, 768]
//
// Invariant: window r · across + c begins at pixel (r · stride, c · stride). Made of recorded operations.
#pragma once

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

/// How many windows fit along one side. Throws std::invalid_argument where none does.
[[nodiscard]] inline Size window_count(Size side, Size window, Size stride) {
  if (window < 1 || stride < 1 || window > side) {
    fail("windows", "windows of " + std::to_string(window) + " pixels, " + std::to_string(stride) +
                        " apart, on a side of " + std::to_string(side));
  }
  return (side - window) / stride + 1;
}

/// [B, rows, columns, channels] -> [windows, B, window · window · channels].
template <FloatOrDouble T>
[[nodiscard]] Var<T> windows(const Var<T>& images, Size window, Size stride) {
  if (images.rank() != 4) {
    fail("windows", "the images have shape " + to_string(images.shape()) +
                        "; they are [batch, rows, columns, channels]");
  }
  const Size down = window_count(images.size(1), window, stride);
  const Size across = window_count(images.size(2), window, stride);
  std::vector<Var<T>> all;
  for (Size r = 0; r < down; ++r) {
    const Var<T> band = slice(images, 1, {r * stride, r * stride + window});
    for (Size c = 0; c < across; ++c) {
      const Var<T> part = slice(band, 2, {c * stride, c * stride + window});
      all.push_back(reshape(part, {images.size(0), window * window * images.size(3)}));
    }
  }
  return stack(all);
}

}  // namespace unroll
