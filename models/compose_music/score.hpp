// A tune to listen to and to look at.
//
//   write_midi("tune.mid", midi_of(tune));
//   report.picture(piano_roll(tune), "The first bars.");
#pragma once

#include <span>

#include "unroll/models/data/abc.hpp"
#include "unroll/models/data/midi.hpp"
#include "unroll/models/training/report.hpp"

namespace unroll {

/// A note of a tune as it sounds, in parts of a whole note (abc_whole_note); ties make one note.
struct SoundingNote {
  int pitch;
  Size start, length;
  bool operator==(const SoundingNote&) const = default;
};
enum class Repeats { once, as_written };
[[nodiscard]] std::vector<SoundingNote> sounding_notes(const AbcTune& tune,
                                                       Repeats repeats = Repeats::as_written);

/// One track, with repeats played. Quarter notes a minute; an empty metre is written as 4/4.
[[nodiscard]] MidiFile midi_of(const AbcTune& tune, double tempo = 160);

/// Pitch upwards, time to the right in sixteenths: the first `sixteenths` of the tune, each bar once.
[[nodiscard]] Picture piano_roll(const AbcTune& tune, Size sixteenths = 128);

/// A section with these tunes in ABC, each with its piano roll where it can be read.
void add_tunes(Report& report, std::span<const std::string> tunes);

}  // namespace unroll
