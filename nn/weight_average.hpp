// A moving average of the weights, which often predicts better than the last of them (Polyak & Juditsky, 1992).
//
//   WeightAverage average(model, {.decay = 0.999});
//   for (...) { adam.step(model, gradient); average.update(model); }
//   validate(average.model);
//
// It starts as the model, so there is no bias to correct; with the warm-up, which lets the first updates count more, the
// start is soon forgotten. It is a tree: saved and loaded as the model is. Constants of the model are taken as they are.
#pragma once

#include "unroll/autograd/model.hpp"

namespace unroll {

enum class AverageWarmup { no, yes };
struct WeightAverageOptions {
  double decay = 0.999;
  AverageWarmup warmup =
      AverageWarmup::no;  // update n = 1, 2, ... decays by min(decay, (1 + n) / (10 + n))
};

namespace detail {
[[nodiscard]] double average_decay(const WeightAverageOptions& options, double count);
template <FloatOrDouble T>
void update_average(Var<T>& average, const Var<T>& p, double decay);
[[noreturn]] void fail_average(const Shape& average, const Shape& p);
}  // namespace detail

// average ← decay · average + (1 - decay) · p
template <Tree M>
struct WeightAverage {
  WeightAverageOptions options;
  M model;
  Var<double> updates = 0.0;  // how many were made
  static constexpr auto fields() {
    return std::tuple{field("model", &WeightAverage::model),
                      field("updates", &WeightAverage::updates)};
  }

  explicit WeightAverage(const M& start, const WeightAverageOptions& o = {})
      : options(o), model(start) {}

  // Throws, and changes nothing, when the shapes are not those of the model that it was made with.
  void update(const M& newest) {
    const double count = updates.item() + 1, decay = detail::average_decay(options, count);
    tree_for_each(
        [](const auto& a, const auto& p) {
          if (!(a.shape() == p.shape())) detail::fail_average(a.shape(), p.shape());
        },
        model, newest);
    auto part = [&](FieldKind kind, const detail::NoName&, auto& a, const auto& p) {
      if (kind == FieldKind::parameter) {
        detail::update_average(a, p, decay);
      } else {
        a = p;
      }
    };
    detail::walk(part, FieldKind::parameter, detail::NoName{}, model, newest);
    updates = count;
  }
};

}  // namespace unroll
