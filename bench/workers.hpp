// Threads that live as long as the object, so that the memory pool of each stays warm.
//
//   Workers workers(4);                       // the caller is one of them: three are started
//   workers.run([&](int i) { ... });          // f(0) on the caller, f(1) ... on the others; returns when all are done
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace unroll::bench {

class Workers {
 public:
  explicit Workers(int count) {
    for (int i = 1; i < count; ++i) threads_.emplace_back([this, i] { serve(i); });
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() { start(nullptr, nullptr); }
  int count() const { return static_cast<int>(threads_.size()) + 1; }

  template <class F>
  void run(const F& f) {
    busy_.store(count() - 1);
    start([](const void* job, int i) { (*static_cast<const F*>(job))(i); }, &f);
    f(0);
    for (int left = busy_.load(); left > 0; left = busy_.load()) busy_.wait(left);
  }

 private:
  using Call = void (*)(const void*, int);
  void start(Call call, const void* job) {
    call_ = call, job_ = job;
    round_.fetch_add(1);
    round_.notify_all();
  }
  void serve(int i) {
    for (int seen = 0;; ++seen) {
      round_.wait(seen);
      if (!call_) return;
      call_(job_, i);
      busy_.fetch_sub(1);
      busy_.notify_one();
    }
  }

  Call call_ = nullptr;
  const void* job_ = nullptr;
  std::atomic<int> round_{0}, busy_{0};
  std::vector<std::jthread> threads_;  // last, so that it is destroyed (joined) first
};

}  // namespace unroll::bench
