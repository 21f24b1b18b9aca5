// Layer normalisation (Ba, Kiros & Hinton, 2016).
//
//   auto norm = LayerNorm<float>::make(128);
//   Var<float> y = norm(x);                     // [..., 128] -> [..., 128]
//
// Each row gets mean 0 and variance 1 (of the population, + ε), then is scaled and shifted.
#pragma once

#include "unroll/autograd/model.hpp"

namespace unroll {

// (x - mean) / √(variance + ε) · weight + bias, over the last axis; weight and bias are [n]. Throws when the
// shapes do not fit or rows are empty.
template <FloatOrDouble T>
[[nodiscard]] Var<T> layer_norm(const Var<T>& x, const Var<T>& weight, const Var<T>& bias,
                                double epsilon = 1e-5);

template <FloatOrDouble T>
struct LayerNorm {
  Var<T> weight;  // [n]
  Var<T> bias;    // [n]
  double epsilon = 1e-5;
  static constexpr auto fields() {
    return std::tuple{field("weight", &LayerNorm::weight), field("bias", &LayerNorm::bias)};
  }

  // As in PyTorch: weight 1, bias 0.
  [[nodiscard]] static LayerNorm make(Size n) { return {ones<T>({n}), zeros<T>({n})}; }

  [[nodiscard]] Var<T> operator()(const Var<T>& x) const {
    return layer_norm(x, weight, bias, epsilon);
  }
};

}  // namespace unroll
