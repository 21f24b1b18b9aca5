// The body of an ABC tune, line by line: a part of the reader (abc.hpp).
#pragma once

#include <array>
#include <optional>

#include "unroll/models/data/abc.hpp"

namespace unroll::detail {

[[nodiscard]] std::string_view trimmed(std::string_view text);
/// 'K' for "K:G": a line of this kind is a field; not "A:|", which is a note before a repeat.
[[nodiscard]] std::optional<char> abc_field(std::string_view line);

class AbcMusic {
 public:
  AbcMusic(AbcTune& tune, const std::string& file) : tune_(tune), file_(file) {}

  /// A field of the header or the body. Throws DataError.
  void field(char name, std::string_view value, std::int64_t line);
  /// A line of music without its comment. Throws DataError.
  void music(std::string_view line, std::int64_t number);
  void end();

 private:
  struct Length {
    Size numerator = 1, denominator = 1;
    void times(Size n, Size d) {
      numerator *= n;
      denominator *= d;
    }
  };

  [[noreturn]] void reject(std::string_view expected) const;
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  [[nodiscard]] bool take(char c);
  std::size_t skip_to(char close, std::string_view what);
  Size number(Size highest, std::string_view what);
  Length length();
  [[nodiscard]] Size unit() const;

  void element();
  void symbol_in_bar(char c);
  void bar_line();
  void ending();
  void bracket();
  void parenthesis();
  void broken_rhythm();
  void tie();
  int pitch();
  void note();
  void rest();
  void bars_of_rest();
  void add(std::vector<int> pitches, const Length& written);
  void close_bar(bool closes_repeat, bool opens_repeat, bool section);

  AbcTune& tune_;
  const std::string& file_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::int64_t line_ = 0;

  Size metre_ = 0, unit_ = 0;
  bool compound_ = false;           // of the metre: 6/8, 9/8, 12/8 and their like
  std::array<int, 7> signature_{};  // what the key does to each letter
  AbcBar bar_;
  std::array<std::optional<int>, 7> accidentals_{};  // in this bar, of a letter in all octaves
  std::array<std::optional<int>, 7> before_{};       // the last ones in the bars before
  struct {
    Size left = 0, numerator = 1, denominator = 1;
  } tuplet_;
  std::optional<Length> next_factor_;  // of broken rhythm
  bool may_break_ = false;             // whether > or < may follow
};

}  // namespace unroll::detail
