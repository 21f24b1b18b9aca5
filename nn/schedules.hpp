// Learning rates over time: from the number of a step to its rate.
//
//   Warmup schedule(500, Cosine{.rate = 3e-4, .steps = 10'000});
//   for (Size step = 0; step < steps; ++step) {
//     adam.options.learning_rate = schedule(step);
//     ...
//   }
//
// A schedule is any function of a step, counted from 0 for the first update; a lambda is one too. These are PyTorch's in
// closed form, so a run that resumes at step 4000 needs no more than that number; ReduceOnPlateau, which answers to what
// it is told, has a state, which is a tree and is saved with the optimiser. What counts as a step (an update, an epoch)
// is the caller's choice. Values that make no sense throw std::invalid_argument when a rate is asked for.
#pragma once

#include "unroll/autograd/model.hpp"

namespace unroll {

struct ConstantRate {
  double rate;
  double operator()(Size) const { return rate; }
};

// rate · factor^(step / every), whole quotients.
struct StepDecay {
  double rate;
  Size every;
  double factor = 0.1;
  [[nodiscard]] double operator()(Size step) const;
};

// rate · factor^k at and after milestone number k, which are in rising order.
struct MultiStep {
  double rate;
  std::vector<Size> milestones;
  double factor = 0.1;
  [[nodiscard]] double operator()(Size step) const;
};

// rate · factor^step
struct Exponential {
  double rate;
  double factor;
  [[nodiscard]] double operator()(Size step) const;
};

// From rate to lowest along half a cosine, lowest + (rate - lowest) (1 + cos(π step / steps)) / 2, and `lowest` from
// then on (Loshchilov & Hutter, 2017).
struct Cosine {
  double rate;
  Size steps;
  double lowest = 0;
  [[nodiscard]] double operator()(Size step) const;
};

// The same again and again; each period is `growth` times as long as the one before it.
struct CosineRestarts {
  double rate;
  Size period;
  Size growth = 1;
  double lowest = 0;
  [[nodiscard]] double operator()(Size step) const;
};

namespace detail {
// The factor of step `step` of a warm-up.
[[nodiscard]] double warmup_factor(Size step, Size steps, double start);
}  // namespace detail
// Straight up from start · then(0) to then(0) in so many steps; then `then`, from its own step 0.
template <class Schedule>
struct Warmup {
  Size steps;
  Schedule then;
  double start;
  explicit Warmup(Size warmup_steps, Schedule schedule, double start_factor = 1.0 / 3)
      : steps(warmup_steps), then(std::move(schedule)), start(start_factor) {}
  [[nodiscard]] double operator()(Size step) const {
    return step < steps ? then(0) * detail::warmup_factor(step, steps, start) : then(step - steps);
  }
};

enum class Annealing { cosine, linear };
// Up from highest / start_divisor to `highest`, then down to highest / start_divisor / end_divisor, over `steps` steps in
// all, of which the first part is `rising` (Smith & Topin, 2018); it stays where it ends.
struct OneCycle {
  double highest;
  Size steps;
  double rising = 0.3;
  double start_divisor = 25, end_divisor = 1e4;
  Annealing annealing = Annealing::cosine;
  [[nodiscard]] double operator()(Size step) const;
};

enum class Better { lower, higher };
enum class ThresholdMode { relative, absolute };
struct PlateauOptions {
  Better better = Better::lower;
  double factor = 0.1;
  Size patience =
      10;  // so many results in a row may be no better; the next such one lowers the rate
  double threshold =
      1e-4;  // what is nearer to the best than this (relative: times |best|) is no better
  ThresholdMode threshold_mode = ThresholdMode::relative;
  Size cooldown = 0;  // results after a lowering that are not counted
  double lowest = 0;
  double smallest_change = 1e-8;  // a change of the rate below this is not made
};

// Lowers the rate when a result stops getting better. NaN is never better.
//
//   ReduceOnPlateau plateau(0.1, {.patience = 3});
//   adam.options.learning_rate = plateau.add(validation_loss);       // after each validation
struct ReduceOnPlateau {
  PlateauOptions options;
  Var<double> rate, best, bad,
      cooling;  // bad results in a row; results of the cooldown still to come
  static constexpr auto fields() {
    return std::tuple{field("rate", &ReduceOnPlateau::rate), field("best", &ReduceOnPlateau::best),
                      field("bad", &ReduceOnPlateau::bad),
                      field("cooling", &ReduceOnPlateau::cooling)};
  }

  explicit ReduceOnPlateau(double start, const PlateauOptions& o = {});
  // Takes note of a result; gives the rate from now on.
  double add(double result);
};

}  // namespace unroll
