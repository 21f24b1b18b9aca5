// The part of training that knows nothing of models: when to update, validate, save, show and stop.
//
//   TrainerOptions options{.epochs = 20, .batch = 64, .threads = 2, .clip = 1, .patience = 3};
//   options.schedule = [](Size step) { return 1e-3 * std::min(1.0, (step + 1) / 100.0); };
//
// `ModelTrainer` (trainer.hpp) is what programs use; it hands the actions below to run_training. Invariant:
// what an update does depends on the number of updates made before it, never on time.
#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "unroll/models/training/dataset.hpp"
#include "unroll/models/training/history.hpp"

namespace unroll {

/// A schedule on plateaus: add(score) takes note of a validation and gives the rate from then on,
/// rate.item() is the one until then.
template <class S>
concept PlateauSchedule = requires(S schedule) {
  { schedule.add(0.0) } -> std::convertible_to<double>;
  { schedule.rate.item() } -> std::convertible_to<double>;
};

/// The learning rate of each update: any callable (Size step) -> double, counting from 0, or a schedule
/// on plateaus. A callable with observe(double) is told about validations too. What is told is the
/// watched number, of which lower is better. Rates must follow from these numbers and the step: a
/// resumed run tells them again to a fresh copy.
class RateSchedule {
 public:
  struct Running {
    std::function<double(Size step)> rate;
    std::function<void(double score)> observe;
  };

  RateSchedule() = default;
  template <class S>
  requires(std::is_invocable_r_v<double, S&, Size> && !std::same_as<S, RateSchedule>)
      RateSchedule(S schedule)
      : start_([schedule = std::move(schedule)] {
          const auto copy = std::make_shared<S>(schedule);
          Running running{.rate = [copy](Size step) { return double((*copy)(step)); },
                          .observe = [](double) {}};
          if constexpr (requires { copy->observe(0.0); }) {
            running.observe = [copy](double score) { copy->observe(score); };
          }
          return running;
        }) {}
  template <PlateauSchedule S>
  RateSchedule(S schedule)
      : start_([schedule = std::move(schedule)] {
          const auto copy = std::make_shared<S>(schedule);
          return Running{.rate = [copy](Size) { return double(copy->rate.item()); },
                         .observe = [copy](double score) { copy->add(score); }};
        }) {}

  [[nodiscard]] explicit operator bool() const { return bool(start_); }
  /// A copy of the schedule at its beginning.
  [[nodiscard]] Running start() const { return start_(); }

 private:
  std::function<Running()> start_;
};

/// The standard error output: where progress is shown unless something else is asked for.
[[nodiscard]] std::ostream* standard_error();

/// At least one of epochs, steps and seconds must be set; what comes first ends the run.
struct TrainerOptions {
  Size epochs = 0;  // in all, those before a resume included; 0: no limit, as for all that follow
  Size steps = 0;   // updates in all
  double seconds = std::numeric_limits<double>::infinity();  // of this run

  Size batch = 32;          // examples
  Size accumulate = 1;      // batches whose gradients make one update
  std::size_t threads = 1;  // with a tape each
  Size parts = 0;           // of a batch; 0: as many as threads. Other parts, other rounding
  Order order = Order::shuffled;
  std::uint64_t seed = 1;  // of the order and of the keys that losses get

  double clip = 0;             // the largest norm of a gradient; 0: any
  RateSchedule schedule = {};  // without one the optimiser keeps the rate that it has

  Size validate_every = 0;    // updates; 0: after each epoch
  Size patience = 0;          // validations without a new best until the run ends; 0: any number
  Size steps_per_point = 10;  // of the training curve

  std::filesystem::path save = {};    // the last checkpoint; the best model goes beside it
  Size save_every = 0;                // updates; 0: after each epoch and validation
  std::filesystem::path resume = {};  // a checkpoint to go on from
  std::filesystem::path logdir = {};  // a folder for TensorBoard's event files
  std::map<std::string, std::string> metadata = {};  // goes into the saved files: vocabulary, sizes

  std::string unit = "examples";         // what the losses' weights count
  std::ostream* log = standard_error();  // progress; null for none
};

/// Throws std::invalid_argument where options make no sense.
void check(const TrainerOptions& options);

/// Of a validation: the mean loss, and a metric or NaN.
struct ValidationScores {
  double loss = 0;
  double metric = std::numeric_limits<double>::quiet_NaN();
};

enum class Ending { finished, out_of_time, out_of_patience, interrupted };

struct TrainingResult {
  Ending ending = Ending::finished;
  Size steps = 0;     // updates made in this run
  double weight = 0;  // tokens or examples trained on in this run
  double seconds = 0;
  std::optional<ValidationScores> validation =
      {};  // of the model as it is at the end; none after Ctrl-C
};

/// run.safetensors -> run.best.safetensors
[[nodiscard]] std::filesystem::path best_path(const std::filesystem::path& save);

namespace detail {

struct TrainingActions {
  std::function<BatchLists(Size epoch)> epoch;
  // The update after `step` others, at this rate where there is one.
  std::function<StepFigures(std::span<const std::vector<Size>>, Size step,
                            std::optional<double> rate)>
      update;
  std::function<ValidationScores()> evaluate;  // empty where there is nothing to validate on
  std::function<void()> keep_best;             // the model is the best so far
  std::function<void()> save;                  // the checkpoint
  std::string metric;                          // its name, and which way it is better
  Aim aim = Aim::none;
};
TrainingResult run_training(const TrainerOptions& options, TrainingHistory& history,
                            const TrainingActions& actions);

// Throws the error of a loss or gradient that is not finite.
void check_finite(const StepFigures& figures, Size step);

// What a checkpoint says about itself, and whether a run with these options may go on from it.
[[nodiscard]] std::map<std::string, std::string> checkpoint_metadata(const TrainerOptions& options,
                                                                     bool has_best);
struct CheckpointInfo {
  bool has_best = false;
};
[[nodiscard]] CheckpointInfo check_checkpoint(const std::filesystem::path& path,
                                              const TrainerOptions& options);

}  // namespace detail

/// The metadata of a checkpoint or a best model, to make the model that it holds. Throws FileError,
/// FormatError.
[[nodiscard]] std::map<std::string, std::string> saved_metadata(const std::filesystem::path& path);

}  // namespace unroll
