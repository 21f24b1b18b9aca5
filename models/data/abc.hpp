// Tunes in ABC notation (standard 2.1, abcnotation.com), of one voice: notes and bars for checking and
// playing, and the text as it was for a character model.
//
//   BadData bad(OnBadData::skip);
//   const std::vector<AbcTune> tunes = read_abc("nottingham", bad);      // a file, or a folder of *.abc
//   tunes[0].title; tunes[0].bars[3].notes[0].pitches;                   // {67}: G4 as a MIDI key
//   all_bars_exact(check_bars(tunes[0]));                                // abc_bars.hpp
//
// Read are the fields X T M L K P (others are passed over) in the header, on lines of the body and
// inline; bars, repeats and variant endings; notes, rests, chords, accidentals (which last to the end of
// the bar, in all octaves, and over it where a note is tied), octaves, lengths, broken rhythm, tuplets, ties; over slurs, grace notes, decorations, chord
// symbols and comments the reader passes. Voices (V:) and overlays (&) are errors. A tune ends at an
// empty line or at the next X:, and what stands between tunes is ignored.
// Invariant: times are whole numbers of 1/161280 of a whole note, so that sums of lengths are exact.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/autograd/var.hpp"
#include "unroll/models/training/data_error.hpp"

namespace unroll {

/// A whole note: 2^9 · 3^2 · 5 · 7, so that tuplets of 3, 5, 7 and 9 down to 1/512 are whole.
inline constexpr Size abc_whole_note = 161280;

struct AbcNote {
  Size start = 0;                 // from the beginning of the bar
  Size length = 0;                //
  std::vector<int> pitches = {};  // MIDI keys, 60 for C; several in a chord, none in a rest
  bool tied = false;              // to the next one
};

struct AbcBar {
  std::vector<AbcNote> notes = {};
  Size length = 0;
  Size metre = 0;              // what the metre asks for; 0 where there is none
  bool opens_repeat = false;   // begins at |:
  bool closes_repeat = false;  // ends at :|
  bool opens_section = false;  // begins at a repeat, a double bar line, a variant ending, a part P:
  bool closes_section = false;
  int ending = 0;  // at [1 or [2 begins the variant for that time
  std::int64_t line = 0;
};

struct AbcTune {
  std::string number, title, metre, unit, key;  // fields X, T, M, L, K of the header, as written
  std::vector<AbcBar> bars;
  std::string text;  // its lines as they were, without line ends of other systems, '\n' after each
  std::int64_t line = 0;  // of its X: in the file
  Size index = 0;         // its number among all tunes read, those left out for errors counted too
};

/// The tunes of a text, in order. What is wrong in a tune is a DataError with file and line, which `bad`
/// passes on or counts; then that tune is left out.
[[nodiscard]] std::vector<AbcTune> parse_abc(std::string_view text, const std::string& name,
                                             BadData& bad);

/// A file, or all files *.abc of a folder in the order of their names; UTF-8 or latin-1 (the texts of the
/// tunes are UTF-8). Throws FileError where nothing can be read, DataError as parse_abc.
[[nodiscard]] std::vector<AbcTune> read_abc(const std::filesystem::path& path, BadData& bad);

/// The length of a bar of metre "6/8", "C", "C|"; 0 for "none" and "". Throws std::invalid_argument.
[[nodiscard]] Size abc_metre(std::string_view metre);

/// Sharps (positive) or flats of a key: "G" 1, "Am" 0, "Bb" -2, "D dorian" 0; accidentals behind it are left to the reader. Throws std::invalid_argument.
[[nodiscard]] int abc_key(std::string_view key);

}  // namespace unroll
