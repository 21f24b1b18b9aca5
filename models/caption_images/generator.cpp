#include "unroll/models/caption_images/generator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "unroll/models/data/split_of.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

constexpr Size side = 32;

constexpr std::array<const char*, shape_count> shapes{"ring", "square", "triangle", "cross"};
struct Colour {
  const char* name;
  std::array<double, 3> shade;
};
constexpr std::array<Colour, colour_count> colours{{{"red", {0.9, 0.15, 0.15}},
                                                    {"green", {0.15, 0.8, 0.2}},
                                                    {"blue", {0.2, 0.25, 0.95}},
                                                    {"yellow", {0.9, 0.85, 0.15}},
                                                    {"white", {0.95, 0.95, 0.95}}}};

// Whether a place belongs to a shape of half-width 1 around (0, 0).
bool covers(std::int64_t shape, double down, double right) {
  const double a = std::abs(down), b = std::abs(right);
  switch (shape) {
    case 0:
      return down * down + right * right <= 1;
    case 1:
      return a <= 0.9 && b <= 0.9;
    case 2:
      return a <= 1 && b <= (down + 1) / 2;
    default:
      return (a <= 1 && b <= 0.3) || (b <= 1 && a <= 0.3);
  }
}

void draw(const Thing& thing, const Key& key, std::vector<double>& values) {
  const std::vector<double> u = uniform<double>(key, {6}, -1, 1).to_vector();
  const double middle = double(side - 1) / 2, away = 8;
  const bool beside = thing.place == Place::left || thing.place == Place::right;
  const double along =
      (thing.place == Place::left || thing.place == Place::top ? -away : away) + u[0];
  const double across = 4 * u[1];
  const double row = middle + (beside ? across : along);
  const double column = middle + (beside ? along : across);
  const double radius = 5.5 + 0.5 * u[2];
  for (Size r = 0; r < side; ++r) {
    for (Size c = 0; c < side; ++c) {
      if (!covers(thing.shape, (double(r) - row) / radius, (double(c) - column) / radius)) continue;
      for (std::size_t k = 0; k < 3; ++k) {
        values[std::size_t(3 * (r * side + c)) + k] =
            colours[std::size_t(thing.colour)].shade[k] + 0.04 * u[3 + k];
      }
    }
  }
}

Thing random_thing(const Key& key, Place place) {
  const auto [a, b] = split(key);
  return {randint(a, {}, 0, shape_count)(0), randint(b, {}, 0, colour_count)(0), place};
}

std::string words_of(const Thing& thing) {
  return fmt::format("a {} {}", colours[std::size_t(thing.colour)].name,
                     shapes[std::size_t(thing.shape)]);
}

}  // namespace

std::string Scene::caption() const {
  return fmt::format("{} {} {}", words_of(first), first.place == Place::left ? "left of" : "above",
                     words_of(second));
}

Scene random_scene(const Key& key, Combinations combinations) {
  for (std::uint64_t attempt = 0;; ++attempt) {
    const auto [how, a, b] = split<3>(fold_in(key, attempt));
    const bool beside = randint(how, {}, 0, 2)(0) == 0;
    const Scene scene{random_thing(a, beside ? Place::left : Place::top),
                      random_thing(b, beside ? Place::right : Place::bottom)};
    if (scene.held_out() == (combinations == Combinations::held_out)) return scene;
  }
}

ColourImage draw_scene(const Scene& scene, const Key& key) {
  const auto [ground, noise, a, b] = split<4>(key);
  const double grey = uniform<double>(ground, {}, 0, 0.35).item();
  std::vector<double> values(3 * side * side, grey);
  draw(scene.first, a, values);
  draw(scene.second, b, values);
  const std::vector<double> added = normal<double>(noise, {3 * side * side}, 0, 0.02).to_vector();
  ColourImage image{.rows = side, .columns = side};
  for (std::size_t i = 0; i < values.size(); ++i) {
    image.pixels.push_back(
        static_cast<std::uint8_t>(255 * std::clamp(values[i] + added[i], 0.0, 1.0) + 0.5));
  }
  return image;
}

CaptionedImages generate_scenes(const Key& key, Size count, Combinations combinations) {
  CaptionedImages set;
  for (Size i = 0; i < count; ++i) {
    const auto [what, how] = split(fold_in(key, std::uint64_t(i)));
    const Scene scene = random_scene(what, combinations);
    set.images.push_back(draw_scene(scene, how));
    set.captions.push_back(scene.caption());
  }
  return set;
}

CaptionedImages read_captions(const std::filesystem::path& folder, BadData& bad) {
  const std::filesystem::path path = folder / "captions.tsv";
  std::istringstream in(read_whole_file(path));
  CaptionedImages set;
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    bad.attempt([&] {
      const std::size_t tab = line.find('\t');
      const std::vector<std::string> words =
          split_words(tab == line.npos ? "" : std::string_view(line).substr(tab + 1));
      if (words.empty()) {
        throw DataError(path.string(), number, "a file, a tab and a caption",
                        "\"" + line.substr(0, 40) + "\"");
      }
      BadData strict(OnBadData::stop);
      ColourImage image = read_ppm(folder / line.substr(0, tab), strict);
      if (!set.images.empty() &&
          (image.rows != set.images[0].rows || image.columns != set.images[0].columns)) {
        throw DataError(path.string(), number,
                        fmt::format("an image of {} x {} pixels, as the first", set.images[0].rows,
                                    set.images[0].columns),
                        fmt::format("{} x {}", image.rows, image.columns));
      }
      set.images.push_back(std::move(image));
      set.captions.push_back(join_words(words));
    });
  }
  return set;
}

CaptionSplits split_by_number(const CaptionedImages& all) {
  if (all.size() < 10) throw Error("at least 10 images with captions are needed");
  CaptionSplits sets;
  for (std::size_t i = 0; i < all.images.size(); ++i) {
    const Split split = split_of(Size(i));
    CaptionedImages& set = split == Split::test         ? sets.test
                           : split == Split::validation ? sets.validation
                                                        : sets.training;
    set.images.push_back(all.images[i]);
    set.captions.push_back(all.captions[i]);
  }
  return sets;
}

void write_captions(const std::filesystem::path& folder, const CaptionedImages& set) {
  std::error_code shown_by_the_writing;
  std::filesystem::create_directories(folder, shown_by_the_writing);
  std::string lines;
  for (std::size_t i = 0; i < set.images.size(); ++i) {
    const std::string name = fmt::format("{:05}.ppm", i);
    write_ppm(folder / name, set.images[i]);
    lines += name + "\t" + set.captions[i] + "\n";
  }
  write_file_atomically(folder / "captions.tsv", lines);
}

}  // namespace unroll
