#include "unroll/models/path_contributions.hpp"
#include "unroll/models/rnn_manual.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace unroll;
using namespace unroll::test;
using manual::SharedWeight;

namespace {

struct PathProblem {
  manual::RnnParameters<double> parameters;
  Array xs, ys, a0;

  PathProblem(std::size_t T, std::size_t B, double scale = 0.8)
      : parameters{random_array({5, 4}, 1), random_array({5, 5}, 2, scale), random_array({5}, 3),
                   random_array({3, 5}, 4), random_array({3}, 5)},
        xs(random_array({T, B, 4}, 6)),
        ys(one_hot(T, B, 3, 7)),
        a0(random_array({B, 5}, 8)) {}

  Array contribution(SharedWeight weight, std::size_t t, std::size_t k) const {
    return manual::path_contribution(parameters, xs, ys, a0, weight, t, k);
  }
  auto all(SharedWeight weight) const {
    return manual::path_contributions(parameters, xs, ys, a0, weight);
  }
};

// L_t of one sample, H, I, K as above, with weights that may differ from step to step: plain loops,
// no library.
double loss_of_step(const PathProblem& problem, const std::vector<Array>& Ws,
                    const std::vector<Array>& Us, std::size_t t) {
  const auto& p = problem.parameters;
  std::vector<double> a(problem.a0.begin(), problem.a0.end());
  for (std::size_t k = 0; k <= t; ++k) {
    std::vector<double> next(5);
    for (std::size_t i = 0; i < 5; ++i) {
      double z = p.b(i);
      for (std::size_t j = 0; j < 4; ++j) z += Us[k](i, j) * problem.xs(k, 0, j);
      for (std::size_t j = 0; j < 5; ++j) z += Ws[k](i, j) * a[j];
      next[i] = std::tanh(z);
    }
    a = next;
  }
  double e[3], total = 0, loss = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    double o = p.c(i);
    for (std::size_t j = 0; j < 5; ++j) o += p.V(i, j) * a[j];
    total += e[i] = std::exp(o);
  }
  for (std::size_t i = 0; i < 3; ++i) loss += std::pow(e[i] / total - problem.ys(t, 0, i), 2);
  return loss / double(problem.xs.shape(0));
}

}  // namespace

TEST_CASE("the contributions of all pairs of steps sum to the gradient") {
  for (const std::size_t T : {1, 2, 7, 30}) {
    for (const std::size_t B : {1, 3}) {
      CAPTURE(T);
      CAPTURE(B);
      const PathProblem problem(T, B);
      const auto g = manual::rnn_backward(problem.parameters, problem.xs, problem.ys, problem.a0);
      CHECK(normwise_difference(problem.all(SharedWeight::W).total, g.dW) <= 1e-12);
      CHECK(normwise_difference(problem.all(SharedWeight::U).total, g.dU) <= 1e-12);
    }
  }
}

TEST_CASE(
    "a contribution is the derivative of one step's loss by one step's own copy of the weight") {
  const std::size_t T = 4;
  const PathProblem problem(T, 1);
  std::vector<Array> Ws(T, problem.parameters.W), Us(T, problem.parameters.U);
  for (std::size_t t = 0; t < T; ++t) {
    for (std::size_t k = 0; k <= t; ++k) {
      CAPTURE(t);
      CAPTURE(k);
      const auto loss = [&] { return loss_of_step(problem, Ws, Us, t); };
      check_against_differences("W", Ws[k], problem.contribution(SharedWeight::W, t, k), loss);
      check_against_differences("U", Us[k], problem.contribution(SharedWeight::U, t, k), loss);
    }
  }
}

TEST_CASE(
    "every pair k <= t is visited once, with the norm that the table holds, and the rest is zero") {
  const PathProblem problem(6, 2);
  const auto paths = problem.all(SharedWeight::W);
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  manual::visit_path_contributions<double>(
      problem.parameters, problem.xs, problem.ys, problem.a0, SharedWeight::W,
      [&](std::size_t t, std::size_t k, const Array& contribution) {
        pairs.emplace_back(t, k);
        CHECK(normwise_difference(contribution, problem.contribution(SharedWeight::W, t, k)) <=
              1e-14);
        double squares = 0;
        for (const double x : contribution) squares += x * x;
        CHECK(paths.norms(t, k) == doctest::Approx(std::sqrt(squares)).epsilon(1e-15));
      });
  std::vector<std::pair<std::size_t, std::size_t>> expected;
  for (std::size_t t = 0; t < 6; ++t)
    for (std::size_t k = t + 1; k-- > 0;) expected.emplace_back(t, k);
  CHECK(pairs == expected);
  for (std::size_t t = 0; t < 6; ++t)
    for (std::size_t k = t + 1; k < 6; ++k) CHECK(paths.norms(t, k) == 0.0);
}

