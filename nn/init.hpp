// Initial weights by key. Shapes are [out, in], as everywhere; further axes count to `in`.
//
//   auto [a, b] = split(Key(7));
//   Var<float> U = glorot_uniform<float>(a, {hidden, in});
//   Var<float> W = orthogonal<float>(b, {hidden, hidden});
//
// zeros, uniform and normal are those of ops.hpp and random.hpp. Invariant: the same key and shape
// give the same weights; they are constants. Each throws std::invalid_argument for a shape of fewer
// than two axes.
#pragma once

#include "unroll/autograd/random.hpp"

namespace unroll {

// How many inputs reach an output of a [out, in...] weight, and how many outputs an input reaches.
struct Fans {
  Size in = 0, out = 0;
};
[[nodiscard]] Fans fans(const Shape& shape);

// Evenly over ±gain·√(6 / (in + out)), or normal with variance gain²·2 / (in + out) (Glorot &
// Bengio, 2010).
template <FloatOrDouble T>
[[nodiscard]] Var<T> glorot_uniform(const Key& key, const Shape& shape, double gain = 1);
template <FloatOrDouble T>
[[nodiscard]] Var<T> glorot_normal(const Key& key, const Shape& shape, double gain = 1);
// Evenly over ±gain·√(3 / in), or normal with variance gain² / in; the gain √2 suits relu (He et
// al., 2015).
template <FloatOrDouble T>
[[nodiscard]] Var<T> he_uniform(const Key& key, const Shape& shape,
                                double gain = 1.4142135623730951);
template <FloatOrDouble T>
[[nodiscard]] Var<T> he_normal(const Key& key, const Shape& shape,
                               double gain = 1.4142135623730951);
// Evenly over ±1/√fan, as PyTorch fills its linear (fan = in) and recurrent layers (fan = hidden).
// Any shape.
template <FloatOrDouble T>
[[nodiscard]] Var<T> pytorch_uniform(const Key& key, const Shape& shape, Size fan);
// Rows (or columns, where there are fewer) of length `gain`, at right angles, of a uniformly random
// direction: Q of a normal matrix (Saxe et al., 2013; Mezzadri, 2007). By Gram-Schmidt in double;
// the last bits depend on the instruction level.
template <FloatOrDouble T>
[[nodiscard]] Var<T> orthogonal(const Key& key, const Shape& shape, double gain = 1);

}  // namespace unroll
