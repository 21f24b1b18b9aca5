// The conditional random field against enumeration of all K^T sequences of tags.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unroll/autograd/check.hpp"
#include "unroll/nn/crf.hpp"

using namespace unroll;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// All sequences of tags of one sequence of emissions [T, 1, K], their scores by the definition.
struct Enumeration {
  std::vector<std::vector<std::int64_t>> paths;
  std::vector<double> scores;

  Enumeration(const Crf<double>& crf, const Var<double>& emissions) {
    const Size steps = emissions.size(0), K = emissions.size(2);
    const auto e = emissions.to_vector(), move = crf.transitions.to_vector(),
               first = crf.start.to_vector(), last = crf.end.to_vector();
    std::vector<double> may_move(move.size(), 1), may_start(first.size(), 1),
        may_end(first.size(), 1);
    if (crf.allowed) {
      may_move = crf.allowed->transitions.to_vector();
      may_start = crf.allowed->start.to_vector();
      may_end = crf.allowed->end.to_vector();
    }
    std::vector<std::int64_t> path(static_cast<std::size_t>(steps), 0);
    const auto at = [](Size i) { return static_cast<std::size_t>(i); };
    while (true) {
      double score = may_start[at(path[0])] != 0 ? first[at(path[0])] : -infinity;
      score += may_end[at(path.back())] != 0 ? last[at(path.back())] : -infinity;
      for (Size t = 0; t < steps; ++t) {
        score += e[at(t * K + path[at(t)])];
        if (t == 0) continue;
        const std::size_t m = at(path[at(t - 1)] * K + path[at(t)]);
        score += may_move[m] != 0 ? move[m] : -infinity;
      }
      paths.push_back(path);
      scores.push_back(score);
      std::size_t i = 0;
      while (i < path.size() && ++path[i] == K) path[i++] = 0;
      if (i == path.size()) break;
    }
  }

  double log_partition() const {
    double total = 0;
    for (const double s : scores) total += std::exp(s);
    return std::log(total);
  }
  std::size_t best() const {
    return static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) -
                                    scores.begin());
  }
  double marginal(std::size_t step, std::int64_t tag) const {
    double total = 0;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      if (paths[i][step] == tag) total += std::exp(scores[i] - log_partition());
    }
    return total;
  }
};

Crf<double> random_crf(std::uint64_t seed, Size tags) {
  const auto k = split<3>(Key(seed));
  return {normal<double>(k[0], {tags, tags}), normal<double>(k[1], {tags}),
          normal<double>(k[2], {tags})};
}

const std::vector<std::string> iob2{"O", "B-PER", "I-PER", "B-LOC", "I-LOC"};

}  // namespace

TEST_CASE("Partition, likelihood, best path and marginals are those of all paths enumerated") {
  struct Case {
    Size steps, tags;
  };
  for (const auto& [steps, tags] : {Case{4, 3}, Case{5, 2}, Case{1, 4}, Case{3, 1}, Case{1, 1}}) {
    const Crf<double> crf = random_crf(3, tags);
    const Var<double> e = normal<double>(Key(4), {steps, 1, tags}, 0, 2);
    const Enumeration all(crf, e);
    CHECK(std::abs(crf.log_partition(e).item() - all.log_partition()) < 1e-13);
    for (std::size_t i = 0; i < all.paths.size(); ++i) {
      const Indices path({steps, 1}, all.paths[i]);
      CHECK(std::abs(crf.score(e, path).item() - all.scores[i]) < 1e-13);
      CHECK(std::abs(crf.log_likelihood(e, path).item() - (all.scores[i] - all.log_partition())) <
            1e-12);
    }
    const auto best = crf.decode(e);
    CHECK(std::ranges::equal(best.tags.values(), all.paths[all.best()]));
    CHECK(std::abs(best.scores.item() - all.scores[all.best()]) < 1e-13);
    const auto marginals = crf.marginals(e).to_vector();
    for (std::size_t i = 0; i < marginals.size(); ++i) {
      const std::size_t K = static_cast<std::size_t>(tags);
      CHECK(std::abs(marginals[i] - all.marginal(i / K, static_cast<Size>(i % K))) < 1e-13);
    }
  }
}