TEST_CASE(
    "a small W makes the table vanish away from its diagonal at the rate of the Jacobians' norm") {
  // |diag(1 - a²) Wᵀ| <= |W|, so each step back costs at least a factor |W|.
  const PathProblem problem(12, 1, 0.05);
  const auto& W = problem.parameters.W;
  const double norm_W = std::sqrt(xt::sum(W * W)());
  REQUIRE(norm_W < 0.2);
  const auto paths = problem.all(SharedWeight::U);
  double largest_x = 0;
  for (std::size_t k = 0; k < 12; ++k)
    largest_x = std::max(largest_x, std::sqrt(xt::sum(xt::square(xt::view(problem.xs, k)))()));
  for (std::size_t t = 0; t < 12; ++t) {
    const double norm_x = std::sqrt(xt::sum(xt::square(xt::view(problem.xs, t)))());
    const double delta = paths.norms(t, t) / norm_x;  // |δ(t, t)|
    for (std::size_t k = 0; k <= t; ++k)
      CHECK(paths.norms(t, k) <= delta * largest_x * std::pow(norm_W, double(t - k)) * (1 + 1e-12));
  }
  CHECK(paths.norms(11, 0) < 1e-8 * paths.norms(11, 11));
}

TEST_CASE("a rotation scaled by s makes a contribution from d steps back s^d times as large") {
  // Near a = 0 tanh is the identity, so the Jacobian of a step is W = s (a rotation): |δ(t, k)| is
  // s^(t-k) |δ(t, t)| up to O(a²). docs/bptt.md prints this table, each row divided by its last entry, for s = 0.5 and 1.5.
  for (const double s : {0.5, 1.0, 1.5}) {
    CAPTURE(s);
    const double r = s * std::cos(1.0), q = s * std::sin(1.0);
    const manual::RnnParameters<double> p{filled({2, 1}, {1, 0}), filled({2, 2}, {r, -q, q, r}),
                                          filled({2}, {0, 0}), random_array({3, 2}, 4),
                                          filled({3}, {0, 0, 0})};
    const Array xs = 1e-6 * xt::ones<double>({6, 1, 1});
    const auto paths = manual::path_contributions<double>(p, xs, one_hot(6, 1, 3, 7),
                                                          filled({1, 2}, {0, 0}), SharedWeight::U);
    for (std::size_t t = 0; t < 6; ++t)
      for (std::size_t k = 0; k <= t; ++k)
        CHECK(paths.norms(t, k) / paths.norms(t, t) ==
              doctest::Approx(std::pow(s, double(t - k))).epsilon(1e-9));
  }
}

TEST_CASE("float contributions sum to the float gradient") {
  const PathProblem problem(20, 2);
  const auto& p = problem.parameters;
  const auto narrow = [](const Array& array) -> Dense<float> { return xt::cast<float>(array); };
  const manual::RnnParameters<float> q{narrow(p.U), narrow(p.W), narrow(p.b), narrow(p.V),
                                       narrow(p.c)};
  const auto paths = manual::path_contributions(q, narrow(problem.xs), narrow(problem.ys),
                                                narrow(problem.a0), SharedWeight::W);
  const auto g =
      manual::rnn_backward(q, narrow(problem.xs), narrow(problem.ys), narrow(problem.a0));
  CHECK(normwise_difference(paths.total, g.dW) <= 1e-5);
}

TEST_CASE("the table prints k <= t only, from step 1, and leaves the stream's format alone") {
  const Array norms = filled({3, 3}, {0.5, 0, 0, 0.25, 1, 0, 1e-9, 2, 30});
  std::ostringstream out;
  manual::print_norms(out, norms);
  CHECK(out.str() ==
        " t \\ k        1        2        3\n"
        "     1  5.0e-01\n"
        "     2  2.5e-01  1.0e+00\n"
        "     3  1.0e-09  2.0e+00  3.0e+01\n");
  out.str("");
  out << 0.5;
  CHECK(out.str() == "0.5");
}

TEST_CASE("a long table is thinned to the steps asked for, with the first and the last") {
  std::ostringstream out;
  const Array norms = xt::ones<double>({100, 100});
  manual::print_norms(out, norms, 4);
  CHECK(out.str() ==
        " t \\ k        1       34       67      100\n"
        "     1  1.0e+00\n"
        "    34  1.0e+00  1.0e+00\n"
        "    67  1.0e+00  1.0e+00  1.0e+00\n"
        "   100  1.0e+00  1.0e+00  1.0e+00  1.0e+00\n");
}

TEST_CASE("a pair outside the triangle is refused") {
  const PathProblem problem(3, 1);
  CHECK_THROWS_WITH_AS((void)problem.contribution(SharedWeight::W, 1, 2),
                       "[path_contribution] needs k <= t < T, got k = 2, t = 1, T = 3",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)problem.contribution(SharedWeight::U, 3, 0), std::invalid_argument);
}
