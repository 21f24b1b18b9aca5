#include "unroll/models/training/data_error.hpp"

namespace unroll {

DataError::DataError(std::string file, FilePosition position, std::string_view expected,
                     std::string_view found)
    : FormatError(std::move(file), position,
                  "expected " + std::string(expected) +
                      (found.empty() ? "" : ", found " + std::string(found))) {}

void BadData::note(const DataError& error) {
  if (skipped_++ == 0) first_ = error.what();
}

std::string BadData::summary() const {
  if (skipped_ == 0) return "";
  if (skipped_ == 1) return "1 bad example skipped: " + first_;
  return std::to_string(skipped_) + " bad examples skipped; the first: " + first_;
}

}  // namespace unroll
