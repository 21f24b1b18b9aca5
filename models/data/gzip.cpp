#include "unroll/models/data/gzip.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "unroll/models/training/data_error.hpp"

namespace unroll {
namespace {

struct EndInflate {
  void operator()(z_stream* stream) const { inflateEnd(stream); }
};

}  // namespace

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

std::string gunzip(std::string_view bytes, const std::string& name) {
  if (!is_gzip(bytes)) {
    throw DataError(name, FilePosition{.offset = 0}, "a gzip file, which begins with 1f 8b");
  }
  z_stream stream{};
  constexpr int gzip_only = 16 + MAX_WBITS;
  if (inflateInit2(&stream, gzip_only) != Z_OK) throw Error("zlib has no memory to begin with");
  const std::unique_ptr<z_stream, EndInflate> ended(&stream);

  std::string text;
  std::array<char, 65536> buffer{};
  std::size_t at = 0;
  const auto problem = [&](std::string_view found) {
    return DataError(name, FilePosition{.offset = std::int64_t(at)}, "whole gzip streams", found);
  };
  while (true) {
    const std::size_t given =
        std::min<std::size_t>(bytes.size() - at, std::numeric_limits<uInt>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + at));
    stream.avail_in = uInt(given);
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = uInt(buffer.size());
    const int code = inflate(&stream, Z_NO_FLUSH);
    at += given - stream.avail_in;
    text.append(buffer.data(), buffer.size() - stream.avail_out);
    if (code == Z_STREAM_END) {
      if (at == bytes.size()) return text;
      inflateReset(&stream);
    } else if (code == Z_BUF_ERROR ||
               (code == Z_OK && at == bytes.size() && stream.avail_out > 0)) {
      throw problem("an end in the middle of one; was the file cut off?");
    } else if (code == Z_MEM_ERROR) {
      throw Error(name + ": zlib has no memory left");
    } else if (code != Z_OK) {
      throw problem(stream.msg != nullptr ? stream.msg : "damaged bytes");
    }
  }
}

}  // namespace unroll
