// The safetensors format: named tensors in one file, as PyTorch, JAX and others read and write it.
//
//   SafetensorsFile file;
//   file.tensors.emplace_back("U", TensorData{"F32", {2, 3}, bytes});     // 24 bytes
//   write_safetensors("model.safetensors", file);
//   file = read_safetensors("model.safetensors");
//
// On disk: the length of the header (u64), the header as JSON, the raw data, all little-endian;
// offsets count from the end of the header. What is read has passed every check: names are unique,
// each tensor has exactly the bytes that its dtype and shape ask for (where its dtype is known here: others are
// handed on as bytes), and the tensors tile the data without overlap, hole or rest. A hostile file costs memory in proportion to its size, no more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "unroll/autograd/error.hpp"

namespace unroll {

/// One tensor: little-endian values in row-major order. The shape [] is a scalar.
struct TensorData {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  bool operator==(const TensorData&) const = default;
};

/// The contents of a file. Tensors keep the order of the header.
struct SafetensorsFile {
  std::vector<std::pair<std::string, TensorData>> tensors;
  std::map<std::string, std::string> metadata;

  /// The tensor of that name, or nullptr.
  [[nodiscard]] const TensorData* find(std::string_view name) const;

  bool operator==(const SafetensorsFile&) const = default;
};

/// Bytes per value of F64 I64 U64 F32 I32 U32 F16 BF16 I16 U16 I8 U8 BOOL, empty for other names.
[[nodiscard]] std::optional<std::size_t> safetensors_dtype_size(std::string_view dtype);

/// Throws FileError where the file cannot be read, and FormatError (naming the file, the tensor and
/// the cause) where it is not a sound safetensors file.
[[nodiscard]] SafetensorsFile read_safetensors(const std::filesystem::path& path);

/// Writes atomically, tensors contiguous in their order, the header padded with spaces to 8 bytes.
/// Throws std::invalid_argument for tensors that could not be read back, FileError as it may come.
void write_safetensors(const std::filesystem::path& path, const SafetensorsFile& file);

}  // namespace unroll
