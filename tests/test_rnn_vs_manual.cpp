#include "unroll/models/compare_gradients.hpp"
#include "unroll/models/rnn.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

using namespace unroll;
using namespace unroll::test;

namespace {

template <class T>
Dense<T> cast_to(const Array& x) {
  return xt::cast<T>(x);
}

// One network and one batch, for the hand and for the tape.
template <class T>
struct RnnProblem {
  manual::RnnParameters<T> parameters;
  Dense<T> xs, ys, a0;

  RnnProblem(std::size_t steps, std::size_t B, std::size_t I, std::size_t H, std::size_t K)
      : parameters{cast_to<T>(random_array({H, I}, 1)), cast_to<T>(random_array({H, H}, 2, 0.5)),
                   cast_to<T>(random_array({H}, 3)), cast_to<T>(random_array({K, H}, 4)),
                   cast_to<T>(random_array({K}, 5))},
        xs(cast_to<T>(random_array({steps, B, I}, 6))),
        ys(cast_to<T>(one_hot(steps, B, K, 7))),
        a0(cast_to<T>(random_array({B, H}, 8))) {}

  NotesRnn<T> network() const {
    const auto& p = parameters;
    return {p.U, p.W, p.b, p.V, p.c};
  }
  Var<T> probes() const {
    return zeros<T>({static_cast<Size>(xs.shape(0)), static_cast<Size>(xs.shape(1)),
                     static_cast<Size>(parameters.U.shape(0))});
  }

  GradientSet by_tape() const {
    const Var<T> targets = ys;
    const auto [g, g_a0, g_xs, g_z] =
        grad([&](const NotesRnn<T>& n, const Var<T>& a, const Var<T>& x, const Var<T>& probe) {
          return n.loss(x, targets, a, probe);
        })(network(), Var<T>(a0), Var<T>(xs), probes());
    GradientSet set = gradient_set(g);
    set.parameters.push_back({"a0", double_array(g_a0)});
    set.parameters.push_back({"xs", double_array(g_xs)});
    set.steps = {{"z", double_array(g_z), {"a"}}};
    return set;
  }
  GradientSet by_hand() const { return gradient_set(manual::rnn_backward(parameters, xs, ys, a0)); }
};

template <class T>
double compare_all_lengths(double tolerance) {
  double worst = 0;
  for (const std::size_t steps : {1, 2, 7, 50, 200}) {
    for (const std::size_t B : {1, 3, 16}) {
      const RnnProblem<T> problem(steps, B, 5, 8, 4);
      const auto r = compare_gradients(problem.by_hand(), problem.by_tape(), tolerance);
      CAPTURE(steps);
      CAPTURE(B);
      INFO(r);
      CHECK(r.ok());
      worst = std::max(worst, r.worst());
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("the tape gives the notes' network the gradient that was derived by hand, in double") {
  const double worst = compare_all_lengths<double>(1e-12);
  MESSAGE("RNN, tape against hand, double, T to 200, B to 16: largest difference ", worst);
}

TEST_CASE("the tape gives the notes' network the gradient that was derived by hand, in float") {
  const double worst = compare_all_lengths<float>(1e-5);
  MESSAGE("RNN, tape against hand, float, T to 200, B to 16: largest difference ", worst);
}

TEST_CASE("loss and predictions of the notes' network are those of the hand-written forward pass") {
  const RnnProblem<double> problem(7, 3, 5, 8, 4);
  const auto g = manual::rnn_backward(problem.parameters, problem.xs, problem.ys, problem.a0);
  const auto net = problem.network();
  const double loss = net.loss(problem.xs, problem.ys, problem.a0).item();
  CHECK(loss == doctest::Approx(g.loss).epsilon(1e-14));
  const Array predictions = net.predictions(problem.xs, problem.a0).value();
  CHECK(normwise_difference(predictions, g.predictions) <= 1e-14);
}

TEST_CASE("the notes' network: the tangent of the loss is the gradient times the direction") {
  const RnnProblem<double> problem(50, 3, 5, 8, 4);
  const Var<double> xs = problem.xs, ys = problem.ys, a0 = problem.a0;
  const auto loss = [&](const NotesRnn<double>& n) { return n.loss(xs, ys, a0); };
  const auto net = problem.network();
  std::uint64_t seed = 100;
  const auto direction = tree_map(
      [&](const auto& p) {
        std::vector<double> v(static_cast<std::size_t>(p.size()));
        const Array r = random_array({v.size()}, ++seed);
        std::copy(r.begin(), r.end(), v.begin());
        return Var<double>(p.shape(), v);
      },
      net);
  const double tangent = jvp(loss, net, direction).tangent.item();
  const double product = tree_dot<double>(grad(loss)(net), direction).item();
  CHECK(std::abs(tangent - product) <= 1e-12 * std::abs(product));
}

TEST_CASE("targets of another shape than the predictions are named, not broadcast") {
  const RnnProblem<double> problem(2, 3, 5, 8, 4);
  const Var<double> ys = zeros<double>({2, 1, 4});
  CHECK_THROWS_WITH_AS((void)problem.network().loss(problem.xs, ys, problem.a0),
                       "[notes_loss] predictions have shape [2, 3, 4], targets [2, 1, 4]",
                       std::invalid_argument);
}
