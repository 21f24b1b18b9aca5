// Trains any model: epochs, batches, threads, validation, early stopping, checkpoints.
//
//   const auto loss = [](const Net& net, const Batch& b, const Key& key) {
//     return cross_entropy(net(b.xs, key), b.labels);                // the mean over the batch
//   };
//   ModelTrainer trainer(net, Adam(net, {.learning_rate = 3e-3}),
//                   {.epochs = 20, .batch = 32, .threads = 2, .patience = 3, .save = "run.safetensors"});
//   trainer.validate_on(held_out, loss, ValidationMetric("accuracy", Aim::higher, right_answers));
//   trainer.fit(examples, loss);
//   const Net& net = trainer.best();
//
// A batch is cut into parts, each with a tape of its own; their gradients are added in their order and
// divided by their weight: a loss over tokens returns Weighted{mean, tokens} (gradient_sum.hpp), and
// parts with different numbers of tokens then make the mean over all tokens.
// Invariant: model, optimiser and history are a function of data, options and the number of steps.
// N + M steps and N steps, save, load, M steps give the same bits, and so does any number of threads
// for the same number of parts. Ctrl-C ends the step under way, saves, and returns.
#pragma once

#include "unroll/models/training/gradient_sum.hpp"
#include "unroll/models/training/training_loop.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {

/// A number to watch besides the loss: f(model, batch), a mean over the examples or a Weighted; or
/// f(model), a number for the whole held-out set (F1, BLEU).
template <class F>
struct ValidationMetric {
  ValidationMetric(std::string metric_name, Aim metric_aim, F function)
      : name(std::move(metric_name)), aim(metric_aim), f(std::move(function)) {}

  std::string name;
  Aim aim;
  F f;
};

namespace detail {

template <class X>
inline constexpr bool is_weighted = false;
template <class T>
inline constexpr bool is_weighted<Weighted<T>> = true;

// Refuses what is no loss, or gives none.
template <class Loss, class... Arguments>
constexpr bool check_result() {
  if constexpr (std::is_invocable_v<const Loss&, Arguments...>) {
    using R = std::remove_cvref_t<std::invoke_result_t<const Loss&, Arguments...>>;
    static_assert(!std::is_void_v<R>,
                  "the loss returns nothing: it must return a Var or a Weighted{mean, weight}");
    static_assert(std::is_void_v<R> || is_var<R> || is_weighted<R>,
                  "a loss returns a Var or a Weighted{mean, weight}");
    return true;
  } else {
    return false;
  }
}
template <class Loss, class M, class B>
constexpr bool check_loss() {
  constexpr bool with_key = check_result<Loss, const M&, const B&, const Key&>(),
                 without = check_result<Loss, const M&, const B&>(), callable = with_key || without;
  static_assert(
      callable,
      "a loss is called as loss(model, batch, key) or loss(model, batch), with the model and "
      "the batch const");
  return callable;
}

// loss(model, batch, key) or loss(model, batch); of a loss that has both, the one with a key trains.
enum class Purpose { training, validation };
template <Purpose purpose, class Loss, class M, class B>
auto call_loss(const Loss& loss, const M& model, const B& batch, const Key& key) {
  constexpr bool takes_key = std::is_invocable_v<const Loss&, const M&, const B&, const Key&>;
  constexpr bool takes_none = std::is_invocable_v<const Loss&, const M&, const B&>;
  if constexpr (takes_key && (purpose == Purpose::training || !takes_none)) {
    return loss(model, batch, key);
  } else {
    return loss(model, batch);
  }
}

// The result of a loss with its weight; the number of examples where it names none.
template <SplitBy how, class R>
auto weighted(const R& result, const Piece& piece) {
  if constexpr (is_weighted<R>) {
    return result;
  } else {
    static_assert(how == SplitBy::index_ranges,
                  "the loss of a dataset that splits its batches returns Weighted{mean, weight}: "
                  "nothing else says how much each part counts");
    return Weighted<typename R::value_type>{result, double(piece.examples.size())};
  }
}
// Of a metric: numbers count as well.
template <SplitBy how, class R>
std::pair<double, double> mean_and_weight(const R& result, const Piece& piece) {
  if constexpr (std::is_arithmetic_v<R>) {
    static_assert(how == SplitBy::index_ranges,
                  "a metric of a dataset that splits its batches returns Weighted{mean, weight}");
    return {double(result), double(piece.examples.size())};
  } else {
    const auto w = weighted<how>(result, piece);
    return {w.weight > 0 ? double(w.mean.item()) : 0, w.weight};
  }
}

// The model, the optimiser and the run as one tree: the names in a checkpoint.
template <Tree M, Tree O>
struct Checkpoint {
  M model;
  O optimizer;
  std::vector<M> best;  // one, or none
  HistoryArrays history;

