// The errors of the library, and the few words all its messages share.
//
//   fail("matmul", "inner dimensions differ: " + shape_string(a) + " x " + shape_string(b));
//   // std::invalid_argument: [matmul] inner dimensions differ: [32, 128] x [64, 128]
//
//   throw FormatError("model.safetensors", {.offset = 8}, "the header is not JSON; is it a .npz?");
//   // model.safetensors: byte 8: the header is not JSON; is it a .npz?
//
// Bad shapes and values are std::invalid_argument, as everywhere in C++; files and formats are the
// Error family below. Every message names the operation or file, what is wrong, the likely cause.
// After an error is thrown nothing is lost: arguments and tapes are as they were.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace unroll {

/// Base of all errors that are not about a shape or a value passed to a function.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file cannot be opened, read, written or found. The message is "file: problem".
class FileError : public Error {
 public:
  FileError(std::string file, std::string_view problem)
      : Error(file + ": " + std::string(problem)), file_(std::move(file)) {}

  [[nodiscard]] const std::string& file() const noexcept { return file_; }

 private:
  std::string file_;
};

/// A place inside a file: a line counted from 1, or a byte counted from 0. Negative is unknown.
struct FilePosition {
  std::int64_t line = -1;
  std::int64_t offset = -1;
};

/// A file was read, but what it says is wrong. The message is "file: line 3: problem".
class FormatError : public Error {
 public:
  FormatError(std::string file, std::string_view problem)
      : FormatError(std::move(file), FilePosition{}, problem) {}

  FormatError(std::string file, FilePosition position, std::string_view problem)
      : Error(message(file, position, problem)), file_(std::move(file)), position_(position) {}

  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  [[nodiscard]] FilePosition position() const noexcept { return position_; }

 private:
  static std::string message(const std::string& file, FilePosition at, std::string_view problem) {
    std::string text = file + ": ";
    if (at.line >= 0) text += "line " + std::to_string(at.line) + ": ";
    if (at.offset >= 0) text += "byte " + std::to_string(at.offset) + ": ";
    return text.append(problem);
  }

  std::string file_;
  FilePosition position_;
};

/// A shape as messages show it: [32, 128], and [] for a scalar.
[[nodiscard]] inline std::string shape_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text += "]";
}

/// Throws std::invalid_argument("[op] what").
[[noreturn]] inline void fail(std::string_view op, std::string_view what) {
  throw std::invalid_argument("[" + std::string(op) + "] " + std::string(what));
}

}  // namespace unroll
