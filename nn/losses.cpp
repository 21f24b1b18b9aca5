#include "unroll/nn/losses.hpp"

#include "unroll/nn/loss_reduction.hpp"

namespace unroll {

using detail::check_classes;
using detail::check_shapes;
using detail::reduce;

namespace {

template <class T>
void check_signs(const char* loss, const Var<T>& targets) {
  for (const T y : targets.to_vector()) {
    if (y != 1 && y != -1) fail(loss, "targets must be 1 or -1");
  }
}

}  // namespace

template <Real T>
Var<T> squared_error(const Var<T>& predictions, const Var<T>& targets,
                     const LossOptions<T>& options) {
  check_shapes("squared_error", predictions, targets);
  check_classes("squared_error", predictions);
  return reduce("squared_error", sum(square(predictions - targets), -1), options);
}

template <Real T>
Var<T> mse(const Var<T>& predictions, const Var<T>& targets, const LossOptions<T>& options) {
  check_shapes("mse", predictions, targets);
  return reduce("mse", square(predictions - targets), options);
}

template <Real T>
Var<T> mae(const Var<T>& predictions, const Var<T>& targets, const LossOptions<T>& options) {
  check_shapes("mae", predictions, targets);
  return reduce("mae", abs(predictions - targets), options);
}

template <Real T>
Var<T> huber(const Var<T>& predictions, const Var<T>& targets, const HuberOptions<T>& options) {
  check_shapes("huber", predictions, targets);
  if (!(options.delta > 0)) fail("huber", "delta must be positive");
  // With c the difference limited to [-delta, delta]: c (d - c/2) is both branches.
  const Var<T> d = predictions - targets, c = clamp(d, -options.delta, options.delta);
  return reduce("huber", c * (d - c * 0.5), options);
}

template <Real T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets,
                                        const BinaryCrossEntropyOptions<T>& options) {
  constexpr auto name = "binary_cross_entropy_with_logits";
  check_shapes(name, logits, targets);
  const Var<T>& q = options.positive_weight;
  if (q.empty()) return reduce(name, softplus(logits) - targets * logits, options);
  const bool per_class = q.rank() == 1 && logits.rank() > 0 && q.size() == logits.size(-1);
  if (q.rank() != 0 && !per_class) {
    fail(name, "a positive weight " + to_string(q.shape()) + " for logits " +
                   to_string(logits.shape()) + ": it must be one number or one for each class");
  }
  // -log σ(z) = softplus(z) - z
  return reduce(name,
                (1 + (q - 1) * targets) * (softplus(logits) - logits) + (1 - targets) * logits,
                options);
}

template <Real T>
Var<T> hinge(const Var<T>& scores, const Var<T>& targets, const HingeOptions<T>& options) {
  check_shapes("hinge", scores, targets);
  check_signs("hinge", targets);
  return reduce("hinge", relu(options.margin - targets * scores), options);
}

template <Real T>
Var<T> kl_divergence(const Var<T>& log_predictions, const Var<T>& targets,
                     const LossOptions<T>& options) {
  check_shapes("kl_divergence", log_predictions, targets);
  check_classes("kl_divergence", log_predictions);
  // Where p is 0 the logarithm of 1 stands for its own, so neither value nor gradient is 0 · ∞.
  const Var<T> log_targets = log(where(targets == 0, 1, targets));
  return reduce("kl_divergence", sum(targets * (log_targets - log_predictions), -1), options);
}

template <Real T>
Var<T> cosine_similarity(const Var<T>& a, const Var<T>& b) {
  constexpr double least_length = 1e-8;
  if (!(a.shape() == b.shape()) || a.rank() == 0) {
    fail("cosine_similarity", "two arrays [..., D] of one shape are needed, not " +
                                  to_string(a.shape()) + " and " + to_string(b.shape()));
  }
  return sum(a * b, -1) / (maximum(norm(a, -1), least_length) * maximum(norm(b, -1), least_length));
}

template <Real T>
Var<T> cosine_embedding(const Var<T>& a, const Var<T>& b, const Var<T>& targets,
                        const CosineEmbeddingOptions<T>& options) {
  const Var<T> cosine = cosine_similarity(a, b);
  check_shapes("cosine_embedding", cosine, targets);
  check_signs("cosine_embedding", targets);
  return reduce("cosine_embedding", where(targets > 0, 1 - cosine, relu(cosine - options.margin)),
                options);
}

template Var<float> squared_error(const Var<float>&, const Var<float>&, const LossOptions<float>&);
template Var<double> squared_error(const Var<double>&, const Var<double>&,
                                   const LossOptions<double>&);
template Var<float> mse(const Var<float>&, const Var<float>&, const LossOptions<float>&);
template Var<double> mse(const Var<double>&, const Var<double>&, const LossOptions<double>&);
template Var<float> mae(const Var<float>&, const Var<float>&, const LossOptions<float>&);
template Var<double> mae(const Var<double>&, const Var<double>&, const LossOptions<double>&);
template Var<float> huber(const Var<float>&, const Var<float>&, const HuberOptions<float>&);
template Var<double> huber(const Var<double>&, const Var<double>&, const HuberOptions<double>&);
template Var<float> binary_cross_entropy_with_logits(const Var<float>&, const Var<float>&,
                                                     const BinaryCrossEntropyOptions<float>&);
template Var<double> binary_cross_entropy_with_logits(const Var<double>&, const Var<double>&,
                                                      const BinaryCrossEntropyOptions<double>&);
template Var<float> hinge(const Var<float>&, const Var<float>&, const HingeOptions<float>&);
template Var<double> hinge(const Var<double>&, const Var<double>&, const HingeOptions<double>&);
template Var<float> kl_divergence(const Var<float>&, const Var<float>&, const LossOptions<float>&);
template Var<double> kl_divergence(const Var<double>&, const Var<double>&,
                                   const LossOptions<double>&);
template Var<float> cosine_similarity(const Var<float>&, const Var<float>&);
template Var<double> cosine_similarity(const Var<double>&, const Var<double>&);
template Var<float> cosine_embedding(const Var<float>&, const Var<float>&, const Var<float>&,
                                     const CosineEmbeddingOptions<float>&);
template Var<double> cosine_embedding(const Var<double>&, const Var<double>&, const Var<double>&,
                                      const CosineEmbeddingOptions<double>&);

}  // namespace unroll
