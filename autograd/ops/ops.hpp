// The ops that are not elementwise. Shapes follow numpy: operands broadcast, negative axes count from the end.
//
//   y = linear(x, W);                    // [B, in] x [out, in] -> [B, out]
//   p = softmax(y);                      // over the last axis
//   L = mean(square(p - target));
//
// Each throws std::invalid_argument naming itself and the shapes. Slices, transposes, reshapes and broadcasts are views:
// they copy nothing.
#pragma once

#include <optional>

#include "unroll/autograd/ops/elementwise.hpp"
#include "unroll/autograd/sweep.hpp"

namespace unroll {

// ---- making arrays -----------------------------------------------------------------------------------------------------

template <FloatOrDouble T>
[[nodiscard]] Var<T> zeros(const Shape& shape);
template <FloatOrDouble T>
[[nodiscard]] Var<T> ones(const Shape& shape);
template <FloatOrDouble T>
[[nodiscard]] Var<T> full(const Shape& shape, T value);
// [0, 1, ..., n-1]
template <FloatOrDouble T>
[[nodiscard]] Var<T> arange(Size n);
template <FloatOrDouble T>
[[nodiscard]] Var<T> eye(Size n);
// [..., n] from labels [...]: 1 where the last index is the label. Throws when a label is not in [0, n).
template <FloatOrDouble T>
[[nodiscard]] Var<T> one_hot(const Indices& labels, Size n);

// The same values as a constant: no gradient flows through. (The values are shared, not copied.)
template <FloatOrDouble T>
[[nodiscard]] Var<T> stop_gradient(const Var<T>& x);
// Conversion between float and double; differentiable.
template <FloatOrDouble To, FloatOrDouble From>
[[nodiscard]] Var<To> cast(const Var<From>& x);

// ---- products ----------------------------------------------------------------------------------------------------------

// numpy's matmul: vectors, matrices, and stacks of matrices whose leading axes broadcast.
template <FloatOrDouble T>
[[nodiscard]] Var<T> matmul(const Var<T>& a, const Var<T>& b);
// x Wᵀ (+ b): [..., in] x [out, in] -> [..., out]; b is [out].
template <FloatOrDouble T>
[[nodiscard]] Var<T> linear(const Var<T>& x, const Var<T>& W);
template <FloatOrDouble T>
[[nodiscard]] Var<T> linear(const Var<T>& x, const Var<T>& W, const Var<T>& b);
// Of two vectors: [m], [n] -> [m, n].
template <FloatOrDouble T>
[[nodiscard]] Var<T> outer(const Var<T>& a, const Var<T>& b);
// Of two arrays of one shape: the sum of products, a scalar.
template <FloatOrDouble T>
[[nodiscard]] Var<T> dot(const Var<T>& a, const Var<T>& b);

// ---- reductions --------------------------------------------------------------------------------------------------------

template <FloatOrDouble T>
[[nodiscard]] Var<T> sum(const Var<T>& x, const Axes& axes = {}, KeepDims keep = KeepDims::no);
// Exact where all elements are equal. Throws when there is nothing to average.
template <FloatOrDouble T>
[[nodiscard]] Var<T> mean(const Var<T>& x, const Axes& axes = {}, KeepDims keep = KeepDims::no);
// Equal largest elements share the cotangent evenly. Throws when there is nothing to choose from.
template <FloatOrDouble T>
[[nodiscard]] Var<T> max(const Var<T>& x, const Axes& axes = {}, KeepDims keep = KeepDims::no);
template <FloatOrDouble T>
[[nodiscard]] Var<T> min(const Var<T>& x, const Axes& axes = {}, KeepDims keep = KeepDims::no);
// Correct gradients with any number of zeros: a product tree without division.
template <FloatOrDouble T>
[[nodiscard]] Var<T> prod(const Var<T>& x, const Axes& axes = {}, KeepDims keep = KeepDims::no);
// log Σ exp x, without overflow; -inf when all elements are -inf, where its gradient is taken to be 0.
template <FloatOrDouble T>
[[nodiscard]] Var<T> logsumexp(const Var<T>& x, const Axes& axes = {},
                               KeepDims keep = KeepDims::no);
// Σ (x - mean)² / (n - ddof)
template <FloatOrDouble T>
[[nodiscard]] Var<T> var(const Var<T>& x, const Axes& axes = {}, Size ddof = 0,
                         KeepDims keep = KeepDims::no);
// x - mean(x) over these axes: 0 where all elements are equal.
template <FloatOrDouble T>
[[nodiscard]] Var<T> centre(const Var<T>& x, const Axes& axes = {});
// √Σ x², without overflow; its gradient at 0 is taken to be 0.
template <FloatOrDouble T>
[[nodiscard]] Var<T> norm(const Var<T>& x, const Axes& axes = {}, KeepDims keep = KeepDims::no);
template <FloatOrDouble T>
[[nodiscard]] Var<T> cumsum(const Var<T>& x, Size axis);
// The position of the (first) largest or smallest element along an axis; not differentiable.
template <FloatOrDouble T>
[[nodiscard]] Indices argmax(const Var<T>& x, Size axis = -1);
template <FloatOrDouble T>
[[nodiscard]] Indices argmin(const Var<T>& x, Size axis = -1);

template <FloatOrDouble T>
[[nodiscard]] Var<T> softmax(const Var<T>& x, Size axis = -1);
template <FloatOrDouble T>
[[nodiscard]] Var<T> log_softmax(const Var<T>& x, Size axis = -1);

// ---- shapes ------------------------------------------------------------------------------------------------------------

// One size may be -1: it is worked out from the others.
template <FloatOrDouble T>
[[nodiscard]] Var<T> reshape(const Var<T>& x, std::initializer_list<Size> sizes);
template <FloatOrDouble T>
[[nodiscard]] Var<T> reshape(const Var<T>& x, const Shape& shape);
// Swaps the last two axes.
template <FloatOrDouble T>
[[nodiscard]] Var<T> transpose(const Var<T>& x);
// Axis i of the result is axis order[i] of x.
template <FloatOrDouble T>
[[nodiscard]] Var<T> permute(const Var<T>& x, std::initializer_list<Size> order);
template <FloatOrDouble T>
[[nodiscard]] Var<T> permute(const Var<T>& x, std::span<const Size> order);
// Removes axes of size 1 (all of them by default).
template <FloatOrDouble T>
[[nodiscard]] Var<T> squeeze(const Var<T>& x, const Axes& axes = {});
// Inserts an axis of size 1.
template <FloatOrDouble T>
[[nodiscard]] Var<T> expand(const Var<T>& x, Size axis);
template <FloatOrDouble T>
[[nodiscard]] Var<T> broadcast_to(const Var<T>& x, const Shape& shape);
// The adjoint of broadcast_to: sums over the axes that broadcasting would add or stretch.
template <FloatOrDouble T>
[[nodiscard]] Var<T> sum_to(const Var<T>& x, const Shape& shape);
// Reverses one axis.
template <FloatOrDouble T>
[[nodiscard]] Var<T> flip(const Var<T>& x, Size axis);

// ---- parts -------------------------------------------------------------------------------------------------------------

// Python's start:stop:step; ends that are out of range are moved to the nearest one that is not.
struct SliceRange {
  std::optional<Size> start = std::nullopt, stop = std::nullopt;
  Size step = 1;
};
// The part of x along one axis.
template <FloatOrDouble T>
[[nodiscard]] Var<T> slice(const Var<T>& x, Size axis, const SliceRange& range);
// ... along the first axes: slice(x, {{1, 3}, {}, {.step = -1}})
template <FloatOrDouble T>
[[nodiscard]] Var<T> slice(const Var<T>& x, std::initializer_list<SliceRange> ranges);
// x[..., i, ...] along one axis, which disappears. Throws when i is out of range.
template <FloatOrDouble T>
[[nodiscard]] Var<T> index(const Var<T>& x, Size axis, Size i);
// Joins along an existing axis, or (stack) along a new one.
template <FloatOrDouble T>
[[nodiscard]] Var<T> concat(std::span<const Var<T>> parts, Size axis = 0);
template <FloatOrDouble T>
[[nodiscard]] Var<T> concat(std::initializer_list<Var<T>> parts, Size axis = 0) {
  return concat(std::span<const Var<T>>(parts.begin(), parts.size()), axis);
}
template <FloatOrDouble T>
[[nodiscard]] Var<T> concat(const std::vector<Var<T>>& parts, Size axis = 0) {
  return concat(std::span<const Var<T>>(parts), axis);
}
template <FloatOrDouble T>
[[nodiscard]] Var<T> stack(std::span<const Var<T>> parts, Size axis = 0);
template <FloatOrDouble T>
[[nodiscard]] Var<T> stack(std::initializer_list<Var<T>> parts, Size axis = 0) {
  return stack(std::span<const Var<T>>(parts.begin(), parts.size()), axis);
}
template <FloatOrDouble T>
[[nodiscard]] Var<T> stack(const std::vector<Var<T>>& parts, Size axis = 0) {
  return stack(std::span<const Var<T>>(parts), axis);
}
namespace detail {
template <class T>
void split_equally(const Var<T>& x, std::size_t count, Size axis, Var<T>* parts);
}  // namespace detail
// `count` equal parts; throws when the axis does not divide.
template <FloatOrDouble T>
[[nodiscard]] std::vector<Var<T>> split(const Var<T>& x, Size count, Size axis);
template <FloatOrDouble T>
[[nodiscard]] std::vector<Var<T>> split(const Var<T>& x, std::span<const Size> sizes, Size axis);
template <FloatOrDouble T>
[[nodiscard]] std::vector<Var<T>> split(const Var<T>& x, std::initializer_list<Size> sizes,
                                        Size axis) {
  return split(x, std::span<const Size>(sizes.begin(), sizes.size()), axis);
}
// N equal parts as an array: auto [i, f, g, o] = split<4>(z, -1);
template <std::size_t N, FloatOrDouble T>
[[nodiscard]] std::array<Var<T>, N> split(const Var<T>& x, Size axis) {
  std::array<Var<T>, N> out;
  detail::split_equally(x, N, axis, out.data());
  return out;
}
// The slices along an axis, which disappears.
template <FloatOrDouble T>
[[nodiscard]] std::vector<Var<T>> unbind(const Var<T>& x, Size axis = 0);
template <FloatOrDouble T>
[[nodiscard]] Var<T> pad(const Var<T>& x, Size axis, Size before, Size after, T value = 0);
// Each element `times` times in a row along an axis (numpy.repeat).
template <FloatOrDouble T>
[[nodiscard]] Var<T> repeat(const Var<T>& x, Size times, Size axis);

// Rows of x along its first axis: x [n, ...], rows [...] -> [..., ...] (an embedding).
template <FloatOrDouble T>
[[nodiscard]] Var<T> take(const Var<T>& x, const Indices& rows);
// out[i][j][k] = x[i][indices[i][j][k]][k] (axis 1); x and indices have the same number of axes.
template <FloatOrDouble T>
[[nodiscard]] Var<T> gather(const Var<T>& x, const Indices& indices, Size axis);
// x with source[i][j][k] added at [i][indices[i][j][k]][k] (axis 1).
template <FloatOrDouble T>
[[nodiscard]] Var<T> scatter_add(const Var<T>& x, const Indices& indices, const Var<T>& source,
                                 Size axis);
// value where the mask is not 0, else x.
template <FloatOrDouble T>
[[nodiscard]] Var<T> masked_fill(const Var<T>& x, const Var<T>& mask, T value);

namespace detail {
template <class T>
Var<T> zeros_like_shape(const Shape& shape) {
  return zeros<T>(shape);
}
template <class T>
Var<T> sum_all(const Var<T>& x) {
  return sum(x);
}
// Sum of rows: row i of g is added to row rows(i) of zeros [n, ...]; the adjoint of `take`.
template <class T>
Var<T> scatter_rows(const Var<T>& g, const Indices& rows, Size n);
// Is no element NaN or infinite?
template <class T>
bool all_finite(const Var<T>& x);
// For each row along the axes the largest power of two up to its largest |x|, or 1 where that is 0 or not finite; a constant.
template <class T>
Var<T> power_of_two_below(const Var<T>& x, const Axes& axes);
// Zeros of the given shape with the regions added; the adjoint of slices.
template <class T>
Var<T> assemble(const Shape& shape, std::span<const Region<T>> regions);
}  // namespace detail

// aᵀ·b for a [k, m] and b [k, n], for rules: the sweep settles many of them that reach one array as one product.
template <FloatOrDouble T>
[[nodiscard]] detail::RowProduct<T> row_product(const Var<T>& a, const Var<T>& b) {
  return {a, b};
}

}  // namespace unroll
