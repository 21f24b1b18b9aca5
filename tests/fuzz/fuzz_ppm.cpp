// Any bytes are a PPM image or a DataError, whether bad data stop or are skipped.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "unroll/models/data/ppm.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const auto policy : {unroll::OnBadData::stop, unroll::OnBadData::skip}) {
    unroll::BadData bad(policy);
    try {
      const auto image =
          unroll::parse_ppm({reinterpret_cast<const char*>(data), size}, "fuzz", bad);
      if (image.pixels.size() != std::size_t(3 * image.rows * image.columns)) std::abort();
    } catch (const unroll::FormatError&) {
    }
  }
  return 0;
}
