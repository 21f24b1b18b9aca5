#include "unroll/models/gru_manual.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <stdexcept>

using namespace unroll;
using namespace unroll::test;

namespace {

struct GruProblem {
  manual::GruParameters<double> parameters;
  Array xs, ys, h0;

  GruProblem(std::size_t T, std::size_t B, std::size_t I, std::size_t H, std::size_t K)
      : parameters{random_array({3 * H, I}, 1), random_array({3 * H, H}, 2),
                   random_array({3 * H}, 3),    random_array({3 * H}, 4),
                   random_array({K, H}, 5),     random_array({K}, 6)},
        xs(random_array({T, B, I}, 7)),
        ys(one_hot(T, B, K, 8)),
        h0(random_array({B, H}, 9)) {}

  double loss() const { return manual::gru_loss(parameters, xs, ys, h0); }
  manual::GruGradients<double> gradients() const {
    return manual::gru_backward(parameters, xs, ys, h0);
  }
};

void check_all_gradients(GruProblem problem) {
  const auto g = problem.gradients();
  const auto loss = [&] { return problem.loss(); };
  auto& p = problem.parameters;
  CHECK(g.loss == doctest::Approx(problem.loss()).epsilon(1e-14));
  check_against_differences("weight_ih", p.weight_ih, g.d_weight_ih, loss);
  check_against_differences("weight_hh", p.weight_hh, g.d_weight_hh, loss);
  check_against_differences("bias_ih", p.bias_ih, g.d_bias_ih, loss);
  check_against_differences("bias_hh", p.bias_hh, g.d_bias_hh, loss);
  check_against_differences("V", p.V, g.dV, loss);
  check_against_differences("c", p.c, g.dc, loss);
  check_against_differences("h0", problem.h0, g.d_h0, loss);
  check_against_differences("xs", problem.xs, g.d_xs, loss);
}

}  // namespace

TEST_CASE("the hand-derived GRU gradient agrees with central differences for all parameters") {
  for (const std::size_t T : {1, 2, 5}) {
    for (const std::size_t B : {1, 3}) {
      CAPTURE(T);
      CAPTURE(B);
      check_all_gradients({T, B, 4, 5, 3});
    }
  }
}

TEST_CASE("the hand-derived GRU holds for sizes of one") {
  check_all_gradients({3, 1, 1, 1, 2});
  check_all_gradients({3, 2, 1, 4, 2});
  check_all_gradients({3, 2, 4, 1, 2});
}

TEST_CASE("the hand-derived GRU reproduces a tiny network worked out in scalars") {
  // I = H = 1, K = 2, T = 2. The numbers come from a separate scalar program, f'(x) = Im f(x +
  // ih)/h, h = 1e-30.
  const manual::GruParameters<double> p{
      filled({3, 1}, {0.5, -0.3, 0.8}), filled({3, 1}, {-0.6, 0.7, 0.9}),
      filled({3}, {0.1, 0.2, -0.1}),    filled({3}, {-0.05, 0.15, 0.25}),
      filled({2, 1}, {1.2, -0.7}),      filled({2}, {0.05, -0.15})};
  const auto g = manual::gru_backward(p, filled({2, 1, 1}, {0.9, -0.4}),
                                      filled({2, 1, 2}, {1, 0, 0, 1}), filled({1, 1}, {0.3}));
  CHECK(g.loss == doctest::Approx(0.5208559615245977).epsilon(1e-14));
  CHECK(normwise_difference(g.d_weight_ih,
                            filled({3, 1}, {-0.0038805788436631185, -0.05963488720317536,
                                            -0.011179282197275394})) <= 1e-14);
  CHECK(
      normwise_difference(g.d_weight_hh, filled({3, 1}, {0.01572912097755746, 0.026904044396449896,
                                                         0.04298360687932564})) <= 1e-14);
  CHECK(normwise_difference(g.d_bias_ih, filled({3}, {0.03561258364571578, 0.04346072362807816,
                                                      0.23241083135591217})) <= 1e-14);
  CHECK(normwise_difference(g.d_bias_hh, filled({3}, {0.03561258364571578, 0.04346072362807816,
                                                      0.10286527088946067})) <= 1e-14);
  CHECK(normwise_difference(g.dV, filled({2, 1}, {0.04082286507682078, -0.04082286507682078})) <=
        1e-14);
  CHECK(normwise_difference(g.dc, filled({2}, {0.20439257938348054, -0.20439257938348054})) <=
        1e-14);
  CHECK(g.d_h0(0, 0) == doctest::Approx(0.183314985687448).epsilon(1e-15));
  CHECK(normwise_difference(
            g.d_xs, filled({2, 1, 1}, {0.06406572839151259, 0.12663101142765157})) <= 1e-14);
}

