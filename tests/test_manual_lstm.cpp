#include "unroll/models/lstm_manual.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <stdexcept>

using namespace unroll;
using namespace unroll::test;

namespace {

struct LstmProblem {
  manual::LstmParameters<double> parameters;
  Array xs, ys, h0, c0;

  LstmProblem(std::size_t T, std::size_t B, std::size_t I, std::size_t H, std::size_t K)
      : parameters{random_array({4 * H, I}, 1), random_array({4 * H, H}, 2),
                   random_array({4 * H}, 3),    random_array({4 * H}, 4),
                   random_array({K, H}, 5),     random_array({K}, 6)},
        xs(random_array({T, B, I}, 7)),
        ys(one_hot(T, B, K, 8)),
        h0(random_array({B, H}, 9)),
        c0(random_array({B, H}, 10)) {}

  double loss() const { return manual::lstm_loss(parameters, xs, ys, h0, c0); }
  manual::LstmGradients<double> gradients() const {
    return manual::lstm_backward(parameters, xs, ys, h0, c0);
  }
};

void check_all_gradients(LstmProblem problem) {
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
  check_against_differences("c0", problem.c0, g.d_c0, loss);
  check_against_differences("xs", problem.xs, g.d_xs, loss);
}

}  // namespace

TEST_CASE("the hand-derived LSTM gradient agrees with central differences for all parameters") {
  for (const std::size_t T : {1, 2, 5}) {
    for (const std::size_t B : {1, 3}) {
      CAPTURE(T);
      CAPTURE(B);
      check_all_gradients({T, B, 4, 5, 3});
    }
  }
}

TEST_CASE("the hand-derived LSTM holds for sizes of one") {
  check_all_gradients({3, 1, 1, 1, 2});
  check_all_gradients({3, 2, 1, 4, 2});
  check_all_gradients({3, 2, 4, 1, 2});
}

TEST_CASE("the hand-derived LSTM reproduces a tiny network worked out in scalars") {
  // I = H = 1, K = 2, T = 2. The numbers come from a separate scalar program, f'(x) = Im f(x +
  // ih)/h, h = 1e-30.
  const manual::LstmParameters<double> p{
      filled({4, 1}, {0.5, -0.3, 0.8, 0.4}), filled({4, 1}, {-0.6, 0.7, 0.2, -0.9}),
      filled({4}, {0.1, 0.2, -0.1, 0.3}),    filled({4}, {-0.05, 0.15, 0.25, -0.2}),
      filled({2, 1}, {1.2, -0.7}),           filled({2}, {0.05, -0.15})};
  const auto g =
      manual::lstm_backward(p, filled({2, 1, 1}, {0.9, -0.4}), filled({2, 1, 2}, {1, 0, 0, 1}),
                            filled({1, 1}, {0.3}), filled({1, 1}, {-0.5}));
  const Array bias = filled({4}, {-0.015814808740461733, 0.012304426155868565, 0.09732490367301994,
                                  -0.009759535553255365});
  CHECK(g.loss == doctest::Approx(0.4788953759137182).epsilon(1e-14));
  CHECK(normwise_difference(
            g.d_weight_ih, filled({4, 1}, {-0.0021821730921156787, 0.0009274498156671418,
                                           -0.05183655091471861, -0.011593161422126646})) <= 1e-14);
  CHECK(normwise_difference(
            g.d_weight_hh, filled({4, 1}, {-0.0026554962503790203, 0.0019325283618207246,
                                           0.005028863662924115, -0.003414872977598593})) <= 1e-13);
  CHECK(normwise_difference(g.d_bias_ih, bias) <= 1e-14);
  CHECK(normwise_difference(g.d_bias_hh, bias) <= 1e-14);
  CHECK(normwise_difference(g.dV, filled({2, 1}, {-0.012921580744353987, 0.012921580744353983})) <=
        1e-14);
  CHECK(normwise_difference(g.dc, filled({2}, {0.07185576563715465, -0.07185576563715465})) <=
        1e-14);
  CHECK(g.d_h0(0, 0) == doctest::Approx(0.015819440259672468).epsilon(1e-15));
  CHECK(g.d_c0(0, 0) == doctest::Approx(-0.021025044678567993).epsilon(1e-15));
  CHECK(normwise_difference(
            g.d_xs, filled({2, 1, 1}, {-0.017332981685641964, 0.07969035818576438})) <= 1e-14);
}

