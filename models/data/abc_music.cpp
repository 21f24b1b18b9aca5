#include "unroll/models/data/abc_music.hpp"

#include <algorithm>

namespace unroll::detail {

namespace {

constexpr std::string_view letters = "CDEFGAB";
constexpr std::string_view sharps_in_order = "FCGDAEB";
constexpr std::array<int, 7> semitones{0, 2, 4, 5, 7, 9, 11};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_note(char c) { return (c >= 'A' && c <= 'G') || (c >= 'a' && c <= 'g'); }
bool is_accidental(char c) { return c == '^' || c == '_' || c == '='; }

// What stands behind a key of its own: the ^c and =f of "D =f" or "D exp ^c", for a letter in all octaves.
void add_accidentals(std::string_view key, std::array<int, 7>& signature) {
  for (std::size_t at = 0; at < key.size();) {
    const std::size_t begin = key.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) return;
    at = std::min(key.find_first_of(" \t", begin), key.size());
    const std::string_view word = key.substr(begin, at - begin);
    if (!is_accidental(word[0])) continue;
    const std::size_t behind = word.find_first_not_of("^_=");
    const std::size_t letter =
        behind + 1 == word.size() && is_note(word[behind])
            ? letters.find(word[behind] >= 'a' ? char(word[behind] - 'a' + 'A') : word[behind])
            : std::string_view::npos;
    int by = 0;
    for (const char c : word.substr(0, behind)) by += c == '^' ? 1 : c == '_' ? -1 : 0;
    if (letter == std::string_view::npos || by < -2 || by > 2) {
      fail("K:", "\"" + std::string(word) + "\" is no accidental such as ^f, _b or =c");
    }
    signature[letter] = by;
  }
}

// 6/8, 9/4, 12/8: groups of three; not 3+4/8.
bool is_compound(std::string_view metre) {
  int beats = 0;
  for (const char c : metre.substr(0, metre.find('/'))) {
    if (c == '+') return false;
    if (is_digit(c)) beats = std::min(10 * beats + (c - '0'), 1000);
  }
  return metre.find('/') != std::string_view::npos && beats > 3 && beats % 3 == 0;
}

// What a key signature does to a letter: with two sharps F and C are raised, with two flats B and E
// lowered.
int by_signature(int fifths, std::size_t letter) {
  const auto place = int(sharps_in_order.find(letters[letter]));
  if (fifths > 0 && place < fifths) return 1;
  if (fifths < 0 && 6 - place < -fifths) return -1;
  return 0;
}

}  // namespace

void AbcMusic::reject(std::string_view expected) const {
  std::string found = "the end of the line";
  if (at_ < text_.size()) {
    const auto c = static_cast<unsigned char>(text_[at_]);
    found = c >= 32 && c < 127 ? "'" + std::string(1, text_[at_]) + "'"
                               : "a byte " + std::to_string(int(c));
    found += " in column " + std::to_string(at_ + 1);
  }
  throw DataError(file_, line_, expected, found);
}

bool AbcMusic::take(char c) {
  if (peek() != c || at_ >= text_.size()) return false;
  ++at_;
  return true;
}

// Goes behind the closing character; hands back where that stands.
std::size_t AbcMusic::skip_to(char close, std::string_view what) {
  const std::size_t end = text_.find(close, at_ + 1);
  if (end == std::string_view::npos) {
    at_ = text_.size();
    reject(std::string(1, close) + " at the end of " + std::string(what));
  }
  at_ = end + 1;
  return end;
}

Size AbcMusic::number(Size highest, std::string_view what) {
  Size value = 0;
  while (is_digit(peek())) {
    value = 10 * value + (peek() - '0');
    if (value > highest) break;
    ++at_;
  }
  if (value < 1 || value > highest) {
    reject(std::string(what) + " from 1 to " + std::to_string(highest));
  }
  return value;
}

