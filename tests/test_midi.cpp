#include <doctest/doctest.h>

#include <map>
#include <optional>

#include "temporary_folder.hpp"
#include "unroll/models/compose_music/score.hpp"
#include "unroll/nn/atomic_file.hpp"

using namespace unroll;

namespace {

// A reader of its own: chunks, times of variable length, running through the events of each track.
struct ReadNote {
  int key;
  std::int64_t start, end;
  int velocity, channel;
  bool operator==(const ReadNote&) const = default;
};
struct ReadTrack {
  std::vector<ReadNote> notes;
  std::string name;
  std::optional<int> tempo, program;
  std::string metre;
  bool ended = false;
};
struct ReadFile {
  int format = -1, division = -1;
  std::vector<ReadTrack> tracks;
};

class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}

  ReadFile file() {
    ReadFile out;
    REQUIRE(text(4) == "MThd");
    REQUIRE(number(4) == 6);
    out.format = number(2);
    const int tracks = number(2);
    out.division = number(2);
    for (int i = 0; i < tracks; ++i) out.tracks.push_back(track());
    REQUIRE(at_ == bytes_.size());
    return out;
  }

 private:
  int byte() {
    REQUIRE(at_ < bytes_.size());
    return static_cast<unsigned char>(bytes_[at_++]);
  }
  int number(int count) {
    int value = 0;
    while (count-- > 0) value = value * 256 + byte();
    return value;
  }
  std::string text(int count) {
    std::string out;
    while (count-- > 0) out += char(byte());
    return out;
  }
  std::int64_t variable() {
    std::int64_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const int b = byte();
      value = value * 128 + b % 128;
      if (b < 128) return value;
    }
    FAIL("a time of more than four bytes");
    return 0;
  }
  ReadTrack track() {
    ReadTrack out;
    REQUIRE(text(4) == "MTrk");
    const int length = number(4);
    const std::size_t end = at_ + std::size_t(length);
    std::int64_t now = 0;
    std::map<int, std::pair<std::int64_t, int>> sounding;
    while (at_ < end) {
      REQUIRE_FALSE(out.ended);
      now += variable();
      const int status = byte();
      if (status == 0xff) {
        const int type = byte();
        const std::string content = text(int(variable()));
        if (type == 0x03) out.name = content;
        if (type == 0x2f) out.ended = true;
        if (type == 0x51) out.tempo = Reader(content).number(3);
        if (type == 0x58) {
          out.metre = std::to_string(int(content[0])) + "/" + std::to_string(1 << content[1]);
        }
      } else if (status / 16 == 0xc) {
        out.program = byte();
      } else {
        const int key = byte(), velocity = byte();
        if (status / 16 == 0x9 && velocity > 0) {
          REQUIRE(sounding.count(key) == 0);
          sounding[key] = {now, velocity};
        } else {
          REQUIRE((status / 16 == 0x8 || status / 16 == 0x9));
          REQUIRE(sounding.count(key) == 1);
          out.notes.push_back({key, sounding[key].first, now, sounding[key].second, status % 16});
          sounding.erase(key);
        }
      }
    }
    CHECK(at_ == end);
    CHECK(sounding.empty());
    CHECK(out.ended);
    return out;
  }

  std::string bytes_;
  std::size_t at_ = 0;
};

ReadFile read(const MidiFile& file) { return Reader(midi_bytes(file)).file(); }

AbcTune tune(const std::string& music) {
  BadData bad(OnBadData::stop);
  return parse_abc("X:1\nT:Name\nM:3/4\nL:1/4\nK:G\n" + music + "\n", "t", bad).at(0);
}

}  // namespace

TEST_CASE("one track is a file of format 0, byte for byte as the specification has it") {
  MidiFile file{.ticks_per_quarter = 96, .tempo = 120};
  file.tracks.push_back({.notes = {{.key = 60, .start = 0, .length = 200, .velocity = 64}}});
  using namespace std::string_literals;
  CHECK(midi_bytes(file) ==
        "MThd\0\0\0\6\0\0\0\1\0\x60"s
        "MTrk\0\0\0\x23"s
        "\0\xff\x51\3\x07\xa1\x20"s          // 500000 microseconds
        "\0\xff\x58\4\4\2\x18\x08"s          // 4/4
        "\0\xff\x03\0"s                      // no name
        "\0\xc0\0"s                          // program 0
        "\0\x90\x3c\x40\x81\x48\x80\x3c\0"s  // 200 ticks: 0x81 0x48
        "\0\xff\x2f\0"s);
}

