// What rnn_step and parallel are to reach (float). A bar is met when the interval of the ratio reaches it.
#pragma once

#include <optional>
#include <string_view>

#include "unroll/bench/problem.hpp"

namespace unroll::bench {

// At most this many times the step by hand: the geometric mean over the cells.
struct HandBar {
  Case size;
  double layer, fused, ops;
};
inline constexpr HandBar hand_bars[] = {
    {{16, 1, 50}, 1.25, 1.9, 2.5},    {{64, 1, 100}, 1.10, 1.4, 1.7},
    {{128, 1, 200}, 1.10, 1.3, 1.5},  {{128, 16, 50}, 1.12, 1.3, 1.5},
    {{256, 32, 50}, 1.08, 1.2, 1.35}, {{512, 32, 100}, 1.05, 1.15, 1.25},
    {{512, 1, 100}, 1.10, 1.3, 1.5},  {{1024, 64, 30}, 1.05, 1.10, 1.15},
};

// `fast` takes at least `times` less than `slow`. Of several bars that apply the last counts.
struct SpeedBar {
  std::string_view fast, slow, cell;  // no cell: each of them
  Case size;                          // H = 0: each size
  double times;
};
inline constexpr SpeedBar speed_bars[] = {
    {"ops", "libtorch-ops", "", {0, 0, 0}, 1},
    {"ops", "libtorch-ops", "", {16, 1, 50}, 60},
    {"ops", "libtorch-ops", "", {64, 1, 100}, 20},
    {"ops", "libtorch-ops", "gru", {128, 16, 50}, 2},
    {"ops", "libtorch-ops", "elman", {128, 16, 50}, 3.5},
    {"ops", "libtorch-ops", "lstm", {128, 16, 50}, 3.5},
    {"layer", "libtorch-module", "", {0, 0, 0}, 1},
    {"hand", "libtorch-ops", "", {16, 1, 50}, 200},
    {"hand", "libtorch-ops", "lstm", {128, 1, 200}, 20},
    {"hand", "libtorch-ops", "lstm", {128, 16, 50}, 4.5},
    {"hand", "libtorch-ops", "lstm", {256, 32, 50}, 2.4},
};

// The peak memory of a training step: weights, data and workspace.
struct MemoryBar {
  std::string_view implementation, cell;
  Case size;
  double megabytes;
};
inline constexpr MemoryBar memory_bars[] = {
    {"layer", "lstm", {512, 32, 100}, 140},
    {"ops", "lstm", {512, 32, 100}, 260},
};

// Two tapes on two threads against one on one, same total batch, wall time: the geometric mean over the cells.
struct ThreadBar {
  Case size;
  double times;
};
inline constexpr ThreadBar two_thread_bars[] = {
    {{128, 16, 50}, 1.3},
    {{256, 32, 50}, 1.4},
    {{512, 32, 100}, 1.6},
};

// Of what cblas reaches on the same products, the whole step by hand reaches at least this part (H >= 128).
constexpr double blas_bar = 0.6;

inline bool same(const Case& a, const Case& b) { return a.H == b.H && a.B == b.B && a.T == b.T; }

inline std::optional<double> hand_bar(std::string_view implementation, const Case& size) {
  for (const HandBar& b : hand_bars) {
    if (!same(b.size, size)) continue;
    if (implementation == "layer") return b.layer;
    if (implementation == "fused") return b.fused;
    if (implementation == "ops") return b.ops;
  }
  return std::nullopt;
}
inline std::optional<double> memory_bar(std::string_view implementation, std::string_view cell,
                                        const Case& size) {
  for (const MemoryBar& b : memory_bars) {
    if (b.implementation == implementation && b.cell == cell && same(b.size, size))
      return b.megabytes;
  }
  return std::nullopt;
}
inline std::optional<double> two_thread_bar(const Case& size) {
  for (const ThreadBar& b : two_thread_bars) {
    if (same(b.size, size)) return b.times;
  }
  return std::nullopt;
}
inline bool applies(const SpeedBar& bar, std::string_view cell, const Case& size) {
  return (bar.cell.empty() || bar.cell == cell) && (bar.size.H == 0 || same(bar.size, size));
}

}  // namespace unroll::bench