TEST_CASE(
    "the LSTM's parameter gradients are the sums over steps of its pre-activation gradients") {
  const LstmProblem problem(5, 3, 4, 6, 3);
  const auto g = problem.gradients();
  CHECK(normwise_difference(sum_of_products(g.d_z, problem.xs), g.d_weight_ih) <= 1e-14);
  CHECK(normwise_difference(sum_of_products(g.d_z, previous_states(problem.h0, g.states)),
                            g.d_weight_hh) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_z), g.d_bias_ih) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_z), g.d_bias_hh) <= 1e-14);
  CHECK(normwise_difference(sum_of_products(g.d_o, g.states), g.dV) <= 1e-14);
  CHECK(normwise_difference(sum_of_rows(g.d_o), g.dc) <= 1e-14);
}

TEST_CASE("each pre-activation gradient of the LSTM is right at its own step, sample and gate") {
  // One indicator input per (t, b) with weight 0: the difference quotient by that weight is d_z[t,
  // b] itself.
  const std::size_t T = 4, B = 2, H = 3;
  LstmProblem problem(T, B, T * B, H, 3);
  for (std::size_t row = 0; row < T * B; ++row)
    for (std::size_t i = 0; i < T * B; ++i) problem.xs.data()[row * T * B + i] = row == i;
  problem.parameters.weight_ih.fill(0.0);
  const auto g = problem.gradients();
  const Array numeric =
      difference_gradient(problem.parameters.weight_ih, [&] { return problem.loss(); });
  Array d_z = xt::transpose(numeric);  // [T B, 4H]
  d_z.reshape({T, B, 4 * H});
  CHECK(normwise_difference(g.d_z, d_z) <= 1e-8);
}

TEST_CASE("an LSTM with a closed forget gate hands nothing back through its cell") {
  LstmProblem problem(3, 2, 4, 5, 3);
  for (std::size_t j = 5; j < 10; ++j)
    problem.parameters.bias_ih(j) = -1e4;  // f = sigmoid(-10000) = 0
  const auto g = problem.gradients();
  CHECK(xt::amax(xt::abs(g.d_c0))() == 0.0);
  CHECK(xt::amax(xt::abs(g.d_h0))() > 0.0);
}

TEST_CASE("the hand-derived LSTM in float agrees with double to float's accuracy") {
  const LstmProblem problem(50, 3, 4, 8, 3);
  const auto& p = problem.parameters;
  const auto narrow = [](const Array& array) -> Dense<float> { return xt::cast<float>(array); };
  const manual::LstmParameters<float> q{narrow(p.weight_ih), narrow(p.weight_hh), narrow(p.bias_ih),
                                        narrow(p.bias_hh),   narrow(p.V),         narrow(p.c)};
  const auto g = manual::lstm_backward(q, narrow(problem.xs), narrow(problem.ys),
                                       narrow(problem.h0), narrow(problem.c0));
  const auto wide = problem.gradients();
  CHECK(g.loss == doctest::Approx(wide.loss).epsilon(1e-6));
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_weight_ih), wide.d_weight_ih) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_weight_hh), wide.d_weight_hh) <= 1e-5);
  CHECK(normwise_difference<double>(xt::cast<double>(g.d_z), wide.d_z) <= 1e-5);
}

TEST_CASE("the hand-derived LSTM refuses shapes that do not fit and names the argument") {
  LstmProblem problem(2, 3, 4, 5, 3);
  problem.c0 = random_array({3, 4}, 1);
  CHECK_THROWS_WITH_AS((void)problem.gradients(), "[lstm_manual] c0 is [3, 4], expected [3, 5]",
                       std::invalid_argument);
  problem.parameters.weight_ih = random_array({15, 4}, 1);
  CHECK_THROWS_WITH_AS((void)problem.loss(), "[lstm_manual] weight_ih is [15, 4], expected [20, 4]",
                       std::invalid_argument);
}
