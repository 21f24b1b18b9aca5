// Optimisers: from a model and its gradient to the next model.
//
//   Adam adam(model, {.learning_rate = 1e-3});
//   auto [loss, gradient] = value_and_grad(sequence_loss, model);
//   adam.step(model, clip_by_norm(gradient, 5.0));
//   adam.options.learning_rate = cosine(++step);      // schedules: nn/schedules.hpp
//   save("adam.safetensors", adam);   // moments and step count: an optimiser is a tree too
//
// An optimiser is made for one model type; its moments are models of that type. Options may be
// changed between steps. Parameters may have settings of their own (nn/parameter_groups.hpp); options and
// groups are not saved. The equations are PyTorch's. Each parameter is updated by one
// fused pass that allocates the new values only and, on constants, records nothing. Invariant: when
// step throws (shapes, structure, options), model and optimiser are as before.
//
// An optimiser is its options, its state trees, and one elementwise update of a parameter (optimizers.cpp);
// what they all do besides is written once, in detail::step_all.
#pragma once

#include "unroll/nn/clipping.hpp"
#include "unroll/nn/parameter_groups.hpp"

namespace unroll {

enum class Nesterov { no, yes };
struct SgdOptions {
  double learning_rate = 0.01;
  double momentum = 0;
  Nesterov nesterov = Nesterov::no;
  double weight_decay = 0;  // adds weight_decay · p to the gradient
};

enum class Amsgrad { no, yes };
struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;        // adds weight_decay · p to the gradient
  Amsgrad amsgrad = Amsgrad::no;  // chosen when the optimiser is made
};

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  // takes learning_rate · weight_decay · p off p, past the moments
  Amsgrad amsgrad = Amsgrad::no;  // chosen when the optimiser is made
};

enum class Centered { no, yes };
struct RmsPropOptions {
  double learning_rate = 0.01;
  double smoothing = 0.99;
  double epsilon = 1e-8;
  double momentum = 0;               // above 0 chosen when the optimiser is made
  Centered centered = Centered::no;  // chosen when the optimiser is made
  double weight_decay = 0;           // adds weight_decay · p to the gradient
};

struct AdagradOptions {
  double learning_rate = 0.01;
  double learning_rate_decay = 0;  // step t moves by learning_rate / (1 + (t - 1) · this)
  double epsilon = 1e-10;
  double initial_sum = 0;   // of the squares, before the first step
  double weight_decay = 0;  // adds weight_decay · p to the gradient
};

