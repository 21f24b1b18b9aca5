#include "unroll/models/char_rnn/run_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "unroll/models/char_rnn/manual_table.hpp"
#include "unroll/models/training/progress.hpp"
#include "unroll/models/training/run_report.hpp"

namespace unroll {
namespace {

std::string bits_text(double bits) { return fmt::format("{:.3f}", bits); }

void add_curves(Report& report, const CharRnnTrainer& trainer, const CharRnnRun& run) {
  TrainingHistory h = trainer.history();
  auto& held_out = h.validation;
  const double last = double(trainer.steps());
  if (held_out.empty() || held_out.back().step < last) {
    held_out.push_back({.step = last, .loss = run.bits_after});
  }
  if (trainer.steps() == run.steps) held_out.insert(held_out.begin(), {.loss = run.bits_before});
  add_learning(report, h,
               {.loss = "bits per character",
                .weight = "characters",
                .levels = {{"counting, no context", run.unigram_bits},
                           {"counting, two characters of context", run.trigram_bits}},
                .caption = "Bits per character: how many yes-or-no questions the next character "
                           "still leaves open. The training curve has dropout; the held-out text "
                           "was never trained on."});
  report.table(
      {.columns = {"predictor", "bits per character", "perplexity"},
       .rows = {{"counting, no context (1-gram)", bits_text(run.unigram_bits),
                 fmt::format("{:.2f}", std::exp2(run.unigram_bits))},
                {"counting, two characters of context (3-gram)", bits_text(run.trigram_bits),
                 fmt::format("{:.2f}", std::exp2(run.trigram_bits))},
                {"the network before this training", bits_text(run.bits_before),
                 fmt::format("{:.2f}", std::exp2(run.bits_before))},
                {"the network", bits_text(run.bits_after),
                 fmt::format("{:.2f}", std::exp2(run.bits_after))}},
       .caption = "On the held-out text. The counts are interpolated with Witten-Bell "
                  "smoothing, which gives every character a chance.",
       .emphasised_rows = {3}});
}

void add_comparison(Report& report, const CharRnnTrainer& trainer,
                    const std::vector<std::int64_t>& ids) {
  // A row for what plays the same part in the three networks.
  const std::vector<std::pair<const char*, std::vector<std::string>>> parts{
      {"input weights (U, W_ih)", {"U", "weight_ih"}},
      {"recurrent weights (W, W_hh)", {"W", "weight_hh"}},
      {"biases", {"b", "bias_ih", "bias_hh"}},
      {"read-out (V, c)", {"V", "c"}},
      {"initial state", {"a0", "h0", "c0"}},
      {"inputs", {"xs"}}};
  ReportTable table{.columns = {"gradient by"}};
  for (const auto& [part, names] : parts) table.rows.push_back({part});
  table.rows.push_back({"pre-activations, each step and gate"});
  double worst = 0;
  const auto cell = [](double difference) { return fmt::format("{:.1e}", difference); };
  for (const auto& [network, comparison] : compare_with_manual(trainer.model(), ids)) {
    table.columns.push_back(network);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      double largest = 0;
      for (const ParameterDifference& p : comparison.parameters) {
        if (std::ranges::count(parts[i].second, p.name) > 0) {
          largest = std::max(largest, p.difference.relative);
        }
      }
      table.rows[i].push_back(cell(largest));
    }
    double largest = 0;
    for (const StepDifference& d : comparison.steps) {
      largest = std::max(largest, d.difference.relative);
    }
    table.rows.back().push_back(cell(largest));
    worst = std::max(worst, comparison.worst());
  }
  table.caption = fmt::format(
      "Largest difference, relative to the largest element: {} characters of held-out text, double "
      "precision, the loss of the notes. The worst is {:.1e}; at most 1e-12 is asked for.",
      ids.size() - 1, worst);
  report.section("Derived by hand, and by the tape")
      .paragraph(
          "The same gradient twice: by backpropagation through time written out by hand, which "
          "shares no code with the tape, and by the tape, for which nobody derived anything. The "
          "LSTM has the weights it was just trained to; RNN and GRU are as large and untrained.")
      .table(table);
}

void add_paths(Report& report, const CharRnnTrainer& trainer, const CharRnnRun& run,
               const std::vector<std::int64_t>& ids) {
  const PathNorms after = path_norms(trainer.model(), ids);
  const auto picture = [](const PathNorms& p, const char* title) {
    return heat_map_svg(p.norms, p.steps, p.steps,
                        {.title = title,
                         .x_title = "k, the step at which W is used",
                         .y_title = "t, the step whose loss it changes",
                         .value_title = "|C(t, k)|",
                         .scale = Scale::logarithmic,
                         .decades = 8,
                         .first_x = 1,
                         .first_y = 1});
  };
  std::string text;
  for (const char32_t c : trainer.vocabulary().decode(ids)) {
    text += c == U'\n' ? std::string("\u23ce") : to_utf8(std::u32string(1, c));
  }
  report.section("How far it looks back")
      .paragraph(
          "The recurrent weight W is used at every step, so its gradient is a sum over all pairs "
          "of a step t and a step k before it: C(t, k) is what the use of W at step k contributes "
          "to the loss at step t. Far below the diagonal lies what has passed through many steps: "
          "where it vanishes, nothing can be learnt about characters so long ago.")
      .picture(picture(run.paths_before, "before training"),
               trainer.steps() == run.steps
                   ? "Before training: each step back costs about the same factor."
                   : "Where this run began.")
      .picture(
          picture(after, "after training"),
          "After training, on the same text. A bright row is a character that was hard to "
          "predict; where it stays bright to the left, the network remembers. Mind the scales.")
      .sample("The text: two characters to begin with, then those predicted at t = 1, 2, ...", text)
      .paragraph(fmt::format(
          "Check: the sum of all {} matrices is the gradient that the shared weight has, up to "
          "{:.0e} of its largest element (single precision).",
          after.steps * (after.steps + 1) / 2, after.sum_difference));
}

void add_run_facts(Report& report, const CharRnnTrainer& trainer, const CharRnnRun& run) {
  const CharRnnOptions& o = trainer.options();
  add_facts(
      report, run.command,
      {{"text", run.text_size + " of " + run.text_name + ", and " +
                    grouped(Size(trainer.text().held_out.size())) + " held out"},
       {"network", fmt::format("embedding {}, LSTM {}, read-out of {} characters: {} "
                               "parameters in single precision",
                               o.embedding, o.hidden, trainer.vocabulary().size(),
                               grouped(parameter_count(trainer.model())))},
       {"training",
        fmt::format("{} steps, {:.1f} passes over the text; {} of them in this run, in {} minutes; "
                    "{} streams, windows of {} steps, state carried, {} tapes on {} threads",
                    trainer.steps(), trainer.passes(), run.steps, duration_text(run.seconds),
                    trainer.characters_per_step() / o.window, o.window, o.shards, run.threads)},
       {"optimiser",
        fmt::format("Adam, learning rate {} halved every {} steps, gradient norm at most {}, "
                    "dropout {}, seed {}",
                    o.learning_rate, o.half_life, o.clip, o.dropout, o.seed)}});
}

}  // namespace

