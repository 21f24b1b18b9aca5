// Optimisers against numbers worked out by PyTorch's documented algorithms in 40-digit decimals and against
// PyTorch's own (fixtures/torch_optimizers.py), parameter groups, averages of weights, and clipping.
#include <doctest/doctest.h>

#include <unistd.h>
#include <cmath>
#include <filesystem>
#include <limits>

#include "fixtures/torch_optimizers.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/optimizers.hpp"
#include "unroll/nn/serialization.hpp"
#include "unroll/nn/weight_average.hpp"

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

// The model and gradients of fixtures/torch_optimizers.py.
namespace torch = torch_optimizers;

Linear<double> pattern(Size step, Size shift) {
  std::vector<double> x;
  for (Size i = 0; i < 6; ++i) x.push_back(static_cast<double>((i * step + shift) % 101 - 50) / 32);
  return {Var<double>({2, 2}, {x[0], x[1], x[2], x[3]}), Var<double>({2}, {x[4], x[5]})};
}
const Linear<double> torch_start = pattern(37, 5);
Linear<double> torch_gradient(Size step) { return pattern(53, 7 + 11 * step); }

// After 1, 3 and 6 steps.
template <class Optimizer>
void check_torch(Optimizer optimizer, const std::array<double, 18>& expected) {
  Linear<double> model = torch_start;
  const double* next = expected.data();
  for (Size step = 0; step < 6; ++step) {
    optimizer.step(model, torch_gradient(step));
    if (step != 0 && step != 2 && step != 5) continue;
    tree_for_each(
        [&](const auto& p) {
          for (double x : p.to_vector()) CHECK(std::abs(x - *next++) < 1e-14);
        },
        model);
  }
  CHECK(next == expected.data() + expected.size());
}

// A tenth of the learning rate, and no decay, for the bias.
const ParameterGroups slow_bias =
    parameter_groups(torch_start, [](const std::string& name, const Shape&) {
      return name == "bias" ? ParameterSettings{.learning_rate_scale = 0.1, .weight_decay = 0}
                            : ParameterSettings{};
    });

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "nothing was thrown";
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

TEST_CASE("Each optimiser takes PyTorch's steps, with and without parameter groups") {
  const SgdOptions sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1};
  SgdOptions nesterov = sgd;
  nesterov.nesterov = Nesterov::yes;
  check_torch(Sgd(torch_start, {.learning_rate = 0.1, .weight_decay = 0.1}), torch::sgd);
  check_torch(Sgd(torch_start, nesterov), torch::sgd_nesterov);
  check_torch(Sgd(torch_start, sgd, slow_bias), torch::sgd_groups);

  AdamOptions adam{
      .learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 0.1};
  AdamWOptions adamw{
      .learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 0.1};
  check_torch(Adam(torch_start, adam), torch::adam);
  check_torch(Adam(torch_start, adam, slow_bias), torch::adam_groups);
  check_torch(AdamW(torch_start, adamw), torch::adamw);
  check_torch(AdamW(torch_start, adamw, slow_bias), torch::adamw_groups);
  adam.amsgrad = adamw.amsgrad = Amsgrad::yes;
  check_torch(Adam(torch_start, adam), torch::adam_amsgrad);
  check_torch(AdamW(torch_start, adamw), torch::adamw_amsgrad);

  RmsPropOptions rms{.learning_rate = 0.05, .smoothing = 0.9, .epsilon = 1e-3, .weight_decay = 0.1};
  check_torch(RmsProp(torch_start, rms), torch::rmsprop);
  rms.momentum = 0.9;
  check_torch(RmsProp(torch_start, rms), torch::rmsprop_momentum);
  check_torch(RmsProp(torch_start, rms, slow_bias), torch::rmsprop_groups);
  rms.centered = Centered::yes;
  check_torch(RmsProp(torch_start, rms), torch::rmsprop_both);
  check_torch(
      RmsProp(
          torch_start,
          {.learning_rate = 0.05, .smoothing = 0.9, .epsilon = 1e-3, .centered = Centered::yes}),
      torch::rmsprop_centered);

  check_torch(Adagrad(torch_start, {.learning_rate = 0.5, .weight_decay = 0.1}), torch::adagrad);
  check_torch(
      Adagrad(
          torch_start,
          {.learning_rate = 0.5, .learning_rate_decay = 0.2, .epsilon = 1e-3, .initial_sum = 0.3}),
      torch::adagrad_decay);
}