TEST_CASE("With constraints, forbidden paths are impossible and all others as enumerated") {
  Crf<double> crf = random_crf(5, 5);
  crf.allowed = iob2_constraints<double>(iob2);
  const Var<double> e = normal<double>(Key(6), {4, 1, 5}, 0, 2);
  const Enumeration all(crf, e);
  CHECK(std::abs(crf.log_partition(e).item() - all.log_partition()) < 1e-13);
  const auto best = crf.decode(e);
  CHECK(std::ranges::equal(best.tags.values(), all.paths[all.best()]));
  double total = 0;
  for (std::size_t i = 0; i < all.paths.size(); ++i) {
    const double p = crf.log_likelihood(e, Indices({4, 1}, all.paths[i])).item();
    if (all.scores[i] == -infinity) CHECK(p == -infinity);
    total += std::exp(p);
  }
  CHECK(std::abs(total - 1) < 1e-13);
  const auto marginals = crf.marginals(e).to_vector();
  for (std::size_t i = 0; i < marginals.size(); ++i) {
    CHECK(std::abs(marginals[i] - all.marginal(i / 5, static_cast<Size>(i % 5))) < 1e-13);
  }
  CHECK(marginals[2] == 0);  // I-PER cannot begin a sentence
}

TEST_CASE("The tagging schemes allow what they should") {
  const auto a = iob2_constraints<double>(iob2);
  CHECK(a.start.to_vector() == std::vector<double>{1, 1, 0, 1, 0});
  CHECK(a.end.to_vector() == std::vector<double>{1, 1, 1, 1, 1});
  CHECK(a.transitions.to_vector() == std::vector<double>{1, 1, 0, 1, 0,    // after O
                                                         1, 1, 1, 1, 0,    // after B-PER
                                                         1, 1, 1, 1, 0,    // after I-PER
                                                         1, 1, 0, 1, 1,    // after B-LOC
                                                         1, 1, 0, 1, 1});  // after I-LOC
  const auto b = bioes_constraints<double>({"O", "B-X", "I-X", "E-X", "S-X", "E-Y"});
  CHECK(b.start.to_vector() == std::vector<double>{1, 1, 0, 0, 1, 0});
  CHECK(b.end.to_vector() == std::vector<double>{1, 0, 0, 1, 1, 1});
  CHECK(b.transitions.to_vector() == std::vector<double>{1, 1, 0, 0, 1, 0,    // after O
                                                         0, 0, 1, 1, 0, 0,    // after B-X
                                                         0, 0, 1, 1, 0, 0,    // after I-X
                                                         1, 1, 0, 0, 1, 0,    // after E-X
                                                         1, 1, 0, 0, 1, 0,    // after S-X
                                                         1, 1, 0, 0, 1, 0});  // after E-Y
  CHECK_THROWS_WITH_AS((void)iob2_constraints<float>({"O", "S-PER"}),
                       "[iob2_constraints] \"S-PER\" is no tag of this scheme: \"O\", or one of BI "
                       "followed by \"-\" and a type",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)bioes_constraints<float>({""}), std::invalid_argument);
}

