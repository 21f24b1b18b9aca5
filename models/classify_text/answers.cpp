#include "unroll/models/classify_text/answers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace unroll {

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
