// Losses against their formulas in plain loops, at extreme values, and under differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/nn/losses.hpp"

using namespace unroll;

namespace {

const Shape shape{4, 3, 5};  // [T, B, K]
const Var<double> logits = normal<double>(Key(1), shape, 0, 2);
const Var<double> targets = softmax(normal<double>(Key(2), shape));
const Indices labels = randint(Key(3), {4, 3}, 0, 5);

double log_probability(const std::vector<double>& z, std::size_t row, std::size_t k) {
  double total = 0;
  for (std::size_t j = 0; j < 5; ++j) total += std::exp(z[row * 5 + j]);
  return z[row * 5 + k] - std::log(total);
}

}  // namespace

TEST_CASE("The squared error sums over classes and averages over steps and batch") {
  const auto p = logits.to_vector(), y = targets.to_vector();
  double expected = 0;
  for (std::size_t i = 0; i < p.size(); ++i) expected += (p[i] - y[i]) * (p[i] - y[i]);
  CHECK(std::abs(squared_error(logits, targets).item() - expected / 12) < 1e-13);
  CHECK(std::abs(mse(logits, targets).item() - expected / 60) < 1e-14);
  CHECK(squared_error(Var<double>({2}, {1, 2}), Var<double>({2}, {3, 5})).item() == 13);
}

TEST_CASE("Cross-entropy is the mean of -log p of the labels") {
  const auto z = logits.to_vector();
  double expected = 0;
  for (std::size_t row = 0; row < 12; ++row) {
    expected -=
        log_probability(z, row, static_cast<std::size_t>(labels(static_cast<Size>(row)))) / 12;
  }
  CHECK(std::abs(cross_entropy(logits, labels).item() - expected) < 1e-14);
  CHECK(std::abs(cross_entropy(logits, one_hot<double>(labels, 5)).item() - expected) < 1e-14);
  CHECK(std::abs(cross_entropy(zeros<double>({7, 5}), zeros<double>({7, 5}) + 0.2).item() -
                 std::log(5.0)) < 1e-14);
  CHECK(cross_entropy(Var<double>({2}, {0, std::log(3.0)}), Indices(0)).item() ==
        doctest::Approx(std::log(4.0)).epsilon(1e-14));
}

TEST_CASE("The gradient of cross-entropy is (softmax - target) / rows") {
  const auto g = grad([](const Var<double>& z) { return cross_entropy(z, labels); })(logits);
  const auto expected = ((softmax(logits) - one_hot<double>(labels, 5)) / 12.0).to_vector();
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(std::abs(g.to_vector()[i] - expected[i]) < 1e-15);
}

TEST_CASE("Binary cross-entropy is that of the two classes' probabilities") {
  const auto z = logits.to_vector(), y = targets.to_vector();
  double expected = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double p = 1 / (1 + std::exp(-z[i]));
    expected -= (y[i] * std::log(p) + (1 - y[i]) * std::log(1 - p)) / 60;
  }
  CHECK(std::abs(binary_cross_entropy_with_logits(logits, targets).item() - expected) < 1e-14);
}

TEST_CASE("Losses of extreme logits are finite, and so are their gradients") {
  const Var<double> z({2, 2}, {1000, -1000, -1000, 1000}), y({2, 2}, {0, 1, 0, 1});
  CHECK(cross_entropy(z, Indices({2}, {1, 1})).item() == 1000);
  CHECK(binary_cross_entropy_with_logits(z, y).item() == 500);
  const auto g =
      grad([&](const Var<double>& x) { return binary_cross_entropy_with_logits(x, y); })(z);
  CHECK(g.to_vector() == std::vector<double>{0.25, -0.25, 0, 0});
}

TEST_CASE("Losses are right under differences, to second order") {
  check_grads([](const Var<double>& z) { return squared_error(softmax(z), targets); }, logits);
  check_grads([](const Var<double>& z) { return mse(z, targets); }, logits);
  check_grads([](const Var<double>& z) { return cross_entropy(z, labels); }, logits);
  check_grads([](const Var<double>& z, const Var<double>& p) { return cross_entropy(z, p); },
              std::tuple{logits, targets});
  check_grads([](const Var<double>& z,
                 const Var<double>& p) { return binary_cross_entropy_with_logits(z, p); },
              std::tuple{logits, targets});
}

TEST_CASE("Shapes that do not belong together are refused instead of broadcast") {
  const Var<double> column = ones<double>({4, 3, 1});
  CHECK_THROWS_WITH_AS(
      (void)squared_error(logits, column),
      "[squared_error] predictions and targets differ in shape: [4, 3, 5] and [4, 3, 1]",
      std::invalid_argument);
  CHECK_THROWS_AS((void)mse(logits, column), std::invalid_argument);
  CHECK_THROWS_AS((void)cross_entropy(logits, column), std::invalid_argument);
  CHECK_THROWS_AS((void)binary_cross_entropy_with_logits(logits, column), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)cross_entropy(logits, Indices({3}, {0, 1, 2})),
                       "[cross_entropy] logits [4, 3, 5] need labels of shape [4, 3], not [3]",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)cross_entropy(zeros<double>({1, 5}), Indices({1}, {5})),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)squared_error(Var<double>(1.0), Var<double>(1.0)), std::invalid_argument);
}