TEST_CASE("A ragged batch gives each sequence what it has alone, and padding no gradient") {
  const Crf<double> crf = random_crf(7, 3);
  const Var<double> e = normal<double>(Key(8), {5, 3, 3});
  const Indices lengths({3}, {2, 5, 1});
  Indices tags({5, 3}, {0, 1, 2, 2, 0, -100, -1, 1, 9, -1, 2, -1, -1, 0, -1});
  const auto likelihood = crf.log_likelihood(e, tags, lengths).to_vector();
  const auto partition = crf.log_partition(e, lengths).to_vector();
  const auto best = crf.decode(e, lengths);
  const auto [value, gradient] =
      value_and_grad([&](const Crf<double>& c,
                         const Var<double>& x) { return sum(c.log_likelihood(x, tags, lengths)); },
                     crf, e);
  auto expected = tree_scale(crf, 0.0);
  for (Size b = 0; b < 3; ++b) {
    const Size n = lengths(b);
    const Var<double> own = slice(e, {{0, n}, {b, b + 1}});
    std::vector<std::int64_t> own_tags;
    for (Size t = 0; t < n; ++t) own_tags.push_back(tags(t * 3 + b));
    const Indices path({n, 1}, own_tags);
    CHECK(std::abs(likelihood[static_cast<std::size_t>(b)] - crf.log_likelihood(own, path).item()) <
          1e-13);
    CHECK(std::abs(partition[static_cast<std::size_t>(b)] - crf.log_partition(own).item()) < 1e-13);
    const auto alone = value_and_grad(
        [&](const Crf<double>& c, const Var<double>& x) { return sum(c.log_likelihood(x, path)); },
        crf, own);
    expected = tree_add(expected, std::get<0>(alone.gradient));
    const auto g = slice(std::get<1>(gradient), {{}, {b, b + 1}});
    const auto real = (slice(g, 0, {0, n}) - std::get<1>(alone.gradient)).to_vector();
    for (const double d : real) CHECK(std::abs(d) < 1e-13);
    if (n < 5) CHECK(max(abs(slice(g, 0, {.start = n}))).item() == 0);
    const auto own_best = crf.decode(own);
    for (Size t = 0; t < 5; ++t) CHECK(best.tags(t * 3 + b) == (t < n ? own_best.tags(t) : -1));
  }
  tree_for_each([](const auto& p, const auto& q) { CHECK(max(abs(p - q)).item() < 1e-13); },
                std::get<0>(gradient), expected);
}

TEST_CASE("The field is right under differences, to second order") {
  Crf<double> crf = random_crf(9, 3);
  const Var<double> e = normal<double>(Key(10), {4, 2, 3});
  const Indices tags({4, 2}, {0, 1, 2, 2, 0, 1, 1, 1}), lengths({2}, {4, 2});
  check_grads([&](const Crf<double>& c, const Var<double>& x) { return c.loss(x, tags); },
              std::tuple{crf, e});
  check_grads([&](const Crf<double>& c,
                  const Var<double>& x) { return c.log_likelihood(x, tags, lengths); },
              std::tuple{crf, e});
  check_grads([&](const Var<double>& x) { return crf.marginals(x, lengths); }, e);
  crf.allowed = iob2_constraints<double>({"O", "B-X", "I-X"});
  const Indices spans({4, 2}, {0, 1, 1, 2, 2, 2, 0, 1});
  check_grads([&](const Crf<double>& c, const Var<double>& x) { return c.loss(x, spans, lengths); },
              std::tuple{crf, e});
}

TEST_CASE(
    "What is impossible has likelihood zero and no gradient, and does not touch its neighbours") {
  Crf<double> crf = random_crf(11, 3);
  crf.allowed = iob2_constraints<double>({"O", "B-X", "I-X"});
  const Var<double> e = normal<double>(Key(12), {2, 2, 3});
  const Indices tags({2, 2}, {0, 0, 2, 1});  // the first goes from O to I-X
  const auto likelihood = crf.log_likelihood(e, tags).to_vector();
  CHECK(likelihood[0] == -infinity);
  CHECK(std::isfinite(likelihood[1]));
  CHECK(crf.loss(e, tags).item() == infinity);
  const auto g = grad([&](const Var<double>& x) { return crf.loss(x, tags); })(e);
  CHECK(max(abs(index(g, 1, 0))).item() == 0);
  const auto alone = grad([&](const Var<double>& x) {
    return crf.loss(x, Indices({2, 1}, {0, 1}));
  })(slice(e, 1, {1, 2}));
  CHECK(max(abs(index(g, 1, 1) - squeeze(alone, 1) / 2.0)).item() < 1e-14);

  crf.allowed->end = zeros<double>({3});
  CHECK(crf.log_partition(e).to_vector() == std::vector<double>{-infinity, -infinity});
  CHECK(max(abs(crf.marginals(e))).item() == 0);
  const auto none = crf.decode(e);
  CHECK(std::ranges::equal(none.tags.values(), std::vector<std::int64_t>{-1, -1, -1, -1}));
  CHECK(none.scores.to_vector() == std::vector<double>{-infinity, -infinity});
}