  static constexpr auto fields() {
    return std::tuple{field("model", &Checkpoint::model),
                      field("optimizer", &Checkpoint::optimizer), field("best", &Checkpoint::best),
                      field("history", &Checkpoint::history)};
  }
};

}  // namespace detail

/// M is a model, O an optimiser for it: a tree with step(model, gradient) and options.learning_rate.
template <Tree M, Tree O>
class ModelTrainer {
 public:
  /// Throws std::invalid_argument for options that make no sense.
  ModelTrainer(M model, O optimizer, TrainerOptions options)
      : model_(std::move(model)),
        optimizer_(std::move(optimizer)),
        options_(std::move(options)),
        workers_(std::make_unique<Workers>(options_.threads)) {
    check(options_);
  }

  /// Measures the model on held-out data as often as the options say, in parts on all threads. The
  /// best model is the one with the lowest loss. loss(model, batch) is called where it exists: a loss
  /// with dropout has that as a twin without it, or another loss is given here.
  template <BatchSource D, class Loss>
  void validate_on(D data, Loss loss) {
    (void)detail::check_loss<Loss, M, BatchOf<D>>();
    evaluate_ = [data = std::move(data), loss = std::move(loss)](const ModelTrainer& t) {
      return ValidationScores{.loss = t.mean_over(data, [&](const auto& batch,
                                                            const detail::Piece& piece) {
        return detail::weighted<detail::split_by<D>>(
            detail::call_loss<detail::Purpose::validation>(loss, t.model_, batch, Key()), piece);
      })};
    };
  }

  /// The same with a metric, which decides about the best model unless its aim is `none`.
  template <BatchSource D, class Loss, class F>
  void validate_on(D data, Loss loss, ValidationMetric<F> metric) {
    validate_on(data, loss);
    metric_ = metric.name;
    aim_ = metric.aim;
    evaluate_ = [losses = std::move(evaluate_), data = std::move(data),
                 f = std::move(metric.f)](const ModelTrainer& t) {
      ValidationScores scores = losses(t);
      if constexpr (std::is_invocable_v<const F&, const M&, const BatchOf<D>&>) {
        scores.metric = t.mean_over(
            data, [&](const auto& batch, const detail::Piece&) { return f(t.model_, batch); });
      } else {
        static_assert(std::is_invocable_r_v<double, const F&, const M&>,
                      "a metric is called as f(model, batch) or f(model)");
        scores.metric = f(t.model_);
      }
      return scores;
    };
  }

  /// Trains until an epoch, step or time limit is reached, patience is lost, or Ctrl-C. May be called
  /// again after the limits were changed: it goes on where it stopped. Throws Error where the loss or
  /// its gradient is not finite (model and optimiser are then those before that step), FileError where
  /// nothing can be saved, std::invalid_argument where the loss is not computed from the model that it
  /// is given.
  template <BatchSource D, class Loss>
  TrainingResult fit(const D& data, const Loss& loss) {
    (void)detail::check_loss<Loss, M, BatchOf<D>>();
    if (!options_.resume.empty()) load(std::exchange(options_.resume, {}));
    final_best_.reset();
    const TrainingResult result = detail::run_training(
        options_, history_,
        {.epoch =
             [&](Size epoch) {
               return epoch_of(data, options_.batch, options_.order,
                               key_for(Use::order, std::uint64_t(epoch)));
             },
         .update =
             [&](std::span<const std::vector<Size>> batches, Size step,
                 std::optional<double> rate) { return update(data, loss, batches, step, rate); },
         .evaluate = evaluate_ ? std::function([&] { return evaluate_(*this); })
                               : std::function<ValidationScores()>(),
         .keep_best = [&] { keep_best(); },
         .save = [&] { save(options_.save); },
         .metric = metric_,
         .aim = aim_});
    if (result.validation) note_final(*result.validation);
    return result;
  }

  /// The scores of the model as it is. Throws std::invalid_argument without validate_on.
  [[nodiscard]] ValidationScores evaluate() const {
    if (!evaluate_)
      fail("ModelTrainer::evaluate", "there is nothing to validate on: see validate_on");
    return evaluate_(*this);
  }

  /// All that going on needs, atomically: model, optimiser, best model, history. Throws FileError.
  void save(const std::filesystem::path& path) const {
    unroll::save(path, detail::Checkpoint<M, O>{model_, optimizer_, best_, arrays_of(history_)},
                 detail::checkpoint_metadata(options_, !best_.empty()));
  }
  /// Throws FileError; FormatError where the file is no checkpoint of such a model and optimiser;
  /// std::invalid_argument where it was made with options that lead to another run.
  void load(const std::filesystem::path& path) {
    const auto info = detail::check_checkpoint(path, options_);
    detail::Checkpoint<M, O> all{model_, optimizer_, {}, {}};
    if (info.has_best) all.best.push_back(model_);
    unroll::load(path, all);
    history_ = history_of(all.history, path.string());
    model_ = std::move(all.model);
    optimizer_ = std::move(all.optimizer);
    best_ = std::move(all.best);
    final_best_.reset();
  }

