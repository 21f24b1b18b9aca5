// CTC against enumeration of all K^T paths, and against PyTorch's numbers.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>

#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/nn/ctc.hpp"

using namespace unroll;

namespace {

using Labels = std::vector<std::int64_t>;
constexpr double infinity = std::numeric_limits<double>::infinity();

Labels collapse(const Labels& path, std::int64_t blank) {
  Labels out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != blank && (i == 0 || path[i] != path[i - 1])) out.push_back(path[i]);
  }
  return out;
}

// The probability of every labelling of one sequence, logits [T, 1, K].
std::map<Labels, double> enumerate(const Var<double>& logits, std::int64_t blank) {
  const std::size_t steps = static_cast<std::size_t>(logits.size(0));
  const std::size_t K = static_cast<std::size_t>(logits.size(2));
  const auto z = logits.to_vector();
  std::map<Labels, double> out;
  Labels path(steps, 0);
  while (true) {
    double p = 1;
    for (std::size_t t = 0; t < steps; ++t) {
      double total = 0;
      for (std::size_t k = 0; k < K; ++k) total += std::exp(z[t * K + k]);
      p *= std::exp(z[t * K + static_cast<std::size_t>(path[t])]) / total;
    }
    out[collapse(path, blank)] += p;
    std::size_t i = 0;
    while (i < steps && ++path[i] == static_cast<std::int64_t>(K)) path[i++] = 0;
    if (i == steps) return out;
  }
}

// sin(1 + 2 t + 3 b + 5 k), as the script that made the fixture has it.
Var<double> waves(Size steps, Size batch, Size symbols) {
  std::vector<double> z;
  for (int t = 0; t < steps; ++t) {
    for (int b = 0; b < batch; ++b) {
      for (int k = 0; k < symbols; ++k) z.push_back(std::sin(1.0 + 2.0 * t + 3.0 * b + 5.0 * k));
    }
  }
  return Var<double>({steps, batch, symbols}, z);
}

}  // namespace

TEST_CASE("The loss is that of all paths enumerated, for every labelling there is") {
  for (const std::int64_t blank : {0, 2}) {
    const Var<double> logits = normal<double>(Key(1), {5, 1, 3}, 0, 2);
    const auto all = enumerate(logits, blank);
    CHECK(all.size() == 25);
    for (const auto& [labels, p] : all) {
      const double loss = ctc_loss(logits, ctc_targets({labels}), {.blank = blank}).item();
      CHECK(std::abs(loss + std::log(p)) < 1e-12);
    }
  }
}

TEST_CASE("Log-probabilities and logits have the same loss") {
  const Var<double> logits = waves(4, 2, 3);
  const CtcTargets targets = ctc_targets({{1, 2}, {2}});
  const auto a = ctc_loss(logits, targets).to_vector();
  const auto b = ctc_loss(log_softmax(logits), targets).to_vector();
  for (std::size_t i = 0; i < 2; ++i) CHECK(std::abs(a[i] - b[i]) < 1e-14);
}

TEST_CASE("Loss and gradient are PyTorch's: padded, repeated, empty") {
  // torch.nn.functional.ctc_loss(log_softmax(z, -1), ..., reduction='none') of PyTorch 1.13 in
  // double, and the gradient of (loss * [1, 2, 3, 4]).sum() with respect to z.
  const Var<double> z = waves(6, 4, 4);
  const CtcTargets targets = ctc_targets({{1, 2, 2}, {3}, {1, 1}, {}});
  const Indices lengths({4}, {6, 4, 3, 5});
  const std::vector<double> expected{4.013730277352655, 4.228771199030553, 5.239955840311983,
                                     9.343526998684187};
  const auto loss = ctc_loss(z, targets, {.lengths = lengths}).to_vector();
  for (std::size_t b = 0; b < 4; ++b) CHECK(std::abs(loss[b] - expected[b]) < 1e-13);
  const auto g = grad([&](const Var<double>& x) {
    return sum(ctc_loss(x, targets, {.lengths = lengths}) * Var<double>({4}, {1, 2, 3, 4}));
  })(z);
  const std::vector<double> second_step{
      0.10981520450180154,  -0.326031620083605,  0.13534489579954012, 0.08087151978226327,
      -0.09415734841845332, 0.17591219018425028, 0.35855133405438866, -0.4403061758201856,
      -2.214745648564811,   1.4003766992753879,  0.6041161037957182,  0.2102528454937047,
      -3.4871235644996696,  0.33536194312001794, 0.8693593476691238,  2.282402273710528};
  const auto found = index(g, 0, 1).to_vector();
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(std::abs(found[i] - second_step[i]) < 1e-13);
  }
  CHECK(std::abs(sum(square(g)).item() - 111.15691183643386) < 1e-11);
  CHECK(max(abs(slice(g, {{4, 6}, {1, 3}}))).item() == 0);  // behind the ends of 1 and 2
}

