// The learning rate that a program takes where a user asks for nothing else.
//
//   run.trainer.schedule = falling_rate(run, Size(training.size()));
//
// Up in the first part of the run, then down along half a cosine to nearly 0 at its end.
#pragma once

#include <algorithm>

#include "unroll/models/training/options.hpp"
#include "unroll/nn/schedules.hpp"

namespace unroll {

/// For runs whose end is known in updates, by steps or by epochs over so many examples; else the rate
/// stays as it is.
[[nodiscard]] inline RateSchedule falling_rate(const RunOptions& run, Size examples) {
  const TrainerOptions& t = run.trainer;
  const Size update = t.batch * t.accumulate;
  const Size steps = t.steps > 0 ? t.steps : t.epochs * ((examples + update - 1) / update);
  if (steps < 1) return {};
  const Size rising = std::min<Size>(100, steps / 10);
  return Warmup(rising, Cosine{.rate = run.learning_rate,
                               .steps = steps - rising,
                               .lowest = run.learning_rate / 100});
}

}  // namespace unroll
