#include <doctest/doctest.h>

#include "temporary_folder.hpp"
#include "unroll/models/data/ppm.hpp"

using namespace unroll;
using namespace std::string_literals;

namespace {

ColourImage parsed(const std::string& bytes, OnBadData policy = OnBadData::stop) {
  BadData bad(policy);
  return parse_ppm(bytes, "a.ppm", bad);
}
doctest::String problem(const std::string& bytes) {
  try {
    (void)parsed(bytes);
  } catch (const DataError& e) {
    return e.what();
  }
  return "none";
}

const ColourImage two{.rows = 1, .columns = 2, .pixels = {1, 2, 3, 255, 0, 35}};

}  // namespace

TEST_CASE("both forms of PPM are read, with comments and any space between the numbers") {
  CHECK(parsed("P6\n2 1\n255\n\x01\x02\x03\xff\0#"s) == two);
  CHECK(parsed("P3 # text\n2\t1 # columns, rows\n\n255\n1 2 3\r\n255 0\n35") == two);
  CHECK(parsed("P3 1 1 255 7 8 9").pixels == std::vector<std::uint8_t>{7, 8, 9});
}

TEST_CASE("values are scaled to 255 from another largest value") {
  CHECK(parsed("P3 1 1 3 0 1 3").pixels == std::vector<std::uint8_t>{0, 85, 255});
  CHECK(parsed("P6 1 1 1 \0\1\1"s).pixels == std::vector<std::uint8_t>{0, 255, 255});
}

TEST_CASE("an image that is written is read as it was") {
  testing::TemporaryFolder folder;
  write_ppm(folder / "a.ppm", two);
  BadData bad(OnBadData::stop);
  CHECK(read_ppm(folder / "a.ppm", bad) == two);
  CHECK_THROWS_AS((void)read_ppm(folder / "b.ppm", bad), FileError);
}

TEST_CASE("what is wrong with a PPM file is said with the place and what was expected") {
  CHECK(problem("") ==
        "a.ppm: byte 0: expected a PPM image, which begins with P3 or P6, found an empty file");
  CHECK(problem("P5 1 1 255 a") == doctest::Contains("which begins with P3 or P6"));
  CHECK(problem("P6 0 1 255 abc") == "a.ppm: byte 3: expected a width from 1 to 16384");
  CHECK(problem("P6 1 x") == "a.ppm: byte 5: expected a height from 1 to 16384");
  CHECK(problem("P6 1 1 65535 abcdef") == "a.ppm: byte 7: expected a largest value from 1 to 255");
  CHECK(problem("P6 1 1 # no end") == doctest::Contains("found the end of the file"));
  CHECK(problem("P6 1 1 255") == doctest::Contains("expected a space behind the largest value"));
  CHECK(problem("P6 1 1 255 ab") ==
        "a.ppm: byte 11: expected 3 values for 1 x 1 pixels, found at most 2");
  CHECK(problem("P6 1 1 3 \1\2\4") == "a.ppm: byte 9: expected values up to 3");
  CHECK(problem("P3 1 1 9 1 2 10") == "a.ppm: byte 13: expected a value from 0 to 9");
  CHECK(problem("P3 1 1 9 1 2 -1") == doctest::Contains("byte 13"));
  // What a header claims takes no memory.
  CHECK(problem("P3 16384 16384 255 1") == doctest::Contains("found at most"));
}

TEST_CASE("where bad data are skipped, pixels behind the first bad one are black") {
  CHECK(parsed("P6 1 1 255 ab", OnBadData::skip).pixels == std::vector<std::uint8_t>{0, 0, 0});
  CHECK(parsed("P3 2 1 255 1 2 3 4 x 6", OnBadData::skip).pixels ==
        std::vector<std::uint8_t>{1, 2, 3, 4, 0, 0});
  CHECK_THROWS_AS(parsed("P6 1 x", OnBadData::skip), DataError);
}

TEST_CASE("images of one size become numbers from 0 to 1") {
  const Var<float> values = colour_values({two, two});
  CHECK(values.shape() == Shape{2, 1, 2, 3});
  CHECK(values.to_vector()[3] == 1);
  CHECK(values.to_vector()[11] == 35 / 255.0F);
  CHECK_THROWS_WITH((void)colour_values({}), "[colour_values] there are no images");
  CHECK_THROWS_WITH((void)colour_values({two, ColourImage{2, 1, std::vector<std::uint8_t>(6)}}),
                    "[colour_values] an image of 2 x 1 pixels among those of 1 x 2");
}
