// What the composer learns from: real tunes or generated ones, split, and what can be reached on them.
//
//   const MusicData data = path.empty() ? generated_music({.training = 20000}) : read_music(path, bad);
//   data.training, data.validation, data.test;            // texts; test tunes decide nothing
//   data.baseline;                                        // {"the source itself", 1.93}
//
// Tune number i (from 0, in the order of files and lines, unreadable ones counted) is a test tune if i mod
// 10 = 9, a validation tune if i mod 10 = 8, else a training tune.
#pragma once

#include "unroll/models/compose_music/tunes.hpp"
#include "unroll/models/data/abc.hpp"

namespace unroll {

struct MusicData {
  std::vector<std::string> training, validation, test;
  Vocabulary vocabulary;  // of the training texts
  // Bits per character of the test tunes: for the generator those of the source itself, which no model is
  // below on the average, for real tunes those of the best n-grams up to n = 6.
  std::pair<std::string, double> baseline;
};

struct GeneratedMusicSizes {
  Size training = 20000, validation = 500, test = 2000;
};
[[nodiscard]] MusicData generated_music(const GeneratedMusicSizes& sizes);

/// Throws as read_abc, and FormatError where a part of the split would be empty.
[[nodiscard]] MusicData read_music(const std::filesystem::path& path, BadData& bad);

}  // namespace unroll
