// Any bytes as label TSV or CSV: examples or a DataError, nothing else.
#include "unroll/models/data/labelled_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unroll;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto format : {LabelledTextFormat::tsv, LabelledTextFormat::csv}) {
    for (const auto policy : {OnBadData::stop, OnBadData::skip}) {
      try {
        BadData bad(policy);
        for (const auto& t : parse_labelled_text(bytes, "input", format, bad)) {
          if (t.label.empty() || t.text.empty()) __builtin_trap();
        }
      } catch (const DataError&) {
      }
    }
  }
  return 0;
}
