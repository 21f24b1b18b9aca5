#include "unroll/models/classify_images/report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "unroll/models/training/run_report.hpp"
#include "unroll/nn/metrics.hpp"

namespace unroll {
namespace {

constexpr Size images_at_once = 250;

Answers answers_of(const Var<float>& logits) {
  return {argmax(logits), max(softmax(logits), {-1}).to_vector()};
}

Report::Pairs samples_of(const ImageClassifiers& net, const ImageSet& images,
                         const std::vector<Size>& chosen) {
  Report::Pairs samples;
  for (const Size i : chosen) {
    const ImageBatch one = images.batch(std::span(&i, 1));
    const auto [all, rows] = classify(net, one.images);
    samples.emplace_back(
        fmt::format("a {}: feed-forward says {} ({:.2f}), row by row {} ({:.2f})", one.labels(0),
                    all.classes(0), all.probabilities[0], rows.classes(0), rows.probabilities[0]),
        image_text(one.images));
  }
  return samples;
}

void add_matrix(Report& page, const TestResult::Network& network) {
  const auto classes = std::size_t(std::lround(std::sqrt(double(network.confusion.size()))));
  std::vector<std::string> names;
  for (std::size_t c = 0; c < classes; ++c) names.push_back(std::to_string(c));
  add_confusion_matrix(page, network.confusion, names);
}

TestResult::Network result_of(const ConfusionMatrix& matrix) {
  return {matrix.accuracy(), {matrix.counts.begin(), matrix.counts.end()}};
}

}  // namespace

ClassAnswers classify(const ImageClassifiers& net, const Var<float>& images) {
  const ClassLogits logits = net(images);
  return {answers_of(logits.all_at_once), answers_of(logits.row_by_row)};
}

ImageClassifiers standardised(ImageClassifiers net, const ImageSet& images) {
  if (images.pixels.empty()) fail("standardised", "there are no images");
  double sum = 0, squares = 0;
  for (const std::uint8_t pixel : images.pixels) {
    sum += pixel / 255.0;
    squares += pixel / 255.0 * (pixel / 255.0);
  }
  const auto n = double(images.pixels.size());
  const double variance = squares / n - sum / n * (sum / n);
  net.mean = float(sum / n);
  net.deviation = float(std::sqrt(std::max(variance, 1e-4)));
  return net;
}

double mean_accuracy(const ImageClassifiers& net, const ImageBatch& batch) {
  const ClassAnswers answers = classify(net, batch.images);
  Accuracy accuracy;
  accuracy.add(answers.all_at_once.classes, batch.labels);
  accuracy.add(answers.row_by_row.classes, batch.labels);
  return accuracy.value();
}

TestResult test_classifiers(const ImageClassifiers& net, const ImageSet& images) {
  const Size classes = net.row_by_row.out.weight.size(0);
  ConfusionMatrix all_matrix(classes), row_matrix(classes);
  std::vector<Size> wrong;
  for (Size first = 0; first < images.size(); first += images_at_once) {
    const ImageBatch batch =
        images.part(first, std::min(images_at_once, images.size() - first)).all();
    const auto [all, rows] = classify(net, batch.images);
    all_matrix.add(all.classes, batch.labels);
    row_matrix.add(rows.classes, batch.labels);
    for (Size b = 0; b < batch.labels.size(); ++b) {
      const std::int64_t truth = batch.labels(b);
      if (all.classes(b) != truth || rows.classes(b) != truth) wrong.push_back(first + b);
    }
  }
  return {result_of(all_matrix), result_of(row_matrix), std::move(wrong)};
}

void write_report(const std::filesystem::path& path, const std::string& command,
                  const TrainingHistory& history, const ImageClassifiers& untrained,
                  const ImageClassifiers& net, const ImageSet& images, const TestResult& test) {
  Report page("Two networks recognise digits",
              "One sees all pixels at once, the other reads an image row by row.");
  page.figures({{fmt::format("{:.4f}", test.all_at_once.accuracy), "accuracy, feed-forward"},
                {fmt::format("{:.4f}", test.row_by_row.accuracy), "accuracy, LSTM row by row"},
                {grouped(images.size()), "test images"}});
  add_learning(page, history,
               {.loss = "cross-entropy of both networks together", .metric = "mean accuracy"});
  const ImageBatch some = images.part(0, std::min(images_at_once, images.size())).all();
  add_gradient_by_step(page,
                       {{"before training", untrained.gradient_by_row(some.images, some.labels)},
                        {"after training", net.gradient_by_row(some.images, some.labels)}},
                       fmt::format("A step is a row, read by the LSTM, of {} test images; the loss "
                                   "is that of its answer after the last.",
                                   some.labels.size()));
  page.section("Row by row: an LSTM");
  add_matrix(page, test.row_by_row);
  page.section("All pixels at once: a feed-forward network");
  add_matrix(page, test.all_at_once);
  constexpr std::size_t shown = 8;
  std::vector<Size> first(std::min<std::size_t>(shown, std::size_t(images.size())));
  std::iota(first.begin(), first.end(), Size{0});
  add_samples(page, "Images and answers", samples_of(net, images, first));
  std::vector<Size> wrong = test.wrong;
  wrong.resize(std::min(shown, wrong.size()));
  if (!wrong.empty()) {
    add_samples(page, "Where a network is wrong", samples_of(net, images, wrong),
                fmt::format("At least one network is wrong about {} of {} images.",
                            test.wrong.size(), images.size()));
  }
  add_facts(page, command, {{"parameters", grouped(parameter_count(net))}});
  page.write(path);
}

}  // namespace unroll
