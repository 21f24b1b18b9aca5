// One training step of an LSTM (gates i, f, g, o), by hand:
//   c_t = σ(f) c_{t-1} + σ(i) tanh(g),   h_t = σ(o) tanh(c_t).
#pragma once

#include "unroll/bench/hand_common.hpp"

namespace unroll::bench {

template <class T>
class HandLstm : public HandStep<T> {
 public:
  static constexpr Size gate_count = 4;
  static constexpr bool inner_bias = false;
  HandLstm(const Problem<T>& problem, Weights<T> weights)
      : HandStep<T>(problem, std::move(weights)),
        forward_(this->B, this->H, 4 * this->H),
        backward_(this->B, 4 * this->H, this->H),
        c_(this->h_.size()),
        tanh_c_(this->h_.size()),
        zeros_(static_cast<std::size_t>(this->H)),
        dc_(static_cast<std::size_t>(this->B * this->H)) {}

  double step(double rate) {
    const Size H = this->H, B = this->B, n = B * H, G = 4 * H;
    T *z = this->z_.data(), *h = this->h_.data(), *dh = this->dh_.data();
    forward_.pack({this->w_.W.data(), 1, H});
    backward_.pack({this->w_.W.data(), H, 1});
    this->project();
    for (Size t = 0; t < this->steps; ++t) {
      if (t > 0) forward_(h + (t - 1) * n, H, z + t * B * G, G, true);
      for (Size i = 0; i < B; ++i) {
        const Size at = t * n + i * H;
        activate(z + t * B * G + i * G, t > 0 ? c_.data() + at - n : zeros_.data(), c_.data() + at,
                 tanh_c_.data() + at, h + at);
      }
    }
    const double loss = this->read_out();
    std::fill(this->g_.b.begin(), this->g_.b.end(), T(0));
    std::fill(dc_.begin(), dc_.end(), T(0));
    for (Size t = this->steps; t-- > 0;) {
      if (t + 1 < this->steps) backward_(z + (t + 1) * B * G, G, dh + t * n, H, true);
      for (Size i = 0; i < B; ++i) {
        const Size at = t * n + i * H;
        derive(z + t * B * G + i * G, t > 0 ? c_.data() + at - n : zeros_.data(),
               tanh_c_.data() + at, dh + at, dc_.data() + i * H);
      }
    }
    this->input_gradient();
    this->recurrent_gradient(z, G, G, this->g_.W.data());
    this->update(rate);
    return loss;
  }
  // h = h', c = c' for one step from x [B, H].
  void begin() {
    this->begin_one_by_one();
    forward_.pack({this->w_.W.data(), 1, this->H});
    std::fill(c_.begin(), c_.end(), T(0));
  }
  const T* advance(const T* x) {
    const Size H = this->H, G = 4 * H;
    T *z = this->z_.data(), *h = this->h_.data();
    this->project_one(x);
    forward_(h, H, z, G, true);
    for (Size i = 0; i < this->B; ++i) {
      T* c = c_.data() + i * H;
      activate(z + i * G, c, c, tanh_c_.data() + i * H, h + i * H);
    }
    return h;
  }
  std::size_t bytes() {
    return this->common_bytes() + forward_.bytes() + backward_.bytes() +
           (c_.size() + tanh_c_.size() + dc_.size()) * sizeof(T);
  }

 private:
  void activate(T* z, const T* c_before, T* c, T* tanh_c, T* h) const {
    const Size H = this->H;
    const T* b = this->w_.b.data();
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> i = sigmoid(load(z) + load(b)), f = sigmoid(load(z + H) + load(b + H));
      const Lane<T> g = tanh(load(z + 2 * H) + load(b + 2 * H));
      const Lane<T> o = sigmoid(load(z + 3 * H) + load(b + 3 * H));
      const Lane<T> cell = f * load(c_before) + i * g, y = tanh(cell);
      store(z, i), store(z + H, f), store(z + 2 * H, g), store(z + 3 * H, o);
      store(c, cell), store(tanh_c, y), store(h, o * y);
    });
  }
  void derive(T* z, const T* c_before, const T* tanh_c, const T* dh, T* dc) {
    const Size H = this->H;
    T* db = this->g_.b.data();
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> i = load(z), f = load(z + H), g = load(z + 2 * H), o = load(z + 3 * H);
      const Lane<T> y = load(tanh_c), d = load(dh);
      const Lane<T> dcell = load(dc) + d * o * (1 - y * y);
      const Lane<T> zi = dcell * g * i * (1 - i), zf = dcell * load(c_before) * f * (1 - f);
      const Lane<T> zg = dcell * i * (1 - g * g), zo = d * y * o * (1 - o);
      store(dc, dcell * f);
      store(z, zi), store(z + H, zf), store(z + 2 * H, zg), store(z + 3 * H, zo);
      store(db, load(db) + zi), store(db + H, load(db + H) + zf);
      store(db + 2 * H, load(db + 2 * H) + zg), store(db + 3 * H, load(db + 3 * H) + zo);
    });
  }
  Recurrence<T> forward_, backward_;
  std::vector<T> c_, tanh_c_;  // [T·B, H]
  std::vector<T> zeros_, dc_;
};

}  // namespace unroll::bench
