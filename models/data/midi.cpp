#include "unroll/models/data/midi.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>
#include <tuple>

#include "unroll/autograd/error.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {

namespace {

constexpr std::int64_t largest_delta = 0x0fffffff;  // what four bytes of seven bits hold

void require(bool condition, const std::string& problem) {
  if (!condition) fail("midi_bytes", problem);
}

std::string big_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(char(value >> (8 * i) & 0xff));
  return out;
}

// Seven bits a byte, the highest first; all but the last with their highest bit set.
std::string variable_length(std::int64_t value) {
  std::string out(1, char(value & 0x7f));
  while ((value >>= 7) > 0) out.insert(out.begin(), char(0x80 | (value & 0x7f)));
  return out;
}

std::string chunk(std::string_view type, const std::string& content) {
  return std::string(type) + big_endian(content.size(), 4) + content;
}

std::string meta(int type, const std::string& content) {
  return std::string{'\0', '\xff', char(type)} + variable_length(std::int64_t(content.size())) +
         content;
}

std::string end_of_track() { return meta(0x2f, ""); }

std::string tempo_and_metre(const MidiFile& file) {
  const auto microseconds = std::int64_t(std::llround(60e6 / file.tempo));
  require(microseconds >= 1 && microseconds <= 0xffffff,
          "a tempo of " + std::to_string(file.tempo) +
              " quarter notes a minute; it must be at least 3.6 and at most 60 million");
  const auto unit = static_cast<unsigned>(file.beat_unit);
  require(file.beats >= 1 && file.beats <= 255 && file.beat_unit >= 1 && file.beat_unit <= 64 &&
              std::has_single_bit(unit),
          "no metre: " + std::to_string(file.beats) + "/" + std::to_string(file.beat_unit));
  return meta(0x51, big_endian(std::uint64_t(microseconds), 3)) +
         meta(0x58, {char(file.beats), char(std::countr_zero(unit)), 24, 8});
}

void check(const MidiTrack& track) {
  require(track.channel >= 0 && track.channel <= 15, "channels are 0 to 15");
  require(track.program >= 0 && track.program <= 127, "programs are 0 to 127");
  for (const MidiNote& note : track.notes) {
    require(note.key >= 0 && note.key <= 127, "keys are 0 to 127, not " + std::to_string(note.key));
    require(note.velocity >= 1 && note.velocity <= 127, "velocities are 1 to 127");
    require(note.start >= 0 && note.length >= 1 && note.start <= largest_delta &&
                note.length <= largest_delta,
            "a note starts at 0 or later and lasts a tick or more");
  }
}

std::string notes_of(const MidiTrack& track) {
  check(track);
  // Time, off (0) before on (1), key, velocity.
  std::vector<std::tuple<std::int64_t, int, int, int>> events;
  for (const MidiNote& note : track.notes) {
    events.emplace_back(note.start, 1, note.key, note.velocity);
    events.emplace_back(note.start + note.length, 0, note.key, 0);
  }
  std::sort(events.begin(), events.end());
  std::string out =
      meta(0x03, track.name) + '\0' + char(0xc0 | track.channel) + char(track.program);
  std::int64_t now = 0;
  for (const auto& [time, on, key, velocity] : events) {
    out += variable_length(time - now);
    out += {char((on == 1 ? 0x90 : 0x80) | track.channel), char(key), char(velocity)};
    now = time;
  }
  return out;
}

}  // namespace

std::string midi_bytes(const MidiFile& file) {
  require(file.ticks_per_quarter >= 1 && file.ticks_per_quarter <= 32767,
          "a quarter note has 1 to 32767 ticks, not " + std::to_string(file.ticks_per_quarter));
  require(!file.tracks.empty() && file.tracks.size() < 65535, "at least one track is needed");
  const bool single = file.tracks.size() == 1;
  const std::size_t tracks = single ? 1 : file.tracks.size() + 1;
  std::string out = chunk("MThd", big_endian(single ? 0 : 1, 2) + big_endian(tracks, 2) +
                                      big_endian(std::uint64_t(file.ticks_per_quarter), 2));
  const std::string conductor = tempo_and_metre(file);
  if (!single) out += chunk("MTrk", conductor + end_of_track());
  for (const MidiTrack& track : file.tracks) {
    out += chunk("MTrk", (single ? conductor : "") + notes_of(track) + end_of_track());
  }
  return out;
}

void write_midi(const std::filesystem::path& path, const MidiFile& file) {
  write_file_atomically(path, midi_bytes(file));
}

}  // namespace unroll
