// Scenes of two coloured shapes side by side or one above the other, and the sentence that says so:
//
//   const CaptionedImages scenes = generate_scenes(Key(1), 4000, Combinations::seen);
//   scenes.captions[0];                                        // "a red ring left of a blue square"
//
// A sentence is told by its image without doubt (colours and shapes are far apart, the shape at the left or
// above is named first), so the best possible exact match is 1. Of the 80 combinations of shape, colour and
// place 16 are held out: no thing of a `seen` scene is one of them, at least one thing of a `held_out` scene
// is. Any two of a shape, a colour and a place do come together.
// Invariant: image i is a function of the key and i.
#pragma once

#include "unroll/autograd/random.hpp"
#include "unroll/models/data/ppm.hpp"

namespace unroll {

struct CaptionedImages {
  std::vector<ColourImage> images = {};
  std::vector<std::string> captions = {};  // words between single spaces

  [[nodiscard]] Size size() const { return Size(images.size()); }
};

enum class Combinations { seen, held_out };

inline constexpr std::int64_t shape_count = 4, colour_count = 5, place_count = 4;
enum class Place { left, right, top, bottom };

struct Thing {
  std::int64_t shape = 0, colour = 0;
  Place place = Place::left;

  [[nodiscard]] bool held_out() const {
    return (shape + colour + 2 * static_cast<std::int64_t>(place)) % 5 == 0;
  }
};

/// The one at the left or top first.
struct Scene {
  Thing first, second;

  [[nodiscard]] std::string caption() const;
  [[nodiscard]] bool held_out() const { return first.held_out() || second.held_out(); }
};

[[nodiscard]] Scene random_scene(const Key& key, Combinations combinations);
/// 32 x 32 pixels; the key decides where exactly the things are, their sizes and shades, and noise.
[[nodiscard]] ColourImage draw_scene(const Scene& scene, const Key& key);
[[nodiscard]] CaptionedImages generate_scenes(const Key& key, Size count,
                                              Combinations combinations);

/// FOLDER/captions.tsv, with the name of a PPM file in the folder, a tab and its caption in each line. What is
/// wrong with a line or its image is a DataError, or counted and skipped. Throws FileError.
[[nodiscard]] CaptionedImages read_captions(const std::filesystem::path& folder, BadData& bad);
struct CaptionSplits {
  CaptionedImages training, validation, test;
};
/// Image i is for the test if i mod 10 = 9, for validation if 8. Throws Error for fewer than 10 images.
[[nodiscard]] CaptionSplits split_by_number(const CaptionedImages& all);

/// Such a folder, which is made where there is none. Throws FileError.
void write_captions(const std::filesystem::path& folder, const CaptionedImages& set);

}  // namespace unroll
