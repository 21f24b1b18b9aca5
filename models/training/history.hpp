// Where a training run is and what it has measured: all that a checkpoint holds besides the model and
// the optimiser.
//
//   history.training.back().loss;                       // the mean since the point before
//   history.validation[*best_validation(history, aim)].step
//
// Invariant: a function of data, options and the number of steps. No times are kept, so that a resumed
// run has the history of an uninterrupted one, bit for bit.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "unroll/autograd/model.hpp"

namespace unroll {

/// What one update measured. `weight` is what the loss was averaged over: tokens, examples.
struct StepFigures {
  double loss = 0;
  double weight = 0;
  double gradient_norm = 0;  // before it was clipped
  double learning_rate = 0;
};

struct TrainingPoint {
  double step = 0;  // updates made
  double loss = 0;  // the mean since the last point, by weight
  double weight = 0;
  double gradient_norm = 0;  // the mean since the last point
  double learning_rate = 0;  // at this step
};

struct ValidationPoint {
  double step = 0;
  double epoch = 0;  // epochs finished
  double loss = 0;
  double metric = std::numeric_limits<double>::quiet_NaN();  // where there is one
};

struct TrainingHistory {
  Size steps = 0;
  Size epoch = 0;  // epochs finished
  Size batch = 0;  // batches of the next one that are done
  std::vector<TrainingPoint> training;
  std::vector<ValidationPoint> validation;
  TrainingPoint open;  // sums since the last point; `step` counts them

  /// Adds a point to the curve after every `steps_per_point` updates.
  void add(const StepFigures& figures, Size steps_per_point);
};

/// Which way a metric is better; `none` for one that is only shown.
enum class Aim { lower, higher, none };

/// The watched number, made so that lower is better: the loss, or the metric where it has an aim.
[[nodiscard]] double watched(const ValidationPoint& point, Aim aim);
/// The earliest of the best, or nothing.
[[nodiscard]] std::optional<std::size_t> best_validation(const TrainingHistory& history, Aim aim);

/// A history as a tree, for checkpoints.
struct HistoryArrays {
  Var<double> position;    // [3]: steps, epoch, batch
  Var<double> open;        // [1, 5]
  Var<double> training;    // [n, 5]
  Var<double> validation;  // [n, 4]

  static constexpr auto fields() {
    return std::tuple{field("position", &HistoryArrays::position),
                      field("open", &HistoryArrays::open),
                      field("training", &HistoryArrays::training),
                      field("validation", &HistoryArrays::validation)};
  }
};
[[nodiscard]] HistoryArrays arrays_of(const TrainingHistory& history);
/// Throws FormatError, which names the file, for arrays that are no history.
[[nodiscard]] TrainingHistory history_of(const HistoryArrays& arrays, const std::string& file);

}  // namespace unroll
