#include "unroll/nn/safetensors.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <span>

#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/safetensors_header.hpp"

namespace unroll {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t length_size = detail::safetensors_length_size;

std::array<unsigned char, length_size> little_endian(std::uint64_t value) {
  std::array<unsigned char, length_size> bytes{};
  for (std::size_t i = 0; i < length_size; ++i) {
    bytes[i] = static_cast<unsigned char>(value >> (8 * i));
  }
  return bytes;
}

std::uint64_t from_little_endian(const std::array<unsigned char, length_size>& bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < length_size; ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
  return value;
}

}  // namespace

const TensorData* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::ranges::find_if(tensors, [&](const auto& t) { return t.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

std::optional<std::size_t> safetensors_dtype_size(std::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64" || dtype == "C64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL" || dtype.starts_with("F8_")) return 1;
  return std::nullopt;
}

SafetensorsFile read_safetensors(const fs::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw FileError(name, "cannot open: no such file");
  if (!fs::is_regular_file(status)) throw FileError(name, "cannot read: it is not a file");
  const std::uint64_t file_size = fs::file_size(path, error);
  std::ifstream stream(path, std::ios::binary);
  if (error || !stream) throw FileError(name, "cannot open: permission denied?");

  const auto read = [&](void* target, std::uint64_t size) {
    stream.read(static_cast<char*>(target), static_cast<std::streamsize>(size));
    if (!stream) throw FileError(name, "cannot read on: has it been changed meanwhile?");
  };

  if (file_size < length_size) {
    throw FormatError(name, "has " + std::to_string(file_size) +
                                " bytes, too few for a safetensors file; is it truncated?");
  }
  std::array<unsigned char, length_size> length_bytes{};
  read(length_bytes.data(), length_size);
  const std::uint64_t header_size = from_little_endian(length_bytes);
  if (header_size > detail::safetensors_largest_header) {
    throw FormatError(name, "announces a header of " + std::to_string(header_size) +
                                " bytes, more than the 100 MB allowed; is it a safetensors file?");
  }
  if (header_size > file_size - length_size) {
    throw FormatError(name, "announces a header of " + std::to_string(header_size) +
                                " bytes, but ends after " +
                                std::to_string(file_size - length_size) + "; is it truncated?");
  }
  std::string text(header_size, '\0');
  read(text.data(), header_size);
  const std::uint64_t data_begin = length_size + header_size;
  const detail::SafetensorsHeader header =
      detail::parse_safetensors_header(name, text, file_size - data_begin);

  SafetensorsFile file;
  file.metadata = header.metadata;
  file.tensors.reserve(header.entries.size());
  for (const auto& entry : header.entries) {
    TensorData tensor{entry.dtype, entry.shape, std::vector<std::byte>(entry.end - entry.begin)};
    stream.seekg(static_cast<std::streamoff>(data_begin + entry.begin));
    read(tensor.bytes.data(), tensor.bytes.size());
    file.tensors.emplace_back(entry.name, std::move(tensor));
  }
  return file;
}

void write_safetensors(const fs::path& path, const SafetensorsFile& file) {
  const std::string header = detail::safetensors_header_text(file);
  const auto length = little_endian(header.size());
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(file.tensors.size() + 2);
  pieces.push_back(std::as_bytes(std::span(length)));
  pieces.push_back(std::as_bytes(std::span(header)));
  for (const auto& [name, tensor] : file.tensors) pieces.emplace_back(tensor.bytes);
  write_file_atomically(path, pieces);
}

}  // namespace unroll
