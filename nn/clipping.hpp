// Gradients that are too long, made shorter.
//
//   optimizer.step(model, clip_by_norm(gradient, 5.0));
#pragma once

#include <cmath>

#include "unroll/autograd/model.hpp"

namespace unroll {

namespace detail {
template <FloatOrDouble T>
double length(const Var<T>& x);
}  // namespace detail

// √Σ g² over all parameters, summed in double, without overflow.
template <Tree X>
[[nodiscard]] double global_norm(const X& tree) {
  double total = 0;
  tree_for_each([&](const auto& g) { total = std::hypot(total, detail::length(g)); }, tree);
  return total;
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
