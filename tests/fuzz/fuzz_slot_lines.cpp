// Any bytes as seq.in and seq.out, cut at the first '|': sentences or a DataError.
#include "unroll/models/data/slot_lines.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unroll;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(bytes.find('|'), size);
  const auto words = bytes.substr(0, cut), tags = bytes.substr(std::min(cut + 1, size));
  for (const auto policy : {OnBadData::stop, OnBadData::skip}) {
    try {
      BadData bad(policy);
      for (const auto& s : parse_slot_lines(words, tags, "seq.in", "seq.out", bad)) {
        if (s.words.empty() || s.words.size() != s.tags.size()) __builtin_trap();
      }
    } catch (const DataError&) {
    }
  }
  return 0;
}
