#include "unroll/autograd/random.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/unroll.hpp"

#include <doctest/doctest.h>

#include <pthread.h>

#include <cmath>
#include <exception>
#include <functional>

using namespace unroll;

namespace {

// Runs f in a thread with a stack of 256 KB: whatever recurses once per step would overflow it.
void on_small_stack(const std::function<void()>& f) {
  struct Call {
    const std::function<void()>& f;
    std::exception_ptr error;
  } call{f, nullptr};
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    auto* c = static_cast<Call*>(argument);
    try {
      c->f();
    } catch (...) {
      c->error = std::current_exception();
    }
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, run, &call) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  if (call.error) std::rethrow_exception(call.error);
}

}  // namespace

TEST_CASE("an unroll of 200,000 steps is differentiated and freed on a small stack") {
  constexpr Size steps = 200'000, hidden = 4;
  double tangent = 0, product = 0;
  on_small_stack([&] {
    const auto cell = Elman<float>::make(Key(1), 2, hidden);
    const auto xs = uniform<float>(Key(2), {steps, 1, 2}, -1, 1);
    const auto loss = [&](const Elman<float>& c) {
      return mean(square(unroll_steps(c, xs, c.initial_state(1)).outputs.back()));
    };
    auto at = cell;
    product = tree_dot<double>(grad(loss)(cell), at).item();
    tangent = jvp(loss, cell, at).tangent.item();
  });
  CHECK(std::isfinite(product));
  CHECK(std::abs(tangent - product) <= 1e-4 * std::abs(product));
}

TEST_CASE("a tape of one's own with 600,000 nodes is read and destroyed on a small stack") {
  constexpr int count = 300'000;
  double derivative = 0;
  on_small_stack([&] {
    Tape<double> tape;
    const auto x = tape.leaf(0.5);
    auto y = x;
    for (int i = 0; i < count; ++i) y = y * 0.5 + x * 0.5;
    derivative = tape.pullback(y)(x).item();
  });
  CHECK(derivative == doctest::Approx(1).epsilon(1e-12));
}

TEST_CASE("second derivatives pass through 20,000 steps on a small stack") {
  double second = 0;
  on_small_stack([&] {
    // y follows x: after many steps y = x up to 2e-9, and (y²)'' = 2 y'² = 2.
    const auto f = [](const Var<double>& x) {
      Var<double> y = 0.0 * x;
      for (int i = 0; i < 20'000; ++i) y = y + (x - y) * 1e-3;
      return y * y;
    };
    second = grad(grad(f))(0.7).item();
  });
  CHECK(second == doctest::Approx(2).epsilon(1e-6));
}