// "3/2", "/2", "/", "//", "3", "".
AbcMusic::Length AbcMusic::length() {
  Length l;
  if (is_digit(peek())) l.numerator = number(256, "a length");
  while (take('/')) {
    l.denominator *= is_digit(peek()) ? number(256, "a divisor") : 2;
    if (l.denominator > 512) reject("a length of at least 1/512");
  }
  return l;
}

Size AbcMusic::unit() const {
  if (unit_ > 0) return unit_;
  return metre_ > 0 && 4 * metre_ < 3 * abc_whole_note ? abc_whole_note / 16 : abc_whole_note / 8;
}

void AbcMusic::field(char name, std::string_view value, std::int64_t line) {
  line_ = line;
  text_ = value;
  at_ = 0;
  try {
    if (name == 'M') {
      metre_ = abc_metre(value);
      compound_ = is_compound(value);
      if (bar_.notes.empty()) bar_.metre = metre_;
    } else if (name == 'L') {
      unit_ = abc_metre(value);
      if (unit_ == 0 || unit_ > abc_whole_note) fail("L:", "no length such as 1/8");
    } else if (name == 'K') {
      const int fifths = abc_key(value);
      for (std::size_t k = 0; k < letters.size(); ++k) signature_[k] = by_signature(fifths, k);
      add_accidentals(value, signature_);
      accidentals_ = before_ = {};
    } else if (name == 'P') {
      bar_.opens_section = true;
    } else if (name == 'V') {
      reject("a tune of one voice");
    }
  } catch (const std::invalid_argument&) {
    throw DataError(file_, line,
                    name == 'M'   ? "a metre such as 6/8, C, C| or none"
                    : name == 'L' ? "a unit of length such as 1/8"
                                  : "a key such as G, Am, Bb or D dorian",
                    "\"" + std::string(value.substr(0, 20)) + "\"");
  }
}

void AbcMusic::music(std::string_view line, std::int64_t number) {
  text_ = line;
  line_ = number;
  at_ = 0;
  while (at_ < text_.size()) element();
}

void AbcMusic::end() { close_bar(false, false, true); }

void AbcMusic::element() {
  const char c = peek();
  if (c == ' ' || c == '\t' || c == '\\' || c == '`' || c == '$' || c == '*' || c == ')') {
    ++at_;
  } else if (c == '|' || c == ':') {
    bar_line();
  } else if (c == '[') {
    bracket();
  } else if (c == '(') {
    parenthesis();
  } else if (c == '"') {
    skip_to('"', "a chord symbol");
  } else if (c == '{') {
    skip_to('}', "grace notes");
  } else if (c == '!' || c == '+') {
    // A decoration; alone, an old sign for the end of a line.
    if (text_.find(c, at_ + 1) != std::string_view::npos) {
      skip_to(c, "a decoration");
    } else {
      ++at_;
    }
  } else {
    symbol_in_bar(c);
  }
}

void AbcMusic::symbol_in_bar(char c) {
  if (is_note(c) || is_accidental(c)) {
    note();
  } else if (c == 'z' || c == 'x') {
    rest();
  } else if (c == 'Z' || c == 'X') {
    bars_of_rest();
  } else if (c == '>' || c == '<') {
    broken_rhythm();
  } else if (c == '-') {
    tie();
  } else if (c == 'y') {
    ++at_;
    (void)length();
  } else if (std::string_view(".~HIJKLMNOPQRSTUVWhijklmnopqrstuvw").find(c) !=
             std::string_view::npos) {
    ++at_;  // a decoration of one letter
  } else {
    reject("a note, a rest, a bar line or a decoration");
  }
}

