#include "unroll/models/training/interrupt.hpp"

#include <atomic>

namespace unroll {
namespace {

// A signal handler can reach nothing else than static storage; only guards and the handler use it.
std::atomic<int> noted_signal{0};
std::atomic<int> living_guards{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not lock");

extern "C" void note_signal(int number) {
  if (noted_signal.exchange(number) == 0) return;
  std::signal(number, SIG_DFL);  // blocked while this handler runs, so it ends us on return
  std::raise(number);
}

void install(int number, struct sigaction& previous) {
  sigaction(number, nullptr, &previous);
  if (previous.sa_handler == SIG_IGN) return;
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // calls under way are not to fail: nobody asked them to
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  if (living_guards.fetch_add(1) == 0) noted_signal = 0;
  install(SIGINT, previous_interrupt_);
  install(SIGTERM, previous_terminate_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_interrupt_, nullptr);
  sigaction(SIGTERM, &previous_terminate_, nullptr);
  living_guards.fetch_sub(1);
}

int InterruptGuard::signal() const noexcept { return noted_signal; }

}  // namespace unroll
