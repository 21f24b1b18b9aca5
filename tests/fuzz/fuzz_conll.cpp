// Any bytes as CoNLL columns: as many tags as words and tags that are tags, or a DataError.
#include "unroll/models/data/conll.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unroll;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto policy : {OnBadData::stop, OnBadData::skip}) {
    try {
      BadData bad(policy);
      for (const auto& s : parse_conll(bytes, "input", bad)) {
        if (s.words.empty() || s.words.size() != s.tags.size()) __builtin_trap();
        const auto iob2 = to_iob2(s.tags);
        if (to_iob2(iob2) != iob2) __builtin_trap();
      }
    } catch (const DataError&) {
    }
  }
  return 0;
}
