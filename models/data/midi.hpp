// Standard MIDI files (version 1.0 of the specification), written.
//
//   MidiFile song{.ticks_per_quarter = 480, .tempo = 120};
//   song.tracks.push_back({.name = "flute", .program = 73, .notes = {{.key = 60, .start = 0, .length = 480}}});
//   write_midi("song.mid", song);
//
// One track makes a file of format 0, several one of format 1 with a first track for tempo and metre.
// Invariant: the bytes are a function of the MidiFile alone; at one time notes end before others begin,
// so that a note can follow another of its key at once.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace unroll {

struct MidiNote {
  int key = 60;                        // 0 to 127, 60 for middle C
  std::int64_t start = 0, length = 0;  // in ticks
  int velocity = 90;                   // 1 to 127
};

struct MidiTrack {
  std::string name = {};
  int channel = 0;  // 0 to 15
  int program = 0;  // the instrument, 0 to 127
  std::vector<MidiNote> notes = {};
};

struct MidiFile {
  int ticks_per_quarter = 480;   // 1 to 32767
  double tempo = 120;            // quarter notes a minute
  int beats = 4, beat_unit = 4;  // the metre; the unit a power of two
  std::vector<MidiTrack> tracks = {};
};

/// Throws std::invalid_argument for numbers outside the ranges above.
[[nodiscard]] std::string midi_bytes(const MidiFile& file);

/// Atomically. Throws as midi_bytes, and FileError.
void write_midi(const std::filesystem::path& path, const MidiFile& file);

}  // namespace unroll
