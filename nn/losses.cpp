#include "unroll/nn/losses.hpp"

#include "unroll/autograd/elementwise.hpp"
#include "unroll/nn/loss_reduction.hpp"

namespace unroll {

using detail::check_classes;
using detail::check_shapes;
using detail::counted;
using detail::reduce;
using detail::what_counts;

namespace {

// d²/2 where |d| <= delta, else delta (|d| - delta/2).
struct Huber {
  static constexpr auto name = "huber";
  static auto f(const auto& d, const auto& delta) {
    return where(abs(d) <= delta, 0.5 * d * d, delta * (abs(d) - 0.5 * delta));
  }
  static auto d(wrt<0>, const auto&, const auto& d, const auto& delta) {
    return minimum(maximum(d, -delta), delta);
  }
  static auto d(wrt<1>, const auto&, const auto& d, const auto& delta) {
    return maximum(abs(d) - delta, 0);
  }
};

template <class T>
void check_signs(const char* loss, const Var<T>& targets) {
  for (const T y : targets.to_vector()) {
    if (y != 1 && y != -1) fail(loss, "targets must be 1 or -1");
  }
}

}  // namespace

template <FloatOrDouble T>
Var<T> squared_error(const Var<T>& predictions, const Var<T>& targets,
                     const LossOptions<T>& options) {
  check_classes("squared_error", predictions);
  const auto [p, y] = counted("squared_error", predictions, targets, options.weights);
  return reduce("squared_error", sum(square(p - y), -1), options);
}

template <FloatOrDouble T>
Var<T> mse(const Var<T>& predictions, const Var<T>& targets, const LossOptions<T>& options) {
  const auto [p, y] = counted("mse", predictions, targets, options.weights);
  return reduce("mse", square(p - y), options);
}

template <FloatOrDouble T>
Var<T> mae(const Var<T>& predictions, const Var<T>& targets, const LossOptions<T>& options) {
  const auto [p, y] = counted("mae", predictions, targets, options.weights);
  return reduce("mae", abs(p - y), options);
}

template <FloatOrDouble T>
Var<T> huber(const Var<T>& predictions, const Var<T>& targets, const HuberOptions<T>& options) {
  if (!(options.delta > 0)) fail("huber", "delta must be positive");
  const auto [p, y] = counted("huber", predictions, targets, options.weights);
  return reduce("huber", apply<Huber>(p - y, Var<T>(options.delta)), options);
}

template <FloatOrDouble T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets,
                                        const BinaryCrossEntropyOptions<T>& options) {
  constexpr auto name = "binary_cross_entropy_with_logits";
  const auto [z, y] = counted(name, logits, targets, options.weights);
  const Var<T> q = options.positive_weight.empty() ? Var<T>(1) : options.positive_weight;
  const bool per_class = q.rank() == 1 && z.rank() > 0 && q.size() == z.size(-1);
  if (q.rank() != 0 && !per_class) {
    fail(name, "a positive weight " + to_string(q.shape()) + " for logits " + to_string(z.shape()) +
                   ": it must be one number or one for each class");
  }
  // -log σ(z) = softplus(-z) and -log(1 - σ(z)) = softplus(z): where one is tiny it has all its digits.
  const auto loss = [](auto logit, auto target, auto weight) {
    return weight * detail::times_log(target, softplus(-logit)) +
           detail::times_log(1 - target, softplus(logit));
  };
  return reduce(name, fuse(loss, z, y, q), options);
}

template <FloatOrDouble T>
Var<T> hinge(const Var<T>& scores, const Var<T>& targets, const HingeOptions<T>& options) {
  check_signs("hinge", targets);
  const auto [z, y] = counted("hinge", scores, targets, options.weights);
  return reduce("hinge", relu(options.margin - y * z), options);
}

template <FloatOrDouble T>
Var<T> kl_divergence(const Var<T>& log_predictions, const Var<T>& targets,
                     const LossOptions<T>& options) {
  check_classes("kl_divergence", log_predictions);
  const auto [log_q, p] = counted("kl_divergence", log_predictions, targets, options.weights);
  // Where p is 0 the logarithm of 1 stands for its own.
  const auto term = [](auto t, auto log_prediction) {
    return detail::times_log(t, log(where(t == 0, 1, t)) - log_prediction);
  };
  return reduce("kl_divergence", sum(fuse(term, p, log_q), -1), options);
}

template <FloatOrDouble T>
Var<T> cosine_similarity(const Var<T>& a, const Var<T>& b) {
  const auto direction = [](const Var<T>& x) {
    constexpr double least_length = 1e-8;
    return x / maximum(norm(x, -1, KeepDims::yes), least_length);
  };
  if (!(a.shape() == b.shape()) || a.rank() == 0) {
    fail("cosine_similarity", "two arrays [..., D] of one shape are needed, not " +
                                  to_string(a.shape()) + " and " + to_string(b.shape()));
  }
  const Var<T> cosine = sum(direction(a) * direction(b), -1);
  return cosine + stop_gradient(clamp(cosine, -1, 1) - cosine);  // what rounding put outside
}

template <FloatOrDouble T>
Var<T> cosine_embedding(const Var<T>& a, const Var<T>& b, const Var<T>& targets,
                        const CosineEmbeddingOptions<T>& options) {
  const Var<T> cosine = cosine_similarity(what_counts("cosine_embedding", a, options.weights),
                                          what_counts("cosine_embedding", b, options.weights));
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
