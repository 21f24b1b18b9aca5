#include "unroll/models/data/abc_bars.hpp"

#include <algorithm>

namespace unroll {

namespace {

// The bars around i that a repeat goes over: from the last |: (or the bar after the last :|) on.
std::pair<std::size_t, std::size_t> stretch_around(const std::vector<AbcBar>& bars, std::size_t i) {
  std::size_t first = i;
  while (first > 0 && !bars[first].opens_repeat &&
         (!bars[first - 1].closes_repeat || bars[first].ending > 1)) {
    --first;
  }
  std::size_t last = i;
  while (last + 1 < bars.size() && !bars[last + 1].opens_repeat &&
         (!bars[last].closes_repeat || bars[last + 1].ending > 1)) {
    ++last;
  }
  return {first, last};
}

bool is_part(const std::vector<AbcBar>& bars, std::size_t i) {
  const AbcBar& bar = bars[i];
  if (i == 0) return true;
  if (!bar.opens_section && !bar.closes_section) return false;
  const auto completes = [&](std::size_t other) {
    return other != i && bars[other].length + bar.length == bar.metre;
  };
  if (completes(i - 1) || (i + 1 < bars.size() && completes(i + 1))) return true;
  // A tune or a stretch of it may also be played from its beginning again.
  const auto [first, last] = stretch_around(bars, i);
  if (bar.closes_section && (completes(first) || completes(0))) return true;
  for (std::size_t k = first; bar.opens_section && k <= last; ++k) {
    if (bars[k].closes_section && completes(k)) return true;
  }
  return false;
}

}  // namespace

std::vector<BarFit> check_bars(const AbcTune& tune) {
  std::vector<BarFit> fits;
  for (std::size_t i = 0; i < tune.bars.size(); ++i) {
    const AbcBar& bar = tune.bars[i];
    fits.push_back(bar.metre == 0 || bar.length == bar.metre ? BarFit::exact
                   : bar.length > bar.metre                  ? BarFit::too_long
                   : is_part(tune.bars, i)                   ? BarFit::part
                                                             : BarFit::too_short);
  }
  return fits;
}

bool no_bar_too_long(const std::vector<BarFit>& fits) {
  return std::find(fits.begin(), fits.end(), BarFit::too_long) == fits.end();
}

bool all_bars_exact(const std::vector<BarFit>& fits) {
  return std::all_of(fits.begin(), fits.end(),
                     [](BarFit f) { return f == BarFit::exact || f == BarFit::part; });
}

std::vector<std::size_t> played_bars(const AbcTune& tune) {
  const auto& bars = tune.bars;
  std::vector<std::size_t> played;
  std::size_t start = 0;
  int time = 1;  // that the stretch from `start` on is played
  for (std::size_t i = 0; i < bars.size();) {
    if (bars[i].opens_repeat && i != start) {
      start = i;
      time = 1;
    }
    if (bars[i].ending > 0 && bars[i].ending < time) {
      // This ending was for an earlier time: go on at the next one.
      std::size_t next = i + 1;
      while (next < bars.size() && bars[next].ending == 0 && !bars[next - 1].closes_section) ++next;
      i = next;
      continue;
    }
    played.push_back(i);
    if (bars[i].closes_repeat && time == 1) {
      time = 2;
      i = start;
      continue;
    }
    if (bars[i].closes_repeat || (time == 2 && bars[i].closes_section)) {
      start = i + 1;
      time = 1;
    }
    ++i;
  }
  return played;
}

}  // namespace unroll
