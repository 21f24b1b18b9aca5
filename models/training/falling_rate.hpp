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

/// How many updates a run over so many examples takes, as the trainer counts them: as many as `steps`, or as
/// `epochs`, whichever end comes first. 0 where only time ends it.
[[nodiscard]] inline Size known_updates(const TrainerOptions& t, Size examples) {
  const Size each = t.batch * t.accumulate;
  const Size of_epochs = t.epochs * ((examples + each - 1) / each);
  if (t.steps == 0 || of_epochs == 0) return std::max(t.steps, of_epochs);
  return std::min(t.steps, of_epochs);
}

/// For runs whose end is known in updates, by steps or by epochs over so many examples; else the rate
/// stays as it is.
[[nodiscard]] inline RateSchedule falling_rate(const RunOptions& run, Size examples) {
  const Size steps = known_updates(run.trainer, examples);
  if (steps < 1) return {};
  const Size rising = std::min<Size>(100, steps / 10);
  return Warmup(rising, Cosine{.rate = run.learning_rate,
                               .steps = steps - rising,
                               .lowest = run.learning_rate / 100});
}

}  // namespace unroll
