// IDX, the format of MNIST and the sets made after it: one array of numbers in a file, big-endian.
//
//   BadData bad(OnBadData::stop);
//   const IdxArray images = read_idx("t10k-images-idx3-ubyte.gz", bad);   // plain or packed by gzip
//   images.shape;                                                         // {10000, 28, 28}
//   images[784];                                                          // the second image's first pixel
//
// On disk: two bytes of 0, the type, the number of axes, each axis' size as 32 bits, the numbers in
// row-major order (http://yann.lecun.com/exdb/mnist). Invariant: an IdxArray that was read has exactly
// the bytes that its type and shape ask for, and took memory in proportion to its file, whatever the
// file claims.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/models/training/data_error.hpp"

namespace unroll {

enum class IdxType : std::uint8_t {
  uint8 = 0x08,
  int8 = 0x09,
  int16 = 0x0B,
  int32 = 0x0C,
  float32 = 0x0D,
  float64 = 0x0E
};
/// Bytes of one number.
[[nodiscard]] std::size_t size_of(IdxType type);
/// "unsigned bytes", "32-bit floats", ...: as messages name it.
[[nodiscard]] std::string name_of(IdxType type);

struct IdxArray {
  IdxType type = IdxType::uint8;
  std::vector<std::int64_t> shape = {0};
  std::string bytes = {};  // big-endian

  /// The number of elements, and element i in row-major order. Each type's numbers are exact in double.
  [[nodiscard]] std::size_t size() const { return bytes.size() / size_of(type); }
  [[nodiscard]] double operator[](std::size_t i) const;

  bool operator==(const IdxArray&) const = default;
};

/// Numbers as IDX. Throws std::invalid_argument where there are not as many as the shape says, or where
/// one is not representable.
[[nodiscard]] IdxArray idx_array(IdxType type, const std::vector<std::int64_t>& shape,
                                 const std::vector<double>& values);

/// The bytes of a file, packed by gzip or not. Throws DataError with the place. Where bad data are to be
/// skipped, a file that was cut off gives those items (along the first axis) that are whole, and bytes
/// behind the array are passed over; a wrong header is an error all the same.
[[nodiscard]] IdxArray parse_idx(std::string_view bytes, const std::string& name, BadData& bad);
/// Throws FileError as well.
[[nodiscard]] IdxArray read_idx(const std::filesystem::path& path, BadData& bad);

/// Atomically, not packed. Throws FileError.
void write_idx(const std::filesystem::path& path, const IdxArray& array);

}  // namespace unroll
