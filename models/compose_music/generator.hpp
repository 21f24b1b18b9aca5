// Melodies from a Markov chain of order 2, as ABC: what they are is known, and so is how well they can be
// predicted.
//
//   const MarkovTune tune = markov_tune(Key(3));
//   tune.text;             // "X:1\nM:3/4\nK:G\nGGBdBA|...|]\n"
//   tune.bits;             // -log2 of its probability: no model needs less on the average
//   markov_entropy();      // the same and the number of characters, expected
//
// Metre (3/4, 4/4 or 9/8) and key (C, D, G or A) are drawn evenly. Each note, one of seven letters and an
// eighth long, is drawn by the two before it and drawn to the tonic; bars are full; after each the
// tune ends with probability 1/8. Everything else is certain to who knows the metre.
#pragma once

#include <string>

#include "unroll/autograd/random.hpp"

namespace unroll {

struct MarkovTune {
  std::string text;  // without the empty line that ends a tune
  double bits = 0;
};

[[nodiscard]] MarkovTune markov_tune(const Key& key);

/// Means over all tunes: the entropy of one, and its characters, the empty line at its end counted. Their
/// quotient is the least bits per character that a model can reach on many tunes.
struct MarkovEntropy {
  double bits = 0, characters = 0;
  [[nodiscard]] double bits_per_character() const { return bits / characters; }
};
[[nodiscard]] MarkovEntropy markov_entropy();

/// p(next | before, last) of the seven letters "CDEFGAB" in a key whose tonic is letter number `tonic`.
[[nodiscard]] std::array<double, 7> markov_note_probabilities(std::size_t tonic, std::size_t before,
                                                              std::size_t last);

}  // namespace unroll
