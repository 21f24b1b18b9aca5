#include "unroll/models/training/run_report.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "unroll/autograd/xtensor_headers.hpp"
#include "unroll/models/training/run_program.hpp"

namespace unroll {
namespace {

#ifdef __clang__
constexpr const char* compiler = __VERSION__;
#else
constexpr const char* compiler = "GCC " __VERSION__;
#endif

std::string version_of(const std::vector<std::string>& command) {
  const ProgramResult result = run_program(command, "", 5);
  if (result.status == ProgramStatus::missing) return "not installed";
  const std::string text = result.output + result.problem;  // dot writes its version to stderr
  return text.substr(0, text.find('\n'));
}

// A curve of one member of the points.
template <class Point>
Series curve(const std::string& name, const std::vector<Point>& points, double Point::*member,
             LineStyle style = LineStyle::solid) {
  Series s{.name = name, .style = style};
  for (const Point& p : points) {
    s.x.push_back(p.step);
    s.y.push_back(p.*member);
  }
  return s;
}

}  // namespace

std::string grouped(Size number) {
  std::string text = std::to_string(number);
  for (auto i = static_cast<Size>(text.size()) - 3; i > 0; i -= 3) text.insert(std::size_t(i), ",");
  return text;
}

void add_learning(Report& report, const TrainingHistory& h, const LearningLabels& labels) {
  if (h.training.empty() && h.validation.empty()) return;
  report.section("Learning");
  std::vector<Series> losses;
  if (!h.training.empty()) losses.push_back(curve("training", h.training, &TrainingPoint::loss));
  if (!h.validation.empty()) {
    losses.push_back(curve("held out", h.validation, &ValidationPoint::loss));
  }
  for (const auto& [name, loss] : labels.levels) {
    losses.push_back({name, {0, double(h.steps)}, {loss, loss}, LineStyle::dashed});
  }
  double weight = h.open.weight;
  for (const TrainingPoint& p : h.training) weight += p.weight;
  report.picture(
      line_chart_svg(losses, {.x_title = "step", .y_title = labels.loss}),
      fmt::format("{} steps, {} passes over the data, {} {}. A point of the training curve "
                  "is the mean since the point before it. {}",
                  grouped(h.steps), h.epoch, grouped(Size(weight)), labels.weight, labels.caption));
  if (!labels.metric.empty() && !h.validation.empty()) {
    report.picture(line_chart_svg({curve(labels.metric, h.validation, &ValidationPoint::metric)},
                                  {.x_title = "step", .y_title = labels.metric, .height = 320}),
                   labels.metric + " on held-out data.");
  }
  if (h.training.empty()) return;
  report.picture(line_chart_svg({curve("norm", h.training, &TrainingPoint::gradient_norm)},
                                {.x_title = "step",
                                 .y_title = "norm of the gradient",
                                 .y_scale = Scale::logarithmic,
                                 .height = 320}),
                 "The norm of the gradient before it is clipped: large and rising means that the "
                 "learning rate is too high.");
  report.picture(line_chart_svg({curve("rate", h.training, &TrainingPoint::learning_rate)},
                                {.x_title = "step", .y_title = "learning rate", .height = 320}),
                 "The learning rate.");
}

void add_gradient_by_step(Report& report,
                          const std::vector<std::pair<std::string, std::vector<double>>>& norms,
                          std::string_view of_what) {
  if (norms.empty()) return;
  std::vector<Series> series;
  for (const auto& [name, values] : norms) series.push_back({.name = name, .y = values});
  report.section("How far back it learns")
      .picture(
          line_chart_svg(series, {.x_title = "time step",
                                  .y_title = "norm of the loss's gradient",
                                  .y_scale = Scale::logarithmic}),
          fmt::format("The gradient of the loss by the state at each time step. Where it vanishes "
                      "towards the beginning, nothing is learnt from there; where it grows, "
                      "training is unstable. A curve sinks as a whole where the loss does: look "
                      "at its slope. {}",
                      of_what));
}

void add_confusion_matrix(Report& report, std::span<const double> counts,
                          const std::vector<std::string>& classes) {
  const std::size_t k = classes.size();
  if (counts.size() != k * k) {
    fail("add_confusion_matrix",
         fmt::format("{} counts for {} classes; {} are needed", counts.size(), k, k * k));
  }
  if (k == 0) return;
  const auto share = [](double part, double whole) {
    return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : std::string("-");
  };
  // Shares of each row: classes of different sizes are compared.
  std::vector<double> shares(counts.begin(), counts.end());
  ReportTable table{
      .columns = {"class", "examples", "precision", "recall", "most often taken for"}};
  for (std::size_t r = 0; r < k; ++r) {
    double examples = 0, called = 0;
    std::size_t wrong = r;
    for (std::size_t c = 0; c < k; ++c) {
      examples += counts[r * k + c];
      called += counts[c * k + r];
      if (c != r && counts[r * k + c] > (wrong == r ? 0 : counts[r * k + wrong])) wrong = c;
    }
    if (examples > 0) {
      for (std::size_t c = 0; c < k; ++c) shares[r * k + c] /= examples;
    }
    const double right = counts[r * k + r];
    table.rows.push_back(
        {classes[r], grouped(Size(examples)), share(right, called), share(right, examples),
         wrong == r
             ? ""
             : fmt::format("{} ({})", classes[wrong], grouped(Size(counts[r * k + wrong])))});
  }
  report.section("What it takes for what")
      .picture(heat_map_svg(shares, k, k,
                            {.x_title = "the network's answer",
                             .y_title = "the truth",
                             .value_title = "share of the row",
                             .x_labels = classes,
                             .y_labels = classes}),
               "Each row is a class, and its cells the shares of the answers that it got: the "
               "diagonal is right.")
      .table(table);
}

void add_tagged_text(Report& report, const std::vector<std::vector<TaggedWord>>& sentences) {
  if (sentences.empty()) return;
  report.section("What it marks").tagged(sentences);
}

void add_attention_maps(Report& report, const std::vector<AttentionMap>& maps) {
  if (maps.empty()) return;
  report.section("What it looks at");
  for (const AttentionMap& map : maps) {
    report.picture(heat_map_svg(map.weights, map.rows.size(), map.columns.size(),
                                {.x_title = "read",
                                 .y_title = "written",
                                 .value_title = "weight",
                                 .x_labels = map.columns,
                                 .y_labels = map.rows}),
                   map.caption);
  }
}

void add_samples(Report& report, std::string_view section, const Report::Pairs& samples,
                 std::string_view paragraph) {
  if (samples.empty()) return;
  report.section(section);
  if (!paragraph.empty()) report.paragraph(paragraph);
  for (const auto& [heading, text] : samples) report.sample(heading, text);
}

void add_facts(Report& report, const std::string& command, const Report::Pairs& facts) {
  const std::time_t now = std::time(nullptr);
  Report::Pairs all{{"command", command},
                    {"date", fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(now))}};
  all.insert(all.end(), facts.begin(), facts.end());
  all.emplace_back("compiler", compiler);
  all.emplace_back("arrays", fmt::format("xtensor {}.{}.{}", XTENSOR_VERSION_MAJOR,
                                         XTENSOR_VERSION_MINOR, XTENSOR_VERSION_PATCH));
  all.emplace_back("curves", version_of({"gnuplot", "--version"}));
  all.emplace_back("graphs", version_of({"dot", "-V"}));
  report.section("How this page was made").facts(all);
}

}  // namespace unroll
