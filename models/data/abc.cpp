#include "unroll/models/data/abc.hpp"

#include <algorithm>
#include <charconv>

#include "unroll/models/data/abc_music.hpp"
#include "unroll/models/data/text.hpp"

namespace unroll {

namespace detail {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

std::optional<char> abc_field(std::string_view line) {
  if (line.size() < 2 || line[1] != ':') return {};
  const bool letter = (line[0] >= 'A' && line[0] <= 'Z') || (line[0] >= 'a' && line[0] <= 'z');
  if (!letter || (line.size() > 2 && (line[2] == '|' || line[2] == ':'))) return {};
  return line[0];
}

}  // namespace detail

namespace {

using detail::trimmed;

// A line's text before its comment.
std::string_view without_comment(std::string_view line) { return line.substr(0, line.find('%')); }

struct Line {
  std::string_view text;
  std::int64_t number;
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back({line, number});
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

AbcTune parse_tune(std::span<const Line> lines, const std::string& name) {
  AbcTune tune;
  tune.line = lines.front().number;
  detail::AbcMusic music(tune, name);
  bool header = true;
  for (const auto& [text, number] : lines) {
    tune.text.append(text).push_back('\n');
    const std::string_view line = without_comment(text);
    if (trimmed(line).empty()) continue;
    const auto field = detail::abc_field(line);
    if (field) {
      const std::string_view value = trimmed(line.substr(2));
      const auto keep = [&](std::string& where) {
        if (header && where.empty()) where = value;
      };
      if (field == 'X') keep(tune.number);
      if (field == 'T') keep(tune.title);
      if (field == 'M') keep(tune.metre);
      if (field == 'L') keep(tune.unit);
      if (field == 'K') keep(tune.key);
      music.field(*field, value, number);
      header = header && field != 'K';
    } else if (header) {
      throw DataError(name, number, "a field such as T: or M:, and K: as the last before the music",
                      std::string(line.substr(0, 20)));
    } else {
      music.music(line, number);
    }
  }
  if (header)
    throw DataError(name, tune.line, "a field K: that ends the header", "none in the tune");
  music.end();
  return tune;
}

Size whole(std::string_view text) {
  Size value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

std::vector<AbcTune> parse_from(std::string_view text, const std::string& name, BadData& bad,
                                Size& next) {
  const std::vector<Line> lines = lines_of(text);
  std::vector<AbcTune> tunes;
  for (std::size_t i = 0; i < lines.size();) {
    if (!lines[i].text.starts_with("X:")) {
      ++i;
      continue;
    }
    const std::size_t first = i++;
    while (i < lines.size() && !trimmed(lines[i].text).empty() &&
           !lines[i].text.starts_with("X:")) {
      ++i;
    }
    bad.attempt([&] {
      tunes.push_back(parse_tune(std::span(lines).subspan(first, i - first), name));
      tunes.back().index = next;
    });
    ++next;
  }
  return tunes;
}

}  // namespace

Size abc_metre(std::string_view metre) {
  if (metre.empty() || metre == "none") return 0;
  if (metre == "C" || metre == "C|") return abc_whole_note;
  const auto slash = metre.find('/');
  if (slash != std::string_view::npos) {
    const Size beats = whole(trimmed(metre.substr(0, slash)));
    const Size unit = whole(trimmed(metre.substr(slash + 1)));
    const bool power_of_two = unit >= 1 && unit <= 64 && (unit & (unit - 1)) == 0;
    if (beats >= 1 && beats <= 64 && power_of_two) return beats * abc_whole_note / unit;
  }
  fail("abc_metre", "\"" + std::string(metre) + "\" is no metre such as 6/8, C, C| or none");
}

int abc_key(std::string_view key) {
  constexpr std::string_view by_fifths = "FCGDAEB";  // -1, 0, 1, ...
  if (key.empty() || key.starts_with("none")) return 0;
  if (key.starts_with("HP") || key.starts_with("Hp")) return 2;  // the bagpipe's: F and C sharp
  const auto tonic = by_fifths.find(key[0]);
  if (tonic != std::string_view::npos) {
    int fifths = int(tonic) - 1;
    std::string_view rest = key.substr(1);
    if (rest.starts_with('#') || rest.starts_with('b')) {
      fifths += rest[0] == '#' ? 7 : -7;
      rest.remove_prefix(1);
    }
    rest = trimmed(rest);
    std::string mode(rest.substr(0, rest.find_first_of(" \t")));
    std::transform(mode.begin(), mode.end(), mode.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    const auto shift = [&]() -> std::optional<int> {
      if (mode.empty() || mode.find('=') != std::string::npos) return 0;  // clef=bass, =c
      if (mode[0] == '^' || mode[0] == '_') return 0;                     // an accidental
      if (mode == "exp") return -fifths;  // no signature but the accidentals that follow
      if (mode == "m") return -3;
      constexpr std::pair<std::string_view, int> modes[] = {{"maj", 0},  {"ion", 0},  {"min", -3},
                                                            {"aeo", -3}, {"mix", -1}, {"dor", -2},
                                                            {"phr", -4}, {"lyd", 1},  {"loc", -5}};
      for (const auto& [name, by] : modes) {
        if (mode.starts_with(name)) return by;
      }
      return {};
    }();
    if (shift && fifths + *shift >= -7 && fifths + *shift <= 7) return fifths + *shift;
  }
  fail("abc_key", "\"" + std::string(key) + "\" is no key such as G, Am, Bb or D dorian");
}

std::vector<AbcTune> parse_abc(std::string_view text, const std::string& name, BadData& bad) {
  Size next = 0;
  return parse_from(text, name, bad, next);
}

std::vector<AbcTune> read_abc(const std::filesystem::path& path, BadData& bad) {
  std::vector<std::filesystem::path> files;
  if (std::error_code error; std::filesystem::is_directory(path, error)) {
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.path().extension() == ".abc") files.push_back(entry.path());
    }
    if (files.empty()) throw FileError(path.string(), "there are no files *.abc in this folder");
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(path);
  }
  std::vector<AbcTune> tunes;
  Size next = 0;
  for (const auto& file : files) {
    std::vector<AbcTune> more =
        parse_from(to_utf8(read_corpus(file).text), file.string(), bad, next);
    std::move(more.begin(), more.end(), std::back_inserter(tunes));
  }
  return tunes;
}

}  // namespace unroll
