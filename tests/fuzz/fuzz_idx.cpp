// Any bytes are an IDX file or a DataError, plain or packed by gzip, whether bad data stop or are skipped.
#include <cstdint>
#include <string_view>

#include "unroll/models/data/idx.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const auto policy : {unroll::OnBadData::stop, unroll::OnBadData::skip}) {
    unroll::BadData bad(policy);
    try {
      const auto array =
          unroll::parse_idx({reinterpret_cast<const char*>(data), size}, "fuzz", bad);
      if (array.size() > 0 && array[array.size() - 1] == 0.5) return 0;
    } catch (const unroll::FormatError&) {
    }
  }
  return 0;
}
