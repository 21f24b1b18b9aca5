// PPM: a colour image in the plainest format that there is (netpbm.sourceforge.net/doc/ppm.html).
//
//   BadData bad(OnBadData::stop);
//   const ColourImage image = read_ppm("scene.ppm", bad);
//   write_ppm("copy.ppm", image);
//
// Both forms are read, P6 (bytes) and P3 (text), with # comments and a largest value of up to 255, to which
// the values are scaled. Invariant: an image has exactly rows x columns x 3 values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/autograd/var.hpp"
#include "unroll/models/training/data_error.hpp"

namespace unroll {

struct ColourImage {
  Size rows = 0, columns = 0;
  std::vector<std::uint8_t> pixels = {};  // [rows, columns, 3]: red, green, blue

  bool operator==(const ColourImage&) const = default;
};

/// Throws DataError with the place. Where bad data are to be skipped, the pixels from the first bad value on
/// are black; a wrong header, or a file less than half as long as it should be, is an error all the same.
[[nodiscard]] ColourImage parse_ppm(std::string_view bytes, const std::string& name, BadData& bad);
/// Throws FileError as well.
[[nodiscard]] ColourImage read_ppm(const std::filesystem::path& path, BadData& bad);
/// As P6, atomically. Throws FileError.
void write_ppm(const std::filesystem::path& path, const ColourImage& image);

/// Images of one size as numbers from 0 to 1: [B, rows, columns, 3]. Throws std::invalid_argument where
/// there are none or the sizes differ.
[[nodiscard]] Var<float> colour_values(const std::vector<ColourImage>& images);

}  // namespace unroll
