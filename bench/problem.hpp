// What one training step is measured on: sizes, inputs, labels and weights, the same numbers for every implementation and
// both element types. Knows nothing of the library, so that programs over other libraries can use it.
//
//   const auto problem = make_problem<float>({16, 1, 50});              // H, B, T
//   const auto weights = make_weights<float>(16, /*gates=*/4, /*inner_bias=*/false);
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace unroll::bench {

constexpr std::int64_t classes = 64;

struct Case {
  std::int64_t H = 16, B = 1, T = 50;
};
// "H,B,T", or "H,B" for one step.
inline std::optional<Case> parse_case(const std::string& text) {
  long h = 0, b = 0, t = 1;
  const int read = std::sscanf(text.c_str(), "%ld,%ld,%ld", &h, &b, &t);
  if (read < 2 || h < 1 || b < 1 || t < 1) return std::nullopt;
  return Case{h, b, t};
}
// The cases of a command line, for batches that are split over `threads` tapes. A mistyped one is named on standard error.
inline std::optional<std::vector<Case>> parse_cases(const std::vector<std::string>& texts,
                                                    std::int64_t threads) {
  std::vector<Case> cases;
  for (const std::string& text : texts) {
    const auto c = parse_case(text);
    if (!c || c->B < threads) {
      std::fprintf(stderr, "--case wants H,B,T with B >= --threads, not \"%s\"\n", text.c_str());
      return std::nullopt;
    }
    cases.push_back(*c);
  }
  return cases;
}
// What --cell names: one of the cells, or all.
inline std::vector<std::string> parse_cells(const std::string& cell) {
  if (cell == "all") return {"elman", "lstm", "gru"};
  return {cell};
}

// U [gates·H, H], W [gates·H, H], b [gates·H]; bn [H] is the GRU's inner bias, empty elsewhere; V [classes, H], c [classes].
template <class T>
struct Weights {
  std::vector<T> U, W, b, bn, V, c;
  template <class F>
  void each(F&& f) {
    f(U), f(W), f(b), f(bn), f(V), f(c);
  }
};

template <class T>
struct Problem {
  Case size;
  std::vector<T> xs;                 // [T, B, H]
  std::vector<std::int64_t> labels;  // [T, B]
};

class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : generator_(seed) {}
  double operator()(double bound) {
    return bound * (static_cast<double>(generator_() >> 11) * 0x1p-52 - 1);
  }
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(generator_() % static_cast<std::uint64_t>(n));
  }

 private:
  std::mt19937_64 generator_;
};

template <class T>
Problem<T> make_problem(const Case& size) {
  Numbers numbers(1);
  Problem<T> p{size, {}, {}};
  const std::int64_t rows = size.T * size.B;
  for (std::int64_t i = 0; i < rows * size.H; ++i) p.xs.push_back(static_cast<T>(numbers(1)));
  for (std::int64_t i = 0; i < rows; ++i) p.labels.push_back(numbers.below(classes));
  return p;
}

// The sequences [first, first + count) of the batch.
template <class T>
Problem<T> part_of(const Problem<T>& whole, std::int64_t first, std::int64_t count) {
  const Case& s = whole.size;
  Problem<T> p{{s.H, count, s.T}, {}, {}};
  for (std::int64_t t = 0; t < s.T; ++t) {
    const std::int64_t row = t * s.B + first;
    p.xs.insert(p.xs.end(), whole.xs.begin() + row * s.H, whole.xs.begin() + (row + count) * s.H);
    p.labels.insert(p.labels.end(), whole.labels.begin() + row, whole.labels.begin() + row + count);
  }
  return p;
}

template <class T>
Weights<T> make_weights(std::int64_t H, std::int64_t gates, bool inner_bias) {
  Numbers numbers(2);
  const double bound = 1 / std::sqrt(static_cast<double>(H));
  const auto some = [&](std::int64_t n) {
    std::vector<T> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<T>(numbers(bound)));
    return v;
  };
  return {some(gates * H * H),      some(gates * H * H), some(gates * H),
          some(inner_bias ? H : 0), some(classes * H),   some(classes)};
}

}  // namespace unroll::bench
