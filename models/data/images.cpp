#include "unroll/models/data/images.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

namespace unroll {

namespace fs = std::filesystem;

namespace {

void check_array(const IdxArray& array, std::size_t axes, const std::string& what,
                 const std::string& name) {
  if (array.type == IdxType::uint8 && array.shape.size() == axes) return;
  throw DataError(name, FilePosition{.offset = 2},
                  fmt::format("{}, an array of unsigned bytes with {} {}", what, axes,
                              axes == 1 ? "axis" : "axes"),
                  fmt::format("{} of shape {}", name_of(array.type), shape_string(array.shape)));
}

// The path as it is or packed; empty where there is neither.
fs::path find_file(const fs::path& path) {
  for (const char* ending : {"", ".gz"}) {
    if (fs::exists(path.string() + ending)) return path.string() + ending;
  }
  return {};
}

fs::path images_path(const fs::path& folder, const std::string& name) {
  return folder / (name + "-images-idx3-ubyte");
}
fs::path labels_path(const fs::path& folder, const std::string& name) {
  return folder / (name + "-labels-idx1-ubyte");
}

ImageSet read_pair(const fs::path& folder, const std::string& name, BadData& bad) {
  const fs::path images = find_file(images_path(folder, name));
  const fs::path labels = find_file(labels_path(folder, name));
  for (const auto& [found, wanted] : {std::pair{images, images_path(folder, name)},
                                      std::pair{labels, labels_path(folder, name)}}) {
    if (found.empty()) throw FileError(wanted.string(), "no such file, nor with .gz");
  }
  return image_set(read_idx(images, bad), read_idx(labels, bad), images.string(), bad);
}

}  // namespace

ImageBatch ImageSet::batch(std::span<const Size> chosen) const {
  const Size each = rows * columns;
  std::vector<float> values;
  std::vector<std::int64_t> classes;
  values.reserve(chosen.size() * std::size_t(each));
  for (const Size i : chosen) {
    for (Size k = i * each; k < (i + 1) * each; ++k) {
      values.push_back(float(pixels[std::size_t(k)]) / 255);
    }
    classes.push_back(labels[std::size_t(i)]);
  }
  return {Var<float>({Size(chosen.size()), rows, columns}, std::span<const float>(values)),
          Indices(classes)};
}

ImageBatch ImageSet::all() const {
  std::vector<Size> chosen(labels.size());
  std::iota(chosen.begin(), chosen.end(), Size{0});
  return batch(chosen);
}

ImageSet ImageSet::part(Size first, Size count) const {
  if (first < 0 || count < 0 || first + count > size()) {
    fail("ImageSet::part", fmt::format("{} images from number {} on, of {}", count, first, size()));
  }
  const Size each = rows * columns;
  return {rows,
          columns,
          {pixels.begin() + first * each, pixels.begin() + (first + count) * each},
          {labels.begin() + first, labels.begin() + first + count}};
}

Size ImageSet::classes() const {
  return labels.empty() ? 0 : *std::max_element(labels.begin(), labels.end()) + 1;
}

ImageSet image_set(const IdxArray& images, const IdxArray& labels, const std::string& name,
                   BadData& bad) {
  check_array(images, 3, "images", name);
  check_array(labels, 1, "labels", name);
  bad.attempt([&] {
    if (images.shape[0] == labels.shape[0]) return;
    throw DataError(name, FilePosition{.offset = 4},
                    fmt::format("an image for each of {} labels", labels.shape[0]),
                    fmt::format("{} images", images.shape[0]));
  });
  const Size count = std::min(images.shape[0], labels.shape[0]);
  ImageSet set{.rows = images.shape[1], .columns = images.shape[2]};
  set.pixels.assign(images.bytes.begin(), images.bytes.begin() + count * set.rows * set.columns);
  for (Size i = 0; i < count; ++i) set.labels.push_back(std::int64_t(labels[std::size_t(i)]));
  return set;
}

ImageSplits read_image_folder(const fs::path& folder, BadData& bad) {
  if (!fs::is_directory(folder)) throw FileError(folder.string(), "no such folder");
  const bool has_training = !find_file(images_path(folder, "train")).empty();
  ImageSet all = read_pair(folder, has_training ? "train" : "t10k", bad);
  const Size kept = has_training ? all.size() : all.size() - all.size() / 5;
  ImageSet test = has_training ? read_pair(folder, "t10k", bad) : all.part(kept, all.size() - kept);
  const Size training = kept - kept / 10;
  ImageSplits splits{all.part(0, training), all.part(training, kept - training), std::move(test)};
  for (const ImageSet* set : {&splits.training, &splits.validation, &splits.test}) {
    if (set->size() > 0 && set->rows == all.rows && set->columns == all.columns) continue;
    throw DataError(folder.string(), FilePosition{},
                    fmt::format("at least 13 images, all of {} x {} pixels", all.rows, all.columns),
                    fmt::format("a part of {}, of {} x {}", set->size(), set->rows, set->columns));
  }
  return splits;
}

void write_images(const fs::path& folder, const std::string& name, const ImageSet& set) {
  std::error_code shown_by_the_writing;
  fs::create_directories(folder, shown_by_the_writing);
  write_idx(images_path(folder, name), {.type = IdxType::uint8,
                                        .shape = {set.size(), set.rows, set.columns},
                                        .bytes = {set.pixels.begin(), set.pixels.end()}});
  write_idx(labels_path(folder, name), {.type = IdxType::uint8,
                                        .shape = {set.size()},
                                        .bytes = {set.labels.begin(), set.labels.end()}});
}

Var<float> parse_pixels(std::string_view line, Size rows, Size columns, const std::string& name,
                        std::int64_t line_number) {
  const std::string expected = fmt::format("{} numbers from 0 to 255", rows * columns);
  constexpr std::string_view between = " \t\r,";
  std::vector<float> values;
  for (std::size_t at = 0; (at = line.find_first_not_of(between, at)) != line.npos;) {
    const std::size_t end = std::min(line.find_first_of(between, at), line.size());
    const std::string_view word = line.substr(at, end - at);
    float value = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || stop != word.data() + word.size() ||
        !(value >= 0 && value <= 255)) {
      throw DataError(name, line_number, expected, "\"" + std::string(word.substr(0, 20)) + "\"");
    }
    values.push_back(value / 255);
    at = end;
  }
  if (Size(values.size()) != rows * columns) {
    throw DataError(name, line_number, expected, fmt::format("{}", values.size()));
  }
  return Var<float>({1, rows, columns}, std::span<const float>(values));
}

std::string image_text(const Var<float>& image) {
  constexpr std::string_view shades = " .:-=+*#%@";
  const std::vector<float> values = image.to_vector();
  const auto columns = std::size_t(image.size(-1));
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double share = std::clamp(double(values[i]), 0.0, 1.0);
    text += shades[std::size_t(share * double(shades.size() - 1) + 0.5)];
    if ((i + 1) % columns == 0) text += '\n';
  }
  return text;
}

}  // namespace unroll
