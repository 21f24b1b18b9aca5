#include "unroll/models/training/event_file.hpp"

#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "unroll/models/data/text.hpp"

namespace unroll {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "numbers are written as they are");

// ---- Protocol buffers: a key (field number and wire type), then the value ----

enum class Wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  return out + static_cast<char>(value);
}
std::string key(unsigned field, Wire wire) { return varint(field << 3 | unsigned(wire)); }

template <class T>
std::string raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

std::string number_field(unsigned field, std::int64_t value) {
  return key(field, Wire::varint) + varint(static_cast<std::uint64_t>(value));
}
std::string double_field(unsigned field, double value) {
  return key(field, Wire::fixed64) + raw(value);
}
std::string float_field(unsigned field, float value) {
  return key(field, Wire::fixed32) + raw(value);
}
// Strings, and messages inside messages.
std::string bytes_field(unsigned field, std::string_view bytes) {
  return key(field, Wire::bytes) + varint(bytes.size()) + std::string(bytes);
}

// A string, which has to be UTF-8 or TensorBoard stops there: other bytes are taken as latin-1.
std::string string_field(unsigned field, std::string_view text) {
  if (from_utf8(text)) return bytes_field(field, text);
  std::u32string code_points;
  for (const char c : text) code_points += static_cast<unsigned char>(c);
  return bytes_field(field, to_utf8(code_points));
}

// Event: wall_time = 1, step = 2, file_version = 3, summary = 5.
std::string event(std::int64_t step, const std::string& content) {
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return double_field(1, now) + number_field(2, step) + content;
}
// Summary: value = 1.
std::string summary(const std::string& value) { return bytes_field(5, bytes_field(1, value)); }

// ---- CRC ----

constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
    table[i] = c;
  }
  return table;
}();

// A CRC of bytes that hold their own CRC is weak, so TFRecord turns and shifts it.
std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8u; }

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) {
    crc = crc >> 8 ^ crc_table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  }
  return ~crc;
}

EventFile::EventFile(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw FileError(folder.string(), "cannot create the folder: " + error.message());
  // TensorBoard reads the files of a folder in the order of their names, and asks for "tfevents".
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  const std::string name = "events.out.tfevents." + std::to_string(seconds.count()) + "." +
                           std::to_string(::getpid()) + ".";
  for (int i = 0; !file_ && i < 1000; ++i) {
    path_ = folder / (name + std::to_string(i));
    file_.reset(std::fopen(path_.c_str(), "wbx"));
    if (!file_ && errno != EEXIST) break;
  }
  if (!file_) {
    throw FileError(path_.string(), "cannot create: " + std::generic_category().message(errno));
  }
  record(event(0, bytes_field(3, "brain.Event:2")));
}

void EventFile::scalar(std::string_view tag, double value, std::int64_t step) {
  // Summary.Value: tag = 1, simple_value = 2.
  record(event(step, summary(string_field(1, tag) + float_field(2, static_cast<float>(value)))));
}

void EventFile::text(std::string_view tag, std::string_view text, std::int64_t step) {
  // Summary.Value: tag = 1, tensor = 8, metadata = 9; SummaryMetadata: plugin_data = 1, whose
  // plugin_name = 1; TensorProto: dtype = 1 (DT_STRING is 7), tensor_shape = 2, string_val = 8; a
  // shape's dim = 2 has its size = 1.
  const std::string metadata = bytes_field(1, bytes_field(1, "text"));
  const std::string shape = bytes_field(2, number_field(1, 1));
  const std::string tensor = number_field(1, 7) + bytes_field(2, shape) + string_field(8, text);
  record(event(step,
               summary(string_field(1, tag) + bytes_field(8, tensor) + bytes_field(9, metadata))));
}

void EventFile::record(std::string_view message) {
  const std::string length = raw(std::uint64_t{message.size()});
  const std::string bytes =
      length + raw(masked(crc32c(length))) + std::string(message) + raw(masked(crc32c(message)));
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) {
    throw FileError(path_.string(), "cannot write: " + std::generic_category().message(errno));
  }
}

void EventFile::flush() {
  if (std::fflush(file_.get()) != 0) {
    throw FileError(path_.string(), "cannot write: " + std::generic_category().message(errno));
  }
}

}  // namespace unroll