TEST_CASE(
    "the GRU's parameter gradients are the sums over steps of its pre-activation gradients, side "
    "by side") {
  const GruProblem problem(5, 3, 4, 6, 3);
  const auto g = problem.gradients();
  CHECK(normwise_difference(sum_of_products(g.d_z, problem.xs), g.d_weight_ih) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_z), g.d_bias_ih) <= 1e-14);
  CHECK(normwise_difference(sum_of_products(g.d_z_hidden, previous_states(problem.h0, g.states)),
                            g.d_weight_hh) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_z_hidden), g.d_bias_hh) <= 1e-14);
  CHECK(normwise_difference(sum_of_products(g.d_o, g.states), g.dV) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_o), g.dc) <= 1e-14);
}

TEST_CASE(
    "the two sides of the GRU's gates get the same gradient in r and z and a different one in n") {
  const std::size_t H = 6;
  const auto g = GruProblem(5, 3, 4, H, 3).gradients();
  const Array rz = xt::view(g.d_z, xt::all(), xt::all(), xt::range(0, 2 * H));
  const Array rz_hidden = xt::view(g.d_z_hidden, xt::all(), xt::all(), xt::range(0, 2 * H));
  CHECK(rz == rz_hidden);
  // r lies in (0, 1), so the hidden side of n is smaller than the input side and of the same sign.
  const Array n = xt::view(g.d_z, xt::all(), xt::all(), xt::range(2 * H, 3 * H));
  const Array n_hidden = xt::view(g.d_z_hidden, xt::all(), xt::all(), xt::range(2 * H, 3 * H));
  const Array r = n_hidden / n;
  CHECK(xt::amin(r)() > 0.0);
  CHECK(xt::amax(r)() < 1.0);
}

TEST_CASE("each pre-activation gradient of the GRU is right at its own step, sample and gate") {
  // One indicator input per (t, b) with weight 0: the difference quotient by that weight is d_z[t,
  // b] itself.
  const std::size_t T = 4, B = 2, H = 3;
  GruProblem problem(T, B, T * B, H, 3);
  for (std::size_t row = 0; row < T * B; ++row)
    for (std::size_t i = 0; i < T * B; ++i) problem.xs.data()[row * T * B + i] = row == i;
  problem.parameters.weight_ih.fill(0.0);
  const auto g = problem.gradients();
  const Array numeric =
      difference_gradient(problem.parameters.weight_ih, [&] { return problem.loss(); });
  Array d_z = xt::transpose(numeric);  // [T B, 3H]
  d_z.reshape({T, B, 3 * H});
  CHECK(normwise_difference(g.d_z, d_z) <= 1e-8);
}

TEST_CASE("the hand-derived GRU in float agrees with double to float's accuracy") {
  const GruProblem problem(50, 3, 4, 8, 3);
  const auto& p = problem.parameters;
  const auto narrow = [](const Array& array) -> Dense<float> { return xt::cast<float>(array); };
  const manual::GruParameters<float> q{narrow(p.weight_ih), narrow(p.weight_hh), narrow(p.bias_ih),
                                       narrow(p.bias_hh),   narrow(p.V),         narrow(p.c)};
  const auto g =
      manual::gru_backward(q, narrow(problem.xs), narrow(problem.ys), narrow(problem.h0));
  const auto wide = problem.gradients();
  CHECK(g.loss == doctest::Approx(wide.loss).epsilon(1e-6));
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_weight_ih), wide.d_weight_ih) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_weight_hh), wide.d_weight_hh) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_z_hidden), wide.d_z_hidden) <= 1e-5);
}

TEST_CASE("the hand-derived GRU refuses shapes that do not fit and names the argument") {
  GruProblem problem(2, 3, 4, 5, 3);
  problem.h0 = random_array({2, 5}, 1);
  CHECK_THROWS_WITH_AS((void)problem.gradients(), "[gru_manual] h0 is [2, 5], expected [3, 5]",
                       std::invalid_argument);
  problem.parameters.bias_hh = random_array({20}, 1);
  CHECK_THROWS_WITH_AS((void)problem.loss(), "[gru_manual] bias_hh is [20], expected [15]",
                       std::invalid_argument);
}
