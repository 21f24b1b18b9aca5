// Files that gzip has packed.
//
//   const std::string text = gunzip(read_whole_file("labels.gz"), "labels.gz");
//
// Several streams one after the other are one text, as gzip itself takes them (RFC 1952). Invariant:
// what is given back was checked against the checksum and length that the file states.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <string>
#include <string_view>

namespace unroll {

/// Begins as gzip's files do.
[[nodiscard]] bool is_gzip(std::string_view bytes);

/// The bytes that were packed. Throws DataError, with the place in the packed file, where it is cut off,
/// damaged, or no gzip file.
[[nodiscard]] std::string gunzip(std::string_view bytes, const std::string& name);

}  // namespace unroll