TEST_CASE("A centred RMSProp stays finite where gradients do not change") {
  // The variance is 0 but for rounding, which may take it below.
  for (double g : {0.1, 0.3, 1.7}) {
    Var<double> p = 1.0;
    RmsProp rms(p, {.learning_rate = 1e-9, .smoothing = 0.5, .centered = Centered::yes});
    for (int i = 0; i < 200; ++i) rms.step(p, Var<double>(g));
    CHECK(std::isfinite(p.item()));
  }
}

TEST_CASE("Groups are chosen by rank and by name") {
  struct Layers {
    std::vector<Linear<double>> layers;
    Var<double> gain;
    static constexpr auto fields() {
      return std::tuple{field("layers", &Layers::layers), field("gain", &Layers::gain)};
    }
  };
  const Layers model{{torch_start, torch_start}, 1.0};
  const auto decays = [](const ParameterGroups& groups) {
    std::vector<double> out;
    for (const ParameterSettings& s : groups) out.push_back(s.weight_decay.value_or(-1));
    return out;
  };
  CHECK(decays(decay_matrices_only(model)) == std::vector<double>{-1, 0, -1, 0, 0});
  CHECK(decays(no_decay_of(model, "bias")) == std::vector<double>{-1, 0, -1, 0, -1});
  CHECK(decays(no_decay_of(model, "1")) == std::vector<double>{-1, -1, 0, 0, -1});
  CHECK(has_part("bias", "bias"));
  CHECK_FALSE(has_part("layers.0.bias_ih", "bias"));
  CHECK_FALSE(has_part("", "bias"));
}

TEST_CASE("States that only some options ask for are saved with them, and needed by them") {
  const auto names = [](const auto& optimizer) {
    std::vector<std::string> out;
    for_each_state(optimizer, [&](const std::string& name, const auto&) { out.push_back(name); });
    return out;
  };
  using Names = std::vector<std::string>;
  const Var<double> p = 1.0;
  CHECK(names(Sgd(p)) == Names{"velocity"});
  CHECK(names(Adam(p)) == Names{"first_moment", "second_moment", "steps"});
  CHECK(names(AdamW(p, {.amsgrad = Amsgrad::yes})) ==
        Names{"first_moment", "second_moment", "largest_second_moment", "steps"});
  CHECK(names(RmsProp(p)) == Names{"square_average"});
  CHECK(names(RmsProp(p, {.momentum = 0.9, .centered = Centered::yes})) ==
        Names{"square_average", "gradient_average", "velocity"});
  CHECK(names(Adagrad(p)) == Names{"sum_of_squares", "steps"});

  Var<double> q = p;
  RmsProp rms(p);
  rms.options.momentum = 0.9;
  CHECK(message_of([&] { rms.step(q, p); }) ==
        "[RmsProp] the option momentum needs a state that this optimiser was made without; set it "
        "when "
        "making it");
  Adam adam(p);
  adam.options.amsgrad = Amsgrad::yes;
  CHECK_THROWS_AS(adam.step(q, p), std::invalid_argument);
  CHECK(q.item() == 1);
  CHECK(adam.steps.item() == 0);
}

