#include "unroll/models/classify_text/answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace unroll {

void add_reach(Report& report, const TextClassifier& before, const TextClassifier& after,
               const TextEncoder& encoder, std::span<const LabelledText> texts) {
  std::map<std::size_t, std::vector<LabelledText>, std::greater<>> by_length;
  std::size_t enough = 0;
  for (const LabelledText& text : texts) {
    auto& same = by_length[encoder.encode(text.text).size()];
    if (same.size() < 32) same.push_back(text);
    enough = std::clamp<std::size_t>(same.size(), enough, 16);
  }
  for (const auto& [length, same] : by_length) {
    if (same.size() < enough) continue;
    std::vector<Size> all(same.size());
    std::iota(all.begin(), all.end(), Size{0});
    const TextBatch batch = encoder.examples(same).batch(all);
    return add_gradient_by_step(
        report,
        {{"before training", before.gradient_by_unit(batch)},
         {"after training", after.gradient_by_unit(batch)}},
        fmt::format(
            "Of {} test texts of {} {}, read from left to right. Each state also counts by itself, "
            "in the largest and the mean over all steps.",
            same.size(), length, encoder.units == Units::words ? "words" : "characters"));
  }
}

void add_answers(Report& report, const Var<float>& probabilities, const TextEncoder& encoder,
                 std::span<const LabelledText> texts) {
  add_confusion_matrix(report, confusions(probabilities, encoder.labels_of(texts)),
                       encoder.labels.tokens());
  const Indices answers = argmax(probabilities);
  const Var<float> largest = max(probabilities, {-1});
  const auto certainty = largest.to_vector();
  Report::Pairs samples;
  const auto step = std::max<std::size_t>(1, texts.size() / 24);
  for (std::size_t i = 0; i < texts.size(); i += step) {
    const std::string& answer = encoder.labels.token(answers(Size(i)));
    const bool is_right = answer == texts[i].label;
    samples.emplace_back(fmt::format("{} {:.2f}{}", answer, certainty[i],
                                     is_right ? "" : ", but it is " + texts[i].label),
                         texts[i].text);
  }
  add_samples(
      report, "Answers", samples,
      "Some of the test texts under the answer, its probability, and the truth where that is "
      "another.");
}

}  // namespace unroll
