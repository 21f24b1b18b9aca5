// Real text for character models: files to code points, and code points to ids.
//
//   const Corpus corpus = read_corpus("my_texts");                        // a file or a folder
//   const TextSplit split = split_corpus(corpus);
//   const Vocabulary vocabulary(split.training);
//   const auto training = vocabulary.encode(split.training);
//   const auto held_out = vocabulary.encode(split.held_out);
//
// Everything is deterministic: files are read in the order of their paths, ids are given in the
// order of the code points. No stretch of the held-out text is part of the training text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/autograd/error.hpp"

namespace unroll {

/// The UTF-8 form. Throws std::invalid_argument for what is no code point (surrogates included).
[[nodiscard]] std::string to_utf8(std::u32string_view text);

/// The code points, or nothing where the bytes are not UTF-8 (overlong forms, surrogates, ...).
[[nodiscard]] std::optional<std::u32string> from_utf8(std::string_view bytes);

/// The text of some files, one after the other.
struct Corpus {
  std::u32string text;
  std::vector<std::filesystem::path> files;
  std::vector<std::size_t> begins;  // where each file begins in the text
  std::string encoding;             // "UTF-8", "latin-1" or "UTF-8 and latin-1"
};

struct CorpusOptions {
  std::vector<std::string> skipped_names = {};  // files and folders inside a folder to leave out
};

/// Reads a file, or a folder with all its folders, sorted by path. In a folder these are skipped:
/// names that begin with a dot, symbolic links, build folders, empty and binary files. A file that
/// is not UTF-8 is taken as latin-1. Line ends become '\n', a byte order mark is dropped, and every
/// file ends with a line end. Throws FileError where something cannot be read, FormatError where
/// there is no text or the file is binary.
[[nodiscard]] Corpus read_corpus(const std::filesystem::path& path,
                                 const CorpusOptions& options = {});

struct TextSplit {
  std::u32string training;
  std::u32string held_out;
};

/// Holds out the end of every file: its last `share` (between 0 and 1), from the next line on where
/// one begins in time. So every kind of text in a folder is measured, and what is held out was
/// never part of a training window. (Text that the user has twice, in two files, may still be on
/// both sides.) Throws std::invalid_argument for a text so short that a side would be empty.
[[nodiscard]] TextSplit split_corpus(const Corpus& corpus, double share = 0.1);

/// The characters of a text and their ids: 0 for every character that is not among them, then
/// 1, 2, ... in the order of the code points.
class Vocabulary {
 public:
  explicit Vocabulary(std::u32string_view text);

  [[nodiscard]] std::int64_t size() const { return std::int64_t(characters_.size()) + 1; }
  [[nodiscard]] static constexpr std::int64_t unknown() { return 0; }

  [[nodiscard]] std::int64_t id(char32_t character) const;
  /// U+FFFD for the unknown; throws std::invalid_argument for an id outside [0, size()).
  [[nodiscard]] char32_t character(std::int64_t id) const;

  [[nodiscard]] std::vector<std::int64_t> encode(std::u32string_view text) const;
  [[nodiscard]] std::u32string decode(std::span<const std::int64_t> ids) const;

  /// The characters in order, as UTF-8; from_string(v.to_string()) == v.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] static Vocabulary from_string(std::string_view text);

  bool operator==(const Vocabulary&) const = default;

 private:
  std::u32string characters_;  // sorted, distinct
};

}  // namespace unroll
