// Whether the bars of a tune are as long as its metre asks.
//
//   const std::vector<BarFit> fits = check_bars(tune);
//   no_bar_too_long(fits), all_bars_exact(fits);
//
// A bar shorter than its metre is in order where it is a part of one: the pick-up at the beginning of the
// tune, and at a repeat, a double bar line, a variant ending or a part a bar that makes, with one that is
// played before or behind it, a whole one: its neighbour, or that at the other end of the repeat.
#pragma once

#include "unroll/models/data/abc.hpp"

namespace unroll {

enum class BarFit { exact, part, too_short, too_long };

/// One for each bar. Bars without a metre are exact.
[[nodiscard]] std::vector<BarFit> check_bars(const AbcTune& tune);

[[nodiscard]] bool no_bar_too_long(const std::vector<BarFit>& fits);
/// Each exact, or a part that is in order.
[[nodiscard]] bool all_bars_exact(const std::vector<BarFit>& fits);

/// The bars in the order in which they are played: repeats twice, variant endings one after the other.
[[nodiscard]] std::vector<std::size_t> played_bars(const AbcTune& tune);

}  // namespace unroll
