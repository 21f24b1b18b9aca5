#include "unroll/models/readout_manual.hpp"
#include "unroll/models/rnn_manual.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

using namespace unroll;
using namespace unroll::test;

namespace {

struct RnnProblem {
  manual::RnnParameters<double> parameters;
  Array xs, ys, a0;

  RnnProblem(std::size_t T, std::size_t B, std::size_t I, std::size_t H, std::size_t K)
      : parameters{random_array({H, I}, 1), random_array({H, H}, 2), random_array({H}, 3),
                   random_array({K, H}, 4), random_array({K}, 5)},
        xs(random_array({T, B, I}, 6)),
        ys(one_hot(T, B, K, 7)),
        a0(random_array({B, H}, 8)) {}

  double loss() const { return manual::rnn_loss(parameters, xs, ys, a0); }
  manual::RnnGradients<double> gradients() const {
    return manual::rnn_backward(parameters, xs, ys, a0);
  }
};

void check_all_gradients(RnnProblem problem) {
  const auto g = problem.gradients();
  const auto loss = [&] { return problem.loss(); };
  auto& p = problem.parameters;
  CHECK(g.loss == doctest::Approx(problem.loss()).epsilon(1e-14));
  check_against_differences("U", p.U, g.dU, loss);
  check_against_differences("W", p.W, g.dW, loss);
  check_against_differences("b", p.b, g.db, loss);
  check_against_differences("V", p.V, g.dV, loss);
  check_against_differences("c", p.c, g.dc, loss);
  check_against_differences("a0", problem.a0, g.d_a0, loss);
  check_against_differences("xs", problem.xs, g.d_xs, loss);
}

}  // namespace

TEST_CASE("the hand-derived RNN gradient agrees with central differences for all parameters") {
  for (const std::size_t T : {1, 2, 5}) {
    for (const std::size_t B : {1, 3}) {
      CAPTURE(T);
      CAPTURE(B);
      check_all_gradients({T, B, 4, 5, 3});
    }
  }
}

TEST_CASE("the hand-derived RNN holds for sizes of one") {
  check_all_gradients({3, 1, 1, 1, 2});
  check_all_gradients({3, 2, 1, 4, 2});
  check_all_gradients({3, 2, 4, 1, 2});
  check_all_gradients({1, 1, 1, 1, 3});
}

TEST_CASE("the hand-derived RNN reproduces a tiny network worked out in scalars") {
  // I = H = 1, K = 2, T = 2. The numbers come from a separate scalar program, f'(x) = Im f(x +
  // ih)/h, h = 1e-30.
  const manual::RnnParameters<double> p{filled({1, 1}, {0.5}), filled({1, 1}, {-0.8}),
                                        filled({1}, {0.1}), filled({2, 1}, {1.2, -0.7}),
                                        filled({2}, {0.05, -0.15})};
  const Array xs = filled({2, 1, 1}, {0.9, -0.4});
  const Array ys = filled({2, 1, 2}, {1, 0, 0, 1});
  const auto g = manual::rnn_backward(p, xs, ys, filled({1, 1}, {0.3}));
  CHECK(g.loss == doctest::Approx(0.2567401317266018).epsilon(1e-14));
  CHECK(g.dU(0, 0) == doctest::Approx(-0.5515643064179894).epsilon(1e-14));
  CHECK(g.dW(0, 0) == doctest::Approx(-0.04457772003481236).epsilon(1e-14));
  CHECK(g.db(0) == doctest::Approx(-0.14906021747190293).epsilon(1e-14));
  CHECK(g.dV(0, 0) == doctest::Approx(-0.10316255296386455).epsilon(1e-14));
  CHECK(g.dV(1, 0) == doctest::Approx(0.10316255296386456).epsilon(1e-14));
  CHECK(g.dc(0) == doctest::Approx(0.05253312748487542).epsilon(1e-14));
  CHECK(g.dc(1) == doctest::Approx(-0.05253312748487542).epsilon(1e-14));
  CHECK(g.d_a0(0, 0) == doctest::Approx(0.3761159344041542).epsilon(1e-14));
  CHECK(g.d_xs(0, 0, 0) == doctest::Approx(-0.23507245900259635).epsilon(1e-14));
  CHECK(g.d_xs(1, 0, 0) == doctest::Approx(0.1605423502666449).epsilon(1e-14));
}

