// The JSON header of a safetensors file: from text to checked entries, and back to text.
//
//   SafetensorsHeader header = parse_safetensors_header(file_name, text, data_size);
//
// Not promised to users; safetensors.hpp is what they call. Once parsed, every entry has a known
// dtype, a size in bytes that fits its shape, and the entries tile the data_size bytes of data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "unroll/nn/safetensors.hpp"

namespace unroll::detail {

constexpr std::uint64_t safetensors_length_size = 8;
constexpr std::uint64_t safetensors_largest_header = 100'000'000;

/// What the header says of one tensor: data bytes [begin, end).
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// Throws FormatError that names the file, the tensor and the cause.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(const std::string& file_name,
                                                         const std::string& text,
                                                         std::uint64_t data_size);

/// The header of these tensors laid end to end, padded with spaces to 8 bytes. Throws
/// std::invalid_argument for what parsing would refuse.
[[nodiscard]] std::string safetensors_header_text(const SafetensorsFile& file);

}  // namespace unroll::detail