namespace detail {

void check_options(const char* optimizer, const SgdOptions& options);
void check_options(const char* optimizer, const AdamOptions& options);
void check_options(const char* optimizer, const AdamWOptions& options);
void check_options(const char* optimizer, const RmsPropOptions& options);
void check_options(const char* optimizer, const AdagradOptions& options);

// Step number `count` of one parameter and its states. States that the options do not ask for are
// neither read nor written.
template <FloatOrDouble T>
void update(const SgdOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& velocity);
template <FloatOrDouble T>
void update(const AdamOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& m, Var<T>& v,
            Var<T>& largest);
template <FloatOrDouble T>
void update(const AdamWOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& m, Var<T>& v,
            Var<T>& largest);
template <FloatOrDouble T>
void update(const RmsPropOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& v,
            Var<T>& average, Var<T>& velocity);
template <FloatOrDouble T>
void update(const AdagradOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& squares);

[[noreturn]] void fail_shapes(const char* optimizer, const Shape& p, const Shape& g);
[[noreturn]] void fail_state(const char* optimizer, const char* option);
void check_rate(const char* optimizer, double rate);
void check_groups(const char* optimizer, const ParameterGroups& groups, std::size_t parameters);

template <class Options>
Options options_of(const ParameterGroups& groups, std::size_t i, const Options& options) {
  if (groups.empty()) return options;
  Options own = options;
  own.learning_rate *= groups[i].learning_rate_scale;
  own.weight_decay = groups[i].weight_decay.value_or(own.weight_decay);
  return own;
}

template <class T>
bool same_shape(const Var<T>& a, const Var<T>& b) {
  return a.handle().block()->same_shape(*b.handle().block());
}

// Throws before anything is changed.
template <class M>
void check_gradient(const char* optimizer, const ParameterGroups& groups, const M& model,
                    const M& gradient, const M& state) {
  std::size_t parameters = 0;
  tree_for_each(
      [&](const auto& p, const auto& g, const auto& s) {
        if (!same_shape(p, g)) fail_shapes(optimizer, p.shape(), g.shape());
        if (!same_shape(p, s)) fail_shapes(optimizer, p.shape(), s.shape());
        ++parameters;
      },
      model, gradient, state);
  check_groups(optimizer, groups, parameters);
}

// Step number `count` of the whole model.
template <class Options, class M, class... States>
void step_all(const char* optimizer, const Options& options, const ParameterGroups& groups,
              double count, M& model, const M& gradient, States&... states) {
  check_rate(optimizer, options.learning_rate);
  check_options(optimizer, options);
  (check_gradient(optimizer, groups, model, gradient, states), ...);
  std::size_t i = 0;
  tree_for_each(
      [&](auto& p, const auto& g, auto&... s) {
        const std::size_t parameter = i++;
        const bool frozen = !groups.empty() && groups[parameter].learning_rate_scale == 0;
        if (!frozen) update(options_of(groups, parameter, options), count, p, g, s...);
      },
      model, gradient, states...);
}

// For a state that is not in use yet: each array shows one zero.
template <class M>
M zeros_in_no_memory(const M& model) {
  return tree_map(
      [](const auto& p) { return broadcast_to(std::remove_cvref_t<decltype(p)>(0), p.shape()); },
      model);
}
template <class M>
std::optional<M> zeros_if(bool wanted, const M& model) {
  return wanted ? std::optional<M>(zeros_like(model)) : std::nullopt;
}
// A state that only some options ask for; where there is none, `other` stands in its place.
template <class M>
M& state_or(const char* optimizer, const char* option, bool wanted, std::optional<M>& state,
            M& other) {
  if (wanted && !state) fail_state(optimizer, option);
  return state ? *state : other;
}

}  // namespace detail

// v ← momentum v + g,   p ← p - rate · (v, or with Nesterov g + momentum v). Without momentum p ← p
// - rate · g.
template <Tree M>
struct Sgd {
  SgdOptions options;
  ParameterGroups groups;
  M velocity;
  static constexpr auto fields() { return std::tuple{field("velocity", &Sgd::velocity)}; }

  explicit Sgd(const M& model, const SgdOptions& o = {}, ParameterGroups own = {})
      : options(o),
        groups(std::move(own)),
        velocity(o.momentum == 0 ? detail::zeros_in_no_memory(model) : zeros_like(model)) {}

  void step(M& model, const M& gradient) {
    detail::step_all("Sgd", options, groups, 0, model, gradient, velocity);
  }
};

// Kingma & Ba, 2015:  m ← β1 m + (1 - β1) g,   v ← β2 v + (1 - β2) g²,
//   p ← p - rate · m / (1 - β1^t) / (√(v / (1 - β2^t)) + ε)
// With AMSGrad (Reddi et al., 2018) the largest v so far takes v's place in the last line.
template <Tree M>
struct Adam {
  AdamOptions options;
  ParameterGroups groups;
  M first_moment, second_moment;
  std::optional<M> largest_second_moment;  // with AMSGrad
  Var<double> steps = 0.0;                 // how many were taken
  static constexpr auto fields() {
    return std::tuple{
        field("first_moment", &Adam::first_moment), field("second_moment", &Adam::second_moment),
        field("largest_second_moment", &Adam::largest_second_moment), field("steps", &Adam::steps)};
  }

  explicit Adam(const M& model, const AdamOptions& o = {}, ParameterGroups own = {})
      : options(o),
        groups(std::move(own)),
        first_moment(zeros_like(model)),
        second_moment(first_moment),
        largest_second_moment(detail::zeros_if(o.amsgrad == Amsgrad::yes, model)) {}

