// Decoding against exhaustive search, a plain beam over copied histories, and the distributions drawn from.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unroll/nn/attention.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/decoding.hpp"

using namespace unroll;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using Tokens = std::vector<std::int64_t>;

// A random recurrent model over `words` tokens: what comes next depends on all that came before.
struct History {
  Var<double> table, readout;
  Elman<double> cell;

  explicit History(std::uint64_t seed, Size words = 3) {
    const auto k = split<3>(Key(seed));
    table = normal<double>(k[0], {words, 4});
    readout = normal<double>(k[1], {words, 5}, 0, 2);
    cell = Elman<double>::make(k[2], 4, 5);
  }
  std::pair<Var<double>, Var<double>> step(const Indices& tokens, const Var<double>& state) const {
    const Var<double> next = cell(take(table, tokens), state);
    return {linear(next, readout), next};
  }
  // log p(token | first, history...), each computed from the beginning.
  std::vector<double> next(std::int64_t first, const Tokens& history,
                           const Var<double>& initial) const {
    Var<double> state = initial;
    Tokens fed{first};
    fed.insert(fed.end(), history.begin(), history.end());
    Var<double> logits;
    for (const std::int64_t token : fed) {
      std::tie(logits, state) = step(Indices({1}, {token}), state);
    }
    return log_softmax(logits).to_vector();
  }
};

constexpr std::int64_t end_token = 1;

double penalised(double log_probability, std::size_t length, double alpha) {
  return log_probability / std::pow((5.0 + static_cast<double>(length)) / 6.0, alpha);
}

// Every sequence that ends, and every one of four tokens that does not, best first.
std::vector<Hypothesis> exhaustive(const History& model, std::int64_t first,
                                   const Var<double>& initial, double alpha) {
  std::vector<Hypothesis> out;
  const auto visit = [&](const auto& self, const Tokens& history, double p) -> void {
    if (history.size() == 4) {
      out.push_back({history, p, penalised(p, 4, alpha), false});
      return;
    }
    const auto next = model.next(first, history, initial);
    for (std::int64_t k = 0; k < 3; ++k) {
      const double q = p + next[static_cast<std::size_t>(k)];
      if (k == end_token) {
        out.push_back({history, q, penalised(q, history.size() + 1, alpha), true});
        continue;
      }
      Tokens longer = history;
      longer.push_back(k);
      self(self, longer, q);
    }
  };
  visit(visit, {}, 0);
  std::ranges::sort(out, [](const auto& a, const auto& b) { return a.score > b.score; });
  return out;
}

// A beam search that copies histories and computes each state from the beginning.
std::vector<Hypothesis> plain_beam(const History& model, std::int64_t first,
                                   const Var<double>& initial, std::size_t beam, double alpha,
                                   std::size_t max_length) {
  std::vector<Hypothesis> kept{{}};
  for (std::size_t length = 1; length <= max_length; ++length) {
    std::vector<Hypothesis> all;
    for (const Hypothesis& h : kept) {
      if (h.ended) {
        all.push_back(h);
        continue;
      }
      const auto next = model.next(first, h.tokens, initial);
      for (std::size_t k = 0; k < next.size(); ++k) {
        Hypothesis longer = h;
        longer.log_probability += next[k];
        longer.score = penalised(longer.log_probability, length, alpha);
        longer.ended = static_cast<std::int64_t>(k) == end_token;
        if (!longer.ended) longer.tokens.push_back(static_cast<std::int64_t>(k));
        all.push_back(longer);
      }
    }
    std::ranges::sort(all, [](const auto& a, const auto& b) { return a.score > b.score; });
    all.resize(std::min(beam, all.size()));
    kept = all;
  }
  return kept;
}

void check_same(const std::vector<Hypothesis>& a, const std::vector<Hypothesis>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].tokens == b[i].tokens);
    CHECK(a[i].ended == b[i].ended);
    CHECK(std::abs(a[i].log_probability - b[i].log_probability) < 1e-12);
    CHECK(std::abs(a[i].score - b[i].score) < 1e-12);
  }
}

