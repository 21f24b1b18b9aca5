#include "unroll/models/compose_music/generator.hpp"

#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

namespace unroll {

namespace {

constexpr std::string_view letters = "CDEFGAB";
constexpr std::size_t notes = letters.size();
constexpr std::array<std::size_t, 4> tonics{0, 1, 4, 5};  // C, D, G, A
struct Metre {
  std::string_view name;
  Size eighths;
};
constexpr std::array<Metre, 3> metres{Metre{"3/4", 6}, Metre{"4/4", 8}, Metre{"9/8", 9}};
constexpr double end_probability = 1.0 / 8;

std::string header(const Metre& metre, std::size_t tonic) {
  return "X:1\nM:" + std::string(metre.name) + "\nK:" + letters[tonic] + "\n";
}
constexpr std::string_view last_bar_line = "|]\n";

// The place in p where a number in [0, 1) falls.
std::size_t choice(const std::array<double, notes>& p, double u) {
  std::size_t i = 0;
  while (i + 1 < notes && u >= p[i]) u -= p[i++];
  return i;
}

}  // namespace

std::array<double, 7> markov_note_probabilities(std::size_t tonic, std::size_t before,
                                                std::size_t last) {
  static const std::vector<double> table =
      normal<double>(Key(0x6d656c6f6479), {Size(notes), Size(notes), Size(notes)}, 0, 1.5)
          .to_vector();
  std::array<double, notes> p{};
  double sum = 0;
  for (std::size_t i = 0; i < notes; ++i) {
    p[i] = std::exp(table[(before * notes + last) * notes + i] + (i == tonic ? 1.0 : 0.0));
    sum += p[i];
  }
  for (double& x : p) x /= sum;
  return p;
}

MarkovTune markov_tune(const Key& key) {
  const auto [choices, draws] = split(key);
  const auto [first, second] = split(choices);
  const Metre& metre = metres[std::size_t(randint(first, {}, 0, metres.size())(0))];
  const std::size_t tonic = tonics[std::size_t(randint(second, {}, 0, tonics.size())(0))];
  MarkovTune tune{header(metre, tonic), std::log2(double(metres.size() * tonics.size()))};
  std::size_t before = tonic, last = tonic;
  for (std::uint64_t bar = 0;; ++bar) {
    const auto u = uniform<double>(fold_in(draws, bar), {metre.eighths + 1}).to_vector();
    for (std::size_t i = 0; i + 1 < u.size(); ++i) {
      const auto p = markov_note_probabilities(tonic, before, last);
      before = std::exchange(last, choice(p, u[i]));
      tune.text += letters[last];
      tune.bits -= std::log2(p[last]);
    }
    const bool ends = u.back() < end_probability;
    tune.bits -= std::log2(ends ? end_probability : 1 - end_probability);
    if (ends) break;
    tune.text += '|';
  }
  tune.text += last_bar_line;
  return tune;
}

MarkovEntropy markov_entropy() {
  const double go_on = 1 - end_probability;
  const double at_bar_line =
      -end_probability * std::log2(end_probability) - go_on * std::log2(go_on);
  MarkovEntropy mean;
  const double share = 1 / double(metres.size() * tonics.size());
  for (const Metre& metre : metres) {
    for (const std::size_t tonic : tonics) {
      // How probable each pair of last notes is, from note to note.
      std::vector<double> pairs(notes * notes, 0);
      pairs[tonic * notes + tonic] = 1;
      double bits = std::log2(1 / share);
      double characters = double(header(metre, tonic).size() + last_bar_line.size() + 1);
      for (double alive = 1; alive > 1e-15; alive *= go_on) {
        for (Size i = 0; i < metre.eighths; ++i) {
          std::vector<double> next(notes * notes, 0);
          for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
            const auto p = markov_note_probabilities(tonic, pair / notes, pair % notes);
            for (std::size_t n = 0; n < notes; ++n) {
              bits -= alive * pairs[pair] * p[n] * std::log2(p[n]);
              next[pair % notes * notes + n] += pairs[pair] * p[n];
            }
          }
          pairs = std::move(next);
        }
        bits += alive * at_bar_line;
        characters += alive * (double(metre.eighths) + go_on);
      }
      mean.bits += share * bits;
      mean.characters += share * characters;
    }
  }
  return mean;
}

}  // namespace unroll