void AbcMusic::close_bar(bool closes_repeat, bool opens_repeat, bool section) {
  AbcBar next;
  next.opens_repeat = opens_repeat;
  next.opens_section = section;
  if (bar_.length > 0) {
    bar_.closes_repeat = closes_repeat;
    bar_.closes_section = section;
    tune_.bars.push_back(std::move(bar_));
    for (std::size_t k = 0; k < letters.size(); ++k) {  // a tie may go over several bar lines
      if (accidentals_[k]) before_[k] = accidentals_[k];
    }
    accidentals_ = {};
  } else {
    // Two bar lines with nothing between them count as one.
    if (!tune_.bars.empty()) {
      tune_.bars.back().closes_repeat |= closes_repeat;
      tune_.bars.back().closes_section |= section;
    }
    next.opens_repeat |= bar_.opens_repeat;
    next.opens_section |= bar_.opens_section;
    next.ending = bar_.ending;
  }
  bar_ = std::move(next);
  bar_.metre = metre_;
}

// | || |] [| |: :| :: :||: and their like; after them perhaps the number of an ending.
void AbcMusic::bar_line() {
  const std::size_t first = at_;
  while (peek() == '|' || peek() == ':' || (peek() == '[' && peek(1) == '|') ||
         (peek() == ']' && at_ > first && text_[at_ - 1] == '|')) {
    ++at_;
  }
  const std::string_view line = text_.substr(first, at_ - first);
  if (line == ":") {
    at_ = first;
    reject("a bar line");
  }
  const bool closes = line.starts_with(':'), opens = line.ends_with(':');
  close_bar(closes, opens, closes || opens || line.size() > 1);
  if (is_digit(peek())) ending();
}

// "1", "1,2", "1-3": the first of them.
void AbcMusic::ending() {
  bar_.ending = int(number(99, "the number of an ending"));
  bar_.opens_section = true;
  while (is_digit(peek()) || ((peek() == ',' || peek() == '-') && is_digit(peek(1)))) ++at_;
}

void AbcMusic::bracket() {
  if (peek(1) == '|') return bar_line();
  const std::size_t first = at_++;
  if (is_digit(peek())) {
    if (bar_.length > 0) close_bar(false, false, false);
    return ending();
  }
  if (peek() == '"') return;  // [ " C" ... : an ending named by text
  if (const auto name = abc_field(text_.substr(at_))) {
    at_ = first;
    const std::size_t begin = first + 3, end = skip_to(']', "a field");
    const std::string_view whole = text_;
    const std::size_t behind = at_;
    field(*name, trimmed(whole.substr(begin, end - begin)), line_);
    text_ = whole;
    at_ = behind;
    return;
  }
  std::vector<int> pitches;
  std::optional<Length> written;
  while (take(' ') || take('+')) {
  }
  while (!take(']')) {
    if (!is_note(peek()) && !is_accidental(peek())) reject("a note of a chord, or ]");
    pitches.push_back(pitch());
    const Length own = length();
    if (!written) written = own;
    while (take('-') || take(' ')) {
    }
  }
  if (!written) reject("a chord with at least one note");
  const Length all = length();
  written->times(all.numerator, all.denominator);
  add(std::move(pitches), *written);
}

// A slur, or (p:q:r: p notes in the time of q, for the next r notes.
void AbcMusic::parenthesis() {
  ++at_;
  if (!is_digit(peek())) return;
  const Size p = number(9, "a tuplet");
  if (p < 2) reject("a tuplet of 2 to 9 notes");
  Size q = p == 3 || p == 6 ? 2 : p == 2 || p == 4 || p == 8 || compound_ ? 3 : 2;
  Size r = p;
  if (take(':')) {
    if (is_digit(peek())) q = number(16, "the time of a tuplet");
    if (take(':') && is_digit(peek())) r = number(16, "the notes of a tuplet");
  }
  tuplet_ = {r, q, p};
}

void AbcMusic::broken_rhythm() {
  const char direction = peek();
  if (bar_.notes.empty() || !may_break_) reject("a note before broken rhythm");
  Size power = 1;
  while (take(direction)) {
    power *= 2;
    if (power > 8) reject("at most three of > or <");
  }
  const Length longer{2 * power - 1, power}, shorter{1, power};
  const Length& own = direction == '>' ? longer : shorter;
  next_factor_ = direction == '>' ? shorter : longer;
  AbcNote& note = bar_.notes.back();
  const Size ticks = note.length * own.numerator;
  if (ticks % own.denominator != 0) reject("lengths of whole parts of a note");
  bar_.length += ticks / own.denominator - note.length;
  note.length = ticks / own.denominator;
  may_break_ = false;
}

