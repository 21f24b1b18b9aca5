#include "unroll/models/data/ppm.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

constexpr Size largest_side = 16384;

class PpmReader {
 public:
  PpmReader(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  [[noreturn]] void reject(std::string_view expected, std::string_view found = {}) const {
    throw DataError(name_, FilePosition{.offset = std::int64_t(at_)}, expected, found);
  }
  // "P3" or "P6".
  char form() {
    const std::string_view magic = bytes_.substr(0, 2);
    if (magic != "P3" && magic != "P6") {
      reject("a PPM image, which begins with P3 or P6",
             bytes_.empty() ? "an empty file" : std::string_view());
    }
    at_ = 2;
    return magic[1];
  }
  // The next number behind spaces and comments.
  Size number(std::string_view what, Size low, Size high) {
    skip_space();
    const std::size_t first = at_;
    Size value = 0;
    while (at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9' && value <= high) {
      value = 10 * value + (bytes_[at_++] - '0');
    }
    if (at_ == first || value < low || value > high) {
      at_ = first;
      reject(fmt::format("{} from {} to {}", what, low, high),
             first >= bytes_.size() ? "the end of the file" : std::string_view());
    }
    return value;
  }
  // The single space between the header and the bytes of P6.
  void one_space() {
    if (at_ >= bytes_.size() || !is_space(bytes_[at_])) reject("a space behind the largest value");
    ++at_;
  }
  [[nodiscard]] std::string_view rest() const { return bytes_.substr(at_); }

 private:
  static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
  void skip_space() {
    while (at_ < bytes_.size() && (is_space(bytes_[at_]) || bytes_[at_] == '#')) {
      if (bytes_[at_] == '#') {
        at_ = std::min(bytes_.find('\n', at_), bytes_.size() - 1);
      }
      ++at_;
    }
  }

  std::string_view bytes_;
  const std::string& name_;
  std::size_t at_ = 0;
};

}  // namespace

ColourImage parse_ppm(std::string_view bytes, const std::string& name, BadData& bad) {
  PpmReader reader(bytes, name);
  const char form = reader.form();
  ColourImage image;
  image.columns = reader.number("a width", 1, largest_side);
  image.rows = reader.number("a height", 1, largest_side);
  const Size largest = reader.number("a largest value", 1, 255);
  const auto count = std::size_t(3 * image.rows * image.columns);
  // Each value takes a byte of the file at least: what a header claims takes no memory.
  const auto check_size = [&](std::size_t there) {
    if (there < count) {
      reader.reject(fmt::format("{} values for {} x {} pixels", count, image.rows, image.columns),
                    fmt::format("at most {}", there));
    }
  };
  if (form == '6') reader.one_space();
  const std::string_view data = reader.rest();
  if (2 * data.size() < count) check_size(data.size());
  const auto add = [&](Size value) {
    image.pixels.push_back(static_cast<std::uint8_t>((value * 255 + largest / 2) / largest));
  };
  bad.attempt([&] {
    if (form == '3') {
      while (image.pixels.size() < count) add(reader.number("a value", 0, largest));
      return;
    }
    check_size(data.size());
    for (std::size_t i = 0; i < count; ++i) {
      const Size value = static_cast<unsigned char>(data[i]);
      if (value > largest) reader.reject(fmt::format("values up to {}", largest));
      add(value);
    }
  });
  image.pixels.resize(count);
  return image;
}

ColourImage read_ppm(const std::filesystem::path& path, BadData& bad) {
  return parse_ppm(read_whole_file(path), path.string(), bad);
}

void write_ppm(const std::filesystem::path& path, const ColourImage& image) {
  write_file_atomically(path, fmt::format("P6\n{} {}\n255\n", image.columns, image.rows) +
                                  std::string(image.pixels.begin(), image.pixels.end()));
}

Var<float> colour_values(const std::vector<ColourImage>& images) {
  if (images.empty()) fail("colour_values", "there are no images");
  const auto& [rows, columns, first] = images.front();
  std::vector<float> values;
  values.reserve(images.size() * first.size());
  for (const ColourImage& image : images) {
    if (image.rows != rows || image.columns != columns) {
      fail("colour_values", fmt::format("an image of {} x {} pixels among those of {} x {}",
                                        image.rows, image.columns, rows, columns));
    }
    for (const std::uint8_t value : image.pixels) values.push_back(float(value) / 255);
  }
  return Var<float>({Size(images.size()), rows, columns, 3}, std::span<const float>(values));
}

}  // namespace unroll