TEST_CASE("An optimiser that was saved goes on as if it had not been") {
  const auto path = std::filesystem::temp_directory_path() /
                    ("unroll_optimizer_" + std::to_string(::getpid()) + ".safetensors");
  const auto check = [&](auto optimizer) {
    const auto fresh = optimizer;
    Linear<double> model = torch_start, copy;
    optimizer.step(model, torch_gradient(0));
    optimizer.step(model, torch_gradient(1));
    save(path, optimizer);
    auto loaded = fresh;
    load(path, loaded);
    copy = model;
    optimizer.step(model, torch_gradient(2));
    loaded.step(copy, torch_gradient(2));
    CHECK(model.weight.to_vector() == copy.weight.to_vector());
    CHECK(model.bias.to_vector() == copy.bias.to_vector());
  };
  check(AdamW(torch_start, {.amsgrad = Amsgrad::yes}, slow_bias));
  check(RmsProp(torch_start, {.momentum = 0.9, .centered = Centered::yes}));
  check(Adagrad(torch_start, {.learning_rate_decay = 0.1}));
  std::filesystem::remove(path);
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
      Var<float> one = slice(expected, 0, SliceRange{i, i + 1});
      Adam single(one, {.learning_rate = 0.05});
      single.step(one, slice(g, 0, SliceRange{i, i + 1}));
      single.step(one, slice(g, 0, SliceRange{i, i + 1}));
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
  CHECK(fit(Adam(model, {.learning_rate = 0.05, .amsgrad = Amsgrad::yes}), model) < 1e-6);
  CHECK(fit(RmsProp(model, {.learning_rate = 0.01}), model) < 1e-3);
  CHECK(fit(Adagrad(model, {.learning_rate = 0.5}), model) < 1e-6);
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
  CHECK(message_of([&] { adam.step(model, before); }) == "[Adam] beta1 must be in [0, 1)");
  RmsProp rms(model, {.smoothing = 1});
  CHECK_THROWS_AS(rms.step(model, before), std::invalid_argument);
  Adagrad adagrad(model, {.learning_rate_decay = -1});
  CHECK_THROWS_AS(adagrad.step(model, before), std::invalid_argument);
  Sgd sgd(model, {.learning_rate = -0.1});
  CHECK(message_of([&] { sgd.step(model, before); }) ==
        "[Sgd] a learning rate, or its scale, is -0.100000; it must not be negative");
  for (auto check : {+[](Linear<double> m) { Adam(m, {.learning_rate = -1}).step(m, m); },
                     +[](Linear<double> m) { AdamW(m, {.learning_rate = -1}).step(m, m); },
                     +[](Linear<double> m) { RmsProp(m, {.learning_rate = -1}).step(m, m); },
                     +[](Linear<double> m) { Adagrad(m, {.learning_rate = -1}).step(m, m); }}) {
    CHECK_THROWS_AS(check(before), std::invalid_argument);
  }
  Sgd other_groups(model, {}, ParameterGroups(3));
  CHECK(message_of([&] { other_groups.step(model, before); }) ==
        "[Sgd] there are settings for 3 parameters, but the model has 2; were the groups made for "
        "this "
        "model?");
  CHECK(model.weight.to_vector() == before.weight.to_vector());
}

TEST_CASE("A parameter whose learning rate is scaled by 0 stays as it is, and so does its state") {
  const Linear<double> start = Linear<double>::make(Key(1), 3, 2);
  const ParameterGroups groups = parameter_groups(start, [](const std::string& name, const Shape&) {
    return ParameterSettings{.learning_rate_scale = name == "bias" ? 0.0 : 1.0};
  });
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Linear<double> gradient{ones<double>({2, 3}), full<double>({2}, nan)};
  Linear<double> model = start;
  const auto stays = [&](auto optimizer, const auto& state) {
    model = start;
    optimizer.step(model, gradient);
    CHECK(model.bias.to_vector() == start.bias.to_vector());
    CHECK((optimizer.*state).bias.to_vector() == std::vector<double>{0, 0});
    CHECK(model.weight.to_vector() != start.weight.to_vector());
  };
  stays(Sgd(start, {.momentum = 0.9}, groups), &Sgd<Linear<double>>::velocity);
  stays(Adam(start, {}, groups), &Adam<Linear<double>>::first_moment);
  stays(AdamW(start, {}, groups), &AdamW<Linear<double>>::second_moment);
  Sgd negative(start, {}, ParameterGroups(2, {.learning_rate_scale = -1}));
  CHECK_THROWS_AS(negative.step(model, start), std::invalid_argument);
}

TEST_CASE("The moving average of weights, plain and with its warm-up") {
  const Pair zeros{0.0, 0.0, 1.0}, ones{1.0, 1.0, 2.0};
  WeightAverage average(ones, {.decay = 0.75});
  average.update(zeros);
  average.update(zeros);
  CHECK(average.model.first.item() == 0.5625);
  CHECK(average.model.frozen.item() == 1);  // a constant is no parameter: the newest
  average.update(ones);
  CHECK(average.model.second.item() == 0.671875);
  CHECK(average.updates.item() == 3);
  // 2/11 · 3/12 · 4/13, then 0.3 where the warm-up has passed it (5/14).
  WeightAverage warm(ones, {.decay = 0.3, .warmup = AverageWarmup::yes});
  for (int i = 0; i < 3; ++i) warm.update(zeros);
  CHECK(std::abs(warm.model.first.item() - 2.0 * 3 * 0.3 / (11 * 12)) < 1e-16);
  CHECK(message_of([] {
          WeightAverage a(Var<double>({2}, {1, 2}));
          a.update(Var<double>(1.0));
        }) ==
        "[WeightAverage] a parameter has shape [], its average [2]; was the average made for this "
        "model?");
  average.options.decay = 1.5;
  CHECK_THROWS_AS(average.update(ones), std::invalid_argument);
  CHECK(average.updates.item() == 3);
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
