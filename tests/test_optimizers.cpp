// Optimisers against numbers worked out by PyTorch's documented algorithms in 40-digit decimals,
// and clipping.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/optimizers.hpp"

using namespace unroll;

namespace {

struct Pair {
  Var<double> first;  // one number each
  Var<double> second;
  Var<double> frozen;
  static constexpr auto fields() {
    return std::tuple{field("first", &Pair::first), field("second", &Pair::second),
                      constant("frozen", &Pair::frozen)};
  }
};

// p = (1, -2); three steps with the gradients (0.5, -0.3), (0.1, 0.4), (-0.2, 0.6).
template <class Optimizer>
std::array<double, 2> after_three_steps(Optimizer& optimizer) {
  Pair model{1.0, -2.0, 5.0};
  constexpr std::array<std::array<double, 2>, 3> gradients{{{0.5, -0.3}, {0.1, 0.4}, {-0.2, 0.6}}};
  for (const auto& g : gradients) optimizer.step(model, Pair{g[0], g[1], 7.0});
  CHECK(model.frozen.item() == 5.0);  // no parameter: not touched
  CHECK_FALSE(model.first.is_tracked());
  return {model.first.item(), model.second.item()};
}

const Pair start{1.0, -2.0, 5.0};

void check_close(const std::array<double, 2>& p, double first, double second) {
  CHECK(std::abs(p[0] - first) < 1e-14);
  CHECK(std::abs(p[1] - second) < 1e-14);
}

}  // namespace

TEST_CASE("Sgd takes the steps of torch.optim.SGD") {
  Sgd plain(start, {.learning_rate = 0.1});
  check_close(after_three_steps(plain), 0.96, -2.07);
  Sgd decay(start, {.learning_rate = 0.1, .weight_decay = 0.01});
  check_close(after_three_steps(decay), 0.957112949, -2.064025968);
  Sgd momentum(start, {.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01});
  check_close(after_three_steps(momentum), 0.860094749, -2.043563568);
  Sgd nesterov(
      start,
      {.learning_rate = 0.1, .momentum = 0.9, .nesterov = Nesterov::yes, .weight_decay = 0.01});
  check_close(after_three_steps(nesterov), 0.831465558191, -2.103324136512);
}

TEST_CASE("Adam and AdamW take the steps of torch.optim.Adam and AdamW") {
  const AdamOptions o{.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-3};
  Adam adam(start, o);
  check_close(after_three_steps(adam), 0.7855147759920879, -1.9780310684149305);
  CHECK(adam.steps.item() == 3);
  AdamOptions l2 = o;
  l2.weight_decay = 0.1;
  Adam with_l2(start, l2);
  check_close(after_three_steps(with_l2), 0.7600355865604178, -1.8857432474536153);
  AdamW decoupled(
      start,
      {.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-3, .weight_decay = 0.1});
  check_close(after_three_steps(decoupled), 0.7586022971445043, -1.920419614220849);
}

TEST_CASE("The options may change between steps") {
  Sgd sgd(start, {.learning_rate = 0.1});
  Pair model = start;
  sgd.step(model, Pair{1.0, 1.0, 0.0});
  sgd.options.learning_rate = 0.01;
  sgd.step(model, Pair{1.0, 1.0, 0.0});
  CHECK(std::abs(model.first.item() - 0.89) < 1e-15);
}

TEST_CASE("Float arrays of any length are updated like their elements") {
  for (Size n : {1, 7, 16, 33, 67}) {
    Var<float> p = normal<float>(Key(1), {n}), expected = p;
    Adam all(p, {.learning_rate = 0.05});
    const Var<float> g = normal<float>(Key(2), {n});
    all.step(p, g);
    all.step(p, g);
    for (Size i = 0; i < n; ++i) {
      Var<float> one = slice(expected, 0, Range{i, i + 1});
      Adam single(one, {.learning_rate = 0.05});
      single.step(one, slice(g, 0, Range{i, i + 1}));
      single.step(one, slice(g, 0, Range{i, i + 1}));
      CHECK(one.item() == p.to_vector()[static_cast<std::size_t>(i)]);
    }
  }
}