// Logits that are the same whatever was generated; the state counts the steps.
auto constant_step(const Var<double>& logits) {
  return [logits](const Indices& tokens, const Var<double>& steps) {
    return std::pair{broadcast_to(logits, {tokens.size(), logits.size()}), steps + 1.0};
  };
}

}  // namespace

TEST_CASE("A beam that is wide enough is exhaustive search") {
  for (const double alpha : {0.0, 0.6, 2.0}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const History model(seed);
      const Indices first({2}, {0, 2});
      const Var<double> state = normal<double>(Key(seed + 100), {2, 5});
      const auto found =
          beam_search(first, state, model, {.beam = 40, .length_penalty = alpha, .n_best = 40},
                      {.max_length = 4, .end = end_token});
      for (Size b = 0; b < 2; ++b) {
        const auto all = exhaustive(model, first(b), slice(state, 0, {b, b + 1}), alpha);
        CHECK(all.size() == 31);
        check_same(found[static_cast<std::size_t>(b)], all);
      }
    }
  }
}

TEST_CASE("A narrow beam is that of copied histories, for each sequence of the batch") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const History model(seed, 6);
    const Indices first({3}, {0, 5, 2});
    const Var<double> state = normal<double>(Key(seed + 200), {3, 5});
    for (const Size beam : {1, 2, 3, 7}) {
      for (const double alpha : {0.0, 1.0}) {
        const auto found = beam_search(first, state, model,
                                       {.beam = beam, .length_penalty = alpha, .n_best = beam},
                                       {.max_length = 9, .end = end_token});
        const auto one = beam_search(first, state, model, {.beam = beam, .length_penalty = alpha},
                                     {.max_length = 9, .end = end_token});
        for (Size b = 0; b < 3; ++b) {
          const auto plain = plain_beam(model, first(b), slice(state, 0, {b, b + 1}),
                                        static_cast<std::size_t>(beam), alpha, 9);
          check_same(found[static_cast<std::size_t>(b)], plain);
          // Stopping early changes nothing.
          check_same(one[static_cast<std::size_t>(b)], {plain[0]});
        }
      }
    }
  }
}

TEST_CASE("Greedy decoding is a beam of one") {
  bool ended = false, cut = false;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const History model(seed, 5);
    const Indices first({2}, {0, 3});
    const Var<double> state = normal<double>(Key(seed + 300), {2, 5});
    const DecodingLimits limits{.max_length = 6, .end = end_token};
    const auto a = greedy_search(first, state, model, limits);
    const auto b = beam_search(first, state, model, {.beam = 1}, limits);
    for (std::size_t i = 0; i < 2; ++i) {
      check_same({a[i]}, b[i]);
      (a[i].ended ? ended : cut) = true;
      CHECK(a[i].tokens.size() <= (a[i].ended ? 5 : 6));
    }
  }
  CHECK(ended);
  CHECK(cut);
}

TEST_CASE("A search stops where nothing can change any more, and takes impossible tokens never") {
  Size steps = 0;
  const auto step = [&](const Indices& tokens, const Var<double>& state) {
    ++steps;
    return std::pair{broadcast_to(Var<double>({3}, {-infinity, 3, 0}), {tokens.size(), 3}), state};
  };
  const auto found = beam_search(Indices({1}, {0}), zeros<double>({1, 1}), step,
                                 {.beam = 3, .n_best = 3}, {.max_length = 50, .end = 1});
  CHECK(found[0].size() == 3);
  CHECK(found[0][0].tokens.empty());
  CHECK(found[0][1].tokens == Tokens{2});
  CHECK(found[0][2].tokens == Tokens{2, 2});
  CHECK(steps == 3);
  const auto none = beam_search(Indices({1}, {0}), zeros<double>({1, 1}),
                                constant_step(Var<double>({2}, {-infinity, 0})),
                                {.beam = 2, .n_best = 2}, {.max_length = 3});
  CHECK(none[0].size() == 1);
  CHECK(none[0][0].tokens == Tokens{1, 1, 1});
  CHECK(none[0][0].log_probability == 0);
}

