// The sections that the reports of training runs share; a program adds its own between them.
//
//   Report report("A tagger of names", "A BiLSTM-CRF on 14,041 sentences");
//   add_learning(report, trainer.history(), {.metric = "F1"});
//   add_confusion_matrix(report, counts, tags);
//   add_tagged_text(report, sentences);
//   add_attention_maps(report, {{.rows = target, .columns = source, .weights = weights}});
//   add_facts(report, run.command, {{"network", "..."}});
//   report.write(run.report);
//
// Each function adds a section, or nothing where there is nothing to show.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/models/training/history.hpp"
#include "unroll/models/training/report.hpp"

namespace unroll {

/// 1234567 as 1,234,567.
[[nodiscard]] std::string grouped(Size number);

struct LearningLabels {
  std::string loss = "loss";
  std::string metric = {};  // its curve is drawn where it has a name
  std::string weight = "examples";
  std::vector<std::pair<std::string, double>> levels = {};  // other losses to compare with
  std::string caption = {};                                 // more about the losses
};
/// The section "Learning": the curves of loss and metric, of the learning rate and the gradient's norm.
void add_learning(Report& report, const TrainingHistory& history,
                  const LearningLabels& labels = {});

/// The norm of the loss's gradient by the state at each step, first step first: how far back a network
/// learns. One curve for each name; `of_what` says whose loss and state. state_gradient_norms
/// (nn/probe.hpp) gives the numbers.
void add_gradient_by_step(Report& report,
                          const std::vector<std::pair<std::string, std::vector<double>>>& norms,
                          std::string_view of_what = {});

/// How often class r (row) was called class c (column): counts [K, K] in row-major order. With a table
/// of each class's precision and recall. Throws std::invalid_argument where the sizes do not fit.
void add_confusion_matrix(Report& report, std::span<const double> counts,
                          const std::vector<std::string>& classes);

void add_tagged_text(Report& report, const std::vector<std::vector<TaggedWord>>& sentences);

/// What each output (row) looked at: weights [rows, columns].
struct AttentionMap {
  std::vector<std::string> rows = {};
  std::vector<std::string> columns = {};
  std::vector<double> weights = {};
  std::string caption = {};
};
void add_attention_maps(Report& report, const std::vector<AttentionMap>& maps);

/// {heading, text}: what a network wrote, translated, or was asked; after a word about them.
void add_samples(Report& report, std::string_view section, const Report::Pairs& samples,
                 std::string_view paragraph = {});

/// How the page was made: the command and the date, the program's facts, the versions in use.
void add_facts(Report& report, const std::string& command, const Report::Pairs& facts = {});

}  // namespace unroll
