#include "unroll/models/data/text.hpp"

#include <algorithm>
#include <array>
#include <system_error>

#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

namespace fs = std::filesystem;

constexpr char32_t replacement = U'\uFFFD';

// ---- Encodings ----

bool is_code_point(char32_t c) { return c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF); }

std::u32string from_latin_1(std::string_view bytes) {
  std::u32string text;
  text.reserve(bytes.size());
  for (const char byte : bytes) text += char32_t{static_cast<unsigned char>(byte)};
  return text;
}

// Latin-1 reads any bytes, so what is no text is told apart by its control characters: text has
// next to none beside tab, line ends, form feed and escape.
bool is_mostly_control(std::string_view bytes) {
  const auto controls = std::ranges::count_if(bytes, [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code < 32 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && code != 27;
  });
  return static_cast<std::size_t>(controls) * 100 > bytes.size();
}

// "\r\n" and a lone "\r" become "\n"; the last line gets its end.
void normalise_lines(std::u32string& text) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool before_newline = i + 1 < text.size() && text[i + 1] == U'\n';
    if (text[i] == U'\r' && before_newline) continue;
    text[size++] = text[i] == U'\r' ? U'\n' : text[i];
  }
  text.resize(size);
  if (!text.empty() && text.back() != U'\n') text += U'\n';
}

// ---- Folders ----

bool is_build_folder(const fs::path& folder) {
  static constexpr std::array names{"build",  "builddir",     "_build",     "out",
                                    "target", "node_modules", "__pycache__"};
  static constexpr std::array marks{"CMakeCache.txt", "build.ninja", "meson-private",
                                    "CACHEDIR.TAG"};
  const std::string name = folder.filename().string();
  std::error_code ignored;
  return std::ranges::find(names, name) != names.end() ||
         std::ranges::any_of(marks, [&](auto mark) { return fs::exists(folder / mark, ignored); });
}

std::vector<fs::path> files_in(const fs::path& folder, const CorpusOptions& options) {
  std::vector<fs::path> files;
  try {
    for (auto it = fs::recursive_directory_iterator(folder);
         it != fs::recursive_directory_iterator(); ++it) {
      const std::string name = it->path().filename().string();
      const bool skipped =
          name.starts_with('.') || it->is_symlink() ||
          std::ranges::find(options.skipped_names, name) != options.skipped_names.end();
      if (it->is_directory() && (skipped || is_build_folder(it->path()))) {
        it.disable_recursion_pending();
      } else if (!skipped && it->is_regular_file()) {
        files.push_back(it->path());
      }
    }
  } catch (const fs::filesystem_error& error) {
    throw FileError(error.path1().empty() ? folder.string() : error.path1().string(),
                    "cannot read the folder: " + error.code().message());
  }
  std::ranges::sort(files);
  return files;
}

// ---- Reading ----

struct Decoded {
  std::u32string text;
  bool latin_1 = false;
};

// Nothing for bytes that are no text.
std::optional<Decoded> decode_file(std::string_view bytes) {
  if (bytes.find('\0') != bytes.npos) return std::nullopt;
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  Decoded decoded;
  if (auto text = from_utf8(bytes)) {
    decoded.text = std::move(*text);
  } else if (is_mostly_control(bytes)) {
    return std::nullopt;
  } else {
    decoded = {from_latin_1(bytes), true};
  }
  normalise_lines(decoded.text);
  return decoded;
}

[[noreturn]] void fail_binary(const fs::path& path, std::string_view bytes) {
  const std::size_t zero = bytes.find('\0');
  if (zero == bytes.npos) {
    throw FormatError(path.string(), "is binary: many control characters; a text file is needed");
  }
  const bool utf_16 = bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF");
  throw FormatError(path.string(), {.offset = static_cast<std::int64_t>(zero)},
                    utf_16 ? "a zero byte: this looks like UTF-16; convert it to UTF-8 first"
                           : "a zero byte: the file is binary; a text file is needed");
}

}  // namespace

std::string to_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  const auto put = [&](std::uint32_t byte) { bytes += static_cast<char>(byte); };
  for (const char32_t c : text) {
    if (!is_code_point(c)) fail("to_utf8", std::to_string(std::uint32_t{c}) + " is no code point");
    if (c < 0x80) {
      put(c);
    } else if (c < 0x800) {
      put(0xC0 | c >> 6);
      put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      put(0xE0 | c >> 12);
      put(0x80 | (c >> 6 & 0x3F));
      put(0x80 | (c & 0x3F));
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
      put(0x80 | (c >> 6 & 0x3F));
      put(0x80 | (c & 0x3F));
    }
  }
  return bytes;
}

