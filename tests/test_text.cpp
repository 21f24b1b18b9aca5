#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "temporary_folder.hpp"
#include "unroll/models/data/ngram.hpp"
#include "unroll/models/data/text.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace fs = std::filesystem;
using namespace unroll;

namespace {

using Ids = std::vector<std::int64_t>;

struct Folder : testing::TemporaryFolder {
  fs::path put(const std::string& name, const std::string& bytes) const {
    fs::create_directories((*this / name).parent_path());
    write_file_atomically(*this / name, bytes);
    return *this / name;
  }
};

template <class Exception>
std::string error_of(const auto& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("UTF-8 takes code points there and back at every length") {
  const std::u32string text = U"a\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff";
  CHECK(to_utf8(U"A\u00e9\u20ac\U0001f600") == "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK(from_utf8(to_utf8(text)) == text);
  CHECK(from_utf8("") == U"");
  CHECK_THROWS_AS((void)to_utf8(std::u32string(1, char32_t{0xd800})), std::invalid_argument);
  CHECK_THROWS_AS((void)to_utf8(std::u32string(1, char32_t{0x110000})), std::invalid_argument);
}

TEST_CASE("bytes that are not UTF-8 are told from those that are") {
  for (const char* bytes :
       {"\x80", "\xbf", "\xc3", "\xc3(", "\xe2\x82", "\xf0\x9f\x98", "a\xff", "\xc0\x80",
        "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80"}) {
    CHECK_FALSE(from_utf8(bytes).has_value());
  }
}

TEST_CASE("a file is read as UTF-8 where it is UTF-8 and as latin-1 where it is not") {
  const Folder folder;
  const Corpus utf_8 = read_corpus(folder.put("a.txt",
                                              "\xef\xbb\xbf"
                                              "caf\xc3\xa9\n"));
  CHECK(utf_8.text == U"caf\u00e9\n");
  CHECK(utf_8.encoding == "UTF-8");
  const Corpus latin_1 = read_corpus(folder.put("b.txt", "caf\xe9\n"));
  CHECK(latin_1.text == utf_8.text);
  CHECK(latin_1.encoding == "latin-1");
  CHECK(read_corpus(folder.path()).encoding == "UTF-8 and latin-1");
}

TEST_CASE("line ends become newlines and the last line gets one") {
  const Folder folder;
  CHECK(read_corpus(folder.put("a.txt", "a\r\nb\rc\n\r\n\rd")).text == U"a\nb\nc\n\n\nd\n");
}

TEST_CASE("a folder is read in the order of its paths, without what is no text of the user") {
  const Folder folder;
  folder.put("b.txt", "b");
  folder.put("a/z.txt", "z\n");
  folder.put("a/b/c.txt", "c\n");
  folder.put("empty.txt", "");
  folder.put("picture.png", std::string("\x89PNG\0\0", 6));
  folder.put("squeezed", "\xff\x01\x02\x03\x04\x05");
  folder.put(".git/config", "hidden");
  folder.put(".hidden", "hidden");
  folder.put("build/generated.txt", "built");
  folder.put("other/CMakeCache.txt", "built");
  folder.put("other/deep/x.txt", "built");
  folder.put("report.html", "skipped by name");
  folder.put("skipped/x.txt", "skipped by name");
  fs::create_symlink(folder.path(), folder.path() / "loop");
  fs::create_symlink("b.txt", folder.path() / "twice.txt");

  const Corpus corpus = read_corpus(folder.path(), {.skipped_names = {"report.html", "skipped"}});
  CHECK(corpus.text == U"c\nz\nb\n");
  CHECK(corpus.begins == std::vector<std::size_t>{0, 2, 4});
  REQUIRE(corpus.files.size() == 3);
  CHECK(corpus.files[0] == folder.path() / "a/b/c.txt");
  CHECK(corpus.files[2] == folder.path() / "b.txt");
  // A build folder that is asked for by its own name is read.
  CHECK(read_corpus(folder.path() / "build").text == U"built\n");
}

TEST_CASE("what is no text is refused with its path and the reason") {
  const Folder folder;
  const auto file_error = [](const fs::path& path) {
    return error_of<FileError>([&] { (void)read_corpus(path); });
  };
  const auto format_error = [](const fs::path& path) {
    return error_of<FormatError>([&] { (void)read_corpus(path); });
  };
  CHECK(file_error("/nowhere/a.txt") == "/nowhere/a.txt: no such file or folder");
  CHECK(contains(file_error("/dev/null"), "/dev/null: cannot read"));
  const fs::path binary = folder.put("x.bin", std::string("abc\0def", 7));
  CHECK(contains(format_error(binary), binary.string() + ": byte 3: a zero byte"));
  CHECK(contains(format_error(folder.put("u16", std::string("\xff\xfe"
                                                            "a\0",
                                                            4))),
                 "UTF-16"));
  CHECK(contains(format_error(folder.put("squeezed", "\xff\x01\x02\x03\x04")), "is binary"));
  CHECK(contains(format_error(folder.put("empty.txt", "")), "the file is empty"));
  CHECK(contains(format_error(folder.put("bom.txt", "\xef\xbb\xbf")), "the file is empty"));
  CHECK(contains(format_error(folder.path()), folder.path().string() + ": no text in this folder"));
}

TEST_CASE("the last tenth of every file is held out and nothing is in both or in neither") {
  Corpus corpus;
  corpus.text = std::u32string(100, U'a') + std::u32string(50, U'b');
  corpus.begins = {0, 100};
  const TextSplit split = split_corpus(corpus);
  CHECK(split.training == std::u32string(90, U'a') + std::u32string(45, U'b'));
  CHECK(split.held_out == std::u32string(10, U'a') + std::u32string(5, U'b'));
}

TEST_CASE("a cut is moved to the next line where one begins in time") {
  Corpus corpus;
  corpus.begins = {0};
  corpus.text = std::u32string(92, U'a') + U'\n' + std::u32string(7, U'b');
  CHECK(split_corpus(corpus).held_out == std::u32string(7, U'b'));
  corpus.text = std::u32string(89, U'a') + U'\n' + std::u32string(10, U'b');
  CHECK(split_corpus(corpus).held_out == std::u32string(10, U'b'));
  corpus.text = std::u32string(98, U'a') + U'\n' + U'b';
  CHECK(split_corpus(corpus).held_out.size() == 10);
  CHECK(split_corpus(corpus, 0.5).held_out.size() == 50);
}

TEST_CASE("a text that is too short to split and a share that is none are refused") {
  Corpus corpus;
  corpus.text = U"short";
  corpus.begins = {0};
  CHECK_THROWS_AS((void)split_corpus(corpus), std::invalid_argument);
  for (const double share : {0.0, 1.0, -0.1, std::nan("")}) {
    CHECK_THROWS_AS((void)split_corpus(corpus, share), std::invalid_argument);
  }
}

TEST_CASE("a vocabulary numbers the characters in order and has an id for the rest") {
  const Vocabulary vocabulary(U"hello \u20ac\n");
  CHECK(vocabulary.size() == 8);  // unknown, \n, space, e, h, l, o, euro
  CHECK(vocabulary.encode(U"\nhol\u20ac!") == Ids{1, 4, 6, 5, 7, 0});
  CHECK(vocabulary.decode(Ids{4, 3, 5, 0}) == U"hel\ufffd");
  CHECK(vocabulary.id(U'z') == Vocabulary::unknown());
  CHECK(vocabulary.to_string() == "\n ehlo\xe2\x82\xac");
  CHECK(Vocabulary::from_string(vocabulary.to_string()) == vocabulary);
  CHECK(Vocabulary::from_string("").size() == 1);
  CHECK_THROWS_AS((void)vocabulary.character(8), std::invalid_argument);
  CHECK_THROWS_AS((void)vocabulary.character(-1), std::invalid_argument);
  CHECK_THROWS_AS((void)Vocabulary::from_string("ba"), std::invalid_argument);
  CHECK_THROWS_AS((void)Vocabulary::from_string("aa"), std::invalid_argument);
  CHECK_THROWS_AS((void)Vocabulary::from_string("\xff"), std::invalid_argument);
}

// Worked by hand from the counts of "abab" (a = 0, b = 1) in a vocabulary of three.
TEST_CASE("n-gram probabilities are those worked by hand") {
  const Ids abab{0, 1, 0, 1};
  const NgramModel unigram(abab, 1, 3);  // 4 characters, 2 different: (c + 2/3) / 6
  CHECK(unigram.probability({}, 0) == doctest::Approx(4.0 / 9).epsilon(1e-14));
  CHECK(unigram.probability({}, 2) == doctest::Approx(1.0 / 9).epsilon(1e-14));

  const NgramModel trigram(abab, 3, 3);
  const auto p = [&](const Ids& before, std::int64_t id) {
    return trigram.probability(before, id);
  };
  CHECK(p({0}, 1) == doctest::Approx(22.0 / 27).epsilon(1e-14));  // (2 + 4/9) / 3
  CHECK(p({0}, 2) == doctest::Approx(1.0 / 27).epsilon(1e-14));
  CHECK(p({1}, 0) == doctest::Approx(13.0 / 18).epsilon(1e-14));     // (1 + 4/9) / 2
  CHECK(p({0, 1}, 0) == doctest::Approx(31.0 / 36).epsilon(1e-14));  // (1 + 13/18) / 2
  CHECK(p({2, 1}, 0) == doctest::Approx(13.0 / 18).epsilon(1e-14));  // never seen: as after b
  CHECK(p({0, 2}, 0) == doctest::Approx(4.0 / 9).epsilon(1e-14));    // never seen: as alone
  CHECK(p({2, 2, 0, 1}, 0) == p({0, 1}, 0));                         // longer than it looks back

  const double bits = -std::log2(4.0 / 9 * 22.0 / 27 * 31.0 / 36) / 3;
  CHECK(ngram_bits_per_character(abab, Ids{0, 1, 0}, 3, 3) == doctest::Approx(bits).epsilon(1e-13));
}

TEST_CASE("n-gram probabilities sum to one after any context, seen or not") {
  std::mt19937 random(7);
  std::geometric_distribution<std::int64_t> distribution(0.3);
  Ids text(500);
  for (auto& id : text) id = std::min<std::int64_t>(distribution(random), 8);  // 9 never occurs
  for (int order = 1; order <= 4; ++order) {
    const NgramModel model(text, order, 10);
    for (std::int64_t a = 0; a < 10; ++a) {
      for (std::int64_t b = 0; b < 10; ++b) {
        double sum = 0;
        for (std::int64_t id = 0; id < 10; ++id) {
          const double p = model.probability(Ids{3, a, b}, id);
          CHECK(p > 0);
          sum += p;
        }
        CHECK(sum == doctest::Approx(1).epsilon(1e-13));
      }
    }
  }
}

TEST_CASE("a longer context predicts structured text better and noise no better") {
  Ids words;
  for (int i = 0; i < 2000; ++i) words.push_back(i % 5 * (i / 5 % 2 + 1) % 7);
  const auto head = std::span(words).first(1500);
  const auto tail = std::span(words).last(500);
  const double one = ngram_bits_per_character(head, tail, 1, 7);
  const double three = ngram_bits_per_character(head, tail, 3, 7);
  CHECK(one > 2);
  CHECK(three < 0.6 * one);

  std::mt19937 random(1);
  Ids noise(20'000);
  for (auto& id : noise) id = static_cast<std::int64_t>(random() % 8);
  const auto bits =
      ngram_bits_per_character(std::span(noise).first(15'000), std::span(noise).last(5'000), 3, 8);
  CHECK(bits > 3);
  CHECK(bits < 3.2);
}

TEST_CASE("n-gram models refuse what they cannot count") {
  const Ids ids{0, 1};
  CHECK_THROWS_AS(NgramModel(ids, 0, 2), std::invalid_argument);
  CHECK_THROWS_AS(NgramModel(ids, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(NgramModel(ids, 1, 0), std::invalid_argument);
  CHECK_THROWS_AS(NgramModel(Ids{-1}, 1, 2), std::invalid_argument);
  CHECK_THROWS_AS(NgramModel(ids, 70, 2), std::invalid_argument);
  CHECK_THROWS_AS((void)ngram_bits_per_character(ids, {}, 1, 2), std::invalid_argument);
  CHECK_THROWS_AS((void)ngram_bits_per_character(ids, Ids{2}, 1, 2), std::invalid_argument);
  CHECK(NgramModel({}, 2, 4).probability({}, 1) == 0.25);
}