std::u32string_view piece_of_held_out(const CharRnnTrainer& trainer, std::size_t count) {
  const std::u32string_view text = trainer.text().held_out;
  const auto different = [](std::u32string_view piece) {
    return std::set<char32_t>(piece.begin(), piece.end()).size();
  };
  std::u32string_view best = text.substr(0, count);
  std::size_t begin = text.find(U'\n', text.size() / 2);
  for (int line = 0; line < 200 && begin < text.size(); ++line) {
    begin = text.find_first_not_of(U" \t\n", begin);
    if (begin == text.npos || begin + count > text.size()) break;
    const std::u32string_view piece = text.substr(begin, count);
    if (different(piece) > different(best)) best = piece;
    begin = text.find(U'\n', begin);
  }
  return best;
}

void write_run_report(const std::filesystem::path& path, const CharRnnTrainer& trainer,
                      const CharRnnRun& run) {
  const std::vector<std::int64_t> ids = trainer.vocabulary().encode(piece_of_held_out(trainer));
  Report report("A recurrent network learns to write",
                fmt::format("An LSTM of {} units reads {} of {}, and learns what comes next.",
                            trainer.options().hidden, run.text_size, run.text_name));
  report.figures(
      {{bits_text(run.bits_after), "bits per character: the network, on text it has not seen"},
       {bits_text(run.trigram_bits), "by counting, with two characters of context"},
       {bits_text(run.unigram_bits), "by counting, without context"},
       {rate_text(double(run.steps * trainer.characters_per_step()) / std::max(run.seconds, 1e-9)),
        "characters trained on, per second"}});
  add_curves(report, trainer, run);
  add_samples(report, "What it writes",
              {{"Before training", run.sample_before}, {"After training", run.sample_after}},
              "Each character is drawn from what the network predicts (temperature 0.7), and read "
              "again as the next input.");
  if (ids.size() > 3) {
    add_comparison(report, trainer, ids);
    add_paths(report, trainer, run, ids);
    report.section("The unrolled network")
        .picture(graph_svg(unrolled_graph(trainer.model(), ids)),
                 "What the tape recorded for three characters, by time step: the same weights "
                 "enter every step. Read against the arrows it gives the gradient.");
  }
  add_run_facts(report, trainer, run);
  report.write(path);
}

}  // namespace unroll
