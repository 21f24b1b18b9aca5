// Any bytes as parallel text: pairs with words on both sides, or a DataError.
#include <cstdint>
#include <cstdlib>

#include "unroll/models/data/parallel_text.hpp"

using namespace unroll;

namespace {

void check(const std::vector<TextPair>& pairs) {
  for (const TextPair& pair : pairs) {
    if (pair.source.empty() || pair.target.empty()) std::abort();
  }
}

// f(bad) under both policies; what is skipped is no error.
template <class F>
void attempt(F&& f) {
  for (const OnBadData policy : {OnBadData::stop, OnBadData::skip}) {
    BadData bad(policy);
    try {
      check(f(bad));
    } catch (const DataError&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&](BadData& bad) { return parse_parallel_tsv(text, "fuzz", bad); });
  // Source and target: what stands before the first byte 0, and what stands behind it.
  const std::size_t cut = std::min(text.find('\0'), size);
  const std::string_view target = cut < size ? text.substr(cut + 1) : text;
  attempt([&](BadData& bad) {
    return parse_parallel_lines(text.substr(0, cut), target, "source", "target", bad);
  });
  return 0;
}
