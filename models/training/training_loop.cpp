#include "unroll/models/training/training_loop.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "unroll/models/training/event_file.hpp"
#include "unroll/models/training/interrupt.hpp"
#include "unroll/models/training/progress.hpp"
#include "unroll/nn/safetensors.hpp"

namespace unroll {

std::ostream* standard_error() { return &std::cerr; }

std::filesystem::path best_path(const std::filesystem::path& save) {
  std::filesystem::path path = save;
  return path.replace_extension(".best" + save.extension().string());
}

void check(const TrainerOptions& o) {
  const auto at_least = [](const char* name, Size value, Size least) {
    if (value < least) {
      fail("ModelTrainer", fmt::format("{} is {}; at least {} is needed", name, value, least));
    }
  };
  at_least("epochs", o.epochs, 0);
  at_least("steps", o.steps, 0);
  at_least("batch", o.batch, 1);
  at_least("accumulate", o.accumulate, 1);
  at_least("threads", Size(o.threads), 1);
  at_least("parts", o.parts, 0);
  at_least("validate_every", o.validate_every, 0);
  at_least("patience", o.patience, 0);
  at_least("steps_per_point", o.steps_per_point, 1);
  at_least("save_every", o.save_every, 0);
  if (!(o.seconds >= 0)) fail("ModelTrainer", "seconds must not be negative");
  if (!(o.clip >= 0)) fail("ModelTrainer", "clip must not be negative");
}

namespace detail {
namespace {

constexpr std::string_view format = "unroll trainer 1";
constexpr std::string_view own = "trainer.";  // how the trainer's own metadata begin

// Where there are event files and progress lines, what happens is told to both.
class Observer {
 public:
  Observer(const TrainerOptions& options, const TrainingActions& actions, const TrainingHistory& h,
           Size total_steps)
      : options_(options), actions_(actions) {
    if (!options.logdir.empty()) events_.emplace(options.logdir);
    if (options.log == nullptr) return;
    ProgressOptions p{
        .label = "training", .total = total_steps, .begin = h.steps, .time_limit = options.seconds};
    if (options.log == &std::cerr) p = progress_options(STDERR_FILENO, std::move(p));
    progress_.emplace(*options.log, std::move(p));
  }

  void updated(const TrainingHistory& h, const StepFigures& figures, double weight,
               double seconds) {
    loss_ = std::isnan(loss_) ? figures.loss : 0.95 * loss_ + 0.05 * figures.loss;
    if (!progress_) return;
    text_ = fmt::format("epoch {}, loss {:.4g}{}, {} {}/s", h.epoch + 1, loss_, metric_text_,
                        rate_text(weight / std::max(seconds, 1e-9)), options_.unit);
    progress_->update(h.steps, text_);
  }
  void point(const TrainingPoint& p) {
    if (!events_) return;
    const auto step = std::int64_t(p.step);
    events_->scalar("loss/training", p.loss, step);
    events_->scalar("gradient norm", p.gradient_norm, step);
    events_->scalar("learning rate", p.learning_rate, step);
    events_->flush();
  }
  void validated(const TrainingHistory& h, const ValidationScores& scores, bool is_best) {
    const bool has_metric = !actions_.metric.empty();
    if (has_metric) metric_text_ = fmt::format(", {} {:.4g}", actions_.metric, scores.metric);
    if (events_) {
      events_->scalar("loss/validation", scores.loss, h.steps);
      if (has_metric) events_->scalar(actions_.metric + "/validation", scores.metric, h.steps);
      events_->flush();
    }
    if (progress_) {
      progress_->note(fmt::format("step {}, epochs {}: loss {:.4g}, validation loss {:.4g}{}{}",
                                  h.steps, h.epoch, loss_, scores.loss, metric_text_,
                                  is_best ? " (best)" : ""));
    }
  }
  void finish() {
    if (progress_) progress_->finish(text_);
  }

