#include "unroll/nn/metrics.hpp"

#include <cmath>
#include <limits>

namespace unroll {
namespace {

double share(Size part, Size whole) {
  if (whole == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(part) / static_cast<double>(whole);
}

void check_same_shape(const char* metric, const Shape& predictions, const Shape& labels) {
  if (!(predictions == labels)) {
    fail(metric, "predictions " + to_string(predictions) + " and labels " + to_string(labels) +
                     " differ in shape");
  }
}

void check_class(const char* metric, const char* what, std::int64_t label, Size classes) {
  if (label < 0 || label >= classes) {
    fail(metric, std::string(what) + " " + std::to_string(label) + " is out of range for " +
                     std::to_string(classes) + " classes");
  }
}

}  // namespace

Scores scores_of(Size right, Size predicted, Size truth) {
  const auto ratio = [](double a, double b) { return b > 0 ? a / b : 0; };
  const double hits = static_cast<double>(right);
  return {ratio(hits, static_cast<double>(predicted)), ratio(hits, static_cast<double>(truth)),
          ratio(2 * hits, static_cast<double>(predicted + truth))};
}

template <FloatOrDouble T>
void Accuracy::add(const Var<T>& scores, const Indices& labels) {
  Shape leading = scores.shape();
  if (leading.rank() == 0) fail("Accuracy", "scores must be [..., classes], not a single number");
  leading.erase(leading.rank() - 1);
  check_same_shape("Accuracy", leading, labels.shape());
  const Size classes = scores.size(-1);
  const std::vector<T> values = scores.to_vector();
  Size hits = 0, rows = 0;
  for (Size i = 0; i < labels.size(); ++i) {
    if (labels(i) == ignored) continue;
    check_class("Accuracy", "label", labels(i), classes);
    const T* row = values.data() + i * classes;
    const T own = row[labels(i)];
    Size higher = own == own ? 0 : classes;
    for (Size j = 0; j < classes; ++j) {
      if (j != labels(i) && (!(row[j] <= own) || (row[j] == own && j < labels(i)))) ++higher;
    }
    hits += higher < k;
    ++rows;
  }
  right += hits;
  total += rows;
}

void Accuracy::add(const Indices& predictions, const Indices& labels) {
  check_same_shape("Accuracy", predictions.shape(), labels.shape());
  for (Size i = 0; i < labels.size(); ++i) {
    if (labels(i) == ignored) continue;
    right += predictions(i) == labels(i);
    ++total;
  }
}

double Accuracy::value() const { return share(right, total); }

Accuracy& Accuracy::operator+=(const Accuracy& other) {
  right += other.right;
  total += other.total;
  return *this;
}

void TextLikelihood::add(double sum_of_nats, Size token_count, Size character_count) {
  if (token_count < 0 || character_count < 0) fail("TextLikelihood", "a count is negative");
  nats += sum_of_nats;
  tokens += token_count;
  characters += character_count;
}

double TextLikelihood::perplexity() const { return std::exp(nats / static_cast<double>(tokens)); }

double TextLikelihood::bits_per_character() const {
  return nats / (static_cast<double>(characters) * std::log(2.0));
}

TextLikelihood& TextLikelihood::operator+=(const TextLikelihood& other) {
  add(other.nats, other.tokens, other.characters);
  return *this;
}

ConfusionMatrix::ConfusionMatrix(Size class_count, std::optional<std::int64_t> ignored_label)
    : classes(class_count), ignored(ignored_label) {
  if (classes < 1) fail("ConfusionMatrix", "there must be at least one class");
  counts.resize(static_cast<std::size_t>(classes * classes));
}

void ConfusionMatrix::add(const Indices& predictions, const Indices& labels) {
  check_same_shape("ConfusionMatrix", predictions.shape(), labels.shape());
  for (Size i = 0; i < labels.size(); ++i) {
    if (labels(i) == ignored) continue;
    check_class("ConfusionMatrix", "label", labels(i), classes);
    check_class("ConfusionMatrix", "prediction", predictions(i), classes);
  }
  for (Size i = 0; i < labels.size(); ++i) {
    if (labels(i) == ignored) continue;
    ++counts[static_cast<std::size_t>(labels(i) * classes + predictions(i))];
  }
}

Size ConfusionMatrix::count(Size truth, Size prediction) const {
  check_class("ConfusionMatrix", "class", truth, classes);
  check_class("ConfusionMatrix", "class", prediction, classes);
  return counts[static_cast<std::size_t>(truth * classes + prediction)];
}

Size ConfusionMatrix::total() const {
  Size sum = 0;
  for (const Size n : counts) sum += n;
  return sum;
}

double ConfusionMatrix::accuracy() const {
  Size right = 0;
  for (Size i = 0; i < classes; ++i) right += count(i, i);
  return share(right, total());
}

Size ConfusionMatrix::predicted(Size class_index) const {
  Size sum = 0;
  for (Size i = 0; i < classes; ++i) sum += count(i, class_index);
  return sum;
}

Size ConfusionMatrix::truth(Size class_index) const {
  Size sum = 0;
  for (Size i = 0; i < classes; ++i) sum += count(class_index, i);
  return sum;
}

Scores ConfusionMatrix::of(Size class_index) const {
  return scores_of(count(class_index, class_index), predicted(class_index), truth(class_index));
}

Scores ConfusionMatrix::macro() const {
  Scores mean;
  double present = 0;
  for (Size i = 0; i < classes; ++i) {
    if (predicted(i) + truth(i) == 0) continue;
    const Scores s = of(i);
    mean = {mean.precision + s.precision, mean.recall + s.recall, mean.f1 + s.f1};
    ++present;
  }
  if (present == 0) return {};
  return {mean.precision / present, mean.recall / present, mean.f1 / present};
}

Scores ConfusionMatrix::micro(std::optional<Size> without) const {
  Size right = 0, all_predicted = 0, all_truth = 0;
  for (Size i = 0; i < classes; ++i) {
    if (i == without) continue;
    right += count(i, i);
    all_predicted += predicted(i);
    all_truth += truth(i);
  }
  return scores_of(right, all_predicted, all_truth);
}

ConfusionMatrix& ConfusionMatrix::operator+=(const ConfusionMatrix& other) {
  if (other.classes != classes) {
    fail("ConfusionMatrix", "matrices of " + std::to_string(classes) + " and of " +
                                std::to_string(other.classes) + " classes cannot be added");
  }
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
  return *this;
}

template void Accuracy::add(const Var<float>&, const Indices&);
template void Accuracy::add(const Var<double>&, const Indices&);

}  // namespace unroll
