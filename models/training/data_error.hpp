// What is wrong with data, and what to do about it: stop, or count and skip.
//
//   BadData bad(run.bad_data);
//   while (std::getline(in, line)) {
//     ++number;
//     bad.attempt([&] { sentences.push_back(parse(line, file, number)); });   // may throw DataError
//   }
//   if (bad.skipped() > 0) std::cerr << bad.summary() << '\n';
//   // 2 bad examples skipped; the first: train.conll: line 12: expected 4 columns, found 3
//
// Invariant: with OnBadData::stop the first DataError reaches the caller as it was thrown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "unroll/autograd/error.hpp"

namespace unroll {

/// Data that are not as they should be: "file: line 12: expected 4 columns, found 3".
class DataError : public FormatError {
 public:
  /// Lines count from 1; `found` may be empty.
  DataError(std::string file, std::int64_t line, std::string_view expected,
            std::string_view found = {})
      : DataError(std::move(file), FilePosition{.line = line}, expected, found) {}
  /// The same for a place in a binary file.
  DataError(std::string file, FilePosition position, std::string_view expected,
            std::string_view found = {});
};

enum class OnBadData { stop, skip };

class BadData {
 public:
  explicit BadData(OnBadData policy) : policy_(policy) {}

  /// Calls read(). A DataError is passed on, or counted: then the result is false.
  template <class F>
  bool attempt(F&& read) {
    try {
      read();
      return true;
    } catch (const DataError& error) {
      if (policy_ == OnBadData::stop) throw;
      note(error);
      return false;
    }
  }

  [[nodiscard]] std::size_t skipped() const { return skipped_; }
  /// One line: how many were skipped, and the first of them. Empty where none was.
  [[nodiscard]] std::string summary() const;

 private:
  void note(const DataError& error);

  OnBadData policy_;
  std::size_t skipped_ = 0;
  std::string first_;
};

}  // namespace unroll