  void step(M& model, const M& gradient) {
    const double count = steps.item() + 1;
    detail::step_all("Adam", options, groups, count, model, gradient, first_moment, second_moment,
                     detail::state_or("Adam", "amsgrad", options.amsgrad == Amsgrad::yes,
                                      largest_second_moment, second_moment));
    steps = count;
  }
};

// Loshchilov & Hutter, 2019: Adam whose weight decay does not pass through the moments.
template <Tree M>
struct AdamW {
  AdamWOptions options;
  ParameterGroups groups;
  M first_moment, second_moment;
  std::optional<M> largest_second_moment;  // with AMSGrad
  Var<double> steps = 0.0;                 // how many were taken
  static constexpr auto fields() {
    return std::tuple{field("first_moment", &AdamW::first_moment),
                      field("second_moment", &AdamW::second_moment),
                      field("largest_second_moment", &AdamW::largest_second_moment),
                      field("steps", &AdamW::steps)};
  }

  explicit AdamW(const M& model, const AdamWOptions& o = {}, ParameterGroups own = {})
      : options(o),
        groups(std::move(own)),
        first_moment(zeros_like(model)),
        second_moment(first_moment),
        largest_second_moment(detail::zeros_if(o.amsgrad == Amsgrad::yes, model)) {}

  void step(M& model, const M& gradient) {
    const double count = steps.item() + 1;
    detail::step_all("AdamW", options, groups, count, model, gradient, first_moment, second_moment,
                     detail::state_or("AdamW", "amsgrad", options.amsgrad == Amsgrad::yes,
                                      largest_second_moment, second_moment));
    steps = count;
  }
};

// Tieleman & Hinton, 2012:  v ← α v + (1 - α) g²,   p ← p - rate · g / (√v + ε)
// Centred (Graves, 2013), with a ← α a + (1 - α) g, v - a² takes v's place in the second formula; with
// momentum b ← momentum b + g / (√v + ε) and p ← p - rate · b.
template <Tree M>
struct RmsProp {
  RmsPropOptions options;
  ParameterGroups groups;
  M square_average;
  std::optional<M> gradient_average;  // when centred
  std::optional<M> velocity;          // with momentum
  static constexpr auto fields() {
    return std::tuple{field("square_average", &RmsProp::square_average),
                      field("gradient_average", &RmsProp::gradient_average),
                      field("velocity", &RmsProp::velocity)};
  }

  explicit RmsProp(const M& model, const RmsPropOptions& o = {}, ParameterGroups own = {})
      : options(o),
        groups(std::move(own)),
        square_average(zeros_like(model)),
        gradient_average(detail::zeros_if(o.centered == Centered::yes, model)),
        velocity(detail::zeros_if(o.momentum > 0, model)) {}

  void step(M& model, const M& gradient) {
    detail::step_all(
        "RmsProp", options, groups, 0, model, gradient, square_average,
        detail::state_or("RmsProp", "centered", options.centered == Centered::yes, gradient_average,
                         square_average),
        detail::state_or("RmsProp", "momentum", options.momentum > 0, velocity, square_average));
  }
};

// Duchi, Hazan & Singer, 2011:  s ← s + g²,   p ← p - rate · g / (√s + ε)
template <Tree M>
struct Adagrad {
  AdagradOptions options;
  ParameterGroups groups;
  M sum_of_squares;
  Var<double> steps = 0.0;  // how many were taken
  static constexpr auto fields() {
    return std::tuple{field("sum_of_squares", &Adagrad::sum_of_squares),
                      field("steps", &Adagrad::steps)};
  }

  explicit Adagrad(const M& model, const AdagradOptions& o = {}, ParameterGroups own = {})
      : options(o),
        groups(std::move(own)),
        sum_of_squares(
            tree_map([&](const auto& z) { return z + o.initial_sum; }, zeros_like(model))) {}

  void step(M& model, const M& gradient) {
    const double count = steps.item() + 1;
    detail::step_all("Adagrad", options, groups, count, model, gradient, sum_of_squares);
    steps = count;
  }
};

}  // namespace unroll
