#include "unroll/nn/schedules.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace unroll {
namespace {

void check_step(const char* schedule, Size step) {
  if (step < 0) fail(schedule, "step " + std::to_string(step) + " is negative");
}
void check_positive(const char* schedule, const char* what, Size n) {
  if (n < 1) fail(schedule, std::string(what) + " must be at least 1, not " + std::to_string(n));
}

// From a to b, as `part` goes from 0 to 1.
double along_cosine(double a, double b, double part) {
  return b + (a - b) * (1 + std::cos(std::numbers::pi * part)) / 2;
}
double along_line(double a, double b, double part) { return a + (b - a) * part; }

double quotient(double a, Size b) { return a / static_cast<double>(b); }

}  // namespace

double StepDecay::operator()(Size step) const {
  check_step("StepDecay", step);
  check_positive("StepDecay", "every", every);
  return rate * std::pow(factor, static_cast<double>(step / every));
}

double MultiStep::operator()(Size step) const {
  check_step("MultiStep", step);
  if (!std::is_sorted(milestones.begin(), milestones.end())) {
    fail("MultiStep", "the milestones must be in rising order");
  }
  const auto passed = std::upper_bound(milestones.begin(), milestones.end(), step);
  return rate * std::pow(factor, static_cast<double>(passed - milestones.begin()));
}

double Exponential::operator()(Size step) const {
  check_step("Exponential", step);
  return rate * std::pow(factor, static_cast<double>(step));
}

double Cosine::operator()(Size step) const {
  check_step("Cosine", step);
  check_positive("Cosine", "steps", steps);
  return step < steps ? along_cosine(rate, lowest, quotient(static_cast<double>(step), steps))
                      : lowest;
}

double CosineRestarts::operator()(Size step) const {
  check_step("CosineRestarts", step);
  check_positive("CosineRestarts", "period", period);
  check_positive("CosineRestarts", "growth", growth);
  Size length = period;
  if (growth == 1) {
    step %= period;
  } else {
    while (step >= length) {
      step -= length;
      // The last period that a Size can hold lasts for ever.
      if (length > std::numeric_limits<Size>::max() / growth) break;
      length *= growth;
    }
  }
  return along_cosine(rate, lowest, quotient(static_cast<double>(step), length));
}

double detail::warmup_factor(Size step, Size steps, double start) {
  check_step("Warmup", step);
  if (!(start >= 0)) fail("Warmup", "start must not be negative");
  return along_line(start, 1, quotient(static_cast<double>(step), steps));
}

double OneCycle::operator()(Size step) const {
  check_step("OneCycle", step);
  check_positive("OneCycle", "steps", steps);
  if (!(rising >= 0 && rising <= 1)) fail("OneCycle", "rising must be in [0, 1]");
  const auto between = annealing == Annealing::cosine ? along_cosine : along_line;
  const double start = highest / start_divisor, last = static_cast<double>(steps - 1),
               top = std::max(rising * static_cast<double>(steps) - 1, 0.0),
               now = std::min(static_cast<double>(step), last);
  if (now <= top && top > 0) return between(start, highest, now / top);
  return last > top ? between(highest, start / end_divisor, (now - top) / (last - top)) : highest;
}

ReduceOnPlateau::ReduceOnPlateau(double start, const PlateauOptions& o)
    : options(o),
      rate(start),
      best(o.better == Better::lower ? std::numeric_limits<double>::infinity()
                                     : -std::numeric_limits<double>::infinity()),
      bad(0.0),
      cooling(0.0) {}

double ReduceOnPlateau::add(double result) {
  const PlateauOptions& o = options;
  if (!(o.factor > 0 && o.factor < 1)) fail("ReduceOnPlateau", "factor must be in (0, 1)");
  // With the sign turned where higher is better.
  const double sign = o.better == Better::lower ? 1 : -1, old = best.item();
  const double margin =
      o.threshold_mode == ThresholdMode::absolute ? o.threshold : std::abs(old) * o.threshold;
  double bad_now = bad.item() + 1, cooling_now = cooling.item(), rate_now = rate.item(),
         best_now = old;
  if (std::isinf(old) ? sign * result < sign * old : sign * result < sign * old - margin) {
    best_now = result;
    bad_now = 0;
  }
  if (cooling_now > 0) {
    --cooling_now;
    bad_now = 0;
  }
  if (bad_now > static_cast<double>(o.patience)) {
    const double lower = std::max(rate_now * o.factor, o.lowest);
    if (rate_now - lower > o.smallest_change) rate_now = lower;
    cooling_now = static_cast<double>(o.cooldown);
    bad_now = 0;
  }
  rate = rate_now;
  best = best_now;
  bad = bad_now;
  cooling = cooling_now;
  return rate_now;
}

}  // namespace unroll