  [[nodiscard]] const M& model() const { return model_; }
  [[nodiscard]] const O& optimizer() const { return optimizer_; }
  /// The model at its best validation; the last one where there was none.
  [[nodiscard]] const M& best() const {
    return best_.empty() || final_best_ ? model_ : best_.front();
  }
  /// Its scores; nothing where there was no validation.
  [[nodiscard]] std::optional<ValidationScores> best_scores() const {
    const auto best = best_validation(history_, aim_);
    if (final_best_ || !best) return final_best_;
    return ValidationScores{history_.validation[*best].loss, history_.validation[*best].metric};
  }
  [[nodiscard]] const TrainingHistory& history() const { return history_; }
  [[nodiscard]] const std::string& metric_name() const { return metric_; }
  [[nodiscard]] Aim aim() const { return aim_; }
  [[nodiscard]] TrainerOptions& options() { return options_; }
  [[nodiscard]] const TrainerOptions& options() const { return options_; }

 private:
  // Keys of their own for what is drawn. Not those that users split off the same seed.
  enum class Use : std::uint64_t { order = 0x6f72646572, step = 0x73746570 };
  [[nodiscard]] Key key_for(Use use, std::uint64_t n) const {
    return fold_in(fold_in(Key(options_.seed), static_cast<std::uint64_t>(use)), n);
  }
  [[nodiscard]] Size parts() const {
    return options_.parts > 0 ? options_.parts : Size(options_.threads);
  }

  template <class D, class Loss>
  StepFigures update(const D& data, const Loss& loss, std::span<const std::vector<Size>> batches,
                     Size step, std::optional<double> rate) {
    const Key key = key_for(Use::step, std::uint64_t(step));
    const auto pieces = detail::pieces_of(batches, parts(), detail::split_by<D>);
    GradientSum<M> total;
    // In rounds, so that no more gradients exist at once than there are parts or threads.
    const std::size_t round = std::max(std::size_t(parts()), options_.threads);
    for (std::size_t first = 0; first < pieces.size(); first += round) {
      total.add(*workers_, std::min(round, pieces.size() - first), [&](std::size_t i) {
        const detail::Piece& piece = pieces[first + i];
        const auto& batch = detail::batch_of(data, piece);
        const Key own = fold_in(key, std::uint64_t(first + i));
        return weighted_gradient(
            [&](const M& m) {
              return detail::weighted<detail::split_by<D>>(
                  detail::call_loss<detail::Purpose::training>(loss, m, batch, own), piece);
            },
            model_);
      });
    }
    const StepFigures figures = total.figures(rate.value_or(optimizer_.options.learning_rate));
    detail::check_finite(figures, step);
    optimizer_.options.learning_rate = figures.learning_rate;
    optimizer_.step(model_, total.mean(figures.gradient_norm, options_.clip));
    return figures;
  }

  // The mean of f(batch, piece) by weight, added in the order of the pieces.
  template <class D, class F>
  double mean_over(const D& data, F&& f) const {
    const BatchLists batches = epoch_of(data, options_.batch, Order::as_given, Key());
    const auto pieces = detail::pieces_of(batches, parts(), detail::split_by<D>);
    std::vector<std::pair<double, double>> results(pieces.size());
    workers_->run(pieces.size(), [&](std::size_t i) {
      const auto& batch = detail::batch_of(data, pieces[i]);
      results[i] = detail::mean_and_weight<detail::split_by<D>>(f(batch, pieces[i]), pieces[i]);
    });
    double sum = 0, weight = 0;
    for (const auto& [mean, part] : results) {
      sum += mean * part;
      weight += part;
    }
    return sum / weight;
  }

  void keep_best() {
    best_ = {model_};
    if (!options_.save.empty()) unroll::save(best_path(options_.save), model_, options_.metadata);
  }
  // The end of a run is measured where the options did not ask for it; that is no part of the
  // history, since an uninterrupted run would not have it.
  void note_final(const ValidationScores& scores) {
    const auto best = best_validation(history_, aim_);
    const ValidationPoint last{.loss = scores.loss, .metric = scores.metric};
    if (best && !(watched(last, aim_) < watched(history_.validation[*best], aim_))) return;
    final_best_ = scores;
    if (!options_.save.empty()) unroll::save(best_path(options_.save), model_, options_.metadata);
  }

  M model_;
  O optimizer_;
  TrainerOptions options_;
  std::unique_ptr<Workers> workers_;
  TrainingHistory history_;
  std::vector<M> best_;  // one, or none before the first validation
  std::optional<ValidationScores>
      final_best_;  // where the end of a run, not in the history, is the best
  std::function<ValidationScores(const ModelTrainer&)> evaluate_;
  std::string metric_;
  Aim aim_ = Aim::none;
};

}  // namespace unroll
