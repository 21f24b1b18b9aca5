#include "unroll/models/compose_music/score.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "unroll/models/data/abc_bars.hpp"

namespace unroll {

namespace {

std::string pitch_name(int pitch) {
  constexpr std::string_view names[] = {"C",  "C#", "D",  "D#", "E",  "F",
                                        "F#", "G",  "G#", "A",  "A#", "B"};
  return std::string(names[pitch % 12]) + std::to_string(pitch / 12 - 1);
}

}  // namespace

std::vector<SoundingNote> sounding_notes(const AbcTune& tune, Repeats repeats) {
  std::vector<std::size_t> order(tune.bars.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  if (repeats == Repeats::as_written) order = played_bars(tune);
  std::vector<SoundingNote> notes;
  std::map<int, std::size_t> tied;  // pitches that sound on, and where they stand
  Size bar_start = 0;
  for (const std::size_t i : order) {
    const AbcBar& bar = tune.bars[i];
    for (const AbcNote& note : bar.notes) {
      std::map<int, std::size_t> next;
      for (const int pitch : note.pitches) {
        const auto before = tied.find(pitch);
        const std::size_t place = before != tied.end() ? before->second : notes.size();
        if (before != tied.end()) {
          notes[place].length += note.length;
        } else {
          notes.push_back({pitch, bar_start + note.start, note.length});
        }
        if (note.tied) next[pitch] = place;
      }
      tied = std::move(next);
    }
    bar_start += bar.length;
  }
  return notes;
}

MidiFile midi_of(const AbcTune& tune, double tempo) {
  constexpr int ticks_per_quarter = 10080;  // every length of a tune that is not shorter than 1/512
  constexpr Size ticks = abc_whole_note / (4 * ticks_per_quarter);
  MidiFile file{.ticks_per_quarter = ticks_per_quarter, .tempo = tempo};
  if (const auto slash = tune.metre.find('/'); slash != std::string::npos) {
    file.beats = std::stoi(tune.metre.substr(0, slash));
    file.beat_unit = std::stoi(tune.metre.substr(slash + 1));
  }
  MidiTrack track{.name = tune.title, .program = 73};  // a flute
  for (const SoundingNote& note : sounding_notes(tune)) {
    track.notes.push_back({.key = note.pitch,
                           .start = note.start / ticks,
                           .length = std::max<Size>(1, note.length / ticks)});
  }
  file.tracks.push_back(std::move(track));
  return file;
}

Picture piano_roll(const AbcTune& tune, Size sixteenths) {
  constexpr Size sixteenth = abc_whole_note / 16;
  std::vector<SoundingNote> notes = sounding_notes(tune, Repeats::once);
  std::erase_if(notes, [&](const auto& n) { return n.start >= sixteenths * sixteenth; });
  if (notes.empty()) return {.svg = {}, .problem = "The tune has no notes to draw."};
  const auto by_pitch = [](const auto& a, const auto& b) { return a.pitch < b.pitch; };
  const auto [low, high] = std::minmax_element(notes.begin(), notes.end(), by_pitch);
  const auto columns = std::size_t(sixteenths), rows = std::size_t(high->pitch - low->pitch + 1);
  std::vector<double> cells(rows * columns, 0);
  std::vector<std::string> labels;
  for (int pitch = high->pitch; pitch >= low->pitch; --pitch) labels.push_back(pitch_name(pitch));
  for (const SoundingNote& note : notes) {
    const Size end = std::min(sixteenths, (note.start + note.length + sixteenth - 1) / sixteenth);
    for (Size t = note.start / sixteenth; t < end; ++t) {
      // A note is darkest where it begins, so that repeated ones can be told apart.
      cells[std::size_t(high->pitch - note.pitch) * columns + std::size_t(t)] =
          t == note.start / sixteenth ? 1 : 0.6;
    }
  }
  return heat_map_svg(cells, rows, columns,
                      {.x_title = "sixteenths",
                       .y_labels = std::move(labels),
                       .width = 900,
                       .height = std::clamp(int(rows) * 16 + 90, 200, 560)});
}

void add_tunes(Report& report, std::span<const std::string> tunes) {
  report.section("Tunes that it wrote");
  for (std::size_t i = 0; i < tunes.size(); ++i) {
    report.sample("Tune " + std::to_string(i + 1), tunes[i]);
    BadData bad(OnBadData::skip);
    for (const AbcTune& tune : parse_abc(tunes[i], "tune", bad)) {
      report.picture(piano_roll(tune), "Its first bars: pitch upwards, time to the right.");
    }
  }
}

}  // namespace unroll