TEST_CASE("The hinge is what a prediction lacks to its margin") {
  const Var<double> scores({4}, {2, 0.25, -0.5, -3}), truth({4}, {1, 1, -1, 1});
  CHECK(hinge(scores, truth, {.reduction = Reduction::none}).to_vector() ==
        std::vector<double>{0, 0.75, 0.5, 4});
  CHECK(hinge(scores, truth).item() == 5.25 / 4);
  CHECK(hinge(scores, truth, {.margin = 0.5, .reduction = Reduction::sum}).item() == 3.75);
}

TEST_CASE("At its kink and at zero a loss has a finite derivative") {
  const Var<double> same = ones<double>({3});
  CHECK(grad([&](const Var<double>& x) { return mae(x, same); })(same).to_vector() ==
        std::vector<double>(3, 0.0));
  // Huber's second derivative inside delta is 1, at a difference of 0 too.
  const auto to_two = [](const Var<double>& x) { return huber(x, Var<double>(2.0)); };
  CHECK(hessian(to_two, Var<double>(2.0)).item() == 1);
  const auto to_zero = [](const Var<double>& x) {
    return sum(cosine_similarity(x, ones<double>({1, 2})));
  };
  CHECK(to_zero(zeros<double>({1, 2})).item() == 0);
  for (double g : grad(to_zero)(zeros<double>({1, 2})).to_vector()) CHECK(std::isfinite(g));
}

TEST_CASE_TEMPLATE("One row, one class and a single number are sizes like others", T, float,
                   double) {
  CHECK(cross_entropy(Var<T>({1}, {3}), Indices(0)).item() == 0);
  CHECK(cross_entropy(Var<T>({1, 1}, {3}), Indices({1}, {7}), {.ignored = 7}).item() == 0);
  CHECK(mse(Var<T>(1), Var<T>(3), {.weights = Var<T>(5)}).item() == 4);
  CHECK(mae(Var<T>(1), Var<T>(3)).item() == 2);
  CHECK(huber(Var<T>(1), Var<T>(3)).item() == T(1.5));
  CHECK(hinge(Var<T>(2), Var<T>(-1)).item() == 3);
  CHECK(multi_margin(Var<T>({1}, {3}), Indices(0)).item() == 0);
  CHECK(binary_cross_entropy_with_logits(Var<T>(0), Var<T>(1), {.positive_weight = 2}).item() ==
        doctest::Approx(2 * std::log(2.0)));
  CHECK(cosine_similarity(Var<T>({1}, {3}), Var<T>({1}, {-2})).item() == doctest::Approx(-1));
  CHECK(mse(zeros<T>({0, 2}), zeros<T>({0, 2}), {.reduction = Reduction::sum}).item() == 0);
}

TEST_CASE_TEMPLATE("A row's loss and gradient have the same bits whatever rows stand beside it", T,
                   float, double) {
  constexpr T inf = std::numeric_limits<T>::infinity();
  for (const Size rows : {1, 3, 8, 17, 40}) {
    CAPTURE(rows);
    std::vector<T> scores = normal<T>(Key(4), {rows, 5}, 0, 3).to_vector();
    std::vector<std::int64_t> wanted;
    for (Size i = 0; i < rows; ++i) wanted.push_back(i % 4 == 2 ? 9 : i % 5);
    if (rows > 8) {  // nothing but -inf, and an inf, in rows of their own
      std::fill_n(scores.begin() + 5 * 5, 5, -inf);
      scores[6 * 5] = inf;
    }
    const auto loss = [&](Size first, Size count) {
      return [&, first, count](const Var<T>& x) {
        return cross_entropy(
            x,
            Indices({count}, std::vector<std::int64_t>(wanted.begin() + first,
                                                       wanted.begin() + first + count)),
            {.ignored = 9, .reduction = Reduction::none});
      };
    };
    const Var<T> x({rows, 5}, scores);
    const auto values = [&](Size first, Size count) {
      const Var<T> part = slice(x, 0, {first, first + count});
      std::vector<T> all = loss(first, count)(part).to_vector();
      for (const T v : logsumexp(part, {-1}).to_vector()) all.push_back(v);
      const auto total = [&](const Var<T>& z) {
        return sum(loss(first, count)(z) + logsumexp(z, {-1}));
      };
      for (const T v : grad(total)(part).to_vector()) all.push_back(v);
      return all;  // losses, logsumexp, gradient
    };
    const std::vector<T> together = values(0, rows);
    const auto same = [](T a, T b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    for (Size i = 0; i < rows; ++i) {
      CAPTURE(i);
      const std::vector<T> alone = values(i, 1);
      const auto at = static_cast<std::size_t>(i), all = static_cast<std::size_t>(rows);
      CHECK(same(together[at], alone[0]));
      CHECK(same(together[all + at], alone[1]));
      for (std::size_t k = 0; k < 5; ++k) CHECK(same(together[2 * all + 5 * at + k], alone[2 + k]));
      if (wanted[at] == 9) CHECK(alone[0] == 0);
      T sum_of_exp = 0;
      for (std::size_t k = 0; k < 5; ++k) sum_of_exp += std::exp(scores[5 * at + k]);
      const T expected = std::log(sum_of_exp);
      CHECK((alone[1] == expected || alone[1] == doctest::Approx(expected).epsilon(1e-6)));
    }
  }
}
