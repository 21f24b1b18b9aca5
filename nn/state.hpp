// States of recurrent layers, row by row: what beams, ragged batches and windows do with them.
//
//   const auto kept = state;                              // a copy shares every array: nothing is copied
//   state = take_rows(state, Indices({4}, {0, 0, 2, 1})); // the beams that live on
//   state = detach(state);                                // the same numbers; no gradient flows past here
//
// A state is a tree whose arrays are [B, ...]. Values never change, so a state that was kept is good
// for as long as it is held: to go back is to use it again.
#pragma once

#include <type_traits>
#include <vector>

#include "unroll/autograd/model.hpp"

namespace unroll {

// Row rows(i) of every part, constants included, becomes row i: each [n, ...] becomes [rows, ...]. Parts without axes
// belong to all rows. Throws when a row is out of range.
template <Tree State>
[[nodiscard]] State take_rows(const State& state, const Indices& rows) {
  State out = state;
  auto pick = [&](FieldKind, const detail::NoName&, auto& part) {
    if (part.rank() > 0) part = take(part, rows);
  };
  detail::walk(pick, FieldKind::parameter, detail::NoName{}, out);
  return out;
}
// Rows begin, ..., end - 1 of every part: views.
template <Tree State>
[[nodiscard]] State slice_rows(const State& state, Size begin, Size end) {
  return tree_map([&](const auto& part) { return slice(part, 0, SliceRange{begin, end}); }, state);
}
// The rows of several states of one structure, one after the other.
template <Tree State, class Allocator>
[[nodiscard]] State concat_rows(const std::vector<State, Allocator>& states) {
  if (states.empty()) fail("concat_rows", "there are no states to join");
  std::size_t at = 0;
  State out = states.front();
  tree_for_each(
      [&](auto& joined) {
        using V = std::remove_cvref_t<decltype(joined)>;
        std::vector<V, detail::PoolAllocator<V>> parts;
        for (const State& state : states) {
          std::size_t i = 0;
          tree_for_each(
              [&](const auto& part) {
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(part)>, V>) {
                  if (i == at) parts.push_back(part);
                }
                ++i;
              },
              state);
        }
        joined = concat(std::span<const V>(parts));
        ++at;
      },
      out);
  return out;
}
// The same values as constants.
template <Tree State>
[[nodiscard]] State detach(const State& state) {
  return tree_map([](const auto& part) { return stop_gradient(part); }, state);
}

}  // namespace unroll
