#include "unroll/nn/optimizers.hpp"

#include "unroll/autograd/elementwise.hpp"

namespace unroll::detail {

void fail_shapes(const char* optimizer, const Shape& p, const Shape& g) {
  fail(optimizer, "a parameter has shape " + to_string(p) + ", its gradient or moment " +
                      to_string(g) + "; was the optimiser made for this model?");
}

void check_options(const SgdOptions& o) {
  if (o.nesterov == Nesterov::yes && !(o.momentum > 0)) {
    fail("Sgd", "Nesterov's method needs a momentum above 0");
  }
}

template <Real T>
void sgd_update(Var<T>& p, const Var<T>& g, Var<T>& velocity, const SgdStep& step) {
  if (step.momentum == 0) {
    p = fuse([step](auto p0, auto g0) { return p0 - step.rate * (g0 + step.decay * p0); }, p, g);
    return;
  }
  // With Nesterov the direction is g + momentum v', else v' itself.
  const double of_gradient = step.nesterov ? 1 : 0, of_velocity = step.nesterov ? step.momentum : 1;
  std::tie(p, velocity) = fuse(
      [step, of_gradient, of_velocity](auto p0, auto g0, auto v0) {
        auto g1 = g0 + step.decay * p0;
        auto v1 = step.momentum * v0 + g1;
        return std::tuple{p0 - step.rate * (of_gradient * g1 + of_velocity * v1), v1};
      },
      p, g, velocity);
}

AdamStep adam_step(const char* name, const AdamOptions& o, double count, double decoupled_decay) {
  if (!(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1)) {
    fail(name, "beta1 and beta2 must be in [0, 1)");
  }
  return {.beta1 = o.beta1,
          .beta2 = o.beta2,
          .epsilon = o.epsilon,
          .decay = o.weight_decay,
          .keep = 1 - o.learning_rate * decoupled_decay,
          .rate = o.learning_rate / (1 - std::pow(o.beta1, count)),
          .v_scale = 1 / std::sqrt(1 - std::pow(o.beta2, count))};
}

template <Real T>
void adam_update(Var<T>& p, const Var<T>& g, Var<T>& m, Var<T>& v, const AdamStep& step) {
  std::tie(p, m, v) = fuse(
      [s = step](auto p0, auto g0, auto m0, auto v0) {
        auto g1 = g0 + s.decay * p0;
        auto m1 = s.beta1 * m0 + (1 - s.beta1) * g1;
        auto v1 = s.beta2 * v0 + (1 - s.beta2) * (g1 * g1);
        auto p1 = s.keep * p0 - s.rate * (m1 / (sqrt(v1) * s.v_scale + s.epsilon));
        return std::tuple{p1, m1, v1};
      },
      p, g, m, v);
}

// A fixed number of partial sums: neither speed nor result depends on the width of a register.
template <Real T>
double sum_of_squares(const Var<T>& x) {
  constexpr Size partial_sums = 8;
  const Ref values = contiguous(x.handle().block());
  const T* p = values->data<T>();
  const Size n = values->size();
  double parts[partial_sums] = {};
  Size i = 0;
  for (; i + partial_sums <= n; i += partial_sums) {
    for (Size j = 0; j < partial_sums; ++j) {
      const double e = static_cast<double>(p[i + j]);
      parts[j] += e * e;
    }
  }
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(p[i]) * static_cast<double>(p[i]);
  for (double part : parts) total += part;
  return total;
}

template void sgd_update(Var<float>&, const Var<float>&, Var<float>&, const SgdStep&);
template void sgd_update(Var<double>&, const Var<double>&, Var<double>&, const SgdStep&);
template void adam_update(Var<float>&, const Var<float>&, Var<float>&, Var<float>&,
                          const AdamStep&);
template void adam_update(Var<double>&, const Var<double>&, Var<double>&, Var<double>&,
                          const AdamStep&);
template double sum_of_squares(const Var<float>&);
template double sum_of_squares(const Var<double>&);

}  // namespace unroll::detail
