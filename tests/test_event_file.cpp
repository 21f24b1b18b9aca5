// Event files, read by a decoder that shares no code with the writer.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <variant>
#include <vector>

#include "temporary_folder.hpp"
#include "unroll/models/training/event_file.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace fs = std::filesystem;
using namespace unroll;
using Folder = unroll::testing::TemporaryFolder;

namespace {

// Bit by bit, most significant coefficient first: polynomial division as RFC 3720 describes it.
std::uint32_t slow_crc(std::string_view bytes) {
  std::uint32_t remainder = 0xFFFFFFFF;
  for (const char c : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool in = (static_cast<unsigned char>(c) >> bit & 1) != 0;
      const bool top = (remainder >> 31 & 1) != 0;
      remainder <<= 1;
      if (in != top) remainder ^= 0x1EDC6F41;
    }
  }
  std::uint32_t reflected = 0;
  for (int bit = 0; bit < 32; ++bit) reflected |= (remainder >> bit & 1u) << (31 - bit);
  return ~reflected;
}

template <class T>
T read_as(std::string_view bytes, std::size_t at) {
  REQUIRE(at + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  const auto check_crc = [](std::string_view bytes, std::uint32_t stored) {
    const std::uint32_t unmasked = stored - 0xa282ead8u;
    CHECK((unmasked << 15 | unmasked >> 17) == slow_crc(bytes));
  };
  for (std::size_t at = 0; at < file.size();) {
    const auto length = std::size_t(read_as<std::uint64_t>(file, at));
    check_crc(std::string_view(file).substr(at, 8), read_as<std::uint32_t>(file, at + 8));
    REQUIRE(at + 16 + length <= file.size());
    records.push_back(file.substr(at + 12, length));
    check_crc(records.back(), read_as<std::uint32_t>(file, at + 12 + length));
    at += 16 + length;
  }
  return records;
}

// One level of a message: field number to what stands there.
using Value = std::variant<std::uint64_t, double, float, std::string>;
std::map<int, Value> message(std::string_view bytes) {
  std::map<int, Value> fields;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at < bytes.size());
      const auto byte = static_cast<unsigned char>(bytes[at++]);
      value |= std::uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.size()) {
    const std::uint64_t key = varint();
    const int field = int(key / 8);
    switch (key % 8) {
      case 0:
        fields[field] = varint();
        break;
      case 1:
        fields[field] = read_as<double>(bytes, at);
        at += 8;
        break;
      case 2: {
        const auto size = std::size_t(varint());
        REQUIRE(at + size <= bytes.size());
        fields[field] = std::string(bytes.substr(at, size));
        at += size;
        break;
      }
      case 5:
        fields[field] = read_as<float>(bytes, at);
        at += 4;
        break;
      default:
        FAIL("unknown wire type");
    }
  }
  return fields;
}
std::map<int, Value> inside(const std::map<int, Value>& fields, int field) {
  return message(std::get<std::string>(fields.at(field)));
}

}  // namespace

TEST_CASE("CRC-32C has the values of RFC 3720") {
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += char(i);
    falling += char(31 - i);
  }
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
  CHECK(crc32c(rising) == 0x46DD794E);
  CHECK(crc32c(falling) == 0x113FDB5C);
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c("") == 0);
  for (const auto& text : {rising, std::string("a"), std::string(300, 'x')}) {
    CHECK(crc32c(text) == slow_crc(text));
  }
}

TEST_CASE("an event file holds its version, then what was written, each with its step") {
  const Folder folder;
  const std::string long_text(300, 'z');
  fs::path path;
  {
    EventFile events(folder.path() / "new" / "run");
    path = events.path();
    CHECK(path.filename().string().find("tfevents") != std::string::npos);
    events.scalar("loss", 1.5, 1);
    events.scalar("loss", -2.25, 1'000'000'000'000);
    events.text("samples", long_text, 7);
    events.flush();
    CHECK(records_of(read_whole_file(path)).size() == 4);
  }
  const auto records = records_of(read_whole_file(path));
  REQUIRE(records.size() == 4);
  const auto version = message(records[0]);
  CHECK(std::get<std::string>(version.at(3)) == "brain.Event:2");
  CHECK(std::get<double>(version.at(1)) > 1.6e9);  // seconds since 1970

  const auto first = message(records[1]);
  CHECK(std::get<std::uint64_t>(first.at(2)) == 1);
  const auto value = inside(inside(first, 5), 1);
  CHECK(std::get<std::string>(value.at(1)) == "loss");
  CHECK(std::get<float>(value.at(2)) == 1.5f);

  const auto second = message(records[2]);
  CHECK(std::get<std::uint64_t>(second.at(2)) == 1'000'000'000'000);
  CHECK(std::get<float>(inside(inside(second, 5), 1).at(2)) == -2.25f);

  const auto text = inside(inside(message(records[3]), 5), 1);
  CHECK(std::get<std::string>(text.at(1)) == "samples");
  CHECK(std::get<std::string>(inside(inside(text, 9), 1).at(1)) == "text");
  const auto tensor = inside(text, 8);
  CHECK(std::get<std::uint64_t>(tensor.at(1)) == 7);  // DT_STRING
  CHECK(std::get<std::uint64_t>(inside(inside(tensor, 2), 2).at(1)) == 1);
  CHECK(std::get<std::string>(tensor.at(8)) == long_text);
}

TEST_CASE("names and texts that are not UTF-8 are written as latin-1's characters in UTF-8") {
  const Folder folder;
  EventFile events(folder.path());
  events.scalar("caf\xe9", 1, 1);
  events.scalar("caf\xc3\xa9", 1, 2);
  events.text("caf\xe9", "\xff", 3);
  events.flush();
  const auto records = records_of(read_whole_file(events.path()));
  REQUIRE(records.size() == 4);
  for (std::size_t i = 1; i < 4; ++i) {
    const auto value = inside(inside(message(records[i]), 5), 1);
    CHECK(std::get<std::string>(value.at(1)) == "caf\xc3\xa9");
    if (i == 3) CHECK(std::get<std::string>(inside(value, 8).at(8)) == "\xc3\xbf");
  }
}

TEST_CASE("two runs in one folder have two files, and a folder that cannot be is named") {
  const Folder folder;
  const EventFile a(folder.path()), b(folder.path());
  CHECK(a.path() != b.path());
  write_file_atomically(folder.path() / "file", "x");
  CHECK_THROWS_WITH_AS(EventFile(folder.path() / "file"), doctest::Contains("file"), FileError);
  CHECK_THROWS_AS(EventFile("/proc/no/such"), FileError);
}