void AbcMusic::tie() {
  ++at_;
  const auto mark = [](AbcBar& bar) {
    if (!bar.notes.empty()) bar.notes.back().tied = true;
  };
  if (!bar_.notes.empty()) {
    mark(bar_);
  } else if (!tune_.bars.empty()) {
    mark(tune_.bars.back());
  }
}

int AbcMusic::pitch() {
  std::optional<int> accidental;
  while (is_accidental(peek())) {
    const char c = text_[at_++];
    accidental = accidental.value_or(0) + (c == '^' ? 1 : c == '_' ? -1 : 0);
    if (*accidental < -2 || *accidental > 2) reject("at most two sharps or flats");
  }
  if (!is_note(peek())) reject("a note behind an accidental");
  const char c = text_[at_++];
  const bool low = c <= 'G';
  const std::size_t letter = letters.find(low ? c : char(c - 'a' + 'A'));
  int octave = low ? 5 : 6;
  while (peek() == ',' || peek() == '\'') {
    octave += peek() == ',' ? -1 : 1;
    if (octave < 0 || octave > 9) reject("a note between C,,,,, and g'''");
    ++at_;
  }
  auto& in_bar = accidentals_[letter];
  if (accidental) in_bar = accidental;
  const int natural = 12 * octave + semitones[letter];
  int key = natural + in_bar.value_or(signature_[letter]);
  // A note that is tied over the bar line keeps its accidental.
  if (!in_bar && before_[letter] && bar_.notes.empty() && !tune_.bars.empty()) {
    const AbcNote& last = tune_.bars.back().notes.back();
    const int tied = natural + *before_[letter];
    if (last.tied && std::ranges::find(last.pitches, tied) != last.pitches.end()) key = tied;
  }
  if (key < 0 || key > 127) reject("a note between C,,,,, and g'''");
  return key;
}

void AbcMusic::note() {
  const int key = pitch();
  add({key}, length());
}

void AbcMusic::rest() {
  ++at_;
  add({}, length());
}

void AbcMusic::bars_of_rest() {
  ++at_;
  const Size bars = is_digit(peek()) ? number(256, "a number of bars") : 1;
  for (Size i = 0; i < bars; ++i) {
    if (i > 0) close_bar(false, false, false);
    const Size length = metre_ > 0 ? metre_ : abc_whole_note;
    bar_.notes.push_back({.start = bar_.length, .length = length});
    bar_.length += length;
  }
}

void AbcMusic::add(std::vector<int> pitches, const Length& written) {
  Length l = written;
  if (tuplet_.left > 0) {
    l.times(tuplet_.numerator, tuplet_.denominator);
    --tuplet_.left;
  }
  if (next_factor_) l.times(next_factor_->numerator, next_factor_->denominator);
  next_factor_.reset();
  // Factors are bounded where they are read: 2^8 · 2^8 · 2^4 · 15 and the unit stay below 2^63.
  const Size ticks = unit() * l.numerator;
  if (ticks % l.denominator != 0 || ticks / l.denominator > 64 * abc_whole_note) {
    reject("a note whose length is a multiple of 1/161280 and at most 64 whole notes");
  }
  if (bar_.notes.empty()) {
    bar_.metre = metre_;
    bar_.line = line_;
  }
  if (bar_.length > 4096 * abc_whole_note) reject("a bar line before so many notes");
  const Size length = ticks / l.denominator;
  bar_.notes.push_back({.start = bar_.length, .length = length, .pitches = std::move(pitches)});
  bar_.length += length;
  may_break_ = true;
}

}  // namespace unroll::detail
