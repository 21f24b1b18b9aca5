// Schedules against PyTorch's learning rates (fixtures/torch_optimizers.py), at their ends, and resumed.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "fixtures/torch_optimizers.hpp"
#include "unroll/nn/schedules.hpp"

using namespace unroll;

namespace {

namespace torch = torch_schedules;

template <class Schedule, std::size_t N>
void check_rates(const Schedule& schedule, const std::array<double, N>& expected) {
  for (std::size_t step = 0; step < N; ++step) {
    CAPTURE(step);
    CHECK(std::abs(schedule(static_cast<Size>(step)) - expected[step]) < 1e-15);
  }
}

// Halfway a copy goes on that has the state alone.
void check_plateau(ReduceOnPlateau plateau, const std::array<double, 20>& expected,
                   const std::array<double, 20>& results = torch::results) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    if (i == 10) {
      ReduceOnPlateau resumed(7, plateau.options);
      std::vector<Var<double>> state;
      for_each_state(plateau,
                     [&](const std::string&, const Var<double>& x) { state.push_back(x); });
      std::size_t next = 0;
      for_each_state(resumed, [&](const std::string&, Var<double>& x) { x = state[next++]; });
      plateau = resumed;
    }
    CHECK(std::abs(plateau.add(results[i]) - expected[i]) < 1e-15);
  }
}

}  // namespace

TEST_CASE("Schedules give PyTorch's learning rates") {
  check_rates(StepDecay{.rate = 0.5, .every = 3, .factor = 0.2}, torch::step_decay);
  check_rates(MultiStep{.rate = 0.5, .milestones = {2, 5, 5, 7}, .factor = 0.3}, torch::multi_step);
  check_rates(Exponential{.rate = 0.5, .factor = 0.9}, torch::exponential);
  check_rates(Cosine{.rate = 0.5, .steps = 9, .lowest = 0.01}, torch::cosine);
  check_rates(CosineRestarts{.rate = 0.5, .period = 3, .lowest = 0.01}, torch::cosine_restarts);
  check_rates(CosineRestarts{.rate = 0.5, .period = 2, .growth = 2, .lowest = 0.01},
              torch::cosine_restarts_growing);
  check_rates(Warmup(4, Exponential{.rate = 0.5, .factor = 0.9}, 0.25), torch::warmup_exponential);
  check_rates(OneCycle{.highest = 0.5, .steps = 12}, torch::one_cycle);
  check_rates(OneCycle{.highest = 0.5,
                       .steps = 12,
                       .rising = 0.4,
                       .start_divisor = 10,
                       .end_divisor = 100,
                       .annealing = Annealing::linear},
              torch::one_cycle_linear);
}

TEST_CASE("ReduceOnPlateau gives PyTorch's learning rates, also when it is resumed") {
  check_plateau(ReduceOnPlateau(0.5, {.factor = 0.5, .patience = 2}), torch::plateau);
  check_plateau(ReduceOnPlateau(0.5, {.factor = 0.3, .patience = 1, .cooldown = 2, .lowest = 0.02}),
                torch::plateau_cooldown);
  check_plateau(ReduceOnPlateau(0.5, {.factor = 0.5,
                                      .patience = 1,
                                      .threshold = 0.2,
                                      .threshold_mode = ThresholdMode::absolute}),
                torch::plateau_absolute);
  check_plateau(ReduceOnPlateau(0.5, {.factor = 0.5, .patience = 0, .smallest_change = 0.03}),
                torch::plateau_smallest_change);
  std::array<double, 20> higher = torch::results;
  for (double& x : higher) x = 1 - x;
  check_plateau(
      ReduceOnPlateau(0.5,
                      {.better = Better::higher, .factor = 0.5, .patience = 1, .threshold = 0.05}),
      torch::plateau_higher, higher);
}

TEST_CASE("A result below zero is better when it is lower by the share of its size") {
  ReduceOnPlateau plateau(1, {.factor = 0.5, .patience = 0, .threshold = 0.1});
  CHECK(plateau.add(-10) == 1);
  CHECK(plateau.add(-10.5) == 0.5);  // -11 would have been better
  CHECK(plateau.add(-12) == 0.5);
  CHECK(plateau.best.item() == -12);
}

TEST_CASE("Schedules stay where they end") {
  CHECK(ConstantRate{0.1}(1'000'000'000'000) == 0.1);
  const Cosine cosine{.rate = 1, .steps = 10, .lowest = 0.1};
  CHECK(cosine(10) == 0.1);
  CHECK(cosine(1'000'000) == 0.1);
  const OneCycle cycle{.highest = 1, .steps = 10};
  CHECK(cycle(9) == cycle(10));
  CHECK(cycle(1'000'000) == doctest::Approx(1.0 / 25 / 1e4));
  // Growing periods end no loop early, whatever the step.
  const CosineRestarts restarts{.rate = 1, .period = 1, .growth = 2};
  CHECK(restarts((Size{1} << 40) - 1) == 1);
  CHECK(restarts((Size{1} << 41) - 1 + (Size{1} << 40)) == doctest::Approx(0.5));
  CHECK(std::isfinite(restarts(std::numeric_limits<Size>::max())));
}

TEST_CASE("Short schedules: one step, no warm-up, nothing that rises") {
  CHECK(OneCycle{.highest = 1, .steps = 1}(0) == 1);
  CHECK(OneCycle{.highest = 1, .steps = 2}(0) == 1);
  CHECK(OneCycle{.highest = 1, .steps = 2}(1) == doctest::Approx(4e-6));
  CHECK(OneCycle{.highest = 1, .steps = 10, .rising = 0}(9) == doctest::Approx(4e-6));
  CHECK(OneCycle{.highest = 1, .steps = 10, .rising = 1}(9) == 1);
  CHECK(Warmup(0, ConstantRate{0.5})(0) == 0.5);
  CHECK(Warmup(1, ConstantRate{0.5}, 0.5)(0) == 0.25);
  CHECK(Warmup(1, ConstantRate{0.5}, 0.5)(1) == 0.5);
  // Of anything that can be called, another warm-up too.
  const Warmup nested(2,
                      Warmup(
                          2, [](Size step) { return static_cast<double>(step + 1); }, 0),
                      0);
  CHECK(nested(1) == 0);
  CHECK(nested(3) == 0.5);
  CHECK(nested(5) == 2);
  CHECK(MultiStep{.rate = 2, .milestones = {}}(100) == 2);
}

TEST_CASE("Schedules that make no sense are refused") {
  CHECK_THROWS_WITH_AS((void)StepDecay({.rate = 1, .every = 0})(3),
                       "[StepDecay] every must be at least 1, not 0", std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)Cosine({.rate = 1, .steps = 5})(-1), "[Cosine] step -1 is negative",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)MultiStep({.rate = 1, .milestones = {3, 2}})(0),
                       "[MultiStep] the milestones must be in rising order", std::invalid_argument);
  CHECK_THROWS_AS((void)CosineRestarts({.rate = 1, .period = 0})(0), std::invalid_argument);
  CHECK_THROWS_AS((void)OneCycle({.highest = 1, .steps = 5, .rising = 2})(0),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)Warmup(3, ConstantRate{1}, -1)(0), std::invalid_argument);
  ReduceOnPlateau plateau(1, {.factor = 1});
  CHECK_THROWS_AS(plateau.add(1), std::invalid_argument);
  CHECK(std::isinf(plateau.best.item()));
}
