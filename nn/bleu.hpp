// BLEU: how many n-grams of a translation stand in a reference too (Papineni et al., 2002), as sacreBLEU computes it.
//
//   Bleu bleu;
//   bleu.add("The dog bit the man.", {"The dog had bit the man.", "A dog bit the man."});
//   bleu.score();                              // 0 to 100, of all that was added
//
// The score of a corpus, not the mean of its sentences': 100 · brevity · (p1 p2 p3 p4)^(1/4), p_n the precision of
// n-grams of length n, counted at most as often as one reference has them. A p_n of 0 is smoothed to
// 1 / (2^i · n-grams), i counting such n ("exp" in sacreBLEU, its default; Chen & Cherry, 2014, method 3).
// brevity = exp(1 - r / c) where the translations' c tokens are fewer than r, the sum of the closest references' lengths.
// A corpus none of whose translations has 4 tokens scores 0, and so does one without a common token.
#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/autograd/shape.hpp"

namespace unroll {

// The tokens of mteval-v13a: punctuation apart, but for points, commas and dashes inside numbers; the entities
// &quot; &amp; &lt; &gt; as characters. Text is UTF-8, of whose spaces all separate words.
[[nodiscard]] std::vector<std::string> tokenize_13a(std::string_view text);

struct Bleu {
  static constexpr std::size_t longest = 4;
  std::array<Size, longest> right{}, total{};  // n-grams of length 1 to 4
  Size length = 0, reference_length = 0;       // tokens

  // A translation and what it might have been; throws without a reference.
  void add(std::string_view translation, std::initializer_list<std::string_view> references);
  void add(std::string_view translation, std::span<const std::string> references);
  // The same of texts that are split into tokens already.
  void add_tokens(const std::vector<std::string>& translation,
                  std::span<const std::vector<std::string>> references);

  [[nodiscard]] double score() const;
  [[nodiscard]] std::array<double, longest> precisions() const;  // smoothed, 0 to 100
  [[nodiscard]] double brevity_penalty() const;
  Bleu& operator+=(const Bleu& other);
};

}  // namespace unroll
