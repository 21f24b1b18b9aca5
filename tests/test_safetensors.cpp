#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "temporary_folder.hpp"
#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/safetensors.hpp"

namespace fs = std::filesystem;
using namespace unroll;

namespace {

// One file that is gone at the end of the test.
class ScratchFile {
 public:
  ScratchFile() { write_file_atomically(path_, ""); }
  const fs::path& path() const { return path_; }

 private:
  testing::TemporaryFolder folder_;
  fs::path path_ = folder_ / "file.safetensors";
};

std::vector<std::byte> bytes_of(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// The file that a header and its data make, the length of the header in front.
std::string file_text(const std::string& header, const std::string& data) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return text + header + data;
}

std::string read_error(const std::string& contents) {
  const ScratchFile file;
  write_file_atomically(file.path(), contents);
  try {
    (void)read_safetensors(file.path());
  } catch (const FormatError& error) {
    CHECK(error.file() == file.path().string());
    return error.what();
  }
  return "no error";
}

std::string header_error(const std::string& header, std::size_t data_size) {
  return read_error(file_text(header, std::string(data_size, 'd')));
}

std::string write_error(const SafetensorsFile& contents) {
  const ScratchFile file;
  try {
    write_safetensors(file.path(), contents);
  } catch (const std::invalid_argument& error) {
    CHECK(fs::file_size(file.path()) == 0);
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

SafetensorsFile one_tensor(const std::string& name, const std::string& dtype,
                           std::vector<std::int64_t> shape, std::size_t byte_count) {
  SafetensorsFile file;
  const std::vector<std::byte> bytes(byte_count);
  file.tensors.emplace_back(name, TensorData{dtype, std::move(shape), bytes});
  return file;
}

}  // namespace

TEST_CASE("tensors and metadata come back as they were written, in their order") {
  SafetensorsFile file;
  file.metadata = {{"format", "pt"}, {"note", "quote \" backslash \\ line\nend, \xc3\xa9"}};
  file.tensors.emplace_back("rnn.W", TensorData{"F32", {2, 3}, bytes_of({1, 2, 3, 4, 5, 6})});
  file.tensors.emplace_back("a \"name\"", TensorData{"U8", {3}, std::vector<std::byte>(3)});
  file.tensors.emplace_back("scalar", TensorData{"F64", {}, std::vector<std::byte>(8)});
  file.tensors.emplace_back("empty", TensorData{"I64", {4, 0}, {}});
  file.tensors.emplace_back("", TensorData{"BOOL", {1}, {std::byte{1}}});

  const ScratchFile scratch;
  write_safetensors(scratch.path(), file);
  const SafetensorsFile back = read_safetensors(scratch.path());
  CHECK(back == file);
  REQUIRE(back.find("rnn.W") != nullptr);
  CHECK(back.find("rnn.W")->bytes == bytes_of({1, 2, 3, 4, 5, 6}));
  CHECK(back.find("rnn") == nullptr);
}

TEST_CASE("the bytes on disk are those that the format asks for") {
  SafetensorsFile file;
  file.tensors.emplace_back("w", TensorData{"F32", {1}, bytes_of({1.0F})});
  const ScratchFile scratch;
  write_safetensors(scratch.path(), file);
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  REQUIRE(header.size() == 54);
  CHECK(read_whole_file(scratch.path()) ==
        std::string("\x38\0\0\0\0\0\0\0", 8) + header + "  " + std::string("\0\0\x80\x3f", 4));
}

TEST_CASE("a file without tensors is sound, with and without metadata") {
  const ScratchFile scratch;
  SafetensorsFile file;
  write_safetensors(scratch.path(), file);
  CHECK(read_safetensors(scratch.path()) == file);
  file.metadata["key"] = "";
  write_safetensors(scratch.path(), file);
  CHECK(read_safetensors(scratch.path()) == file);
  CHECK(header_error("{}", 0) == "no error");
}

TEST_CASE("every dtype has its size") {
  for (const auto& [dtype, size] :
       std::vector<std::pair<std::string, std::size_t>>{{"F64", 8},
                                                        {"I64", 8},
                                                        {"U64", 8},
                                                        {"F32", 4},
                                                        {"I32", 4},
                                                        {"U32", 4},
                                                        {"F16", 2},
                                                        {"BF16", 2},
                                                        {"I16", 2},
                                                        {"U16", 2},
                                                        {"I8", 1},
                                                        {"U8", 1},
                                                        {"BOOL", 1},
                                                        {"C64", 8},
                                                        {"F8_E4M3", 1},
                                                        {"F8_E5M2", 1}}) {
    CHECK(safetensors_dtype_size(dtype) == size);
    CHECK(write_error(one_tensor("t", dtype, {3, 2}, 6 * size)) == "no error");
  }
  CHECK(!safetensors_dtype_size("F31").has_value());
}

TEST_CASE("tensors may lie in another order than the header names them") {
  const ScratchFile scratch;
  write_file_atomically(scratch.path(),
                        file_text(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]},)"
                                  R"("a":{"shape":[3],"data_offsets":[0,3],"dtype":"I8"}}   )",
                                  "aaabb"));
  const SafetensorsFile file = read_safetensors(scratch.path());
  REQUIRE(file.tensors.size() == 2);
  CHECK(file.tensors[0].first == "b");
  CHECK(file.tensors[0].second.bytes == std::vector<std::byte>(2, std::byte{'b'}));
  CHECK(file.tensors[1].second.bytes == std::vector<std::byte>(3, std::byte{'a'}));
}