TEST_CASE("The loss is right under differences, to second order") {
  const CtcTargets targets = ctc_targets({{1, 2, 2}, {}, {2, 1}});
  const CtcOptions options{.lengths = Indices({3}, {5, 4, 2})};
  check_grads([&](const Var<double>& z) { return ctc_loss(z, targets, options); },
              normal<double>(Key(2), {5, 3, 3}));
  // Equal terms in every sum.
  check_grads([&](const Var<double>& z) { return ctc_loss(z, targets, options); },
              zeros<double>({5, 3, 3}));
}

TEST_CASE("An empty sequence has the empty labelling only") {
  const CtcTargets targets = ctc_targets({{}, {1}});
  const Var<double> z = waves(3, 2, 3);
  const Indices none({2}, {0, 0});
  CHECK(ctc_loss(z, targets, {.lengths = none}).to_vector() == std::vector<double>{0, infinity});
  CHECK(ctc_loss(zeros<double>({0, 2, 3}), targets).to_vector() ==
        std::vector<double>{0, infinity});
  CHECK(ctc_greedy(z, {.lengths = none}) == std::vector<Labels>{{}, {}});
}

TEST_CASE("An impossible target has an infinite loss, or none, and never a gradient") {
  const Var<double> z = normal<double>(Key(3), {3, 3, 3});
  // Two equal labels need a blank between them: three steps are enough for 1 1, but not for 1 1 2.
  const CtcTargets targets = ctc_targets({{1, 1}, {1, 1, 2}, {1, 2, 1, 2}});
  const auto loss = ctc_loss(z, targets).to_vector();
  CHECK(std::isfinite(loss[0]));
  CHECK(loss[1] == infinity);
  CHECK(loss[2] == infinity);
  const CtcOptions zero{.impossible = CtcImpossible::zero};
  CHECK(ctc_loss(z, targets, zero).to_vector() == std::vector<double>{loss[0], 0, 0});
  for (const CtcOptions& options : {CtcOptions{}, zero}) {
    const auto g =
        grad([&](const Var<double>& x) { return sum(ctc_loss(x, targets, options)); })(z);
    CHECK(max(abs(slice(g, 1, {1, 3}))).item() == 0);
    const auto alone = grad([&](const Var<double>& x) {
      return sum(ctc_loss(x, ctc_targets({{1, 1}})));
    })(slice(z, 1, {0, 1}));
    CHECK(max(abs(slice(g, 1, {0, 1}) - alone)).item() < 1e-15);
  }
}

TEST_CASE("A symbol of probability zero does no harm where it is not needed") {
  const Var<double> z({3, 1, 3}, {0.1, -infinity, 0.4, -infinity, 0.2, 0.3, 0.5, 0.1, 0.2});
  const auto all = enumerate(z, 0);
  const auto gradient = [&](const Labels& labels) {
    return grad([&](const Var<double>& x) { return sum(ctc_loss(x, ctc_targets({labels}))); })(z);
  };
  CHECK(std::abs(ctc_loss(z, ctc_targets({{2, 1}})).item() + std::log(all.at({2, 1}))) < 1e-14);
  for (const double d : gradient({2, 1}).to_vector()) CHECK(std::isfinite(d));
  CHECK(ctc_loss(z, ctc_targets({{}})).item() == infinity);
  CHECK(max(abs(gradient({}))).item() == 0);
}

TEST_CASE("NaN is not taken for something impossible") {
  const Var<double> z({2, 1, 2}, {0.1, std::nan(""), 0.2, 0.3});
  CHECK(std::isnan(ctc_loss(z, ctc_targets({{1}})).item()));
  CHECK_THROWS_WITH_AS((void)ctc_greedy(z), "[ctc_greedy] element 1 of [2, 1, 2] is NaN",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)ctc_beam_search(z, 2), std::invalid_argument);
}

