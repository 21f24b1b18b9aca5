// Images moved, turned and resized: for generators, and for training on more than was photographed.
//
//   Var<float> other = random_warp(images, {.shift = 2, .rotation = 10, .scale = 0.1}, key);   // [B, R, C]
//
// Invariant: the same key gives the same images; pixels that come from outside are 0. Constants: no
// gradient flows.
#pragma once

#include <span>

#include "unroll/autograd/random.hpp"

namespace unroll {

/// Between the pixels: at (row, column) of an image [rows, columns] in row-major order, whose pixel i has
/// its centre at i. Bilinear; 0 outside.
[[nodiscard]] double pixel_between(std::span<const double> image, Size rows, Size columns,
                                   double row, double column);

/// Where a place of the new image lies in the old one: turned by the angle (clockwise, in radians),
/// divided by the scale, both about the centres, after the shift was taken back.
struct Warp {
  double down = 0, right = 0;  // the shift, in pixels
  double angle = 0;
  double scale = 1;

  struct Place {
    double row, column;
  };
  /// The places are relative to the centres.
  [[nodiscard]] Place source(Place target) const;
};

/// How far random warps go, evenly in both directions.
struct WarpRange {
  double shift = 0;     // pixels
  double rotation = 0;  // degrees
  double scale = 0;     // as a share: 0.1 gives 0.9 to 1.1

  [[nodiscard]] Warp draw(const Key& key) const;
};

/// Each image by a warp of its own: [B, rows, columns] -> the same shape.
template <FloatOrDouble T>
[[nodiscard]] Var<T> random_warp(const Var<T>& images, const WarpRange& range, const Key& key);

}  // namespace unroll