TEST_CASE("what is written is read again: tempo, metre, names, programs, channels, notes") {
  MidiFile file{.ticks_per_quarter = 480, .tempo = 90, .beats = 6, .beat_unit = 8};
  file.tracks.push_back({.name = "first",
                         .channel = 3,
                         .program = 73,
                         .notes = {{.key = 70, .start = 100, .length = 127, .velocity = 1},
                                   {.key = 0, .start = 0, .length = 128, .velocity = 127},
                                   {.key = 127, .start = 16384, .length = 2097152}}});
  file.tracks.push_back({.name = "second", .channel = 15});
  const ReadFile back = read(file);
  CHECK(back.format == 1);
  CHECK(back.division == 480);
  REQUIRE(back.tracks.size() == 3);
  CHECK(back.tracks[0].tempo == 666667);
  CHECK(back.tracks[0].metre == "6/8");
  CHECK(back.tracks[1].name == "first");
  CHECK(back.tracks[1].program == 73);
  CHECK(back.tracks[1].notes == std::vector<ReadNote>{{0, 0, 128, 127, 3},
                                                      {70, 100, 227, 1, 3},
                                                      {127, 16384, 2113536, 90, 3}});
  CHECK(back.tracks[2].notes.empty());
}

TEST_CASE("a note may follow one of its key at once") {
  MidiFile file;
  file.tracks.push_back(
      {.notes = {{.key = 60, .start = 10, .length = 10}, {.key = 60, .start = 0, .length = 10}}});
  CHECK(read(file).tracks[0].notes.size() == 2);
}

TEST_CASE("MIDI refuses what has no bytes") {
  const MidiNote right{.key = 60, .start = 0, .length = 1};
  const auto with = [&](const MidiNote& note) {
    MidiFile file;
    file.tracks.push_back({.notes = {right, note}});
    return file;
  };
  CHECK_NOTHROW((void)midi_bytes(with(right)));
  CHECK_THROWS_WITH_AS((void)midi_bytes(with({.key = 128, .length = 1})),
                       "[midi_bytes] keys are 0 to 127, not 128", std::invalid_argument);
  CHECK_THROWS_AS((void)midi_bytes(with({.length = 0})), std::invalid_argument);
  CHECK_THROWS_AS((void)midi_bytes(with({.start = -1, .length = 1})), std::invalid_argument);
  CHECK_THROWS_AS((void)midi_bytes(with({.length = 1, .velocity = 0})), std::invalid_argument);
  MidiFile file = with(right);
  CHECK_THROWS_AS((void)midi_bytes({}), std::invalid_argument);
  for (const double tempo : {0.0, -1.0, 3.0}) {
    file.tempo = tempo;
    CHECK_THROWS_AS((void)midi_bytes(file), std::invalid_argument);
  }
  file.tempo = 100;
  file.beat_unit = 3;
  CHECK_THROWS_AS((void)midi_bytes(file), std::invalid_argument);
}

TEST_CASE("a tune sounds with its repeats, and tied notes are one") {
  const Size quarter = abc_whole_note / 4;
  CHECK(sounding_notes(tune("GF-|F [GB]:|"), Repeats::once) ==
        std::vector<SoundingNote>{{67, 0, quarter},
                                  {66, quarter, 2 * quarter},
                                  {67, 3 * quarter, quarter},
                                  {71, 3 * quarter, quarter}});
  const auto notes = sounding_notes(tune("G z:|A-|B"));
  CHECK(notes == std::vector<SoundingNote>{{67, 0, quarter},
                                           {67, 2 * quarter, quarter},
                                           {69, 4 * quarter, quarter},
                                           {71, 5 * quarter, quarter}});
}

TEST_CASE("a tune becomes a MIDI file with its title, metre and times") {
  const testing::TemporaryFolder folder;
  write_midi(folder / "tune.mid", midi_of(tune("G2 (3F/G/A/|B3"), 100));
  const ReadFile back = Reader(read_whole_file(folder / "tune.mid")).file();
  CHECK(back.format == 0);
  const ReadTrack& track = back.tracks.at(0);
  CHECK(track.name == "Name");
  CHECK(track.metre == "3/4");
  CHECK(track.tempo == 600000);
  const std::int64_t q = back.division;
  REQUIRE(track.notes.size() == 5);
  CHECK(track.notes[0] == ReadNote{67, 0, 2 * q, 90, 0});
  CHECK(track.notes[1] == ReadNote{66, 2 * q, 2 * q + q / 3, 90, 0});
  CHECK(track.notes[4] == ReadNote{71, 3 * q, 6 * q, 90, 0});
  CHECK(piano_roll(tune("z3|")).problem == "The tune has no notes to draw.");
}
