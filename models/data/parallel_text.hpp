// Parallel text: sentences and their translations, one pair a line.
//
//   BadData bad(OnBadData::stop);
//   std::vector<TextPair> pairs = read_parallel_lines("train.en", "train.fr", bad);   // line i beside line i
//   std::vector<TextPair> pairs = read_parallel_tsv("pairs.tsv", bad);                // source TAB target
//
// Text is UTF-8, tokens stand between spaces; a byte order mark and the carriage return of a line end are dropped.
// Other columns of a TSV file are not read. A line without a token on either side is bad data, and so are bytes that
// are no UTF-8. Invariant: a pair's sides are of one line; files of different numbers of lines are refused as a whole.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/models/training/data_error.hpp"

namespace unroll {

struct TextPair {
  std::vector<std::string> source, target;
  bool operator==(const TextPair&) const = default;
};

/// The pairs of two texts, line by line; the names are those in errors. Throws DataError where the numbers of lines
/// differ, whatever `bad` says: nobody knows then which line belongs to which.
[[nodiscard]] std::vector<TextPair> parse_parallel_lines(std::string_view source,
                                                         std::string_view target,
                                                         const std::string& source_name,
                                                         const std::string& target_name,
                                                         BadData& bad);
/// The pairs of a text of lines "source TAB target".
[[nodiscard]] std::vector<TextPair> parse_parallel_tsv(std::string_view text,
                                                       const std::string& name, BadData& bad);

/// The same from files. Throw FileError, and DataError where there is not one pair.
[[nodiscard]] std::vector<TextPair> read_parallel_lines(const std::filesystem::path& source,
                                                        const std::filesystem::path& target,
                                                        BadData& bad);
[[nodiscard]] std::vector<TextPair> read_parallel_tsv(const std::filesystem::path& path,
                                                      BadData& bad);

}  // namespace unroll