TEST_CASE("A length penalty makes longer hypotheses win") {
  // Ending at once has probability 0.525; going on has 0.475 and then ends with certainty.
  const auto step = [](const Indices& tokens, const Var<double>& state) {
    std::vector<double> logits;
    for (const std::int64_t token : tokens.values()) {
      logits.insert(logits.end(), {0, token == 1 ? -infinity : -0.1});
    }
    return std::pair{Var<double>({tokens.size(), 2}, logits), state};
  };
  const auto best = [&](double alpha) {
    return beam_search(Indices({1}, {0}), zeros<double>({1, 1}), step,
                       {.beam = 2, .length_penalty = alpha}, {.max_length = 5, .end = 0})[0][0];
  };
  CHECK(best(0).tokens.empty());
  CHECK(best(1).tokens == Tokens{1});
  const double p = -0.1 - std::log(1 + std::exp(-0.1));
  CHECK(std::abs(best(1).score - p / (7.0 / 6.0)) < 1e-15);
}

TEST_CASE("Drawn tokens have the model's frequencies, and log-probabilities") {
  const Var<double> logits({4}, {0.3, -1, 1.2, 0});
  const Size rows = 20000;
  const auto drawn = sample(Indices(Tokens(rows, 0)), zeros<double>({rows, 1}),
                            constant_step(logits), Key(5), {}, {.max_length = 2});
  const auto log_p = log_softmax(logits).to_vector();
  std::vector<double> count(16, 0);
  for (const Hypothesis& h : drawn) {
    REQUIRE(h.tokens.size() == 2);
    const std::size_t a = static_cast<std::size_t>(h.tokens[0]);
    const std::size_t b = static_cast<std::size_t>(h.tokens[1]);
    ++count[4 * a + b];
    CHECK(std::abs(h.log_probability - log_p[a] - log_p[b]) < 1e-14);
  }
  double chi_square = 0;  // over pairs: also the steps must be independent
  for (std::size_t i = 0; i < 16; ++i) {
    const double expected = static_cast<double>(rows) * std::exp(log_p[i / 4] + log_p[i % 4]);
    chi_square += (count[i] - expected) * (count[i] - expected) / expected;
  }
  CHECK(chi_square < 37.7);  // 15 degrees of freedom: 0.1 %
}

TEST_CASE("Temperature divides the logits; the same key draws the same") {
  const History model(3, 6);
  const Indices first({2}, {0, 4});
  const Var<double> state = zeros<double>({2, 5});
  const auto a = sample(first, state, model, Key(1), {.temperature = 0.01}, {.max_length = 7});
  const auto b = greedy_search(first, state, model, {.max_length = 7});
  const auto c = sample(first, state, model, Key(1), {}, {.max_length = 7});
  const auto d = sample(first, state, model, Key(1), {}, {.max_length = 7});
  for (std::size_t i = 0; i < 2; ++i) {
    check_same({a[i]}, {b[i]});
    check_same({c[i]}, {d[i]});
  }
  CHECK(filter_logits(Var<double>({2}, {1, 3}), {.temperature = 2}).to_vector() ==
        std::vector<double>{0.5, 1.5});
}

TEST_CASE("Top-k and nucleus keep the sets that they should") {
  const Var<double> logits = log(Var<double>({2, 4}, {0.1, 0.5, 0.3, 0.1, 0.25, 0.25, 0.25, 0.25}));
  const auto support = [&](const LogitFilter& filter) {
    const Var<double> kept = filter_logits(logits, filter);
    std::string out;
    const auto before = logits.to_vector(), after = kept.to_vector();
    for (std::size_t i = 0; i < 8; ++i) {
      if (after[i] != -infinity) CHECK(after[i] == before[i] / filter.temperature);
      out += after[i] == -infinity ? '.' : 'x';
    }
    return out;
  };
  CHECK(support({}) == "xxxxxxxx");
  CHECK(support({.top_k = 1}) == ".x..x...");
  CHECK(support({.top_k = 3}) == "xxx.xxx.");
  CHECK(support({.top_k = 9}) == "xxxxxxxx");
  CHECK(support({.top_p = 0.4}) == ".x..xx..");
  CHECK(support({.top_p = 0.6}) == ".xx.xxx.");
  CHECK(support({.top_p = 0.85}) == "xxx.xxxx");
  CHECK(support({.top_p = 1e-9}) == ".x..x...");
  // Among the two that top-k leaves, the first has 5/8 and 1/2.
  CHECK(support({.top_k = 2, .top_p = 0.6}) == ".x..xx..");
  // At temperature 1/2 the first row's probabilities are 1 : 25 : 9 : 1.
  CHECK(support({.temperature = 0.5, .top_p = 0.9}).substr(0, 4) == ".xx.");
  const auto drawn = sample(Indices(Tokens(500, 0)), zeros<double>({500, 1}),
                            constant_step(log(Var<double>({4}, {0.1, 0.5, 0.3, 0.1}))), Key(2),
                            {.top_p = 0.6}, {.max_length = 1});
  for (const Hypothesis& h : drawn) CHECK((h.tokens[0] == 1 || h.tokens[0] == 2));
}

