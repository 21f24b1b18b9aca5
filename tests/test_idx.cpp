#include <doctest/doctest.h>

#include <fstream>

#include "temporary_folder.hpp"
#include "unroll/models/data/gzip.hpp"
#include "unroll/models/data/images.hpp"
#include "unroll/nn/atomic_file.hpp"

using namespace unroll;
using namespace std::string_literals;

namespace {

std::string from_hex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(char(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// Written by Python's gzip: the IDX array {5, 0, 9} of unsigned bytes, whole and as two streams.
const std::string packed =
    from_hex("1f8b08000000000002ff6360e060646060606665e00400cbc657710b000000");
const std::string packed_twice = from_hex(
    "1f8b08000000000002ff6360e060646000007be3b475060000001f8b08000000"
    "000002ff63606665e00400bc2280ab05000000");
const std::string plain = from_hex("0000080100000003050009");

IdxArray parsed(const std::string& bytes, OnBadData policy = OnBadData::stop) {
  BadData bad(policy);
  return parse_idx(bytes, "digits.idx", bad);
}

doctest::String problem_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "none";
}
doctest::String problem(const std::string& bytes) {
  return problem_of([&] { parsed(bytes); });
}

}  // namespace

TEST_CASE("every element type of IDX is read big-endian, as Python's struct writes it") {
  const auto value = [](const std::string& type, const std::string& hex) {
    const IdxArray array = parsed(from_hex("0000" + type + "0100000001" + hex));
    REQUIRE(array.size() == 1);
    return array[0];
  };
  CHECK(value("08", "fe") == 254);
  CHECK(value("09", "fe") == -2);
  CHECK(value("0b", "fffe") == -2);
  CHECK(value("0c", "fffeee90") == -70000);
  CHECK(value("0d", "c0200000") == -2.5);
  CHECK(value("0e", "7e37e43c8800759c") == 1e300);
}

TEST_CASE("an array that is written is read as it was, in every type") {
  testing::TemporaryFolder folder;
  for (const auto type : {IdxType::uint8, IdxType::int8, IdxType::int16, IdxType::int32,
                          IdxType::float32, IdxType::float64}) {
    CAPTURE(name_of(type));
    const double low = type == IdxType::uint8 ? 0 : -128;
    const IdxArray array = idx_array(type, {2, 1, 2}, {low, 127, 1, 0});
    write_idx(folder / "a.idx", array);
    BadData bad(OnBadData::stop);
    const IdxArray again = read_idx(folder / "a.idx", bad);
    CHECK(again == array);
    CHECK(again.shape == std::vector<std::int64_t>{2, 1, 2});
    CHECK(again[0] == low);
    CHECK(again[1] == 127);
  }
  CHECK(parsed(from_hex("00000c02000000000000000a")).size() == 0);
}

TEST_CASE("numbers that a type cannot hold are refused") {
  CHECK_THROWS_WITH((void)idx_array(IdxType::uint8, {1}, {256}),
                    "[idx_array] 256 does not go into unsigned bytes");
  CHECK_THROWS_AS((void)idx_array(IdxType::int8, {1}, {-129}), std::invalid_argument);
  CHECK_THROWS_AS((void)idx_array(IdxType::int16, {1}, {0.5}), std::invalid_argument);
  CHECK_THROWS_AS((void)idx_array(IdxType::float32, {1}, {0.1}), std::invalid_argument);
  CHECK_THROWS_WITH((void)idx_array(IdxType::int32, {2, 2}, {1, 2, 3}),
                    "[idx_array] 3 values for the shape [2, 2]");
}

TEST_CASE("files that gzip packed are read as the plain ones, also in several streams") {
  CHECK(gunzip(packed, "p") == plain);
  CHECK(gunzip(packed_twice, "p") == plain);
  CHECK(parsed(packed) == parsed(plain));
  CHECK(parsed(plain)[2] == 9);
}

TEST_CASE("a damaged gzip file is refused with the place") {
  for (std::size_t size = 2; size < packed.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS((void)gunzip(packed.substr(0, size), "p"), DataError);
  }
  std::string damaged = packed;
  damaged[packed.size() - 8] ^= 1;  // the checksum
  CHECK_THROWS_WITH((void)gunzip(damaged, "p"),
                    doctest::Contains("expected whole gzip streams, found incorrect data check"));
  CHECK_THROWS_WITH((void)gunzip(plain, "p"),
                    "p: byte 0: expected a gzip file, which begins with 1f 8b");
  CHECK_THROWS_AS((void)gunzip(packed + "x", "p"), DataError);
}

TEST_CASE("what is wrong with an IDX file is said with the place and what was expected") {
  CHECK(problem("") ==
        "digits.idx: byte 0: expected an IDX header: two bytes of 0, the type, the number of axes, "
        "found 0 bytes in all");
  CHECK(problem("P5 3 3") == doctest::Contains("found 50 35"));
  CHECK(problem("\0\0\x0a\1"s) ==
        "digits.idx: byte 2: expected the type 08, 09, 0b, 0c, 0d or 0e, found 0a");
  CHECK(problem("\0\0\x08\0"s) == doctest::Contains("expected 1 to 16 axes"));
  CHECK(problem("\0\0\x08\2\0\0\0\1"s) == doctest::Contains("2 axes in a file of 8 bytes"));
  CHECK(problem(plain.substr(0, 10)) ==
        "digits.idx: byte 8: expected 3 bytes for the shape [3] of unsigned bytes, found 2");
  CHECK(problem(plain + "z") == doctest::Contains("expected 3 bytes"));
  // What a header claims takes no memory: 2^32 - 1 squared 64-bit floats.
  CHECK(problem(from_hex("00000e02ffffffffffffffff")) == doctest::Contains("found 0"));
}

TEST_CASE("where bad data are skipped, the whole items of a file that was cut off remain") {
  const std::string cut = from_hex("00000b02000000030000000200010002000300040005");
  const IdxArray array = parsed(cut, OnBadData::skip);
  CHECK(array.shape == std::vector<std::int64_t>{2, 2});
  CHECK(array.size() == 4);
  CHECK(array[3] == 4);
  CHECK(parsed(plain + "z", OnBadData::skip) == parsed(plain));
  CHECK_THROWS_AS(parsed("\0\0\x0a\1"s, OnBadData::skip), DataError);
}

TEST_CASE(
    "a folder's images are split: the last fifth for the test, a tenth of the rest held out") {
  testing::TemporaryFolder folder;
  ImageSet set{.rows = 1, .columns = 2};
  for (int i = 0; i < 25; ++i) {
    set.pixels.insert(set.pixels.end(), {std::uint8_t(i), 255});
    set.labels.push_back(i % 3);
  }
  write_images(folder.path(), "t10k", set);
  BadData bad(OnBadData::stop);
  ImageSplits splits = read_image_folder(folder.path(), bad);
  CHECK(splits.training.size() == 18);
  CHECK(splits.validation.pixels == std::vector<std::uint8_t>{18, 255, 19, 255});
  CHECK(splits.test.labels == std::vector<std::int64_t>{2, 0, 1, 2, 0});
  const ImageBatch batch = splits.training.batch(std::vector<Size>{17, 0});
  CHECK(batch.images.to_vector() == std::vector<float>{17 / 255.0F, 1, 0, 1});
  CHECK(batch.images.shape() == Shape{2, 1, 2});
  CHECK(batch.labels(0) == 2);
  CHECK(splits.training.classes() == 3);

  // With the public names for both parts the files decide.
  write_images(folder.path(), "train", splits.training);
  CHECK(read_image_folder(folder.path(), bad).test.size() == 25);
  CHECK(read_image_folder(folder.path(), bad).validation.size() == 1);
}

TEST_CASE("a missing file, other types and numbers of images are refused by name") {
  testing::TemporaryFolder folder;
  BadData bad(OnBadData::stop);
  CHECK(problem_of([&] { (void)read_image_folder(folder / "none", bad); }) ==
        doctest::Contains("no such folder"));
  CHECK(problem_of([&] { (void)read_image_folder(folder.path(), bad); }) ==
        doctest::Contains("t10k-images-idx3-ubyte: no such file, nor with .gz"));
  const IdxArray images = idx_array(IdxType::uint8, {2, 1, 1}, {1, 2});
  const IdxArray labels = idx_array(IdxType::uint8, {3}, {1, 2, 3});
  CHECK(problem_of([&] { (void)image_set(images, labels, "i", bad); }) ==
        "i: byte 4: expected an image for each of 3 labels, found 2 images");
  CHECK(
      problem_of([&] { (void)image_set(labels, labels, "i", bad); }) ==
      "i: byte 2: expected images, an array of unsigned bytes with 3 axes, found unsigned bytes of "
      "shape [3]");
  BadData skip(OnBadData::skip);
  CHECK(image_set(images, labels, "i", skip).labels == std::vector<std::int64_t>{1, 2});
  CHECK(skip.skipped() == 1);
}

TEST_CASE("a line of numbers is an image; other lines are refused with their number") {
  const Var<float> image = parse_pixels(" 0, 255\t51 0\r", 2, 2, "in", 3);
  CHECK(image.shape() == Shape{1, 2, 2});
  CHECK(image.to_vector() == std::vector<float>{0, 1, 0.2F, 0});
  CHECK(problem_of([] { (void)parse_pixels("1 2 3", 2, 2, "in", 3); }) ==
        "in: line 3: expected 4 numbers from 0 to 255, found 3");
  for (const char* line : {"1 2 3 256", "1 2 3 x", "1 2 3 nan", "1 2 3 -1", "1 2 3 4z", ""}) {
    CAPTURE(line);
    CHECK_THROWS_AS((void)parse_pixels(line, 2, 2, "in", 1), DataError);
  }
  CHECK(image_text(image) == " @\n: \n");
}
