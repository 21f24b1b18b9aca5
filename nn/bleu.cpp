#include "unroll/nn/bleu.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

namespace unroll {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_point(char c) { return c == '.' || c == ','; }
bool is_dash(char c) { return c == '-'; }
bool is_no_digit(char c) { return !is_digit(c); }
// ASCII punctuation but for ' , - .
bool is_symbol(char c) {
  return c > ' ' && c <= '~' && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') &&
         !(c >= 'a' && c <= 'z') && c != '\'' && !is_point(c) && !is_dash(c);
}

// How many bytes of UTF-8 at `at` are one space; 0 if none is.
std::size_t space_bytes(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const unsigned a = byte(0);
  if ((a >= 9 && a <= 13) || (a >= 28 && a <= 32)) return 1;
  if (a == 0xC2 && (byte(1) == 0x85 || byte(1) == 0xA0)) return 2;
  if ((a & 0xF0) != 0xE0) return 0;
  const unsigned code = (a & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  const bool space = code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
                     code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
  return space ? 3 : 0;
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t space = space_bytes(text, i);
    if (space == 0) {
      if (!inside) out.emplace_back();
      out.back() += text[i];
    }
    inside = space == 0;
    i += std::max<std::size_t>(space, 1);
  }
  return out;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t i = text.find(from); i != text.npos; i = text.find(from, i + to.size())) {
    text.replace(i, from.size(), to);
  }
}

// Where a character of one kind is followed by one of the other, puts spaces: ones of a pair do not begin the next.
std::string space_pairs(std::string_view text, bool (*first)(char), bool (*second)(char),
                        const char* before, const char* after) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i + 1 < text.size() && first(text[i]) && second(text[i + 1])) {
      (out += before) += text[i];
      (out += ' ') += text[++i];
      out += after;
    } else {
      out += text[i];
    }
  }
  return out;
}

// How often each n-gram of length 1 to 4 occurs; tokens are joined by a character that is in none.
using Counts = std::map<std::string, Size>;
std::array<Counts, Bleu::longest> count_ngrams(const std::vector<std::string>& tokens) {
  std::array<Counts, Bleu::longest> counts;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string ngram;
    for (std::size_t n = 0; n < Bleu::longest && i + n < tokens.size(); ++n) {
      ngram += tokens[i + n] + '\n';
      ++counts[n][ngram];
    }
  }
  return counts;
}

}  // namespace

std::vector<std::string> tokenize_13a(std::string_view text) {
  // Spaces at the end go first, lest a dash before them join two lines.
  std::size_t end = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t space = space_bytes(text, i);
    i += std::max<std::size_t>(space, 1);
    if (space == 0) end = i;
  }
  std::string line(text.substr(0, end));
  constexpr std::array<std::array<std::string_view, 2>, 7> replacements{{{"<skipped>", ""},
                                                                         {"-\n", ""},
                                                                         {"\n", " "},
                                                                         {"&quot;", "\""},
                                                                         {"&amp;", "&"},
                                                                         {"&lt;", "<"},
                                                                         {"&gt;", ">"}}};
  for (const auto& [from, to] : replacements) replace_all(line, from, to);
  std::string apart = " ";
  for (const char c : line) {
    if (is_symbol(c)) {
      ((apart += ' ') += c) += ' ';
    } else {
      apart += c;
    }
  }
  apart += ' ';
  apart = space_pairs(apart, is_no_digit, is_point, "", " ");
  apart = space_pairs(apart, is_point, is_no_digit, " ", "");
  apart = space_pairs(apart, is_digit, is_dash, "", " ");
  return words(apart);
}

void Bleu::add(std::string_view translation, std::initializer_list<std::string_view> references) {
  std::vector<std::vector<std::string>> tokens;
  for (const std::string_view r : references) tokens.push_back(tokenize_13a(r));
  add_tokens(tokenize_13a(translation), tokens);
}

void Bleu::add(std::string_view translation, std::span<const std::string> references) {
  std::vector<std::vector<std::string>> tokens;
  for (const std::string& r : references) tokens.push_back(tokenize_13a(r));
  add_tokens(tokenize_13a(translation), tokens);
}

void Bleu::add_tokens(const std::vector<std::string>& translation,
                      std::span<const std::vector<std::string>> references) {
  if (references.empty()) fail("Bleu", "a translation needs at least one reference");
  const auto found = count_ngrams(translation);
  std::array<Counts, longest> most;  // of each n-gram in any one reference
  const Size own = static_cast<Size>(translation.size());
  Size closest = static_cast<Size>(references[0].size());
  for (const std::vector<std::string>& reference : references) {
    const Size n = static_cast<Size>(reference.size());
    const Size distance = std::abs(n - own), least = std::abs(closest - own);
    if (distance < least || (distance == least && n < closest)) closest = n;
    const auto counts = count_ngrams(reference);
    for (std::size_t k = 0; k < longest; ++k) {
      for (const auto& [ngram, count] : counts[k]) {
        Size& known = most[k][ngram];
        known = std::max(known, count);
      }
    }
  }
  for (std::size_t k = 0; k < longest; ++k) {
    for (const auto& [ngram, count] : found[k]) {
      total[k] += count;
      const auto place = most[k].find(ngram);
      if (place != most[k].end()) right[k] += std::min(count, place->second);
    }
  }
  length += own;
  reference_length += closest;
}

std::array<double, Bleu::longest> Bleu::precisions() const {
  std::array<double, longest> out{};
  if (right == std::array<Size, longest>{}) return out;
  double smoothing = 1;
  for (std::size_t k = 0; k < longest && total[k] > 0; ++k) {
    const double all = static_cast<double>(total[k]);
    out[k] =
        right[k] > 0 ? 100 * static_cast<double>(right[k]) / all : 100 / ((smoothing *= 2) * all);
  }
  return out;
}

double Bleu::brevity_penalty() const {
  if (length >= reference_length) return 1;
  if (length == 0) return 0;
  return std::exp(1 - static_cast<double>(reference_length) / static_cast<double>(length));
}

double Bleu::score() const {
  double logarithms = 0;
  for (const double p : precisions()) {
    if (p == 0) return 0;
    logarithms += std::log(p);
  }
  return brevity_penalty() * std::exp(logarithms / static_cast<double>(longest));
}

Bleu& Bleu::operator+=(const Bleu& other) {
  for (std::size_t k = 0; k < longest; ++k) {
    right[k] += other.right[k];
    total[k] += other.total[k];
  }
  length += other.length;
  reference_length += other.reference_length;
  return *this;
}

}  // namespace unroll
