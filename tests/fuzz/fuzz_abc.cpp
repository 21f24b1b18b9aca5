// Any bytes are tunes or a DataError, whether bad data stop or are skipped; bars can be checked and played.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "unroll/models/data/abc_bars.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const auto policy : {unroll::OnBadData::stop, unroll::OnBadData::skip}) {
    unroll::BadData bad(policy);
    try {
      const std::string_view text(reinterpret_cast<const char*>(data), size);
      for (const unroll::AbcTune& tune : unroll::parse_abc(text, "fuzz", bad)) {
        if (unroll::check_bars(tune).size() != tune.bars.size()) std::abort();
        for (const std::size_t i : unroll::played_bars(tune)) {
          if (i >= tune.bars.size()) std::abort();
        }
      }
    } catch (const unroll::FormatError&) {
    }
  }
  return 0;
}
