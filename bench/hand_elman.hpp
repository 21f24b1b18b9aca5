// One training step of h_t = tanh(U x_t + W h_{t-1} + b), by hand.
#pragma once

#include "unroll/bench/hand_common.hpp"

namespace unroll::bench {

template <class T>
class HandElman : public HandStep<T> {
 public:
  static constexpr Size gate_count = 1;
  static constexpr bool inner_bias = false;
  HandElman(const Problem<T>& problem, Weights<T> weights)
      : HandStep<T>(problem, std::move(weights)),
        forward_(this->B, this->H, this->H),
        backward_(this->B, this->H, this->H) {}

  double step(double rate) {
    const Size H = this->H, B = this->B, n = B * H;
    T *z = this->z_.data(), *h = this->h_.data(), *dh = this->dh_.data();
    forward_.pack({this->w_.W.data(), 1, H});
    backward_.pack({this->w_.W.data(), H, 1});
    this->project();
    for (Size t = 0; t < this->steps; ++t) {
      if (t > 0) forward_(h + (t - 1) * n, H, z + t * n, H, true);
      for (Size i = 0; i < B; ++i) {
        activate(z + t * n + i * H, this->w_.b.data(), h + t * n + i * H);
      }
    }
    const double loss = this->read_out();
    std::fill(this->g_.b.begin(), this->g_.b.end(), T(0));
    for (Size t = this->steps; t-- > 0;) {
      if (t + 1 < this->steps) backward_(z + (t + 1) * n, H, dh + t * n, H, true);
      for (Size i = 0; i < B; ++i) {
        const Size at = t * n + i * H;
        derive(h + at, dh + at, z + at, this->g_.b.data());
      }
    }
    this->input_gradient();
    this->recurrent_gradient(z, H, H, this->g_.W.data());
    this->update(rate);
    return loss;
  }
  // One step from x [B, H].
  void begin() {
    this->begin_one_by_one();
    forward_.pack({this->w_.W.data(), 1, this->H});
  }
  const T* advance(const T* x) {
    const Size H = this->H;
    T *z = this->z_.data(), *h = this->h_.data();
    this->project_one(x);
    forward_(h, H, z, H, true);
    for (Size i = 0; i < this->B; ++i) activate(z + i * H, this->w_.b.data(), h + i * H);
    return h;
  }
  std::size_t bytes() { return this->common_bytes() + forward_.bytes() + backward_.bytes(); }

 private:
  void activate(const T* z, const T* b, T* h) const {
    for_each_lane<T>(this->H, [&](auto load, auto store) { store(h, tanh(load(z) + load(b))); });
  }
  void derive(const T* h, const T* dh, T* dz, T* db) const {
    for_each_lane<T>(this->H, [&](auto load, auto store) {
      const Lane<T> y = load(h), d = load(dh) * (1 - y * y);
      store(dz, d);
      store(db, load(db) + d);
    });
  }
  Recurrence<T> forward_, backward_;
};

}  // namespace unroll::bench