 private:
  const TrainerOptions& options_;
  const TrainingActions& actions_;
  std::optional<EventFile> events_;
  std::optional<Progress> progress_;
  double loss_ = std::numeric_limits<double>::quiet_NaN();
  std::string metric_text_, text_;
};

bool out_of_patience(const TrainerOptions& o, const TrainingHistory& h, Aim aim) {
  const auto best = best_validation(h, aim);
  return o.patience > 0 && best && Size(h.validation.size() - 1 - *best) >= o.patience;
}

}  // namespace

TrainingResult run_training(const TrainerOptions& o, TrainingHistory& h,
                            const TrainingActions& actions) {
  check(o);
  if (o.epochs == 0 && o.steps == 0 && !std::isfinite(o.seconds)) {
    fail("ModelTrainer", "no end: set epochs, steps or seconds");
  }
  const InterruptGuard guard;
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::optional<RateSchedule::Running> schedule;
  if (o.schedule) {
    schedule = o.schedule.start();
    for (const ValidationPoint& v : h.validation) schedule->observe(watched(v, actions.aim));
  }
  BatchLists batches = actions.epoch(h.epoch);
  if (h.batch >= Size(batches.size())) {
    fail("ModelTrainer",
         fmt::format("the run stopped after {} batches of an epoch, and now an epoch has {}:"
                     " was it trained on other data?",
                     h.batch, batches.size()));
  }
  const Size steps_per_epoch = (Size(batches.size()) + o.accumulate - 1) / o.accumulate;
  const Size no_limit = std::numeric_limits<Size>::max();
  const Size total = std::min(o.steps > 0 ? o.steps : no_limit,
                              o.epochs > 0 ? o.epochs * steps_per_epoch : no_limit);
  Observer observer(o, actions, h, total == no_limit ? 0 : total);

  TrainingResult result;
  bool saved = true, measured = false;
  const auto save = [&] {
    if (!o.save.empty()) actions.save();
    saved = true;
  };
  const auto should_end = [&] {
    if (guard.requested()) {
      result.ending = Ending::interrupted;
    } else if ((o.steps > 0 && h.steps >= o.steps) || (o.epochs > 0 && h.epoch >= o.epochs)) {
      result.ending = Ending::finished;
    } else if (out_of_patience(o, h, actions.aim)) {
      result.ending = Ending::out_of_patience;
    } else if (elapsed() >= o.seconds) {
      result.ending = Ending::out_of_time;
    } else {
      return false;
    }
    return true;
  };
  while (!should_end()) {
    if (h.batch == 0 && result.steps > 0) batches = actions.epoch(h.epoch);
    const auto rest = std::span(batches).subspan(std::size_t(h.batch));
    const std::size_t count = std::min(std::size_t(o.accumulate), rest.size());
    const auto rate = schedule ? std::optional(schedule->rate(h.steps)) : std::nullopt;
    const StepFigures figures = actions.update(rest.first(count), h.steps, rate);
    h.add(figures, o.steps_per_point);
    ++result.steps;
    result.weight += figures.weight;
    h.batch += Size(count);
    const bool epoch_done = count == rest.size();
    if (epoch_done) {
      ++h.epoch;
      h.batch = 0;
    }
    observer.updated(h, figures, result.weight, elapsed());
    if (h.open.step == 0) observer.point(h.training.back());
    measured =
        actions.evaluate && (o.validate_every > 0 ? h.steps % o.validate_every == 0 : epoch_done);
    if (measured) {
      result.validation = actions.evaluate();
      h.validation.push_back({.step = double(h.steps),
                              .epoch = double(h.epoch),
                              .loss = result.validation->loss,
                              .metric = result.validation->metric});
      if (schedule) schedule->observe(watched(h.validation.back(), actions.aim));
      const bool is_best = best_validation(h, actions.aim) == h.validation.size() - 1;
      if (is_best) actions.keep_best();
      observer.validated(h, *result.validation, is_best);
    }
    saved = false;
    if (o.save_every > 0 ? h.steps % o.save_every == 0 : measured || epoch_done) save();
  }
  if (!saved) save();
  result.seconds = elapsed();
  if (!measured) result.validation.reset();
  if (!measured && actions.evaluate && result.ending != Ending::interrupted) {
    result.validation = actions.evaluate();
    observer.validated(h, *result.validation, false);
  }
  observer.finish();
  return result;
}

void check_finite(const StepFigures& f, Size step) {
  if (!(f.weight > 0)) {
    throw Error(fmt::format("step {}: the losses of all parts have weight 0", step + 1));
  }
  if (std::isfinite(f.loss) && std::isfinite(f.gradient_norm)) return;
  throw Error(fmt::format(
      "step {}: the loss is {:.4g} and its gradient's norm {:.4g}; the learning rate ({:.3g}) may "
      "be "
      "too high, the gradient need clipping, or the data hold numbers that are not finite",
      step + 1, f.loss, f.gradient_norm, f.learning_rate));
}

namespace {

// What decides which data an update sees: a run can only be gone on with by the same.
nlohmann::json identity(const TrainerOptions& o) {
  return {{"batch", o.batch},
          {"accumulate", o.accumulate},
          {"seed", o.seed},
          {"order", o.order == Order::shuffled ? "shuffled" : "as given"}};
}

}  // namespace

std::map<std::string, std::string> checkpoint_metadata(const TrainerOptions& options,
                                                       bool has_best) {
  auto metadata = options.metadata;
  metadata[std::string(own) + "format"] = format;
  metadata[std::string(own) + "options"] = identity(options).dump();
  metadata[std::string(own) + "best"] = has_best ? "yes" : "no";
  return metadata;
}

CheckpointInfo check_checkpoint(const std::filesystem::path& path, const TrainerOptions& options) {
  auto metadata = read_safetensors(path).metadata;
  const std::string file = path.string();
  if (metadata[std::string(own) + "format"] != format) {
    throw FormatError(file, "this is no checkpoint of a training run");
  }
  const auto was = nlohmann::json::parse(metadata[std::string(own) + "options"], nullptr, false);
  const nlohmann::json is = identity(options);
  if (!was.is_object()) throw FormatError(file, "the options in it are damaged");
  for (const auto& [name, value] : is.items()) {
    if (was.value(name, nlohmann::json()) != value) {
      fail("ModelTrainer::load",
           fmt::format("{} was made with {} {}, and this run has {}", file, name,
                       was.value(name, nlohmann::json()).dump(), value.dump()));
    }
  }
  return {.has_best = metadata[std::string(own) + "best"] == "yes"};
}

}  // namespace detail

std::map<std::string, std::string> saved_metadata(const std::filesystem::path& path) {
  auto metadata = read_safetensors(path).metadata;
  std::erase_if(metadata, [](const auto& entry) { return entry.first.starts_with(detail::own); });
  return metadata;
}

}  // namespace unroll
