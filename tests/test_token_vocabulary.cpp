#include <doctest/doctest.h>

#include "unroll/models/data/token_vocabulary.hpp"

using namespace unroll;

namespace {
using Words = std::vector<std::string>;
const std::vector<Words> lists{{"b", "a", "b"}, {}, {"c", "b", "a", "d"}};
}  // namespace

TEST_CASE("the most frequent tokens come first, equals in the order of their bytes") {
  const auto v = TokenVocabulary::of(lists);
  CHECK(v.tokens() == Words{"<pad>", "<unk>", "<s>", "</s>", "b", "a", "c", "d"});
  CHECK(v.id("a") == 5);
  CHECK(v.id("never seen") == 1);
  CHECK(v.decode(v.encode(Words{"d", "x", "b"})) == Words{"d", "<unk>", "b"});
  CHECK_THROWS_AS((void)v.token(8), std::invalid_argument);
  CHECK_THROWS_AS((void)v.token(-1), std::invalid_argument);
}

TEST_CASE("a vocabulary can leave rare tokens out, be limited, and be closed") {
  CHECK(TokenVocabulary::of(lists, {.least_count = 2}).tokens() ==
        Words{"<pad>", "<unk>", "<s>", "</s>", "b", "a"});
  CHECK(TokenVocabulary::of(lists, {.largest_size = 5}).size() == 5);
  const auto closed = TokenVocabulary::of(lists, {.specials = {}});
  CHECK(closed.tokens() == Words{"b", "a", "c", "d"});
  CHECK_THROWS_WITH_AS((void)closed.id("z"),
                       "[TokenVocabulary] \"z\" is none of the 4 tokens that it knows",
                       std::invalid_argument);
}

TEST_CASE("a vocabulary survives as text, whatever its tokens are") {
  const std::vector<Words> odd{{"a\\n", "line\nend", "\\", "", "é", "two words"}};
  const auto v = TokenVocabulary::of(odd);
  CHECK(TokenVocabulary::from_string(v.to_string()) == v);
  CHECK(TokenVocabulary::from_string(TokenVocabulary().to_string()).size() == 0);
  CHECK_THROWS_AS((void)TokenVocabulary::from_string("a\nb\na\n"), FormatError);
}

TEST_CASE("words are what stands between blanks") {
  CHECK(split_words("  a  b\tc \r") == Words{"a", "b", "c"});
  CHECK(split_words("").empty());
  CHECK(split_words(" \t").empty());
  CHECK(join_words(Words{"a", "b"}) == "a b");
}
