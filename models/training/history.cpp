#include "unroll/models/training/history.hpp"

#include <cmath>
#include <cstring>

namespace unroll {
namespace {

// A point is a struct of doubles: a row of an array.
template <class Point>
constexpr Size row_size = sizeof(Point) / sizeof(double);
static_assert(std::is_trivially_copyable_v<TrainingPoint> && row_size<TrainingPoint> == 5);
static_assert(std::is_trivially_copyable_v<ValidationPoint> && row_size<ValidationPoint> == 4);

template <class Point>
Var<double> array_of(const std::vector<Point>& points) {
  std::vector<double> values(points.size() * row_size<Point>);
  if (!values.empty()) std::memcpy(values.data(), points.data(), points.size() * sizeof(Point));
  return Var<double>(Shape{Size(points.size()), row_size<Point>}, values);
}

template <class Point>
std::vector<Point> points_of(const Var<double>& array, const std::string& file) {
  if (array.rank() != 2 || array.size(1) != row_size<Point>) {
    throw FormatError(file, "a curve has shape " + to_string(array.shape()) + ", not [n, " +
                                std::to_string(row_size<Point>) + "]");
  }
  const std::vector<double> values = array.to_vector();
  std::vector<Point> points(static_cast<std::size_t>(array.size(0)));
  if (!values.empty())
    std::memcpy(static_cast<void*>(points.data()), values.data(), points.size() * sizeof(Point));
  return points;
}

Size count_of(double value, const std::string& file) {
  if (!(value >= 0 && value < 1e15 && value == std::floor(value))) {
    throw FormatError(file, "the position in the run is damaged");
  }
  return static_cast<Size>(value);
}

}  // namespace

void TrainingHistory::add(const StepFigures& f, Size steps_per_point) {
  ++steps;
  open.step += 1;
  open.loss += f.loss * f.weight;
  open.weight += f.weight;
  open.gradient_norm += f.gradient_norm;
  open.learning_rate = f.learning_rate;
  if (steps % steps_per_point != 0) return;
  training.push_back({.step = double(steps),
                      .loss = open.loss / open.weight,
                      .weight = open.weight,
                      .gradient_norm = open.gradient_norm / open.step,
                      .learning_rate = open.learning_rate});
  open = {};
}

double watched(const ValidationPoint& point, Aim aim) {
  if (aim == Aim::none || std::isnan(point.metric)) return point.loss;
  return aim == Aim::higher ? -point.metric : point.metric;
}

std::optional<std::size_t> best_validation(const TrainingHistory& history, Aim aim) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < history.validation.size(); ++i) {
    const double score = watched(history.validation[i], aim);
    if (std::isnan(score)) continue;
    if (!best || score < watched(history.validation[*best], aim)) best = i;
  }
  return best;
}

HistoryArrays arrays_of(const TrainingHistory& h) {
  return {Var<double>(Shape{3}, {double(h.steps), double(h.epoch), double(h.batch)}),
          array_of(std::vector{h.open}), array_of(h.training), array_of(h.validation)};
}

TrainingHistory history_of(const HistoryArrays& arrays, const std::string& file) {
  const std::vector<double> position = arrays.position.to_vector();
  const auto open = points_of<TrainingPoint>(arrays.open, file);
  if (position.size() != 3 || open.size() != 1) {
    throw FormatError(file, "the position in the run is damaged");
  }
  return {.steps = count_of(position[0], file),
          .epoch = count_of(position[1], file),
          .batch = count_of(position[2], file),
          .training = points_of<TrainingPoint>(arrays.training, file),
          .validation = points_of<ValidationPoint>(arrays.validation, file),
          .open = open[0]};
}

}  // namespace unroll