TEST_CASE("The rows of a state are taken through its whole tree") {
  const std::tuple state{LstmState<double>{Var<double>({3, 1}, {0, 1, 2}), arange<double>(3)},
                         std::vector{Var<double>(7.0)}};
  const auto taken = take_rows(state, Indices({4}, {2, 2, 0, 1}));
  CHECK(std::get<0>(taken).h.to_vector() == std::vector<double>{2, 2, 0, 1});
  CHECK(std::get<0>(taken).h.shape() == Shape{4, 1});
  CHECK(std::get<0>(taken).c.to_vector() == std::vector<double>{2, 2, 0, 1});
  CHECK(std::get<1>(taken)[0].item() == 7);
  // A constant part of it goes along.
  const AttentionMemory<double> memory{zeros<double>({2, 1, 1}), zeros<double>({2, 1, 1}),
                                       Var<double>({2, 1}, {3, 4})};
  CHECK(take_rows(memory, Indices({2}, {1, 1})).mask->to_vector() == std::vector<double>{4, 4});
}

TEST_CASE("Decoding nothing gives nothing, and what does not fit is refused") {
  const auto step = constant_step(Var<double>({2}, {0, 1}));
  const Var<double> state = zeros<double>({1, 1});
  const Indices one({1}, {0});
  CHECK(greedy_search(one, state, step, {.max_length = 0})[0].tokens.empty());
  CHECK(beam_search(one, state, step, {}, {.max_length = 0})[0][0].tokens.empty());
  CHECK(greedy_search(Indices(), zeros<double>({0, 1}), step).empty());
  CHECK(beam_search(Indices(), zeros<double>({0, 1}), step).empty());
  CHECK_THROWS_WITH_AS((void)beam_search(one, state, step, {.beam = 2, .n_best = 3}),
                       "[beam_search] n_best is 3; with a beam of 2 it can be 1 to that",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)beam_search(one, state, step, {.beam = 0}), std::invalid_argument);
  CHECK_THROWS_AS((void)beam_search(one, state, step, {.length_penalty = -1}),
                  std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)greedy_search(Indices(0), state, step),
                       "[decoding] the first tokens have shape []; they are [B], one for each "
                       "sequence",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)beam_search(one, state,
                                         [](const Indices&, const Var<double>& s) {
                                           return std::pair{zeros<double>({1, 2}), s};
                                         }),
                       "[beam_search] the step gave scores of shape [1, 2] for 4 tokens; they are "
                       "[4, vocabulary]",
                       std::invalid_argument);
  const auto broken = constant_step(Var<double>({2}, {0, std::nan("")}));
  CHECK_THROWS_WITH_AS((void)beam_search(one, state, broken),
                       "[beam_search] the step gave NaN for row 0", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)greedy_search(one, state, broken),
                       "[decoding] the step gave NaN for row 0", std::invalid_argument);
  for (const LogitFilter& bad : {LogitFilter{.temperature = 0}, LogitFilter{.top_k = -1},
                                 LogitFilter{.top_p = 0}, LogitFilter{.top_p = 1.5}}) {
    CHECK_THROWS_AS((void)filter_logits(zeros<double>({2}), bad), std::invalid_argument);
  }
}
