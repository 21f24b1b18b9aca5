#include "unroll/models/training/workers.hpp"

#include <utility>

namespace unroll {

Workers::Workers(std::size_t threads) {
  for (std::size_t i = 1; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  begin_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::run(std::size_t count, const std::function<void(std::size_t)>& part) {
  std::unique_lock lock(mutex_);
  part_ = &part;
  next_ = done_ = 0;
  count_ = count;
  begin_.notify_all();
  take_parts(lock);
  end_.wait(lock, [this] { return done_ == count_; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Workers::work() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    take_parts(lock);
    begin_.wait(lock, [this] { return closing_ || next_ < count_; });
  }
}

void Workers::take_parts(std::unique_lock<std::mutex>& lock) {
  while (next_ < count_) {
    const std::size_t i = next_++;
    lock.unlock();
    std::exception_ptr failure;
    try {
      (*part_)(i);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) failure_ = failure;
    if (++done_ == count_) end_.notify_all();
  }
}

}  // namespace unroll