TEST_CASE("In float a long sequence keeps its loss") {
  const Var<float> z = normal<float>(Key(4), {300, 2, 6});
  const CtcTargets targets{randint(Key(5), {2, 40}, 1, 6), Indices({2}, {40, 25})};
  const auto a = ctc_loss(z, targets).to_vector();
  const auto b = ctc_loss(cast<double>(z), targets).to_vector();
  for (std::size_t i = 0; i < 2; ++i) CHECK(std::abs(static_cast<double>(a[i]) / b[i] - 1) < 1e-5);
}

TEST_CASE("Greedy decoding merges repetitions and drops blanks") {
  const auto path = [](const Labels& symbols) {
    return one_hot<double>(Indices({static_cast<Size>(symbols.size()), 1}, symbols), 4);
  };
  CHECK(ctc_greedy(path({0, 1, 1, 0, 1, 2, 2, 3, 0})) == std::vector<Labels>{{1, 1, 2, 3}});
  CHECK(ctc_greedy(path({3, 3, 1, 3, 1}), {.blank = 3}) == std::vector<Labels>{{1, 1}});
  CHECK(ctc_greedy(path({2, 0, 2, 2}), {.lengths = Indices({1}, {2})}) == std::vector<Labels>{{2}});
}

TEST_CASE("A wide prefix beam finds every labelling with its probability, best first") {
  const Var<double> both = normal<double>(Key(6), {4, 2, 3}, 0, 1.5);
  const auto found = ctc_beam_search(both, 1000);
  for (Size b = 0; b < 2; ++b) {
    const auto all = enumerate(slice(both, 1, {b, b + 1}), 0);
    const auto& mine = found[static_cast<std::size_t>(b)];
    CHECK(mine.size() == all.size());
    for (std::size_t i = 0; i < mine.size(); ++i) {
      CHECK(std::abs(mine[i].log_probability - std::log(all.at(mine[i].labels))) < 1e-12);
      if (i > 0) CHECK(mine[i].log_probability <= mine[i - 1].log_probability);
    }
  }
}

TEST_CASE("The prefix beam adds up paths where greedy decoding sees one") {
  // Graves' example: at both steps blank 0.6 and a label 0.4. The best path is blank, blank (0.36);
  // the label has 0.4 * 0.4 + 2 * 0.6 * 0.4 = 0.64.
  const Var<double> z = log(Var<double>({2, 1, 2}, {0.6, 0.4, 0.6, 0.4}));
  CHECK(ctc_greedy(z) == std::vector<Labels>{{}});
  const auto best = ctc_beam_search(z, 2)[0];
  CHECK(best[0].labels == Labels{1});
  CHECK(std::abs(best[0].log_probability - std::log(0.64)) < 1e-14);
  CHECK(std::abs(best[1].log_probability - std::log(0.36)) < 1e-14);
  CHECK(ctc_beam_search(z, 1)[0].size() == 1);
}

TEST_CASE("CTC refuses what does not belong together") {
  const Var<double> z = zeros<double>({4, 2, 3});
  const auto two = ctc_targets({{1}, {2}});
  CHECK_THROWS_WITH_AS((void)ctc_loss(zeros<double>({4, 3}), two),
                       "[ctc_loss] logits have shape [4, 3]; they are [steps, batch, symbols]",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)ctc_loss(z, ctc_targets({{1}})),
                       "[ctc_loss] targets have shape [1, 1]; a batch of 2 needs [2, labels]",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)ctc_loss(z, ctc_targets({{1}, {1, 0}})),
                       "[ctc_loss] label 0 of sequence 1 is the blank", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)ctc_loss(z, ctc_targets({{1}, {3}})),
                       "[ctc_loss] label 3 of sequence 1 is out of range for 3 symbols (0 to 2)",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)ctc_loss(z, two, {.blank = 3}),
                       "[ctc_loss] the blank is symbol 3 of 3 (0 to 2)", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)ctc_loss(z, two, {.lengths = Indices({2}, {4, 5})}),
                       "[ctc_loss] the length of sequence 1 is 5; it can be 0 to 4",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)ctc_beam_search(z, 0), std::invalid_argument);
}
