// Ctrl-C as a request instead of an end: a long program finishes its step, saves, and leaves.
//
//   InterruptGuard guard;
//   while (!guard.requested() && step < steps) train(step++);
//   save(model);                                      // in both cases
//
// While a guard lives, the first SIGINT or SIGTERM is only noted; a second one ends the program at
// once, as if there were no guard. The destructor puts the previous handlers back. Guards may nest:
// a request is seen by all of them. A signal that the program was started to ignore (nohup, the
// background job of a script) stays ignored.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <csignal>

namespace unroll {

class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// Whether a signal has come since the outermost guard began.
  [[nodiscard]] bool requested() const noexcept { return signal() != 0; }

  /// That signal, or 0. A shell expects the exit code 128 + signal.
  [[nodiscard]] int signal() const noexcept;

 private:
  struct sigaction previous_interrupt_ = {};
  struct sigaction previous_terminate_ = {};
};

}  // namespace unroll