TEST_CASE("overlaps, holes and a rest are refused by the name of the tensor") {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}";
  };
  CHECK(header_error(two("[0,4]", "[4,8]"), 8) == "no error");
  CHECK(contains(header_error(two("[0,4]", "[2,6]"), 6), "\"b\": begins at data byte 2"));
  CHECK(contains(header_error(two("[0,4]", "[2,6]"), 6), "overlap"));
  CHECK(contains(header_error(two("[0,4]", "[0,4]"), 4), "overlap"));
  CHECK(contains(header_error(two("[0,4]", "[6,10]"), 10), "a hole"));
  CHECK(contains(header_error(two("[5,9]", "[1,5]"), 9), "\"b\": begins at data byte 1"));
  CHECK(contains(header_error(two("[0,4]", "[4,8]"), 9), "the rest belongs to none"));
  CHECK(contains(header_error("{}", 1), "the rest belongs to none"));
}

TEST_CASE("offsets that are out of range or do not fit the shape are refused") {
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  CHECK(contains(header_error(one("F32", "[2]", "[0,8]"), 7), "\"w\": data_offsets [0, 8] end"));
  CHECK(contains(header_error(one("F32", "[2]", "[0,8]"), 7), "truncated?"));
  CHECK(contains(header_error(one("F32", "[2]", "[8,0]"), 8), "run backwards"));
  CHECK(contains(header_error(one("F32", "[2]", "[0,4]"), 4), "F32 [2] needs 8"));
  CHECK(contains(header_error(one("F32", "[2]", "[0]"), 8), "two numbers"));
  CHECK(contains(header_error(one("F32", "[2]", "[0,8,9]"), 8), "more than two numbers"));
  CHECK(contains(header_error(one("F32", "[-2]", "[0,8]"), 8), "not be a negative number"));
  CHECK(contains(header_error(one("F32", "[2.0]", "[0,8]"), 8), "not be a fractional"));
  // What is not known here is no reason to refuse what else is in the file; its place is looked at.
  CHECK(header_error(one("F33", "[2]", "[0,8]"), 8) == "no error");
  CHECK(contains(header_error(one("F33", "[2]", "[0,9]"), 8), "end beyond"));
  CHECK(contains(header_error(one("F33", "[2]", "[8,0]"), 8), "run backwards"));
  CHECK(contains(header_error(one("F32", "[2]", "[0,18446744073709551615]"), 8), "end beyond"));
}

TEST_CASE("a byte of value 0 does not end the header") {
  const std::string header = R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  CHECK(header_error(header, 1) == "no error");
  const std::string rest = header + std::string(1, '\0') + "rubbish";
  CHECK(contains(header_error(rest, 1), "byte of value 0"));
  CHECK(contains(header_error(rest, 1), std::to_string(8 + header.size())));
}

TEST_CASE("sizes whose product overflows are refused, also behind a zero") {
  const auto shaped = [](const std::string& shape) {
    return R"({"w":{"dtype":"F64","shape":)" + shape + R"(,"data_offsets":[0,0]}})";
  };
  const std::string large = "4611686018427387904";  // 2^62
  CHECK(contains(header_error(shaped("[" + large + "," + large + "]"), 0), "overflow"));
  CHECK(contains(header_error(shaped("[4294967296,4294967296]"), 0), "overflow"));
  CHECK(contains(header_error(shaped("[0," + large + "]"), 0), "overflow"));
  CHECK(contains(header_error(shaped("[9223372036854775808]"), 0), "larger than any tensor"));
  CHECK(contains(header_error(shaped("[99999999999999999999]"), 0), "fractional or huge number"));
  std::string axes = "[1";
  for (int i = 0; i < 64; ++i) axes += ",1";
  CHECK(contains(header_error(shaped(axes + "]"), 0), "more than 64 axes"));
}

