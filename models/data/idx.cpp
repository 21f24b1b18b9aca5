#include "unroll/models/data/idx.hpp"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>

#include "unroll/models/data/gzip.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t x = 0;
  for (const char c : bytes) x = x << 8 | static_cast<unsigned char>(c);
  return x;
}
void append_big_endian(std::string& bytes, std::uint64_t x, std::size_t count) {
  while (count-- > 0) bytes.push_back(char(x >> (8 * count) & 0xff));
}

struct IntegerRange {
  double low, high;
};
// Of the integer types; the others have none.
IntegerRange range_of(IdxType type) {
  switch (type) {
    case IdxType::uint8:
      return {0, 255};
    case IdxType::int8:
      return {-128, 127};
    case IdxType::int16:
      return {-32768, 32767};
    case IdxType::int32:
      return {-2147483648.0, 2147483647.0};
    default:
      return {0, 0};
  }
}

std::uint64_t bits_of(IdxType type, double value) {
  if (type == IdxType::float64) return std::bit_cast<std::uint64_t>(value);
  if (type == IdxType::float32) {
    if (!std::isnan(value) && double(float(value)) != value) {
      fail("idx_array", fmt::format("{} is not a 32-bit float", value));
    }
    return std::bit_cast<std::uint32_t>(float(value));
  }
  const auto [low, high] = range_of(type);
  if (!(value >= low && value <= high && value == std::trunc(value))) {
    fail("idx_array", fmt::format("{} does not go into {}", value, name_of(type)));
  }
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

IdxType type_of(unsigned code, const std::string& name) {
  for (const IdxType type : {IdxType::uint8, IdxType::int8, IdxType::int16, IdxType::int32,
                             IdxType::float32, IdxType::float64}) {
    if (code == unsigned(type)) return type;
  }
  throw DataError(name, FilePosition{.offset = 2}, "the type 08, 09, 0b, 0c, 0d or 0e",
                  fmt::format("{:02x}", code));
}

IdxArray parse_plain(std::string_view bytes, const std::string& name, BadData& bad) {
  if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0) {
    throw DataError(name, FilePosition{.offset = 0},
                    "an IDX header: two bytes of 0, the type, the number of axes",
                    bytes.size() < 4
                        ? fmt::format("{} bytes in all", bytes.size())
                        : fmt::format("{:02x} {:02x}", bytes[0] & 0xff, bytes[1] & 0xff));
  }
  IdxArray array{.type = type_of(bytes[2] & 0xffU, name), .shape = {}};
  const std::size_t axes = bytes[3] & 0xffU, header = 4 + 4 * axes;
  constexpr std::size_t most_axes = 16;
  if (axes == 0 || axes > most_axes || bytes.size() < header) {
    throw DataError(name, FilePosition{.offset = 3}, "1 to 16 axes and the size of each",
                    fmt::format("{} axes in a file of {} bytes", axes, bytes.size()));
  }
  // Of one item along the first axis. A double does not overflow here, and is exact up to the size of any file.
  double item = double(size_of(array.type));
  for (std::size_t i = 0; i < axes; ++i) {
    array.shape.push_back(std::int64_t(big_endian(bytes.substr(4 + 4 * i, 4))));
    if (i > 0) item *= double(array.shape.back());
  }
  const std::string_view data = bytes.substr(header);
  const double expected = item * double(array.shape[0]);
  bad.attempt([&] {
    if (expected == double(data.size())) return;
    throw DataError(name, FilePosition{.offset = std::int64_t(header)},
                    fmt::format("{} bytes for the shape {} of {}", expected,
                                shape_string(array.shape), name_of(array.type)),
                    fmt::format("{}", data.size()));
  });
  if (expected > double(data.size())) {
    array.shape[0] = std::int64_t(double(data.size()) / item);
  }
  array.bytes = data.substr(0, std::size_t(item * double(array.shape[0])));
  return array;
}

}  // namespace

std::size_t size_of(IdxType type) {
  switch (type) {
    case IdxType::int16:
      return 2;
    case IdxType::int32:
    case IdxType::float32:
      return 4;
    case IdxType::float64:
      return 8;
    default:
      return 1;
  }
}

std::string name_of(IdxType type) {
  switch (type) {
    case IdxType::uint8:
      return "unsigned bytes";
    case IdxType::int8:
      return "signed bytes";
    case IdxType::int16:
      return "16-bit integers";
    case IdxType::int32:
      return "32-bit integers";
    case IdxType::float32:
      return "32-bit floats";
    default:
      return "64-bit floats";
  }
}

double IdxArray::operator[](std::size_t i) const {
  const std::size_t n = size_of(type);
  const std::uint64_t x = big_endian(std::string_view(bytes).substr(i * n, n));
  switch (type) {
    case IdxType::uint8:
      return double(x);
    case IdxType::int8:
      return double(std::int8_t(x));
    case IdxType::int16:
      return double(std::int16_t(x));
    case IdxType::int32:
      return double(std::int32_t(x));
    case IdxType::float32:
      return double(std::bit_cast<float>(std::uint32_t(x)));
    default:
      return std::bit_cast<double>(x);
  }
}

IdxArray idx_array(IdxType type, const std::vector<std::int64_t>& shape,
                   const std::vector<double>& values) {
  double expected = 1;
  for (const std::int64_t n : shape) {
    if (n < 0 || n > std::numeric_limits<std::uint32_t>::max()) {
      fail("idx_array", fmt::format("the size {} does not go into 32 bits", n));
    }
    expected *= double(n);
  }
  if (shape.empty() || shape.size() > 16 || expected != double(values.size())) {
    fail("idx_array",
         fmt::format("{} values for the shape {}", values.size(), shape_string(shape)));
  }
  IdxArray array{.type = type, .shape = shape};
  for (const double value : values)
    append_big_endian(array.bytes, bits_of(type, value), size_of(type));
  return array;
}

IdxArray parse_idx(std::string_view bytes, const std::string& name, BadData& bad) {
  return is_gzip(bytes) ? parse_plain(gunzip(bytes, name), name, bad)
                        : parse_plain(bytes, name, bad);
}

IdxArray read_idx(const std::filesystem::path& path, BadData& bad) {
  return parse_idx(read_whole_file(path), path.string(), bad);
}

void write_idx(const std::filesystem::path& path, const IdxArray& array) {
  std::string bytes{0, 0, char(array.type), char(array.shape.size())};
  for (const std::int64_t n : array.shape) append_big_endian(bytes, std::uint64_t(n), 4);
  write_file_atomically(path, bytes + array.bytes);
}

}  // namespace unroll
