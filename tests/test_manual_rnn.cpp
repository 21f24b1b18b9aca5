#include "unroll/models/readout_manual.hpp"
#include "unroll/models/rnn_manual.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <stdexcept>

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
  CHECK(g.loss == problem.loss());
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

TEST_CASE("the forward recursion of tangents gives the same dW as the sweep backward") {
  // H = I = 1, K = 2: s_t = da_t/dW = (1 - a_t²)(a_{t-1} + W s_{t-1}) runs left to right, as no
  // backward sweep does.
  RnnProblem problem(6, 1, 1, 1, 2);
  const auto& p = problem.parameters;
  double a = problem.a0(0, 0), s = 0, dW = 0;
  for (std::size_t t = 0; t < 6; ++t) {
    const double a_before = a;
    a = std::tanh(p.U(0, 0) * problem.xs(t, 0, 0) + p.W(0, 0) * a_before + p.b(0));
    s = (1 - a * a) * (a_before + p.W(0, 0) * s);
    const double e0 = std::exp(p.V(0, 0) * a + p.c(0)), e1 = std::exp(p.V(1, 0) * a + p.c(1));
    const double y0 = e0 / (e0 + e1);                                // ŷ_1 = 1 - ŷ_0
    const double dy0 = y0 * (1 - y0) * (p.V(0, 0) - p.V(1, 0)) * s;  // dŷ_0/dW
    dW += (2 * (y0 - problem.ys(t, 0, 0)) - 2 * (1 - y0 - problem.ys(t, 0, 1))) * dy0 / 6;
  }
  CHECK(problem.gradients().dW(0, 0) == doctest::Approx(dW).epsilon(1e-13));
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