TEST_CASE("duplicate names are refused wherever they stand") {
  const std::string w = R"("w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  CHECK(contains(header_error("{" + w + "," + w + "}", 0), "\"w\": the name is there twice"));
  const std::string meta = R"("__metadata__":{"a":"1"})";
  CHECK(contains(header_error("{" + meta + "," + meta + "}", 0), "the name is there twice"));
  CHECK(contains(header_error(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "\"a\" is there twice"));
  CHECK(contains(header_error(R"({"w":{"dtype":"U8","dtype":"I8"}})", 0), "dtype is there twice"));
}

TEST_CASE("a header of the wrong structure is refused with what was expected") {
  CHECK(contains(header_error("[]", 0), "does not begin with '{'"));
  CHECK(contains(header_error(" {}", 0), "does not begin with '{'"));
  CHECK(contains(header_error("", 0), "does not begin with '{'"));
  CHECK(contains(header_error(R"({"w":3})", 0), "\"w\": must be an object, not a number"));
  CHECK(contains(header_error(R"({"w":{"dtype":{}}})", 0), "\"w\": the field dtype must not"));
  CHECK(contains(header_error(R"({"w":{"dtype":null}})", 0), "must not be null"));
  CHECK(contains(header_error(R"({"w":{"shape":[[1]]}})", 0), "must not be an array"));
  CHECK(contains(header_error(R"({"w":{"dtype":"U8","shape":[]}})", 0), "data_offsets is miss"));
  CHECK(contains(header_error(R"({"w":{"colour":"red"}})", 0), "unknown field \"colour\""));
  CHECK(contains(header_error(R"({"__metadata__":{"a":1}})", 0), "\"a\" must be text"));
  CHECK(contains(header_error(R"({"__metadata__":"a"})", 0), "not a string"));
  CHECK(contains(header_error("{" + std::string(1'000'000, 'x'), 0), "not sound JSON"));
  CHECK(contains(header_error(R"({"w":)" + std::string(1'000'000, '['), 0), "not an array"));
}

TEST_CASE("unsound JSON is refused with the byte where it stops being JSON") {
  CHECK(contains(header_error("{\"w\" 3}", 0), "byte 13: the header is not sound JSON"));
  CHECK(contains(header_error("{} {}", 0), "not sound JSON"));
  CHECK(contains(header_error("{\"\xff\":{}}", 0), "not sound JSON"));
  CHECK(contains(header_error("{\"w\":{", 0), "not sound JSON"));
}

TEST_CASE("a truncated file is refused at every length") {
  SafetensorsFile file;
  file.tensors.emplace_back("w", TensorData{"F32", {2}, bytes_of({1, 2})});
  const ScratchFile scratch;
  write_safetensors(scratch.path(), file);
  const std::string whole = read_whole_file(scratch.path());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK(read_error(whole.substr(0, size)) != "no error");
  }
  CHECK(contains(read_error(whole.substr(0, 7)), "too few for a safetensors file"));
  CHECK(contains(read_error(whole.substr(0, 20)), "is it truncated?"));
  CHECK(contains(read_error(whole + "x"), "the rest belongs to none"));
}

TEST_CASE("a header that is announced as huge allocates nothing") {
  CHECK(contains(read_error(std::string(8, '\xff') + "{}"), "more than the 100 MB allowed"));
  CHECK(contains(read_error(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)), "100 MB"));
  CHECK(contains(read_error(std::string("\x00\xe1\xf5\x05\0\0\0\0{}", 10)), "truncated"));
}

TEST_CASE("a file that is not there or no file is a FileError with its name") {
  const auto message = [](const fs::path& path) -> std::string {
    try {
      (void)read_safetensors(path);
    } catch (const FileError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(message("/nowhere/w.safetensors") == "/nowhere/w.safetensors: cannot open: no such file");
  CHECK(contains(message(fs::temp_directory_path()), "not a file"));
}

TEST_CASE("what could not be read back is not written") {
  CHECK(contains(write_error(one_tensor("w", "F32", {2}, 7)), "has 7 bytes, but F32 [2] needs 8"));
  CHECK(contains(write_error(one_tensor("w", "F31", {2}, 8)), "\"w\": unknown dtype \"F31\""));
  CHECK(contains(write_error(one_tensor("w", "F32", {-2}, 8)), "\"w\": has 8 bytes"));
  CHECK(contains(write_error(one_tensor("__metadata__", "U8", {1}, 1)), "keeps this name"));
  CHECK(contains(write_error(one_tensor("\xff", "U8", {1}, 1)), "is not UTF-8"));
  SafetensorsFile twice = one_tensor("w", "U8", {1}, 1);
  twice.tensors.push_back(twice.tensors.front());
  CHECK(contains(write_error(twice), "\"w\": the name is there twice"));
}