TEST_CASE("Each optimiser fits a line") {
  const Var<double> x = normal<double>(Key(1), {64, 3});
  const Linear<double> truth{normal<double>(Key(2), {2, 3}), normal<double>(Key(3), {2})};
  const Var<double> y = truth(x);
  const auto loss = [&](const Linear<double>& m) { return mean(square(m(x) - y)); };
  const auto fit = [&](auto optimizer, Linear<double> model) {
    for (int i = 0; i < 400; ++i) optimizer.step(model, value_and_grad(loss, model).gradient);
    return loss(model).item();
  };
  const Linear<double> model = Linear<double>::make(Key(4), 3, 2);
  CHECK(fit(Sgd(model, {.learning_rate = 0.2}), model) < 1e-10);
  CHECK(fit(Sgd(model, {.learning_rate = 0.05, .momentum = 0.9, .nesterov = Nesterov::yes}),
            model) < 1e-10);
  CHECK(fit(Adam(model, {.learning_rate = 0.05}), model) < 1e-6);
  CHECK(fit(AdamW(model, {.learning_rate = 0.05, .weight_decay = 0}), model) < 1e-6);
}

TEST_CASE("A step is a differentiable function of the gradient when that is tracked") {
  // d/dg of p - rate (g + decay p), twice with momentum 0.5: p2 = p - rate (g + 1.5 g) without
  // decay.
  const auto moved = [](const Var<double>& g) {
    Var<double> p = 1.0;
    Sgd sgd(p, {.learning_rate = 0.1, .momentum = 0.5});
    sgd.step(p, g);
    sgd.step(p, g);
    return p;
  };
  CHECK(std::abs(grad(moved)(Var<double>(3.0)).item() + 0.25) < 1e-15);
}

TEST_CASE("A step that cannot be taken changes nothing") {
  Linear<double> model = Linear<double>::make(Key(1), 3, 2);
  const Linear<double> before = model;
  Adam adam(model);
  const Linear<double> wrong{zeros<double>({2, 3}), zeros<double>({3})};
  CHECK_THROWS_WITH_AS(adam.step(model, wrong),
                       "[Adam] a parameter has shape [2], its gradient or moment [3]; was the "
                       "optimiser made for this model?",
                       std::invalid_argument);
  CHECK(model.weight.to_vector() == before.weight.to_vector());
  CHECK(adam.steps.item() == 0);
  Sgd nesterov(model, {.nesterov = Nesterov::yes});
  CHECK_THROWS_AS(nesterov.step(model, before), std::invalid_argument);
  adam.options.beta1 = 1;
  CHECK_THROWS_AS(adam.step(model, before), std::invalid_argument);
}

TEST_CASE("Clipping by norm scales the whole tree, and only when it is too long") {
  const Linear<float> g{Var<float>({2, 1}, {3, 0}), Var<float>({2}, {0, 4})};
  CHECK(global_norm(g) == 5.0);
  const Linear<float> clipped = clip_by_norm(g, 1.0);
  CHECK(std::abs(global_norm(clipped) - 1) < 1e-6);
  CHECK(clipped.weight.to_vector()[0] == doctest::Approx(0.6));
  CHECK(clip_by_norm(g, 5.0).bias.to_vector() == g.bias.to_vector());
  CHECK_THROWS_AS((void)clip_by_norm(g, 0.0), std::invalid_argument);
  // Summed in double: squares that overflow float do not.
  CHECK(global_norm(Var<float>({2}, {3e30f, 4e30f})) == doctest::Approx(5e30));
  std::vector<double> many(1003, 0.5);
  CHECK(std::abs(global_norm(Var<double>({17, 59}, many)) - std::sqrt(1003 * 0.25)) < 1e-13);
  // Not finite: handed back for the caller to see.
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(clip_by_norm(Var<float>({2}, {infinity, 1}), 1.0).to_vector() ==
        std::vector<float>{infinity, 1});
}

TEST_CASE("Clipping by value limits each element") {
  const Var<double> g({4}, {-3, -0.5, 0.5, 3});
  CHECK(clip_by_value(g, 1.0).to_vector() == std::vector<double>{-1, -0.5, 0.5, 1});
  CHECK_THROWS_AS((void)clip_by_value(g, -1.0), std::invalid_argument);
}
