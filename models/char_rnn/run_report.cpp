#include "unroll/models/char_rnn/run_report.hpp"

#include <cblas.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "unroll/autograd/xtensor_headers.hpp"
#include "unroll/models/char_rnn/manual_table.hpp"
#include "unroll/models/training/progress.hpp"
#include "unroll/models/training/report.hpp"
#include "unroll/models/training/run_program.hpp"

namespace unroll {
namespace {

std::string bits_text(double bits) { return fmt::format("{:.3f}", bits); }

std::string version_of(const std::vector<std::string>& command) {
  const ProgramResult result = run_program(command, "", 5);
  if (result.status == ProgramStatus::missing) return "not installed";
  const std::string text = result.output + result.problem;  // dot writes its version to stderr
  return text.substr(0, text.find('\n'));
}

void add_learning(Report& report, const CharRnnTrainer& trainer, const CharRnnRun& run) {
  const auto series = [](const char* name, const std::vector<CurvePoint>& curve, LineStyle style) {
    Series s{.name = name, .style = style};
    for (const CurvePoint& p : curve) {
      s.x.push_back(p.steps);
      s.y.push_back(p.bits);
    }
    return s;
  };
  const double last = double(trainer.steps());
  const auto level = [&](const char* name, double bits) {
    return Series{.name = name, .x = {0, last}, .y = {bits, bits}, .style = LineStyle::dashed};
  };
  std::vector<CurvePoint> held_out = trainer.held_out_curve();
  if (held_out.empty() || held_out.back().steps < last) held_out.push_back({last, run.bits_after});
  if (trainer.steps() == run.steps) held_out.insert(held_out.begin(), {0, run.bits_before});
  report.section("Learning")
      .picture(line_chart_svg({series("training text", trainer.training_curve(), LineStyle::solid),
                               series("held-out text", held_out, LineStyle::solid),
                               level("counting, no context", run.unigram_bits),
                               level("counting, two characters of context", run.trigram_bits)},
                              {.x_title = "step", .y_title = "bits per character"}),
               fmt::format("Bits per character: how many yes-or-no questions the next character "
                           "still leaves open. The training curve is the mean over {} steps, with "
                           "dropout; the held-out text was never trained on.",
                           CharRnnTrainer::steps_per_point));
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

void add_samples(Report& report, const CharRnnRun& run) {
  report.section("What it writes")
      .paragraph(
          "Each character is drawn from what the network predicts (temperature 0.7), and "
          "read again as the next input.")
      .sample("Before training", run.sample_before)
      .sample("After training", run.sample_after);
}

void add_comparison(Report& report, const CharRnnTrainer& trainer,
                    const std::vector<std::int64_t>& ids) {
  ReportTable table{.columns = {"network", "gradient by", "largest relative difference"}};
  double worst = 0;
  for (const auto& [network, comparison] : compare_with_manual(trainer.model(), ids)) {
    double steps = 0;
    for (const StepDifference& d : comparison.steps) {
      steps = std::max(steps, d.difference.relative);
    }
    for (const ParameterDifference& p : comparison.parameters) {
      table.rows.push_back({network, p.name, fmt::format("{:.1e}", p.difference.relative)});
    }
    table.rows.push_back(
        {network, "pre-activations, each step and gate", fmt::format("{:.1e}", steps)});
    worst = std::max(worst, comparison.worst());
  }
  table.caption = fmt::format(
      "On {} characters of the held-out text, in double precision. The largest of all "
      "is {:.1e}; the bar is 1e-12.",
      ids.size() - 1, worst);
  report.section("Derived by hand, and by the tape")
      .paragraph(
          "The same gradient twice: backpropagation through time written out by hand, which "
          "shares no code with the tape, and the tape, which nobody had to derive anything "
          "for. The LSTM has the weights it was just trained to.")
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
  const std::string text = to_utf8(trainer.vocabulary().decode(ids));
  report.section("How far it looks back")
      .paragraph(
          "The recurrent weight W is used at every step, so its gradient is a sum over all "
          "pairs of a step t and an earlier step k: what the use of W at step k contributes "
          "to the loss at step t. Far from the diagonal a contribution has passed through "
          "many steps. Where it vanishes, the network cannot learn to remember; where it "
          "explodes, training breaks. Columns that stay bright downwards are characters "
          "that are remembered.")
      .picture(picture(run.paths_before, "before training"), "The network before this training.")
      .picture(picture(after, "after training"), "The same text, after training.")
      .sample("The text", text)
      .paragraph(
          fmt::format("Check: the sum of all {} matrices is the gradient of the shared weight "
                      "up to {:.0e} (single precision).",
                      after.steps * (after.steps + 1) / 2, after.sum_difference));
}

void add_facts(Report& report, const CharRnnTrainer& trainer, const CharRnnRun& run) {
  const CharRnnOptions& o = trainer.options();
  const std::time_t now = std::time(nullptr);
  report.section("How this page was made")
      .facts(
          {{"command", run.command},
           {"date", fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(now))},
           {"text", run.text_name + ": " + run.text_size},
           {"network", fmt::format("embedding {}, LSTM {}, read-out of {} characters: {} "
                                   "parameters in single precision",
                                   o.embedding, o.hidden, trainer.vocabulary().size(),
                                   parameter_count(trainer.model()))},
           {"training",
            fmt::format("{} steps ({} in this run, {} passes over the text in all); {} streams, "
                        "windows of {} steps, state carried, {} tapes on {} threads",
                        trainer.steps(), run.steps, fmt::format("{:.1f}", trainer.passes()),
                        trainer.characters_per_step() / o.window, o.window, o.shards, run.threads)},
           {"optimiser",
            fmt::format("Adam, learning rate {} halved every {} steps, gradient norm at most {}, "
                        "dropout {}, seed {}",
                        o.learning_rate, o.half_life, o.clip, o.dropout, o.seed)},
           {"compiler", __VERSION__},
           {"arrays", fmt::format("xtensor {}.{}.{}", XTENSOR_VERSION_MAJOR, XTENSOR_VERSION_MINOR,
                                  XTENSOR_VERSION_PATCH)},
           {"BLAS", openblas_get_config()},
           {"curves", version_of({"gnuplot", "--version"})},
           {"graphs", version_of({"dot", "-V"})}});
}

}  // namespace

std::u32string_view piece_of_held_out(const CharRnnTrainer& trainer, std::size_t count) {
  // From the beginning of a line in the middle, where there is one.
  const std::u32string_view text = trainer.text().held_out;
  std::size_t begin = text.find(U'\n', text.size() / 2);
  begin = begin == text.npos || begin + 1 + count > text.size() ? 0 : begin + 1;
  return text.substr(begin, count);
}

void write_run_report(const std::filesystem::path& path, const CharRnnTrainer& trainer,
                      const CharRnnRun& run) {
  const std::vector<std::int64_t> ids = trainer.vocabulary().encode(piece_of_held_out(trainer));
  Report report("A recurrent network learns to write",
                fmt::format("An LSTM with {} units read {}, {} times over, in {}.",
                            trainer.options().hidden, run.text_size,
                            fmt::format("{:.1f}", trainer.passes()), duration_text(run.seconds)));
  report.figures(
      {{bits_text(run.bits_after), "bits per character, on text it has not seen"},
       {bits_text(run.trigram_bits), "by counting three characters"},
       {bits_text(run.unigram_bits), "by counting single characters"},
       {rate_text(double(run.steps * trainer.characters_per_step()) / std::max(run.seconds, 1e-9)),
        "characters per second"}});
  add_learning(report, trainer, run);
  add_samples(report, run);
  if (ids.size() > 1) {
    add_comparison(report, trainer, ids);
    add_paths(report, trainer, run, ids);
    report.section("The unrolled network")
        .picture(graph_svg(unrolled_graph(trainer.model(), ids)),
                 "What the tape recorded for three characters, by time step: the same weights "
                 "enter every step. Read from right to left it gives the gradient.");
  }
  add_facts(report, trainer, run);
  report.write(path);
}

}  // namespace unroll
