// Digits from a bitmap font of 5 x 7 dots, enlarged to 28 x 28 pixels, moved, turned, resized, and with
// noise on every pixel: classification from nothing that had to be downloaded.
//
//   const ImageSet digits = generate_digits(Key(1), 4000);
//
// The best possible accuracy is 1 for all purposes: the digits of the font differ by so many dots that
// comparing an image with each digit at a grid of places, angles and sizes already finds the right one
// (tests/test_classify_images.cpp); rotations stay far from those that make a 9 of a 6.
#pragma once

#include "unroll/models/data/images.hpp"
#include "unroll/models/data/warp.hpp"

namespace unroll {

struct DigitOptions {
  WarpRange warp = {.shift = 3, .rotation = 15, .scale = 0.15};
  double noise = 0.2;  // standard deviation, where the strokes are 1 and the ground is 0
};

inline constexpr Size digit_rows = 28, digit_columns = 28;

/// The digit as the warp shows it, without noise: rows x columns in row-major order. Throws
/// std::invalid_argument for what is no digit.
[[nodiscard]] std::vector<double> draw_digit(std::int64_t digit, const Warp& warp);

/// Image i is a function of the key and i.
[[nodiscard]] ImageSet generate_digits(const Key& key, Size count,
                                       const DigitOptions& options = {});

}  // namespace unroll