TEST_CASE("Emissions of -inf forbid a tag at a step, without NaN") {
  const Crf<double> crf = random_crf(13, 2);
  const Var<double> e({2, 1, 2}, {0.3, -infinity, -infinity, 0.1});
  CHECK(std::abs(crf.log_partition(e).item() - crf.score(e, Indices({2, 1}, {0, 1})).item()) <
        1e-14);
  CHECK(crf.marginals(e).to_vector() == std::vector<double>{1, 0, 0, 1});
  CHECK(crf.score(e, Indices({2, 1}, {1, 1})).item() == -infinity);
}

TEST_CASE("NaN is not taken for something impossible") {
  const Crf<double> crf = random_crf(13, 2);
  const Var<double> e({2, 1, 2}, {0.1, std::nan(""), 0.2, 0.3});
  CHECK(std::isnan(crf.log_partition(e).item()));
  CHECK(std::isnan(crf.loss(e, Indices({2, 1}, {0, 0})).item()));
  CHECK_THROWS_WITH_AS((void)crf.decode(e), "[Crf::decode] element 1 of [2, 1, 2] is NaN",
                       std::invalid_argument);
}

TEST_CASE("In float a long sequence keeps its likelihood") {
  const Crf<float> crf = Crf<float>::make(Key(14), 4);
  const Crf<double> same{cast<double>(crf.transitions), cast<double>(crf.start),
                         cast<double>(crf.end)};
  const Var<float> e = normal<float>(Key(15), {200, 2, 4});
  const Indices tags = randint(Key(16), {200, 2}, 0, 4);
  const double value = crf.loss(e, tags).item();
  CHECK(std::abs(value / same.loss(cast<double>(e), tags).item() - 1) < 1e-5);
}

TEST_CASE("The field refuses shapes and tags that do not belong together") {
  const Crf<double> crf = random_crf(17, 3);
  const Var<double> e = zeros<double>({4, 2, 3});
  CHECK_THROWS_WITH_AS((void)crf.log_partition(zeros<double>({4, 2, 2})),
                       "[Crf::log_partition] emissions have shape [4, 2, 2]; they are [steps, "
                       "batch, 3], the last as many as the field has tags, none empty",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)crf.log_partition(zeros<double>({0, 2, 3})), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)crf.loss(e, Indices({2, 4}, {0, 0, 0, 0, 0, 0, 0, 0})),
                       "[Crf::log_likelihood] tags have shape [2, 4]; emissions of 4 steps and a "
                       "batch of 2 need [4, 2]",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)crf.loss(e, Indices({4, 2}, {0, 0, 0, 3, 0, 0, 0, 0})),
                       "[Crf::log_likelihood] tag 3 at step 1 of sequence 1 is out of range for 3 "
                       "tags (0 to 2)",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)crf.decode(e, Indices({2}, {4, 0})),
                       "[Crf::decode] the length of sequence 1 is 0; it can be 1 to 4",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)crf.decode(e, Indices({1}, {4})),
                       "[Crf::decode] lengths have shape [1]; a batch of 2 needs [2]",
                       std::invalid_argument);
}
