// Shapes and axes, with numpy's rules for broadcasting and negative axes.
//
//   Shape s{4, 1, 3};
//   broadcast_shapes("add", s, Shape{5, 1});     // [4, 5, 3]
//   normalize_axis("sum", -1, s.rank());         // 2
//
// A shape is a small value without heap memory: at most `Shape::max_rank` axes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "unroll/autograd/error.hpp"

namespace unroll {

using Size = std::int64_t;

namespace detail {
// Sizes of few axes, as nearly all arrays have, without a loop: compilers make vector code and calls of one, and copies of
// those wherever it is inlined.
[[gnu::noinline]] constexpr Size product_of_many(const Size* sizes, std::size_t rank) {
  Size n = 1;
  for (std::size_t i = 0; i < rank; ++i) n *= sizes[i];
  return n;
}
[[gnu::noinline]] constexpr bool equal_many(const Size* a, const Size* b, std::size_t rank) {
  return std::equal(a, a + rank, b);
}
[[gnu::noinline]] constexpr void copy_many(Size* to, const Size* from, std::size_t rank) {
  std::copy_n(from, rank, to);
}
constexpr Size product(const Size* sizes, std::size_t rank) {
  if (rank == 2) return sizes[0] * sizes[1];
  if (rank == 1) return sizes[0];
  if (rank == 3) return sizes[0] * sizes[1] * sizes[2];
  return rank == 0 ? 1 : product_of_many(sizes, rank);
}
constexpr bool equal_sizes(const Size* a, const Size* b, std::size_t rank) {
  if (rank == 2) return a[0] == b[0] && a[1] == b[1];
  if (rank == 1) return a[0] == b[0];
  if (rank == 3) return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
  return rank == 0 || equal_many(a, b, rank);
}
constexpr void copy_sizes(Size* to, const Size* from, std::size_t rank) {
  if (rank > 3) return copy_many(to, from, rank);
  if (rank > 0) to[0] = from[0];
  if (rank > 1) to[1] = from[1];
  if (rank > 2) to[2] = from[2];
}
}  // namespace detail

class Shape {
 public:
  static constexpr std::size_t max_rank = 8;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<Size> sizes) { assign(sizes.begin(), sizes.end()); }
  template <class Iterator>
  Shape(Iterator first, Iterator last) {
    assign(first, last);
  }
  explicit Shape(std::span<const Size> sizes) { assign(sizes.begin(), sizes.end()); }
  // From sizes that were checked before: at most max_rank, none negative.
  static Shape checked(const Size* sizes, std::size_t rank) {
    Shape s;
    detail::copy_sizes(s.sizes_.data(), sizes, rank);
    s.rank_ = rank;
    return s;
  }

  [[nodiscard]] constexpr std::size_t rank() const { return rank_; }
  [[nodiscard]] constexpr Size operator[](std::size_t i) const { return sizes_[i]; }
  [[nodiscard]] constexpr Size& operator[](std::size_t i) { return sizes_[i]; }
  [[nodiscard]] constexpr const Size* begin() const { return sizes_.data(); }
  [[nodiscard]] constexpr const Size* end() const { return sizes_.data() + rank_; }
  [[nodiscard]] Size back() const { return sizes_[rank_ - 1]; }

  // The number of elements: 1 for a scalar, 0 when any axis has size 0.
  [[nodiscard]] constexpr Size size() const { return detail::product(begin(), rank_); }

  void push_back(Size n) { insert(rank_, n); }
  void insert(std::size_t at, Size n) {
    if (rank_ == max_rank) fail("shape", "more than 8 axes are not supported");
    for (std::size_t i = rank_; i > at; --i) sizes_[i] = sizes_[i - 1];
    sizes_[at] = n;
    ++rank_;
  }
  void erase(std::size_t at) {
    for (std::size_t i = at; i + 1 < rank_; ++i) sizes_[i] = sizes_[i + 1];
    --rank_;
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && detail::equal_sizes(a.begin(), b.begin(), a.rank_);
  }

 private:
  template <class Iterator>
  constexpr void assign(Iterator first, Iterator last) {
    for (; first != last; ++first) {
      if (rank_ == max_rank) fail("shape", "more than 8 axes are not supported");
      if (static_cast<Size>(*first) < 0) fail("shape", "an axis has a negative size");
      sizes_[rank_++] = static_cast<Size>(*first);
    }
  }

  std::array<Size, max_rank> sizes_{};
  std::size_t rank_ = 0;
};

[[nodiscard]] inline std::string to_string(const Shape& s) {
  return shape_string(std::span<const Size>(s.begin(), s.rank()));
}

// The shape both operands broadcast to (numpy's rule); throws naming `op` and both shapes.
[[nodiscard]] inline Shape broadcast_shapes(std::string_view op, const Shape& a, const Shape& b) {
  Shape out = a.rank() >= b.rank() ? a : b;
  const Shape& small = a.rank() >= b.rank() ? b : a;
  const std::size_t shift = out.rank() - small.rank();
  for (std::size_t i = 0; i < small.rank(); ++i) {
    const Size n = out[i + shift], m = small[i];
    if (n == m || m == 1) continue;
    if (n != 1) {
      fail(op, "shapes do not broadcast: " + to_string(a) + " and " + to_string(b) + " (sizes " +
                   std::to_string(n) + " and " + std::to_string(m) +
                   " meet; one of them would have to be 1)");
    }
    out[i + shift] = m;
  }
  return out;
}

namespace detail {
[[noreturn, gnu::cold, gnu::noinline]] inline void fail_axis(std::string_view op, Size axis,
                                                             std::size_t rank) {
  fail(op, "axis " + std::to_string(axis) + " is out of range for an array with " +
               std::to_string(rank) + (rank == 1 ? " axis" : " axes"));
}
}  // namespace detail
[[nodiscard]] inline std::size_t normalize_axis(std::string_view op, Size axis, std::size_t rank) {
  const Size r = static_cast<Size>(rank);
  if (axis < -r || axis >= r) detail::fail_axis(op, axis, rank);
  return static_cast<std::size_t>(axis < 0 ? axis + r : axis);
}

// Which axes an operation works on: all of them by default, one, or several; negative ones count from the end.
//   sum(x)   sum(x, -1)   sum(x, {0, 2})
class Axes {
 public:
  Axes() = default;
  Axes(Size axis) : all_(false) { add(axis); }
  Axes(int axis) : Axes(static_cast<Size>(axis)) {}
  Axes(std::initializer_list<Size> axes) : all_(false) {
    for (Size a : axes) add(a);
  }

  [[nodiscard]] bool all() const { return all_; }  // none was named

  // Bit i is set when axis i is meant; throws on an axis out of range or named twice.
  [[nodiscard]] unsigned mask(std::string_view op, std::size_t rank) const {
    if (all_) return (1U << rank) - 1;
    unsigned bits = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const unsigned bit = 1U << normalize_axis(op, values_[i], rank);
      if (bits & bit) fail(op, "axis " + std::to_string(values_[i]) + " is named twice");
      bits |= bit;
    }
    return bits;
  }

 private:
  void add(Size axis) {
    if (count_ == Shape::max_rank) fail("axes", "more than 8 axes are not supported");
    values_[count_++] = axis;
  }

  std::array<Size, Shape::max_rank> values_{};
  std::size_t count_ = 0;
  bool all_ = true;
};

// Does a reduction keep its axes, with size 1?
enum class KeepDims { no, yes };

}  // namespace unroll
