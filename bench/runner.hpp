// Implementations that are measured in turns: what each offers, and the taking of turns.
//
//   std::vector<std::unique_ptr<Runner>> runners;
//   runners.push_back(in_process("hand", step, Clock::cpu));       // step->step(rate) -> loss
//   const auto seconds = take_turns(runners, {.alternations = 30});
//   interval(ratios(seconds[1], seconds[0]));                      // alternation by alternation
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <string>

#include "unroll/autograd/block.hpp"
#include "unroll/bench/allocation_counter.hpp"
#include "unroll/bench/measure.hpp"
#include "unroll/bench/workers.hpp"

namespace unroll::bench {

enum class Clock { cpu, wall };
inline double now(Clock clock) { return clock == Clock::cpu ? cpu_seconds() : wall_seconds(); }

struct Turn {
  double loss, seconds;  // loss: of the last step; seconds: of all of them
};
struct Cost {
  std::int64_t peak_bytes;
  double allocations;  // per step
};

class Runner {
 public:
  explicit Runner(std::string runner_name, int thread_count = 1)
      : name(std::move(runner_name)), threads(thread_count) {}
  virtual ~Runner() = default;
  virtual Turn run(int steps, double rate) = 0;
  virtual Cost cost(double rate) = 0;  // after warm-up
  const std::string name;
  const int threads;
};

// A step of this process. Its bytes: those it knows of (`bytes()`) or else `own` and what the pools of its threads reach.
template <class Step>
class InProcess : public Runner {
 public:
  InProcess(std::string runner_name, std::unique_ptr<Step> step, Clock clock, std::int64_t own)
      : Runner(std::move(runner_name), threads_of(*step)),
        step_(std::move(step)),
        clock_(clock),
        own_(own) {}
  Turn run(int steps, double rate) override {
    Turn turn{0, 0};
    const double begin = now(clock_);
    for (int i = 0; i < steps; ++i) turn.loss = step_->step(rate);
    turn.seconds = now(clock_) - begin;
    return turn;
  }
  Cost cost(double rate) override {
    constexpr int steps = 4;
    std::vector<Size> before(static_cast<std::size_t>(threads)), peak = before;
    each_thread([&](int i) {
      before[static_cast<std::size_t>(i)] = memory_report().live_bytes;
      reset_memory_peak();
    });
    const auto asked = allocations();
    run(steps, rate);
    const auto made = static_cast<double>(allocations() - asked) / steps;
    if constexpr (requires { step_->bytes(); }) {
      return {static_cast<std::int64_t>(step_->bytes()), made};
    } else {
      each_thread([&](int i) {
        peak[static_cast<std::size_t>(i)] =
            memory_report().peak_bytes - before[static_cast<std::size_t>(i)];
      });
      std::int64_t bytes = own_;
      for (Size p : peak) bytes += p;
      return {bytes, made};
    }
  }

 private:
  static int threads_of(Step& step) {
    if constexpr (requires { step.workers(); }) return step.workers().count();
    return 1;
  }
  void each_thread(const std::function<void(int)>& f) {
    if constexpr (requires { step_->workers(); }) {
      step_->workers().run(f);
    } else {
      f(0);
    }
  }
  std::unique_ptr<Step> step_;
  Clock clock_;
  std::int64_t own_;
};
template <class Step>
std::unique_ptr<Runner> in_process(std::string name, std::unique_ptr<Step> step, Clock clock,
                                   std::int64_t own = 0) {
  return std::make_unique<InProcess<Step>>(std::move(name), std::move(step), clock, own);
}

struct Turns {
  int alternations = 30;  // at least
  double seconds = 2;     // of wall time, at least
  // A neighbour on the core slows code that decides much more than code that multiplies. An alternation is quiet when the first
  // runner took at most `quiet` times its least; it goes on for up to `patience` times as long, until so many were.
  double quiet = 1.15;
  double patience = 15;
  // A turn takes as many steps as fill this: enough that the first, which finds the caches full of the others' data, does not
  // decide. A program that trains takes one step after the other.
  double turn_seconds = 1e-2;
  double rate = 0.01;
};
// Seconds per step, by runner and alternation: of the quiet ones, or the quietest if there were too few. The runners are warm after
// it has begun.
inline std::vector<std::vector<double>> take_turns(
    const std::vector<std::unique_ptr<Runner>>& runners, const Turns& turns) {
  std::vector<int> steps;
  for (const auto& r : runners) {
    r->run(1, turns.rate);
    steps.push_back(std::max(
        1, static_cast<int>(turns.turn_seconds / std::max(r->run(1, turns.rate).seconds, 1e-7))));
  }
  std::vector<std::vector<double>> seconds(runners.size());
  const std::vector<double>& first = seconds[0];
  const auto wanted = static_cast<std::size_t>(std::max(turns.alternations, 1));
  const auto quiet = [&] {
    const double most = turns.quiet * *std::min_element(first.begin(), first.end());
    return static_cast<std::size_t>(
        std::count_if(first.begin(), first.end(), [&](double s) { return s <= most; }));
  };
  const auto passed = [start = wall_seconds()] { return wall_seconds() - start; };
  while (first.size() < wanted || passed() < turns.seconds ||
         (passed() < turns.patience * turns.seconds && quiet() < wanted)) {
    for (std::size_t k = 0; k < runners.size(); ++k)
      seconds[k].push_back(runners[k]->run(steps[k], turns.rate).seconds / steps[k]);
  }
  std::vector<std::size_t> order(first.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return first[a] < first[b]; });
  order.resize(std::max(wanted, quiet()));
  std::sort(order.begin(), order.end());
  std::vector<std::vector<double>> kept(runners.size());
  for (std::size_t k = 0; k < runners.size(); ++k) {
    for (const std::size_t a : order) kept[k].push_back(seconds[k][a]);
  }
  return kept;
}

inline std::vector<double> ratios(const std::vector<double>& above,
                                  const std::vector<double>& below) {
  std::vector<double> out;
  for (std::size_t i = 0; i < above.size(); ++i) out.push_back(above[i] / below[i]);
  return out;
}

}  // namespace unroll::bench
