// Times and what can be said of them: process CPU time (the machine's neighbours steal wall time), medians, and the
// 95 % interval of a median by order statistics.
//
//   std::vector<double> ratios = ...;
//   auto [low, median, high] = unroll::bench::interval(ratios);
#pragma once

#include <ctime>

#include <algorithm>
#include <cmath>
#include <vector>

namespace unroll::bench {

inline double clock_seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
inline double cpu_seconds() { return clock_seconds(CLOCK_PROCESS_CPUTIME_ID); }
inline double wall_seconds() { return clock_seconds(CLOCK_MONOTONIC); }

inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const std::size_t n = v.size();
  return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

struct Interval {
  double low, median, high;
};
inline Interval interval(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const double n = static_cast<double>(v.size());
  const auto at = [&](double rank) {
    return v[static_cast<std::size_t>(std::clamp(rank, 0.0, n - 1))];
  };
  const double half = 0.98 * std::sqrt(n);
  return {at(std::floor(n / 2 - half)), median(v), at(std::ceil(n / 2 + half) - 1)};
}

// The geometric mean of independent ratios; intervals add up as errors of logarithms do.
inline Interval geometric_mean(const std::vector<Interval>& ratios) {
  double sum = 0, below = 0, above = 0;
  for (const Interval& r : ratios) {
    sum += std::log(r.median);
    below += std::pow(std::log(r.median / r.low), 2);
    above += std::pow(std::log(r.high / r.median), 2);
  }
  const double n = static_cast<double>(ratios.size());
  return {std::exp((sum - std::sqrt(below)) / n), std::exp(sum / n),
          std::exp((sum + std::sqrt(above)) / n)};
}

// Seconds per call of f: the median over `rounds` of as many calls as take `seconds` together.
template <class F>
double time_per_call(F&& f, int rounds = 15, double seconds = 2e-3) {
  long calls = 0;
  const double start = cpu_seconds();
  do {
    f();
    ++calls;
  } while (cpu_seconds() - start < seconds);
  std::vector<double> times;
  for (int r = 0; r < rounds; ++r) {
    const double begin = cpu_seconds();
    for (long i = 0; i < calls; ++i) f();
    times.push_back((cpu_seconds() - begin) / static_cast<double>(calls));
  }
  return median(times);
}

}  // namespace unroll::bench
