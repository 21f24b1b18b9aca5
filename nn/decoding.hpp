// From a model of the next token to whole sequences: greedily, by drawing, or by beam search.
//
//   const auto step = [&](const Indices& tokens, const State& s) { ...; return std::pair{logits, next}; };
//   auto texts = sample(first, state, step, Key(1), {.temperature = 0.7, .top_p = 0.9}, {.max_length = 80});
//   auto best = beam_search(first, state, step, {.beam = 8}, {.max_length = 80, .end = 2});
//   best[b][0].tokens;                       // the best for sequence b
//
// A step takes the last token of each row, [R], and a state, and gives a std::pair of logits or
// log-probabilities [R, K] (log_softmax, which is applied to them, leaves log-probabilities as they
// are) and the next state: a callable, or a struct with such a member `step`. A state is any tree
// whose Vars have the rows as their first axis (those without axes belong to all rows). R is the
// number B of sequences, in a beam search B · beam, those of one sequence together. `first` holds
// the B tokens that are fed first; they are no part of the results.
// Invariant: a state is kept, copied and rewound as handles (take_rows copies rows, once a step);
// what was generated is a chain of back-pointers, never copied.
#pragma once

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/nn/state.hpp"

namespace unroll {

struct DecodingLimits {
  Size max_length = 100;  // tokens, the end token counted
  std::optional<std::int64_t> end =
      std::nullopt;  // what ends a sequence; without: the length alone
};

struct Hypothesis {
  std::vector<std::int64_t> tokens;  // without the end token
  double log_probability = 0;        // of all of them under the model, the end token included
  double score = 0;                  // by which a beam search orders; otherwise log_probability
  bool ended = false;                // by the end token, not by max_length
};

// ---- drawing -----------------------------------------------------------------------------------

// How the distribution over tokens is changed before one is drawn, in this order.
struct LogitFilter {
  double temperature = 1;  // logits / temperature
  Size top_k = 0;          // only the k likeliest; 0: all
  double top_p = 1;        // only the likeliest whose probabilities together reach p (the nucleus,
                           // Holtzman et al., 2020): the fewest that do, at least one
};
// Logits [..., K] in which what is not to be drawn is -inf; of equals the first stay. A constant.
template <FloatOrDouble T>
[[nodiscard]] Var<T> filter_logits(const Var<T>& logits, const LogitFilter& filter);

namespace detail {

template <class Step, class State>
auto decoder_step(const Step& step, const Indices& tokens, const State& state) {
  if constexpr (requires { step.step(tokens, state); }) {
    return step.step(tokens, state);
  } else {
    return step(tokens, state);
  }
}

// What was chosen at one place, and what before it: places are never changed, so sequences that
// begin alike share their beginning.
class TokenHistory {
 public:
  static constexpr Size none = -1;
  Size add(std::int64_t token, Size before);
  [[nodiscard]] std::vector<std::int64_t> tokens(Size last) const;

 private:
  struct Place {
    std::int64_t token;
    Size before;
  };
  std::vector<Place> places_;
};

// Sequences one token at a time, without a choice between them.
class Generation {
 public:
  Generation(const Indices& first, const DecodingLimits& limits);
  [[nodiscard]] bool done() const;
  [[nodiscard]] const Indices& tokens() const { return tokens_; }
  // log_probabilities [B, K]; chosen [B].
  template <FloatOrDouble T>
  void advance(const Var<T>& log_probabilities, const Indices& chosen);
  [[nodiscard]] std::vector<Hypothesis> results() && { return std::move(results_); }

