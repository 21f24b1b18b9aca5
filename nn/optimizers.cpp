#include "unroll/nn/optimizers.hpp"

#include "unroll/autograd/elementwise.hpp"

namespace unroll::detail {

void fail_shapes(const char* optimizer, const Shape& p, const Shape& g) {
  fail(optimizer, "a parameter has shape " + to_string(p) + ", its gradient or moment " +
                      to_string(g) + "; was the optimiser made for this model?");
}
void fail_state(const char* optimizer, const char* option) {
  fail(optimizer, "the option " + std::string(option) +
                      " needs a state that this optimiser was made without; set it when making it");
}

void check_rate(const char* optimizer, double rate) {
  if (!(rate >= 0)) {
    fail(optimizer,
         "a learning rate, or its scale, is " + std::to_string(rate) + "; it must not be negative");
  }
}
void check_groups(const char* optimizer, const ParameterGroups& groups, std::size_t parameters) {
  for (const ParameterSettings& settings : groups)
    check_rate(optimizer, settings.learning_rate_scale);
  if (groups.empty() || groups.size() == parameters) return;
  fail(optimizer, "there are settings for " + std::to_string(groups.size()) +
                      " parameters, but the model has " + std::to_string(parameters) +
                      "; were the groups made for this model?");
}

namespace {

void check_share(const char* optimizer, const char* option, double x) {
  if (!(x >= 0 && x < 1)) fail(optimizer, std::string(option) + " must be in [0, 1)");
}

}  // namespace

// ---- SGD ----------------------------------------------------------------------------------------

void check_options(const char* optimizer, const SgdOptions& o) {
  if (o.nesterov == Nesterov::yes && !(o.momentum > 0)) {
    fail(optimizer, "Nesterov's method needs a momentum above 0");
  }
}

template <FloatOrDouble T>
void update(const SgdOptions& options, double, Var<T>& p, const Var<T>& g, Var<T>& velocity) {
  const double rate = options.learning_rate, decay = options.weight_decay,
               momentum = options.momentum;
  if (momentum == 0) {
    p = fuse_values([=](auto p0, auto g0) { return p0 - rate * (g0 + decay * p0); }, p, g);
    return;
  }
  // With Nesterov the direction is g + momentum v', else v' itself.
  const bool nesterov = options.nesterov == Nesterov::yes;
  const double of_gradient = nesterov ? 1 : 0, of_velocity = nesterov ? momentum : 1;
  std::tie(p, velocity) = fuse_values(
      [=](auto p0, auto g0, auto v0) {
        auto g1 = g0 + decay * p0;
        auto v1 = momentum * v0 + g1;
        return std::tuple{p0 - rate * (of_gradient * g1 + of_velocity * v1), v1};
      },
      p, g, velocity);
}

// ---- Adam, AdamW --------------------------------------------------------------------------------

void check_options(const char* optimizer, const AdamOptions& o) {
  check_share(optimizer, "beta1", o.beta1);
  check_share(optimizer, "beta2", o.beta2);
}
void check_options(const char* optimizer, const AdamWOptions& o) {
  check_share(optimizer, "beta1", o.beta1);
  check_share(optimizer, "beta2", o.beta2);
}

namespace {

struct AdamStep {
  double beta1, beta2, epsilon;
  double decay;    // of what passes through the moments
  double keep;     // what stays of p: 1 - learning_rate · decoupled decay
  double rate;     // learning_rate / (1 - beta1^t)
  double v_scale;  // 1 / √(1 - beta2^t)
};

template <class Options>
AdamStep adam_step(const Options& o, double count, double decay, double decoupled_decay) {
  return {.beta1 = o.beta1,
          .beta2 = o.beta2,
          .epsilon = o.epsilon,
          .decay = decay,
          .keep = 1 - o.learning_rate * decoupled_decay,
          .rate = o.learning_rate / (1 - std::pow(o.beta1, count)),
          .v_scale = 1 / std::sqrt(1 - std::pow(o.beta2, count))};
}

template <class T>
void adam_update(const AdamStep& step, Amsgrad amsgrad, Var<T>& p, const Var<T>& g, Var<T>& m,
                 Var<T>& v, Var<T>& largest) {
  const auto moments = [s = step](auto p0, auto g0, auto m0, auto v0) {
    auto g1 = g0 + s.decay * p0;
    return std::tuple{s.beta1 * m0 + (1 - s.beta1) * g1, s.beta2 * v0 + (1 - s.beta2) * (g1 * g1)};
  };
  const auto moved = [s = step](auto p0, auto m1, auto v1) {
    return s.keep * p0 - s.rate * (m1 / (sqrt(v1) * s.v_scale + s.epsilon));
  };
  if (amsgrad == Amsgrad::no) {
    std::tie(p, m, v) = fuse_values(
        [=](auto p0, auto g0, auto m0, auto v0) {
          const auto [m1, v1] = moments(p0, g0, m0, v0);
          return std::tuple{moved(p0, m1, v1), m1, v1};
        },
        p, g, m, v);
    return;
  }
  std::tie(p, m, v, largest) = fuse_values(
      [=](auto p0, auto g0, auto m0, auto v0, auto largest0) {
        const auto [m1, v1] = moments(p0, g0, m0, v0);
        auto largest1 = maximum(largest0, v1);
        return std::tuple{moved(p0, m1, largest1), m1, v1, largest1};
      },
      p, g, m, v, largest);
}

}  // namespace

template <FloatOrDouble T>
void update(const AdamOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& m, Var<T>& v,
            Var<T>& largest) {
  adam_update(adam_step(o, count, o.weight_decay, 0), o.amsgrad, p, g, m, v, largest);
}
template <FloatOrDouble T>
void update(const AdamWOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& m, Var<T>& v,
            Var<T>& largest) {
  adam_update(adam_step(o, count, 0, o.weight_decay), o.amsgrad, p, g, m, v, largest);
}

// ---- RMSProp ------------------------------------------------------------------------------------

void check_options(const char* optimizer, const RmsPropOptions& o) {
  check_share(optimizer, "smoothing", o.smoothing);
  if (!(o.momentum >= 0)) fail(optimizer, "momentum must not be negative");
}

template <FloatOrDouble T>
void update(const RmsPropOptions& options, double, Var<T>& p, const Var<T>& g, Var<T>& v,
            Var<T>& average, Var<T>& velocity) {
  // The gradient with decay; a running average; what p moves by, but for the rate.
  const auto decayed = [decay = options.weight_decay](auto p0, auto g0) { return g0 + decay * p0; };
  const auto smoothed = [a = options.smoothing](auto x0, auto x) { return a * x0 + (1 - a) * x; };
  const auto scaled = [e = options.epsilon](auto g1, auto v1) { return g1 / (sqrt(v1) + e); };
  // Rounding can take it a little below 0.
  const auto variance = [](auto v1, auto a1) { return maximum(v1 - a1 * a1, 0); };
  const double rate = options.learning_rate, momentum = options.momentum;
  const bool centered = options.centered == Centered::yes;
  if (!centered && momentum == 0) {
    std::tie(p, v) = fuse_values(
        [=](auto p0, auto g0, auto v0) {
          auto g1 = decayed(p0, g0);
          auto v1 = smoothed(v0, g1 * g1);
          return std::tuple{p0 - rate * scaled(g1, v1), v1};
        },
        p, g, v);
  } else if (!centered) {
    std::tie(p, v, velocity) = fuse_values(
        [=](auto p0, auto g0, auto v0, auto b0) {
          auto g1 = decayed(p0, g0);
          auto v1 = smoothed(v0, g1 * g1);
          auto b1 = momentum * b0 + scaled(g1, v1);
          return std::tuple{p0 - rate * b1, v1, b1};
        },
        p, g, v, velocity);
  } else if (momentum == 0) {
    std::tie(p, v, average) = fuse_values(
        [=](auto p0, auto g0, auto v0, auto a0) {
          auto g1 = decayed(p0, g0);
          auto v1 = smoothed(v0, g1 * g1);
          auto a1 = smoothed(a0, g1);
          return std::tuple{p0 - rate * scaled(g1, variance(v1, a1)), v1, a1};
        },
        p, g, v, average);
  } else {
    std::tie(p, v, average, velocity) = fuse_values(
        [=](auto p0, auto g0, auto v0, auto a0, auto b0) {
          auto g1 = decayed(p0, g0);
          auto v1 = smoothed(v0, g1 * g1);
          auto a1 = smoothed(a0, g1);
          auto b1 = momentum * b0 + scaled(g1, variance(v1, a1));
          return std::tuple{p0 - rate * b1, v1, a1, b1};
        },
        p, g, v, average, velocity);
  }
}

// ---- Adagrad ------------------------------------------------------------------------------------

void check_options(const char* optimizer, const AdagradOptions& o) {
  if (!(o.learning_rate_decay >= 0)) fail(optimizer, "learning_rate_decay must not be negative");
}

template <FloatOrDouble T>
void update(const AdagradOptions& o, double count, Var<T>& p, const Var<T>& g, Var<T>& squares) {
  const double rate = o.learning_rate / (1 + (count - 1) * o.learning_rate_decay);
  std::tie(p, squares) = fuse_values(
      [=, decay = o.weight_decay, epsilon = o.epsilon](auto p0, auto g0, auto s0) {
        auto g1 = g0 + decay * p0;
        auto s1 = s0 + g1 * g1;
        return std::tuple{p0 - rate * (g1 / (sqrt(s1) + epsilon)), s1};
      },
      p, g, squares);
}

template void update(const SgdOptions&, double, Var<float>&, const Var<float>&, Var<float>&);
template void update(const SgdOptions&, double, Var<double>&, const Var<double>&, Var<double>&);
template void update(const AdamOptions&, double, Var<float>&, const Var<float>&, Var<float>&,
                     Var<float>&, Var<float>&);
template void update(const AdamOptions&, double, Var<double>&, const Var<double>&, Var<double>&,
                     Var<double>&, Var<double>&);
template void update(const AdamWOptions&, double, Var<float>&, const Var<float>&, Var<float>&,
                     Var<float>&, Var<float>&);
template void update(const AdamWOptions&, double, Var<double>&, const Var<double>&, Var<double>&,
                     Var<double>&, Var<double>&);
template void update(const RmsPropOptions&, double, Var<float>&, const Var<float>&, Var<float>&,
                     Var<float>&, Var<float>&);
template void update(const RmsPropOptions&, double, Var<double>&, const Var<double>&, Var<double>&,
                     Var<double>&, Var<double>&);
template void update(const AdagradOptions&, double, Var<float>&, const Var<float>&, Var<float>&);
template void update(const AdagradOptions&, double, Var<double>&, const Var<double>&, Var<double>&);

}  // namespace unroll::detail