std::optional<std::u32string> from_utf8(std::string_view bytes) {
  static constexpr std::array<char32_t, 4> smallest{0, 0x80, 0x800, 0x10000};
  std::u32string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[i]);
    const std::size_t more = first < 0x80         ? 0
                             : first >> 5 == 0x06 ? 1
                             : first >> 4 == 0x0E ? 2
                             : first >> 3 == 0x1E ? 3
                                                  : bytes.size();
    if (more >= bytes.size() - i) return std::nullopt;  // also for what is no first byte
    char32_t c = more == 0 ? first : first & (0x3Fu >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i + k]);
      if (next >> 6 != 0x02) return std::nullopt;
      c = c << 6 | (next & 0x3Fu);
    }
    if (c < smallest[more] || !is_code_point(c)) return std::nullopt;
    text += c;
    i += more + 1;
  }
  return text;
}

Corpus read_corpus(const fs::path& path, const CorpusOptions& options) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw FileError(path.string(), error && error != std::errc::no_such_file_or_directory
                                       ? "cannot open: " + error.message()
                                       : "no such file or folder");
  }
  const bool is_folder = fs::is_directory(status);
  Corpus corpus;
  bool any_utf_8 = false;
  bool any_latin_1 = false;
  for (const fs::path& file : is_folder ? files_in(path, options) : std::vector{path}) {
    const std::string bytes = read_whole_file(file);
    const auto decoded = decode_file(bytes);
    if (!decoded && !is_folder) fail_binary(file, bytes);
    if (!decoded || decoded->text.empty()) continue;
    corpus.files.push_back(file);
    corpus.begins.push_back(corpus.text.size());
    corpus.text += decoded->text;
    (decoded->latin_1 ? any_latin_1 : any_utf_8) = true;
  }
  if (corpus.text.empty()) {
    throw FormatError(path.string(),
                      is_folder ? "no text in this folder (hidden files, build folders, empty and "
                                  "binary files are skipped)"
                                : "the file is empty; a text is needed");
  }
  corpus.encoding = any_utf_8 && any_latin_1 ? "UTF-8 and latin-1"
                    : any_latin_1            ? "latin-1"
                                             : "UTF-8";
  return corpus;
}

TextSplit split_corpus(const Corpus& corpus, double share) {
  if (!(share > 0 && share < 1)) fail("split_corpus", "the share must lie between 0 and 1");
  TextSplit split;
  for (std::size_t i = 0; i < corpus.begins.size(); ++i) {
    const std::size_t begin = corpus.begins[i];
    const bool is_last = i + 1 == corpus.begins.size();
    const std::size_t end = is_last ? corpus.text.size() : corpus.begins[i + 1];
    const auto text = std::u32string_view(corpus.text).substr(begin, end - begin);
    const auto held_out = static_cast<std::size_t>(share * static_cast<double>(text.size()));
    std::size_t cut = text.size() - held_out;
    // The next line is taken only if it leaves at least half of what was asked for.
    const std::size_t line_end = text.find(U'\n', cut == 0 ? 0 : cut - 1);
    if (line_end != text.npos && line_end + 1 <= cut + held_out / 2) cut = line_end + 1;
    split.training += text.substr(0, cut);
    split.held_out += text.substr(cut);
  }
  if (split.training.empty() || split.held_out.empty()) {
    fail("split_corpus", "a text of " + std::to_string(corpus.text.size()) +
                             " characters is too short to hold out a part of it");
  }
  return split;
}

Vocabulary::Vocabulary(std::u32string_view text) : characters_(text) {
  std::ranges::sort(characters_);
  characters_.erase(std::unique(characters_.begin(), characters_.end()), characters_.end());
  characters_.shrink_to_fit();
}

std::int64_t Vocabulary::id(char32_t character) const {
  const auto found = std::ranges::lower_bound(characters_, character);
  if (found == characters_.end() || *found != character) return unknown();
  return found - characters_.begin() + 1;
}

char32_t Vocabulary::character(std::int64_t id) const {
  if (id < 0 || id >= size()) {
    fail("Vocabulary::character", "id " + std::to_string(id) + " is outside [0, " +
                                      std::to_string(size()) + "): another vocabulary's?");
  }
  return id == unknown() ? replacement : characters_[static_cast<std::size_t>(id - 1)];
}

std::vector<std::int64_t> Vocabulary::encode(std::u32string_view text) const {
  std::vector<std::int64_t> ids;
  ids.reserve(text.size());
  for (const char32_t c : text) ids.push_back(id(c));
  return ids;
}

std::u32string Vocabulary::decode(std::span<const std::int64_t> ids) const {
  std::u32string text;
  text.reserve(ids.size());
  for (const std::int64_t id : ids) text += character(id);
  return text;
}

std::string Vocabulary::to_string() const { return to_utf8(characters_); }

Vocabulary Vocabulary::from_string(std::string_view text) {
  const auto characters = from_utf8(text);
  if (!characters) fail("Vocabulary::from_string", "not UTF-8");
  Vocabulary vocabulary(*characters);
  if (vocabulary.characters_ != *characters) {
    fail("Vocabulary::from_string", "the characters are not sorted and distinct");
  }
  return vocabulary;
}

}  // namespace unroll