 private:
  DecodingLimits limits_;
  Indices tokens_;
  std::vector<Hypothesis> results_;
  Size length_ = 0;
};

// choose(log-probabilities [B, K], position) -> Indices [B]
template <class State, class Step, class Choose>
std::vector<Hypothesis> generate(const Indices& first, State state, const Step& step,
                                 const DecodingLimits& limits, const Choose& choose) {
  Generation generation(first, limits);
  for (std::uint64_t position = 0; !generation.done(); ++position) {
    auto [scores, next] = decoder_step(step, generation.tokens(), state);
    const auto log_probabilities = log_softmax(stop_gradient(scores));
    generation.advance(log_probabilities, choose(log_probabilities, position));
    state = std::move(next);
  }
  return std::move(generation).results();
}

}  // namespace detail

// The likeliest token at each place (of equals the first), for each sequence.
template <Tree State, class Step>
[[nodiscard]] std::vector<Hypothesis> greedy_search(const Indices& first, const State& state,
                                                    const Step& step,
                                                    const DecodingLimits& limits = {}) {
  return detail::generate(first, state, step, limits,
                          [](const auto& p, std::uint64_t) { return argmax(p); });
}

// A token drawn at each place; the log-probabilities are those of the model, unfiltered.
template <Tree State, class Step>
[[nodiscard]] std::vector<Hypothesis> sample(const Indices& first, const State& state,
                                             const Step& step, const Key& key,
                                             const LogitFilter& filter = {},
                                             const DecodingLimits& limits = {}) {
  return detail::generate(first, state, step, limits, [&](const auto& p, std::uint64_t position) {
    return categorical(fold_in(key, position), filter_logits(p, filter));
  });
}

// ---- beam search -------------------------------------------------------------------------------

struct BeamOptions {
  Size beam = 4;
  // Hypotheses are ordered by log p(Y) / ((5 + |Y|) / 6)^length_penalty, |Y| counting the end token
  // (Wu et al., 2016, equation 14). 0: by log p, which favours short ones.
  double length_penalty = 0;
  Size n_best = 1;  // how many are handed back, at most `beam`
};

namespace detail {

class BeamSearch {
 public:
  BeamSearch(const Indices& first, const BeamOptions& options, const DecodingLimits& limits);
  [[nodiscard]] bool done() const;
  // What each row is fed, and the row of the last step from which its state comes: [B · beam].
  [[nodiscard]] Indices tokens() const;
  [[nodiscard]] Indices rows() const;
  // log_probabilities [B · beam, K].
  template <FloatOrDouble T>
  void advance(const Var<T>& log_probabilities);
  [[nodiscard]] std::vector<std::vector<Hypothesis>> best() const;

 private:
  struct Row {
    double log_probability, score;
    Size length, last;  // the number of tokens, and the place of the last
    std::int64_t token;
    Size from;
    bool alive, ended;
  };
  double score(double log_probability, Size length) const;
  bool settled(Size sequence) const;
  Row dead(Size sequence) const;
  template <class T>
  std::vector<Row> candidates(Size sequence, std::span<const T> log_probabilities) const;

  BeamOptions options_;
  DecodingLimits limits_;
  Indices first_;
  TokenHistory history_;
  std::vector<Row> rows_;  // those of a sequence best first
  Size length_ = 0;
};

}  // namespace detail

// The n best hypotheses that were found for each sequence, best first. At each place the `beam` best
// are kept among all continuations of those without an end, and those that have ended; what has no
// end at max_length takes part as it is. Never returned is what has probability 0. The search of a
// sequence stops where nothing unfinished can get among its n best any more. A beam of 1 is greedy.
template <Tree State, class Step>
[[nodiscard]] std::vector<std::vector<Hypothesis>> beam_search(const Indices& first,
                                                               const State& state, const Step& step,
                                                               const BeamOptions& options = {},
                                                               const DecodingLimits& limits = {}) {
  detail::BeamSearch search(first, options, limits);
  State rows = take_rows(state, search.rows());
  while (!search.done()) {
    const auto [scores, next] = detail::decoder_step(step, search.tokens(), rows);
    search.advance(log_softmax(stop_gradient(scores)));
    rows = take_rows(next, search.rows());
  }
  return search.best();
}

}  // namespace unroll
