// The affine layer y = W x + b.
//
//   auto out = Linear<float>::make(Key(1), 128, 10);
//   Var<float> logits = out(h);                          // [..., 128] -> [..., 10]
//
// Weights are stored [out, in], as PyTorch stores them.
#pragma once

#include "unroll/autograd/model.hpp"
#include "unroll/nn/init.hpp"

namespace unroll {

template <FloatOrDouble T>
struct Linear {
  Var<T> weight;  // [out, in]
  Var<T> bias;    // [out]
  static constexpr auto fields() {
    return std::tuple{field("weight", &Linear::weight), field("bias", &Linear::bias)};
  }

  // PyTorch's initial values: both evenly over ±1/√in.
  [[nodiscard]] static Linear make(const Key& key, Size in, Size out) {
    const auto [a, b] = split(key);
    return {pytorch_uniform<T>(a, {out, in}, in), pytorch_uniform<T>(b, {out}, in)};
  }

  [[nodiscard]] Var<T> operator()(const Var<T>& x) const { return linear(x, weight, bias); }
};

}  // namespace unroll