TEST_CASE("the RNN's gradient and its tangents, carried forward, meet in the same number") {
  // <∂L/∂θ, θ̇> = L̇: the tangents run left to right in plain loops, as no backward sweep does.
  const std::size_t T = 7, B = 2, I = 4, H = 5, K = 3;
  const RnnProblem problem(T, B, I, H, K);
  const auto& p = problem.parameters;
  const auto g = problem.gradients();
  for (const std::uint64_t seed : {100, 200, 300}) {
    const Array dot_U = random_array({H, I}, seed + 1), dot_W = random_array({H, H}, seed + 2);
    const Array dot_b = random_array({H}, seed + 3), dot_V = random_array({K, H}, seed + 4);
    const Array dot_c = random_array({K}, seed + 5);
    double dot_L = 0;
    for (std::size_t beta = 0; beta < B; ++beta) {
      std::vector<double> a(H), dot_a(H, 0.0);
      for (std::size_t i = 0; i < H; ++i) a[i] = problem.a0(beta, i);
      for (std::size_t t = 0; t < T; ++t) {
        std::vector<double> next(H), dot_next(H);
        for (std::size_t i = 0; i < H; ++i) {
          double z = p.b(i), dot_z = dot_b(i);
          for (std::size_t j = 0; j < I; ++j) {
            z += p.U(i, j) * problem.xs(t, beta, j);
            dot_z += dot_U(i, j) * problem.xs(t, beta, j);
          }
          for (std::size_t j = 0; j < H; ++j) {
            z += p.W(i, j) * a[j];
            dot_z += dot_W(i, j) * a[j] + p.W(i, j) * dot_a[j];
          }
          next[i] = std::tanh(z);
          dot_next[i] = (1 - next[i] * next[i]) * dot_z;
        }
        a = next;
        dot_a = dot_next;
        double e[K], dot_o[K], total = 0, mean = 0;
        for (std::size_t k = 0; k < K; ++k) {
          double o = p.c(k);
          dot_o[k] = dot_c(k);
          for (std::size_t j = 0; j < H; ++j) {
            o += p.V(k, j) * a[j];
            dot_o[k] += dot_V(k, j) * a[j] + p.V(k, j) * dot_a[j];
          }
          total += e[k] = std::exp(o);
        }
        for (std::size_t k = 0; k < K; ++k) mean += e[k] / total * dot_o[k];
        for (std::size_t k = 0; k < K; ++k) {
          const double y = e[k] / total;
          dot_L += 2 * (y - problem.ys(t, beta, k)) * y * (dot_o[k] - mean) / double(T * B);
        }
      }
    }
    const double inner = xt::sum(g.dU * dot_U)() + xt::sum(g.dW * dot_W)() +
                         xt::sum(g.db * dot_b)() + xt::sum(g.dV * dot_V)() +
                         xt::sum(g.dc * dot_c)();
    CHECK(std::abs(inner - dot_L) <= 1e-13 * std::abs(dot_L));
  }
}

TEST_CASE("the RNN's parameter gradients are the sums over steps of its pre-activation gradients") {
  const RnnProblem problem(5, 3, 4, 6, 3);
  const auto g = problem.gradients();
  CHECK(normwise_difference(sum_of_products(g.d_z, problem.xs), g.dU) <= 1e-14);
  CHECK(normwise_difference(sum_of_products(g.d_z, previous_states(problem.a0, g.states)), g.dW) <=
        1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_z), g.db) <= 1e-14);
  CHECK(normwise_difference(sum_of_products(g.d_o, g.states), g.dV) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_o), g.dc) <= 1e-14);
}

