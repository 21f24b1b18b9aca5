// The text of a file as UTF-8, and its lines.
//
//   for (const std::string& line : text_lines(read_whole_file(path), path)) ...
//
// Bytes that are not UTF-8 are taken as latin-1, which every byte is; a byte order mark is dropped.
// Lines end with "\n", "\r\n" or "\r"; the last may have no end. Invariant: what comes out is UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "unroll/models/training/data_error.hpp"

namespace unroll {

/// The whole text, each line with "\n" behind it. Throws DataError, with the line, for a zero byte: a
/// binary file, or UTF-16.
[[nodiscard]] std::string utf8_text(std::string_view bytes, const std::string& name);
[[nodiscard]] std::vector<std::string> text_lines(std::string_view bytes, const std::string& name);

/// The characters of UTF-8, each as UTF-8. Bytes that are no UTF-8 stand for themselves.
[[nodiscard]] std::vector<std::string> split_characters(std::string_view text);

}  // namespace unroll
