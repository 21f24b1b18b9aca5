#include <doctest/doctest.h>

#include <fstream>

#include "temporary_folder.hpp"
#include "unroll/models/data/slot_lines.hpp"

using namespace unroll;

namespace {

using Strings = std::vector<std::string>;
using Sentences = std::vector<TaggedSentence>;

Sentences parsed(std::string_view text, OnBadData policy = OnBadData::stop) {
  BadData bad(policy);
  return parse_conll(text, "file", bad);
}
Sentences slots(std::string_view words, std::string_view tags, OnBadData policy = OnBadData::stop) {
  BadData bad(policy);
  return parse_slot_lines(words, tags, "seq.in", "seq.out", bad);
}

}  // namespace

TEST_CASE("sentences in two or four columns, with documents and blank lines of all kinds") {
  CHECK(parsed("a O\nb I-PER\n\nc O\n") == Sentences{{{"a", "b"}, {"O", "I-PER"}}, {{"c"}, {"O"}}});
  CHECK(
      parsed("\n\t\n-DOCSTART- -X- -X- O\n\nEU NNP B-NP S-ORG\nrejects\tVBZ  B-VP\tO\n \t \n\n") ==
      Sentences{{{"EU", "rejects"}, {"S-ORG", "O"}}});
  CHECK(parsed("-DOCSTART-\na O\n") == Sentences{{{"a"}, {"O"}}});
  CHECK(parsed("caf\xE9 O\r\n") == Sentences{{{"café"}, {"O"}}});
  CHECK(parsed("").empty());
}

TEST_CASE("a wrong line is named, and spoils its sentence only") {
  CHECK_THROWS_WITH_AS((void)parsed("a X O\n\nb O\n"),
                       "file: line 3: expected 3 columns, as before, found 2", DataError);
  CHECK_THROWS_WITH_AS((void)parsed("a O\nb\n"),
                       "file: line 2: expected a word and its tag, found one column", DataError);
  CHECK_THROWS_WITH_AS((void)parsed("a NNP\n"),
                       "file: line 1: expected a tag (O, B-x, I-x, E-x or S-x) in the last column, "
                       "found \"NNP\"",
                       DataError);
  CHECK(parsed("a O\nb\nc O\n\nd O\n", OnBadData::skip) == Sentences{{{"d"}, {"O"}}});
}

TEST_CASE("tags of all schemes become IOB2") {
  const Strings iob2{"B-PER", "I-PER", "O", "B-LOC", "B-PER", "B-PER"};
  CHECK(to_iob2(Strings{"I-PER", "I-PER", "O", "I-LOC", "I-PER", "B-PER"}) == iob2);  // IOB1
  CHECK(to_iob2(iob2) == iob2);
  CHECK(to_iob2(Strings{"B-PER", "E-PER", "O", "S-LOC", "S-PER", "S-PER"}) == iob2);  // BIOES
  CHECK(to_iob2(Strings{}).empty());
  CHECK(is_span_tag("B-a-b"));
  CHECK_FALSE(is_span_tag("B-"));
  CHECK_FALSE(is_span_tag("X-PER"));
  CHECK_FALSE(is_span_tag(""));
}

TEST_CASE("seq.in and seq.out agree line by line") {
  CHECK(slots("play nude \n\nstop\n", "O B-track\n \nO\n") ==
        Sentences{{{"play", "nude"}, {"O", "B-track"}}, {{"stop"}, {"O"}}});
  CHECK_THROWS_WITH_AS((void)slots("a\na b\n", "O\nO\n"),
                       "seq.out: line 2: expected 2 tags, one for each word of seq.in, found 1",
                       DataError);
  CHECK_THROWS_WITH_AS((void)slots("a\n", "B\n"),
                       "seq.out: line 1: expected tags (O, B-x, I-x, E-x or S-x), found \"B\"",
                       DataError);
  CHECK_THROWS_WITH_AS((void)slots("a\nb\n", "O\n"),
                       "seq.out: line 2: expected as many lines as in seq.in, found the end of the "
                       "file",
                       DataError);
  CHECK_THROWS_WITH_AS((void)slots("", "O\n"),
                       "seq.in: line 1: expected as many lines as in seq.out, found the end of the "
                       "file",
                       DataError);
  CHECK(slots("a\na b\nc\n", "O\nO\nO\n", OnBadData::skip) ==
        Sentences{{{"a"}, {"O"}}, {{"c"}, {"O"}}});
}

TEST_CASE("files without sentences are an error") {
  const unroll::testing::TemporaryFolder folder;
  std::ofstream(folder / "seq.in") << "\n";
  std::ofstream(folder / "seq.out") << "\n";
  BadData bad(OnBadData::stop);
  CHECK_THROWS_AS((void)read_slot_lines(folder.path(), bad), DataError);
  CHECK_THROWS_AS((void)read_conll(folder / "seq.in", bad), DataError);
  CHECK_THROWS_AS((void)read_conll(folder / "none", bad), FileError);
}
