// The gradient of a mean over parts that are worked on side by side, each on a tape of its own.
//
//   GradientSum<Net> total;
//   total.add(workers, parts, [&](std::size_t i) {
//     return weighted_gradient([&](const Net& net) { return Weighted<float>{loss(net, i), tokens(i)}; },
//                              model);
//   });
//   optimizer.step(model, total.mean(total.figures(rate).gradient_norm, clip));
//
// Parts count by their weight, so parts with different numbers of tokens make the mean over all of
// them. Invariant: they are added in their order, so the sum does not depend on the threads.
#pragma once

#include "unroll/autograd/transforms.hpp"
#include "unroll/models/training/history.hpp"
#include "unroll/models/training/workers.hpp"
#include "unroll/nn/optimizers.hpp"

namespace unroll {

/// A mean, and over how much it was taken (tokens, examples). Weight 0 is a part that has no say.
template <FloatOrDouble T>
struct Weighted {
  Var<T> mean;
  double weight = 1;
};

template <Tree M>
class GradientSum {
 public:
  GradientSum() = default;
  /// Of one part: its gradient and loss times its weight.
  GradientSum(M gradient, double loss, double weight)
      : gradient_(std::move(gradient)), loss_(loss), weight_(weight) {}

  void add(const GradientSum& part) {
    gradient_ = gradient_ ? tree_add(*gradient_, *part.gradient_) : part.gradient_;
    loss_ += part.loss_;
    weight_ += part.weight_;
  }
  /// The sums part(0), ..., part(count - 1), found by several threads, added in this order.
  template <class F>
  void add(Workers& workers, std::size_t count, F&& part) {
    std::vector<GradientSum> parts(count);
    workers.run(count, [&](std::size_t i) { parts[i] = part(i); });
    for (const GradientSum& p : parts) add(p);
  }

  [[nodiscard]] StepFigures figures(double learning_rate) const {
    return {.loss = loss_ / weight_,
            .weight = weight_,
            .gradient_norm = gradient_ ? global_norm(*gradient_) / weight_ : 0,
            .learning_rate = learning_rate};
  }
  /// The mean gradient, with the norm `largest` at most; `norm` is its own. A largest of 0 is none.
  [[nodiscard]] M mean(double norm, double largest) const {
    double factor = 1 / weight_;
    if (largest > 0 && norm > largest) factor *= largest / norm;
    return factor == 1 ? *gradient_ : tree_scale(*gradient_, factor);
  }

 private:
  std::optional<M> gradient_;
  double loss_ = 0;
  double weight_ = 0;
};

/// The part of a sum that f(model) makes: a Weighted. Where f returns a pair of that and something
/// else (the state after a window), so does this. Throws std::invalid_argument where the loss is not
/// computed from the model.
template <class F, Tree M>
[[nodiscard]] auto weighted_gradient(F&& f, const M& model) {
  using Result = std::invoke_result_t<F&, const M&>;
  constexpr bool has_more = requires(const Result& r) { r.second; };
  const auto times_weight = [](const auto& part) {
    using V = std::remove_cvref_t<decltype(part.mean)>;
    if (!(part.weight >= 0)) fail("weighted_gradient", "a loss has a negative weight");
    if (part.weight == 0) return V(0);  // the mean is 0 / 0
    if (!part.mean.is_tracked()) {
      fail("weighted_gradient",
           "the loss is not computed from the model that it is given, so nothing would be trained. "
           "Does it use a captured model instead of its parameter, or numbers out of item() or "
           "to_vector()?");
    }
    return part.mean * part.weight;
  };
  if constexpr (has_more) {
    auto r = value_and_grad(
        [&](const M& m) {
          auto result = f(m);
          return std::tuple{times_weight(result.first), result.first.weight,
                            std::move(result.second)};
        },
        model);
    auto& [weight, more] = r.auxiliary;
    return std::pair{GradientSum<M>(std::move(r.gradient), double(r.value.item()), weight),
                     std::move(more)};
  } else {
    auto r = value_and_grad(
        [&](const M& m) {
          const auto result = f(m);
          return std::pair{times_weight(result), result.weight};
        },
        model);
    return GradientSum<M>(std::move(r.gradient), double(r.value.item()), r.auxiliary);
  }
}

}  // namespace unroll
