// Parallel lines and TSV pairs, and what is wrong with them.
#include <doctest/doctest.h>

#include <fstream>

#include "temporary_folder.hpp"
#include "unroll/models/data/parallel_text.hpp"

using namespace unroll;
using testing::TemporaryFolder;

namespace {

using Words = std::vector<std::string>;

std::vector<TextPair> lines(std::string_view source, std::string_view target,
                            OnBadData policy = OnBadData::stop) {
  BadData bad(policy);
  return parse_parallel_lines(source, target, "a.en", "a.fr", bad);
}
std::vector<TextPair> tsv(std::string_view text) {
  BadData bad(OnBadData::stop);
  return parse_parallel_tsv(text, "a.tsv", bad);
}
void write(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("Line i of one text belongs to line i of the other, whatever their line ends are") {
  const std::vector<TextPair> expected{{{"a", "dog"}, {"un", "chien"}}, {{"é"}, {"b", "c"}}};
  CHECK(lines("a dog\né\n", "un chien\nb c\n") == expected);
  CHECK(lines("\xEF\xBB\xBF"
              "a  dog \r\né",
              " un\tchien\r\nb c\n") == expected);
  CHECK(lines("", "").empty());
}

TEST_CASE("A TSV line holds source and target; more columns are not read") {
  CHECK(tsv("a dog\tun chien\tCC-BY 2.0\nx\ty") ==
        std::vector<TextPair>{{{"a", "dog"}, {"un", "chien"}}, {{"x"}, {"y"}}});
  CHECK(tsv("").empty());
  CHECK_THROWS_WITH_AS((void)tsv("a\tb\na b\n"),
                       "a.tsv: line 2: expected source TAB target, found a line without a tab",
                       DataError);
  CHECK_THROWS_WITH_AS((void)tsv("a\t\tb\n"),
                       "a.tsv: line 1: expected a sentence, found an empty one", DataError);
}

TEST_CASE("Bad lines say where they are, or are skipped as a pair") {
  CHECK_THROWS_WITH_AS((void)lines("a\n\nc\n", "x\ny\nz\n"),
                       "a.en: line 2: expected a sentence, found an empty one", DataError);
  CHECK_THROWS_WITH_AS((void)lines("a\nb\n", "x\n\xFF\n"),
                       "a.fr: line 2: expected UTF-8, found other bytes", DataError);
  BadData bad(OnBadData::skip);
  const auto kept = parse_parallel_lines("a\n\nc\nd\n", "x\ny\nz\n \n", "a.en", "a.fr", bad);
  CHECK(kept == std::vector<TextPair>{{{"a"}, {"x"}}, {{"c"}, {"z"}}});
  CHECK(bad.skipped() == 2);
}

TEST_CASE("Texts of different numbers of lines are refused, whatever becomes of bad data") {
  CHECK_THROWS_WITH_AS((void)lines("a\nb\n", "x\n", OnBadData::skip),
                       "a.fr: expected as many lines as a.en has (2), found 1", DataError);
}

TEST_CASE("Files are read alike; a missing or an empty one is an error") {
  const TemporaryFolder folder;
  BadData bad(OnBadData::stop);
  write(folder / "s", "a b\n");
  write(folder / "t", "c\n");
  write(folder / "empty", "");
  write(folder / "pairs.tsv", "a b\tc\n");
  const std::vector<TextPair> expected{{{"a", "b"}, {"c"}}};
  CHECK(read_parallel_lines(folder / "s", folder / "t", bad) == expected);
  CHECK(read_parallel_tsv(folder / "pairs.tsv", bad) == expected);
  CHECK_THROWS_AS((void)read_parallel_lines(folder / "s", folder / "missing", bad), FileError);
  CHECK_THROWS_AS((void)read_parallel_lines(folder / "empty", folder / "empty", bad), DataError);
  CHECK_THROWS_AS((void)read_parallel_tsv(folder / "empty", bad), DataError);
}
