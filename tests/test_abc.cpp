#include <doctest/doctest.h>

#include <fstream>

#include "temporary_folder.hpp"
#include "unroll/models/data/abc_bars.hpp"

using namespace unroll;

namespace {

AbcTune tune(const std::string& music, const std::string& header = "M:4/4\nL:1/4\nK:C\n") {
  BadData bad(OnBadData::stop);
  auto tunes = parse_abc("X:1\n" + header + music + "\n", "t.abc", bad);
  REQUIRE(tunes.size() == 1);
  return tunes.front();
}

// All notes as "pitch/sixty-fourths", bars apart: "60:16 r:8 | 64+67:16".
std::string shown(const AbcTune& t) {
  std::string out;
  for (const AbcBar& bar : t.bars) {
    if (!out.empty()) out += "| ";
    Size at = 0;
    for (const AbcNote& note : bar.notes) {
      CHECK(note.start == at);
      at += note.length;
      std::string pitches;
      for (const int p : note.pitches) pitches += (pitches.empty() ? "" : "+") + std::to_string(p);
      out += (pitches.empty() ? "r" : pitches) + ":" +
             std::to_string(64 * note.length / abc_whole_note) + " ";
    }
    CHECK(bar.length == at);
  }
  return out;
}
std::string shown(const std::string& music, const std::string& header = "L:1/4\nK:C\n") {
  return shown(tune(music, header));
}

std::string error_of(const std::string& text) {
  BadData bad(OnBadData::stop);
  try {
    (void)parse_abc(text, "t.abc", bad);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}
std::string error_in(const std::string& music) { return error_of("X:1\nK:C\n" + music + "\n"); }

std::string fits(const std::string& music, const std::string& header = "M:4/4\nL:1/4\nK:C\n") {
  std::string out;
  for (const BarFit fit : check_bars(tune(music, header))) {
    out += "eps!"[std::size_t(fit)];  // exact, part, too short, too long
  }
  return out;
}

std::string order(const std::string& music) {
  std::string out;
  for (const std::size_t i : played_bars(tune(music))) out += char('1' + i);
  return out;
}

}  // namespace

TEST_CASE("an ABC file is tunes with their headers, texts and places") {
  BadData bad(OnBadData::stop);
  const auto tunes = parse_abc(
      "% a file\r\nM:3/4\n\nX: 7\r\nT:One\nT:also called\n% note\nM:6/8\nL:1/4\nK:Am % "
      "minor\nA|\n\n"
      "words between tunes: not music\n\nX:8\nK:\nC\nX:9\nT:Three\nK:D\nP:A\nD|\n",
      "t.abc", bad);
  REQUIRE(tunes.size() == 3);
  CHECK(tunes[0].number == "7");
  CHECK(tunes[0].title == "One");
  CHECK(tunes[0].metre == "6/8");
  CHECK(tunes[0].unit == "1/4");
  CHECK(tunes[0].key == "Am");
  CHECK(tunes[0].line == 4);
  CHECK(tunes[0].text == "X: 7\nT:One\nT:also called\n% note\nM:6/8\nL:1/4\nK:Am % minor\nA|\n");
  CHECK(tunes[1].number == "8");
  CHECK(tunes[2].title == "Three");
  CHECK(tunes[2].index == 2);
  CHECK(tunes[2].bars.front().opens_section);
}

TEST_CASE("notes have the pitches of their octave, key and accidentals") {
  CHECK(shown("C,, C, C B c b c' c''") == "36:16 48:16 60:16 71:16 72:16 83:16 84:16 96:16 ");
  CHECK(shown("FcBe", "L:1/4\nK:D\n") == "66:16 73:16 71:16 76:16 ");   // F and C sharp
  CHECK(shown("BEAF", "L:1/4\nK:Bb\n") == "70:16 63:16 69:16 65:16 ");  // B and E flat
  CHECK(shown("FfB", "L:1/4\nK:Em\n") == "66:16 78:16 71:16 ");         // one sharp
  CHECK(shown("^F _B ^^C __D =F") == "66:16 70:16 62:16 60:16 65:16 ");
  // To the end of the bar, in all octaves; then the key again.
  CHECK(shown("^FFf|F =F", "L:1/4\nK:C\n") == "66:16 66:16 78:16 | 65:16 65:16 ");
  CHECK(shown("=FF|F", "L:1/4\nK:G\n") == "65:16 65:16 | 66:16 ");
}

TEST_CASE("a note that is tied over the bar line keeps its accidental, and others do not") {
  const auto pitches = [](const std::string& music) {
    std::vector<std::vector<int>> all;
    for (const AbcBar& bar : tune(music, "L:1/4\nK:C\n").bars) {
      for (const AbcNote& note : bar.notes) all.push_back(note.pitches);
    }
    return all;
  };
  using Pitches = std::vector<std::vector<int>>;
  CHECK(pitches("^F-|F F") == Pitches{{66}, {66}, {65}});
  CHECK(pitches("^F|-F F") == Pitches{{66}, {66}, {65}});
  CHECK(pitches("^F|F") == Pitches{{66}, {65}});
  CHECK(pitches("^F-|f") == Pitches{{66}, {77}});
  CHECK(pitches("[^F_B]-|[FB] B") == Pitches{{66, 70}, {66, 70}, {71}});
  CHECK(pitches("^F-|=F") == Pitches{{66}, {65}});
  CHECK(pitches("^F-|F-|F") == Pitches{{66}, {66}, {66}});
  CHECK(pitches("^F|F-|F") == Pitches{{66}, {65}, {65}});
}

TEST_CASE("a key may have accidentals of its own") {
  CHECK(shown("CFcf", "L:1/4\nK:D =c\n") == "60:16 66:16 72:16 78:16 ");
  CHECK(shown("BEF", "L:1/4\nK:D exp _b _e ^f\n") == "70:16 63:16 66:16 ");
  CHECK(shown("CF", "L:1/4\nK:D exp ^f\n") == "60:16 66:16 ");
  CHECK(shown("GB", "L:1/4\nK:Am ^g __b clef=treble\n") == "68:16 69:16 ");
}

TEST_CASE("notes have the lengths of unit, factor, broken rhythm and tuplet") {
  CHECK(shown("C C2 C/2 C/ C// C3/2 C/4", "L:1/4\nK:C\n") ==
        "60:16 60:32 60:8 60:8 60:4 60:24 60:4 ");
  CHECK(shown("C", "K:C\n") == "60:8 ");         // without a metre: 1/8
  CHECK(shown("C", "M:2/4\nK:C\n") == "60:4 ");  // below 3/4: 1/16
  CHECK(shown("C", "M:3/4\nK:C\n") == "60:8 ");
  CHECK(shown("C>D C<D C>>D") == "60:24 62:8 60:8 62:24 60:28 62:4 ");
  const AbcTune triplet = tune("(3CDE F");
  CHECK(triplet.bars[0].notes[0].length == abc_whole_note / 6);
  CHECK(triplet.bars[0].notes[2].start == abc_whole_note / 3);
  CHECK(triplet.bars[0].notes[3].length == abc_whole_note / 4);
  CHECK(tune("(3:2:4CDEF G").bars[0].length == 4 * abc_whole_note / 6 + abc_whole_note / 4);
  CHECK(tune("(2CD", "M:6/8\nL:1/8\nK:C\n").bars[0].length == 3 * abc_whole_note / 8);
  CHECK(tune("(5CDEFG", "M:6/8\nL:1/8\nK:C\n").bars[0].length == 3 * abc_whole_note / 8);
  CHECK(tune("(5CDEFG", "M:4/4\nL:1/8\nK:C\n").bars[0].length == 2 * abc_whole_note / 8);
  CHECK(tune("(5CDEFG", "M:3/4\nL:1/8\nK:C\n").bars[0].length == 2 * abc_whole_note / 8);
  CHECK(tune("(7CDEFGAB", "M:3/2\nL:1/8\nK:C\n").bars[0].length == 2 * abc_whole_note / 8);
  CHECK(tune("(7CDEFGAB", "M:9/8\nL:1/8\nK:C\n").bars[0].length == 3 * abc_whole_note / 8);
}

TEST_CASE("chords, rests, ties, and what is passed over") {
  CHECK(shown("[CEG] z2 x [C/2E/2] [CE]2") == "60+64+67:16 r:32 r:16 60+64:8 60+64:32 ");
  CHECK(shown("\"Am\"C {gag}D !trill!E ~F .G (AB) C\\") ==
        "60:16 62:16 64:16 65:16 67:16 69:16 71:16 60:16 ");
  const AbcTune ties = tune("C-|C D -|D");
  CHECK(ties.bars[0].notes[0].tied);
  CHECK_FALSE(ties.bars[1].notes[0].tied);
  CHECK(ties.bars[1].notes[1].tied);
  CHECK(shown("CD % comment | E\nE[K:D]F|[M:3/4]C", "L:1/4\nK:C\n") ==
        "60:16 62:16 64:16 66:16 | 61:16 ");
  CHECK(tune("C4|[M:3/4]C3|\nM:2/4\nC2|").bars[2].metre == abc_whole_note / 2);
  CHECK(tune("Z3|C4").bars.size() == 4);
}

TEST_CASE("bar lines close bars, repeats and sections") {
  const AbcTune t = tune("C|:D4|E4 [1 F4:|2G4||A4|]");
  REQUIRE(t.bars.size() == 6);
  CHECK(t.bars[0].closes_section);
  CHECK(t.bars[1].opens_repeat);
  CHECK(t.bars[3].ending == 1);
  CHECK(t.bars[3].closes_repeat);
  CHECK(t.bars[4].ending == 2);
  CHECK(t.bars[4].closes_section);
  CHECK_FALSE(t.bars[4].closes_repeat);
  CHECK(tune("C4::D4:||:E4 |: F4").bars[1].opens_repeat);
  CHECK(tune("A:|B").bars.size() == 2);  // a note and a repeat, not the field A:
}

TEST_CASE("the lengths of metres and the signatures of keys") {
  CHECK(abc_metre("6/8") == 6 * abc_whole_note / 8);
  CHECK(abc_metre("C") == abc_whole_note);
  CHECK(abc_metre("none") == 0);
  const std::pair<const char*, int> keys[] = {
      {"G", 1},     {"C", 0},       {"F", -1},    {"Bb", -2}, {"F#m", 3},    {"Cm", -3},
      {"D mix", 1}, {"Ddorian", 0}, {"E Phr", 0}, {"HP", 2},  {"A minor", 0}};
  for (const auto& pair : keys) {
    CAPTURE(pair.first);
    CHECK(abc_key(pair.first) == pair.second);
  }
  for (const char* wrong : {"H", "G#", "Gx", "7"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS((void)abc_key(wrong), std::invalid_argument);
  }
  for (const char* wrong : {"6/", "/8", "6/7", "0/4", "6", "65/4", "x"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS((void)abc_metre(wrong), std::invalid_argument);
  }
}

TEST_CASE("bars are exact, parts of one, too short or too long") {
  CHECK(fits("CDEF|C4|C2D2|C5|C3|C4|") == "eee!se");
  CHECK(fits("C|CDEF|C3|") == "pep");   // the tune may begin again
  CHECK(fits("C|CDEF|C3:|") == "pep");  // with the pick-up, when it is played again
  CHECK(fits("C|CDEF|C3||") == "pep");
  CHECK(fits("C|CDEF|C3:|D|DDDD|D3:|") == "peppep");
  CHECK(fits("C|CDEF|C2:|") == "pes");
  CHECK(fits("|:C4|C3:||:D|D4|D3:|") == "eppep");
  CHECK(fits("C|:CDEF|[1C3 C:|[2C3|]") == "peep");
  CHECK(fits("C2|C4|C2||C2|C4|C2|]") == "peppep");
  CHECK(fits("C7|D|", "M:none\nL:1/4\nK:C\n") == "ee");
  CHECK(no_bar_too_long(check_bars(tune("C4|C3|C4"))));
  CHECK_FALSE(all_bars_exact(check_bars(tune("C4|C3|C4"))));
  CHECK_FALSE(no_bar_too_long(check_bars(tune("C4|C4 (3CDE|C4"))));
  CHECK(check_bars(tune("")).empty());
}

TEST_CASE("repeats are played twice, each with its ending") {
  CHECK(order("A|B|C|") == "123");
  CHECK(order("A|B:|C|") == "12123");
  CHECK(order("A|:B|C:|D|") == "123234");
  CHECK(order("A:|B:|") == "1122");
  CHECK(order("A|[1B:|[2C||D|") == "12134");
  CHECK(order("A|:B|[1C|D:|[2E|F||G|") == "12342567");
  CHECK(order("|:A::B:|") == "1122");
}

TEST_CASE("wrong ABC is said with file, line and what was expected") {
  CHECK(
      error_in("CD?E") ==
      "t.abc: line 3: expected a note, a rest, a bar line or a decoration, found '?' in column 3");
  CHECK(error_in("C \"Am D") ==
        "t.abc: line 3: expected \" at the end of a chord symbol, found the end of the line");
  CHECK(error_in("[CE") ==
        "t.abc: line 3: expected a note of a chord, or ], found the end of the line");
  CHECK(error_in("[]").find("a chord with at least one note") != std::string::npos);
  CHECK(error_in("{ab").find("} at the end of grace notes") != std::string::npos);
  CHECK(error_in("^|").find("a note behind an accidental, found '|'") != std::string::npos);
  CHECK(error_in("C999").find("a length from 1 to 256") != std::string::npos);
  CHECK(error_in("C////////////").find("at least 1/512") != std::string::npos);
  CHECK(error_in("C,,,,,,,").find("between C,,,,, and g'''") != std::string::npos);
  CHECK(error_in(">C").find("a note before broken rhythm") != std::string::npos);
  CHECK(error_in("C" + std::string(70, '<') + "C").find("at most three") != std::string::npos);
  CHECK(error_in("M:x/8") ==
        "t.abc: line 3: expected a metre such as 6/8, C, C| or none, found \"x/8\"");
  CHECK(error_in("V:2").find("a tune of one voice") != std::string::npos);
  CHECK(error_in("\xe9").find("a byte 233") != std::string::npos);
  CHECK(error_of("X:1\nT:none\n").find("line 1: expected a field K:") != std::string::npos);
  CHECK(error_of("X:1\nnot a field\nK:C\n").find("line 2: expected a field") != std::string::npos);
  BadData bad(OnBadData::skip);
  const auto tunes = parse_abc("X:1\nK:C\n?\n\nX:2\nK:C\nC\n", "t.abc", bad);
  CHECK(bad.skipped() == 1);
  REQUIRE(tunes.size() == 1);
  CHECK(tunes[0].index == 1);
}

TEST_CASE("a folder's ABC files are read in order, UTF-8 or latin-1") {
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "b.abc") << "X:2\nT:Caf\xe9\nK:C\nC\n";
  std::ofstream(folder / "a.abc") << "X:1\nT:Caf\xc3\xa9\nK:C\nC\n";
  std::ofstream(folder / "README") << "X:3\nK:C\n";
  BadData bad(OnBadData::stop);
  const auto tunes = read_abc(folder.path(), bad);
  REQUIRE(tunes.size() == 2);
  CHECK(tunes[0].number == "1");
  CHECK(tunes[1].title == tunes[0].title);
  CHECK(tunes[1].title == "Caf\xc3\xa9");
  CHECK(tunes[1].index == 1);
  CHECK(read_abc(folder / "b.abc", bad).size() == 1);
  CHECK_THROWS_AS((void)read_abc(folder / "none.abc", bad), FileError);
  const testing::TemporaryFolder empty;
  CHECK_THROWS_AS((void)read_abc(empty.path(), bad), FileError);
}
