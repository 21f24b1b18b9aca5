// A few threads that stay, for work that is split the same way again and again.
//
//   Workers workers(2);
//   workers.run(shards, [&](std::size_t i) { parts[i] = gradient(i); });  // until all are done
//
// Which thread takes which part is left open, so a part must not depend on it; then the results are
// the same for every number of threads. The threads live as long as the object, because the pools
// of memory belong to threads.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace unroll {

class Workers {
 public:
  /// The calling thread is one of them.
  explicit Workers(std::size_t threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] std::size_t threads() const { return threads_.size() + 1; }

  /// part(0), ..., part(count - 1), each once. Rethrows what one of them threw.
  void run(std::size_t count, const std::function<void(std::size_t)>& part);

 private:
  void work();
  void take_parts(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable begin_, end_;
  const std::function<void(std::size_t)>* part_ = nullptr;
  std::size_t next_ = 0, count_ = 0, done_ = 0;
  std::exception_ptr failure_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace unroll
