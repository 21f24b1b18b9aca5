// How far two trees are apart, for tests; and a number made of everything that a run gives.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/random.hpp"

namespace unroll {

// The largest |a - b| of all elements, over the largest |b| where that is above 1.
template <class A>
double distance(const A& a, const A& b) {
  double difference = 0, size = 1;
  tree_for_each(
      [&](const auto& p, const auto& q) {
        REQUIRE(p.shape() == q.shape());
        if (p.size() == 0) return;
        difference = std::max(difference, static_cast<double>(max(abs(p - q)).item()));
        size = std::max(size, static_cast<double>(max(abs(q)).item()));
      },
      a, b);
  return difference / size;
}

// Σ of all elements of a tree, each squared and with a random weight of its own.
template <FloatOrDouble T, class X>
Var<T> weighted_squares(const X& tree, std::uint64_t seed) {
  Var<T> total(0);
  tree_for_each(
      [&](const auto& p) {
        total = total + sum(normal<T>(Key(seed++), p.shape()) * square(p + 0.5));
      },
      tree);
  return total;
}

// A tree of the same structure with random numbers.
template <class X>
X random_like(const X& tree, std::uint64_t seed) {
  return tree_map(
      [&](const auto& p) {
        using T = typename std::remove_cvref_t<decltype(p)>::value_type;
        return normal<T>(Key(seed++), p.shape(), 0, 0.5);
      },
      tree);
}

}  // namespace unroll