TEST_CASE("each pre-activation gradient of the RNN is right at its own step and sample") {
  // One indicator input per (t, b) with weight 0: the difference quotient by that weight is d_z[t,
  // b] itself.
  const std::size_t T = 4, B = 2, H = 3;
  RnnProblem problem(T, B, T * B, H, 3);
  for (std::size_t row = 0; row < T * B; ++row)
    for (std::size_t i = 0; i < T * B; ++i) problem.xs.data()[row * T * B + i] = row == i;
  problem.parameters.U.fill(0.0);
  const auto g = problem.gradients();
  const Array numeric =
      difference_gradient(problem.parameters.U, [&] { return problem.loss(); });  // [H, T B]
  Array d_z = xt::transpose(numeric);
  d_z.reshape({T, B, H});
  CHECK(normwise_difference(g.d_z, d_z) <= 1e-8);
}

TEST_CASE(
    "softmax predictions are positive and sum to one, also for logits beyond the range of exp") {
  const Array V = filled({3, 2}, {900, 0, -900, 1, 0, 2});
  const Array predictions =
      manual::readout_predictions(V, random_array({3}, 1), random_array({4, 2, 2}, 2));
  const Array sums = xt::sum(predictions, {2}, xt::evaluation_strategy::immediate);
  CHECK(normwise_difference<double>(sums, xt::ones<double>({4, 2})) <= 1e-15);
  CHECK(xt::amin(predictions)() >= 0.0);

  const RnnProblem problem(5, 3, 4, 6, 3);
  const Array total =
      xt::sum(problem.gradients().predictions, {2}, xt::evaluation_strategy::immediate);
  CHECK(normwise_difference<double>(total, xt::ones<double>({5, 3})) <= 1e-15);
}

TEST_CASE("the softmax Jacobian leaves no gradient along a shift of all logits") {
  const auto g = RnnProblem(5, 3, 4, 6, 3).gradients();
  const Array sums = xt::sum(g.d_o, {2}, xt::evaluation_strategy::immediate);
  CHECK(xt::amax(xt::abs(sums))() <= 1e-16);
}

TEST_CASE("the hand-derived RNN in float agrees with double to float's accuracy") {
  const RnnProblem problem(50, 3, 4, 8, 3);
  const auto& p = problem.parameters;
  const manual::RnnParameters<float> narrow{xt::cast<float>(p.U), xt::cast<float>(p.W),
                                            xt::cast<float>(p.b), xt::cast<float>(p.V),
                                            xt::cast<float>(p.c)};
  const auto g =
      manual::rnn_backward<float>(narrow, xt::cast<float>(problem.xs), xt::cast<float>(problem.ys),
                                  xt::cast<float>(problem.a0));
  const auto wide = problem.gradients();
  CHECK(g.loss == doctest::Approx(wide.loss).epsilon(1e-6));
  CHECK(normwise_difference<double>(xt::cast<double>(g.dU), wide.dU) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.dW), wide.dW) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.dV), wide.dV) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_z), wide.d_z) <= 1e-5);
}

TEST_CASE("shapes that do not fit are refused with the argument's name and both shapes") {
  RnnProblem problem(2, 3, 4, 5, 3);
  problem.parameters.W = random_array({5, 4}, 1);
  CHECK_THROWS_WITH_AS((void)problem.gradients(), "[rnn_manual] W is [5, 4], expected [5, 5]",
                       std::invalid_argument);
  problem.parameters.W = random_array({5, 5}, 1);
  problem.ys = one_hot(2, 3, 2, 1);
  CHECK_THROWS_WITH_AS((void)problem.loss(), "[squared_error] ys is [2, 3, 2], expected [2, 3, 3]",
                       std::invalid_argument);
  problem.xs = random_array({2, 4}, 1);
  CHECK_THROWS_AS((void)problem.loss(), std::invalid_argument);
}
