// The linear-chain conditional random field: a distribution over sequences of tags in which
// neighbours know of each other.
//
//   auto crf = Crf<float>::make(Key(1), names.size());
//   crf.allowed = iob2_constraints<float>(names);         // "O", "B-PER", "I-PER", ...
//   Var<float> loss = crf.loss(emissions, tags, lengths); // emissions [T, B, K], tags [T, B]
//   auto best = crf.decode(emissions, lengths);           // best.tags [T, B], best.scores [B]
//
// For one sequence of emissions e (Lafferty et al., 2001; Lample et al., 2016):
//   score(y) = start[y_1] + Σ_t e_t[y_t] + Σ_t transitions[y_t-1, y_t] + end[y_T]
//   p(y) = exp(score(y) - log Z),   Z = Σ over all K^T sequences of exp(score)
// Composites of recorded ops: the gradient of log Z, the marginals, emerges from the tape; any
// order of derivative. Without lengths all sequences have T steps; with them (Indices [B], each in
// 1..T) what lies behind a sequence's end has no influence and no gradient. Invariant: a forbidden
// transition has probability exactly 0 and no gradient. Where all sequences of tags are impossible
// (everything forbidden, or emissions of -inf), log Z and scores are -inf with zero gradient; so is
// the log-likelihood of a forbidden sequence of tags.
#pragma once

#include <string>

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/random.hpp"

namespace unroll {

// What may follow what: 1 allowed, 0 forbidden.
template <FloatOrDouble T>
struct TagConstraints {
  Var<T> transitions;  // [K, K], from the row's tag to the column's
  Var<T> start;        // [K]
  Var<T> end;          // [K]
  static constexpr auto fields() {
    return std::tuple{constant("transitions", &TagConstraints::transitions),
                      constant("start", &TagConstraints::start),
                      constant("end", &TagConstraints::end)};
  }
};

// Those of the tagging schemes, from the tags' names. IOB2: I-x follows B-x or I-x only. BIOES:
// moreover what B-x begins must go on with I-x and end with E-x, and S-x stands alone. Throws for a
// name that is neither "O" nor a letter of the scheme, "-", and a type.
template <FloatOrDouble T>
[[nodiscard]] TagConstraints<T> iob2_constraints(const std::vector<std::string>& names);
template <FloatOrDouble T>
[[nodiscard]] TagConstraints<T> bioes_constraints(const std::vector<std::string>& names);

template <FloatOrDouble T>
struct TagPaths {
  Indices tags;   // [T, B]; -1 behind a sequence's end, and where all paths are impossible
  Var<T> scores;  // [B], of these paths; a constant
};

template <FloatOrDouble T>
struct Crf {
  Var<T> transitions;  // [K, K], from the row's tag to the column's
  Var<T> start;        // [K]
  Var<T> end;          // [K]
  std::optional<TagConstraints<T>> allowed = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{field("transitions", &Crf::transitions), field("start", &Crf::start),
                      field("end", &Crf::end), constant("allowed", &Crf::allowed)};
  }

  // All evenly over ±0.1.
  [[nodiscard]] static Crf make(const Key& key, Size tags) {
    const auto k = split<3>(key);
    return {uniform<T>(k[0], {tags, tags}, -0.1, 0.1), uniform<T>(k[1], {tags}, -0.1, 0.1),
            uniform<T>(k[2], {tags}, -0.1, 0.1)};
  }

  using Lengths = std::optional<Indices>;  // [B]

  // Each [B]. The tags behind a sequence's end may be anything; all others must be in [0, K).
  [[nodiscard]] Var<T> score(const Var<T>& emissions, const Indices& tags,
                             const Lengths& lengths = {}) const;
  [[nodiscard]] Var<T> log_partition(const Var<T>& emissions, const Lengths& lengths = {}) const;
  // log p(tags)
  [[nodiscard]] Var<T> log_likelihood(const Var<T>& emissions, const Indices& tags,
                                      const Lengths& lengths = {}) const;
  // The mean of -log p over the batch.
  [[nodiscard]] Var<T> loss(const Var<T>& emissions, const Indices& tags,
                            const Lengths& lengths = {}) const {
    return -mean(log_likelihood(emissions, tags, lengths));
  }
  // The probability of each tag at each step, [T, B, K]: ∂ log Z / ∂ emissions. 0 in padding.
  [[nodiscard]] Var<T> marginals(const Var<T>& emissions, const Lengths& lengths = {}) const;
  // The most probable sequences (Viterbi, 1967); of equals the one whose last tags come first.
  [[nodiscard]] TagPaths<T> decode(const Var<T>& emissions, const Lengths& lengths = {}) const;
};

extern template struct Crf<float>;
extern template struct Crf<double>;

}  // namespace unroll
