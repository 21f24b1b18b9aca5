#include <doctest/doctest.h>

#include <fstream>

#include "temporary_folder.hpp"
#include "unroll/models/data/labelled_text.hpp"
#include "unroll/models/data/split_of.hpp"
#include "unroll/models/data/text_lines.hpp"

using namespace unroll;
using unroll::testing::TemporaryFolder;

namespace {

std::vector<std::string> shown(const std::vector<LabelledText>& texts) {
  std::vector<std::string> out;
  for (const auto& t : texts)
    out.push_back(std::to_string(t.number) + " " + t.label + ": " + t.text);
  return out;
}
using Strings = std::vector<std::string>;

Strings parsed(std::string_view bytes, LabelledTextFormat format,
               OnBadData policy = OnBadData::stop) {
  BadData bad(policy);
  return shown(parse_labelled_text(bytes, "file", format, bad));
}
constexpr auto tsv = LabelledTextFormat::tsv;
constexpr auto csv = LabelledTextFormat::csv;

void write(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}
Strings read(const std::filesystem::path& path) {
  BadData bad(OnBadData::stop);
  return shown(read_labelled_text(path, bad));
}

}  // namespace

TEST_CASE("lines are UTF-8 whatever the file is") {
  CHECK(text_lines("a\r\nb\rc", "f") == Strings{"a", "b", "c"});
  CHECK(text_lines("\xEF\xBB\xBF\n\n", "f") == Strings{"", ""});
  CHECK(text_lines("", "f").empty());
  CHECK(text_lines("caf\xE9", "f") == Strings{"café"});  // latin-1
  CHECK(text_lines("café", "f") == Strings{"café"});
  CHECK_THROWS_WITH_AS(
      (void)text_lines(std::string("a\nb\0c", 5), "f"),
      "f: line 2: expected text in UTF-8 or latin-1, found a zero byte (binary, or "
      "UTF-16?)",
      DataError);
  CHECK(split_characters("aé€") == Strings{"a", "é", "€"});
  CHECK(split_characters("\x80\xFF") == Strings{"\x80", "\xFF"});
  CHECK(split_characters("").empty());
}

TEST_CASE("tab-separated texts are taken as they are") {
  CHECK(parsed("Label\tText\npos\ta \"fine\" film\n\n \nneg\t\"dull\n", tsv) ==
        Strings{"0 pos: a \"fine\" film", "1 neg: \"dull"});
  CHECK(parsed("pos\tone\ttwo", tsv) == Strings{"0 pos: one two"});
  CHECK(parsed("", tsv).empty());
}

TEST_CASE("comma-separated fields may be quoted, with quotes, commas and line ends inside") {
  CHECK(parsed("class,title,text\n3,\"a, \"\"b\"\"\",\"c\nd\"\n4,e,f\n", csv) ==
        Strings{"0 3: a, \"b\" c\nd", "1 4: e f"});
  CHECK(parsed("1,say \"this\"\r\n2,\"x\"", csv) == Strings{"0 1: say \"this\"", "1 2: x"});
}

TEST_CASE("bad lines are named, or counted and skipped") {
  CHECK_THROWS_WITH_AS((void)parsed("pos\ta\nneg\n", tsv),
                       "file: line 2: expected a label and a text, found one column", DataError);
  CHECK_THROWS_WITH_AS((void)parsed("1,\"a\nb\"\n,x\n", csv),
                       "file: line 3: expected a label in the first column, found none", DataError);
  CHECK_THROWS_WITH_AS((void)parsed("pos\t \n", tsv),
                       "file: line 1: expected a text after the label, found none", DataError);
  CHECK_THROWS_WITH_AS(
      (void)parsed("1,a\n2,\"b\n3,c\n", csv),
      "file: line 2: expected a quote that ends the field, found the end of the file", DataError);
  CHECK(parsed("pos\ta\nneg\npos\tb\n", tsv, OnBadData::skip) == Strings{"0 pos: a", "1 pos: b"});
  BadData bad(OnBadData::skip);
  (void)parse_labelled_text("1,a\n2,\"b\n", "file", csv, bad);
  CHECK(bad.skipped() == 1);
}

TEST_CASE("folders hold a class in a folder, in an ending or in a name") {
  TemporaryFolder folder;
  write(folder / "tree/neg/2.txt", "bad\nfilm\n");
  write(folder / "tree/neg/1.txt", "dull");
  write(folder / "tree/pos/7.txt", "fine");
  write(folder / "tree/.hidden/1.txt", "no");
  CHECK(read(folder / "tree") == Strings{"0 neg: dull ", "1 neg: bad film ", "0 pos: fine "});

  write(folder / "lines/rt.pos", "fine\n\ngood\n");
  write(folder / "lines/rt.neg", "caf\xE9\n");
  write(folder / "lines/rt.README", "no\n");
  CHECK(read(folder / "lines") == Strings{"0 neg: café", "0 pos: fine", "1 pos: good"});

  write(folder / "names/Italian.txt", "Bianchi\nAbba\nBianchi\n");
  write(folder / "names/Czech.txt", "Zeman\nAbba\nÁron\n");
  CHECK(read(folder / "names") == Strings{"0 Czech: Abba", "1 Czech: Zeman", "2 Czech: Áron",
                                          "3 Italian: Abba", "4 Italian: Bianchi"});

  write(folder / "one.CSV", "a,\"b\"\n");
  CHECK(read(folder / "one.CSV") == Strings{"0 a: b"});
}

TEST_CASE("what is missing or holds nothing is said") {
  TemporaryFolder folder;
  CHECK_THROWS_AS((void)read(folder / "nothing"), FileError);
  write(folder / "empty/readme", "text");
  CHECK_THROWS_AS((void)read(folder / "empty"), DataError);
  write(folder / "bad/x.pos", std::string("a\0", 2));
  CHECK_THROWS_AS((void)read(folder / "bad"), DataError);
}

TEST_CASE("of ten examples the ninth validates and the tenth tests") {
  std::vector<int> numbers(23);
  for (int i = 0; i < 23; ++i) numbers[std::size_t(i)] = i;
  const auto parts = split_examples(numbers);
  CHECK(parts[Split::validation] == std::vector<int>{8, 18});
  CHECK(parts[Split::test] == std::vector<int>{9, 19});
  CHECK(parts[Split::training].size() == 19);
  CHECK_NOTHROW(check_parts(parts));
  CHECK_THROWS_AS(check_parts(split_examples(std::vector<int>(9))), std::invalid_argument);
  const auto other = split_examples(numbers, [](int x, Size) { return x + 1; });
  CHECK(other[Split::test] == std::vector<int>{8, 18});
}
