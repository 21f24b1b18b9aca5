// What the losses share inside: the checks of shapes and the weighted mean. Included by their .cpp files
// only.
//
//   return reduce("mse", square(p - y), options);      // options with .weights and .reduction
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "unroll/nn/losses.hpp"

namespace unroll::detail {

template <class T>
void check_shapes(const char* loss, const Var<T>& predictions, const Var<T>& targets) {
  if (!(predictions.shape() == targets.shape())) {
    fail(loss, "predictions and targets differ in shape: " + to_string(predictions.shape()) +
                   " and " + to_string(targets.shape()));
  }
}

template <class T>
void check_classes(const char* loss, const Var<T>& x) {
  if (x.rank() == 0)
    fail(loss, "a single number has no axis of classes; shapes are [..., classes]");
}

// t · l for a probability t and a logarithm l, in which 0 · log 0 = 0; for lambdas that are fused.
auto times_log(const auto& t, const auto& l) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return t * where(t == 0, where(abs(l) == infinity, 0, l), l);
}

// The weights with the number of axes that `values` have: [T, B] -> [T, B, 1].
template <class T>
Var<T> aligned_weights(const char* loss, const Var<T>& weights, const Shape& values) {
  Shape shape = weights.shape();
  if (shape.rank() > values.rank() || !std::equal(shape.begin(), shape.end(), values.begin())) {
    fail(loss, "weights " + to_string(shape) + " for losses " + to_string(values) +
                   ": they must have that shape, or that of its first axes");
  }
  while (shape.rank() < values.rank()) shape.push_back(1);
  return shape == weights.shape() ? weights : reshape(weights, shape);
}

// x, and 0 where a constant weight is 0: what does not count may be anything and gets no gradient.
template <class T>
Var<T> what_counts(const char* loss, const Var<T>& x, const Var<T>& weights) {
  if (weights.empty() || weights.is_tracked()) return x;
  const std::vector<T> values = weights.to_vector();
  if (std::ranges::find(values, T(0)) == values.end()) return x;
  return where(aligned_weights(loss, weights, x.shape()), x, 0);
}

// Predictions and targets, of one shape, as far as they count.
template <class T>
std::pair<Var<T>, Var<T>> counted(const char* loss, const Var<T>& predictions,
                                  const Var<T>& targets, const Var<T>& weights) {
  check_shapes(loss, predictions, targets);
  return {what_counts(loss, predictions, weights), what_counts(loss, targets, weights)};
}

// Σ values / total, and 0 where the total is 0. The values have their weights in them.
template <class T>
Var<T> weighted_mean(const Var<T>& values, const Var<T>& total) {
  if (values.size() == 0) return mean(values);  // throws: there is nothing to average
  return sum(values) / where(total == 0, 1, total);
}

// The mean, sum or all of `weights` · `values`; empty weights are 1.
template <class T>
Var<T> reduce(const char* loss, const Var<T>& values, const Var<T>& weights, Reduction reduction) {
  if (weights.empty()) {
    if (reduction == Reduction::mean) return mean(values);
    return reduction == Reduction::sum ? sum(values) : values;
  }
  const Var<T> w = aligned_weights(loss, weights, values.shape());
  const Var<T> weighted = values * w;
  if (reduction == Reduction::none) return weighted;
  if (reduction == Reduction::sum) return sum(weighted);
  const double repeats =
      w.size() > 0 ? static_cast<double>(values.size()) / static_cast<double>(w.size()) : 1;
  return weighted_mean(weighted, sum(w) * repeats);
}
template <class T, class Options>
Var<T> reduce(const char* loss, const Var<T>& values, const Options& options) {
  return reduce(loss, values, options.weights, options.reduction);
}

}  // namespace unroll::detail
