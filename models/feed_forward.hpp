// The baseline without memory: layers one after the other, tanh between them.
//
//   auto net = FeedForward<float>::make(Key(1), {window * symbols, 64, symbols});
//   Var<float> logits = net(last_steps(xs, window));  // [T, B, I] -> [B, window I] -> [B, symbols]
//
// It sees the steps that stand in its window and nothing of those before.
#pragma once

#include <vector>

#include "unroll/nn/linear.hpp"

namespace unroll {

template <FloatOrDouble T>
struct FeedForward {
  std::vector<Linear<T>> layers;
  static constexpr auto fields() { return std::tuple{field("layers", &FeedForward::layers)}; }

  // sizes: of the input, of each hidden layer, of the output. Throws when there are fewer than two.
  [[nodiscard]] static FeedForward make(const Key& key, const std::vector<Size>& sizes) {
    if (sizes.size() < 2) fail("FeedForward", "needs the sizes of an input and of an output");
    const auto keys = split(key, sizes.size() - 1);
    FeedForward net;
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
      net.layers.push_back(Linear<T>::make(keys[i], sizes[i], sizes[i + 1]));
    }
    return net;
  }

  // [..., in] -> [..., out]
  [[nodiscard]] Var<T> operator()(const Var<T>& x) const {
    Var<T> a = layers.front()(x);
    for (std::size_t i = 1; i < layers.size(); ++i) a = layers[i](tanh(a));
    return a;
  }
};

// The last `window` steps of a sequence side by side: [T, B, I] -> [B, window I], oldest first.
template <FloatOrDouble T>
[[nodiscard]] Var<T> last_steps(const Var<T>& xs, Size window) {
  if (window < 1 || window > xs.size(0)) {
    fail("last_steps", "a window of " + std::to_string(window) + " does not fit into " +
                           std::to_string(xs.size(0)) + " steps");
  }
  return concat(unbind(slice(xs, 0, {.start = -window})), -1);
}

}  // namespace unroll
