// Optimisers: from a model and its gradient to the next model.
//
//   Adam adam(model, {.learning_rate = 1e-3});
//   auto [loss, gradient] = value_and_grad(sequence_loss, model);
//   adam.step(model, clip_by_norm(gradient, 5.0));
//   save("adam.safetensors", adam);   // moments and step count: an optimiser is a tree too
//
// An optimiser is made for one model type; its moments are models of that type. Options may be
// changed between steps (schedules). The equations are PyTorch's. Each parameter is updated by one
// fused pass that allocates the new values only and, on constants, records nothing. Invariant: when
// step throws (shapes, structure), model and optimiser are as before.
#pragma once

#include <cmath>

#include "unroll/autograd/model.hpp"

namespace unroll {

enum class Nesterov { no, yes };
struct SgdOptions {
  double learning_rate = 0.01;
  double momentum = 0;
  Nesterov nesterov = Nesterov::no;
  double weight_decay = 0;  // adds weight_decay · p to the gradient
};

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  // adds weight_decay · p to the gradient
};

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  // takes learning_rate · weight_decay · p off p, past the moments
};

namespace detail {

struct SgdStep {
  double rate, momentum, decay;
  bool nesterov;
};
template <Real T>
void sgd_update(Var<T>& p, const Var<T>& g, Var<T>& velocity, const SgdStep& step);

struct AdamStep {
  double beta1, beta2, epsilon, decay;
  double keep;     // what stays of p: 1 - learning_rate · decoupled decay
  double rate;     // learning_rate / (1 - beta1^t)
  double v_scale;  // 1 / √(1 - beta2^t)
};
template <Real T>
void adam_update(Var<T>& p, const Var<T>& g, Var<T>& m, Var<T>& v, const AdamStep& step);
[[nodiscard]] AdamStep adam_step(const char* name, const AdamOptions& options, double count,
                                 double decoupled_decay);
void check_options(const SgdOptions& options);

template <Real T>
double sum_of_squares(const Var<T>& x);
[[noreturn]] void fail_shapes(const char* optimizer, const Shape& p, const Shape& g);

// Throws before anything is changed.
template <class M>
void check_gradient(const char* optimizer, const M& model, const M& gradient, const M& moment) {
  tree_for_each(
      [&](const auto& p, const auto& g, const auto& m) {
        if (!(p.shape() == g.shape())) fail_shapes(optimizer, p.shape(), g.shape());
        if (!(p.shape() == m.shape())) fail_shapes(optimizer, p.shape(), m.shape());
      },
      model, gradient, moment);
}

template <class M>
void adam_all(const char* name, const AdamOptions& options, double decoupled_decay, M& model,
              const M& gradient, M& first, M& second, Var<double>& steps) {
  const double count = steps.item() + 1;
  const AdamStep s = adam_step(name, options, count, decoupled_decay);
  check_gradient(name, model, gradient, first);
  check_gradient(name, model, gradient, second);
  tree_for_each([&](auto& p, const auto& g, auto& m, auto& v) { adam_update(p, g, m, v, s); },
                model, gradient, first, second);
  steps = count;
}

}  // namespace detail

// v ← momentum v + g,   p ← p - rate · (v, or with Nesterov g + momentum v). Without momentum p ← p
// - rate · g.
template <Tree M>
struct Sgd {
  SgdOptions options;
  M velocity;
  static constexpr auto fields() { return std::tuple{field("velocity", &Sgd::velocity)}; }

  explicit Sgd(const M& model, const SgdOptions& o = {})
      : options(o), velocity(zeros_like(model)) {}

  void step(M& model, const M& gradient) {
    detail::check_options(options);
    detail::check_gradient("Sgd", model, gradient, velocity);
    const detail::SgdStep s{options.learning_rate, options.momentum, options.weight_decay,
                            options.nesterov == Nesterov::yes};
    tree_for_each([&](auto& p, const auto& g, auto& v) { detail::sgd_update(p, g, v, s); }, model,
                  gradient, velocity);
  }
};

// Kingma & Ba, 2015:  m ← β1 m + (1 - β1) g,   v ← β2 v + (1 - β2) g²,
//   p ← p - rate · m / (1 - β1^t) / (√(v / (1 - β2^t)) + ε)
template <Tree M>
struct Adam {
  AdamOptions options;
  M first_moment, second_moment;
  Var<double> steps = 0.0;  // how many were taken
  static constexpr auto fields() {
    return std::tuple{field("first_moment", &Adam::first_moment),
                      field("second_moment", &Adam::second_moment), field("steps", &Adam::steps)};
  }

  explicit Adam(const M& model, const AdamOptions& o = {})
      : options(o), first_moment(zeros_like(model)), second_moment(first_moment) {}

  void step(M& model, const M& gradient) {
    detail::adam_all("Adam", options, 0, model, gradient, first_moment, second_moment, steps);
  }
};

// Loshchilov & Hutter, 2019: Adam whose weight decay does not pass through the moments.
template <Tree M>
struct AdamW {
  AdamWOptions options;
  M first_moment, second_moment;
  Var<double> steps = 0.0;  // how many were taken
  static constexpr auto fields() {
    return std::tuple{field("first_moment", &AdamW::first_moment),
                      field("second_moment", &AdamW::second_moment), field("steps", &AdamW::steps)};
  }

  explicit AdamW(const M& model, const AdamWOptions& o = {})
      : options(o), first_moment(zeros_like(model)), second_moment(first_moment) {}

  void step(M& model, const M& gradient) {
    const AdamOptions o{options.learning_rate, options.beta1, options.beta2, options.epsilon, 0};
    detail::adam_all("AdamW", o, options.weight_decay, model, gradient, first_moment, second_moment,
                     steps);
  }
};

// ---- clipping -----------------------------------------------------------------------------------

// √Σ g² over all parameters, summed in double.
template <Tree X>
[[nodiscard]] double global_norm(const X& tree) {
  double total = 0;
  tree_for_each([&](const auto& g) { total += detail::sum_of_squares(g); }, tree);
  return std::sqrt(total);
}
// The tree, scaled to the global norm `largest` where its own is larger (Pascanu et al., 2013). A
// norm that is not finite cannot be repaired: then the tree comes back as it is.
template <Tree X>
[[nodiscard]] X clip_by_norm(const X& tree, double largest) {
  if (!(largest > 0)) fail("clip_by_norm", "the largest norm must be positive");
  const double norm = global_norm(tree);
  return norm > largest && std::isfinite(norm) ? tree_scale(tree, largest / norm) : tree;
}
// Each element limited to [-largest, largest].
template <Tree X>
[[nodiscard]] X clip_by_value(const X& tree, double largest) {
  if (!(largest > 0)) fail("clip_by_value", "the largest value must be positive");
  return tree_map([&](const auto& g) { return clamp(g, -largest, largest); }, tree);
}

}  // namespace unroll
