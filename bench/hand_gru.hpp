// One training step of a GRU (gates r, z, n), by hand:
//   n = tanh(U_n x + b_n + σ(r) (W_n h_{t-1} + bn)),   h_t = n + σ(z) (h_{t-1} - n).
#pragma once

#include "unroll/bench/hand_common.hpp"

namespace unroll::bench {

template <class T>
class HandGru : public HandStep<T> {
 public:
  static constexpr Size gate_count = 3;
  static constexpr bool inner_bias = true;
  HandGru(const Problem<T>& problem, Weights<T> weights)
      : HandStep<T>(problem, std::move(weights)),
        forward_rz_(this->B, this->H, 2 * this->H),
        forward_n_(this->B, this->H, this->H),
        backward_(this->B, 3 * this->H, this->H),
        inner_(this->h_.size()),
        zeros_(static_cast<std::size_t>(this->H)),
        dz_(static_cast<std::size_t>(this->B * 3 * this->H)) {}

  double step(double rate) {
    const Size H = this->H, B = this->B, n = B * H, G = 3 * H;
    T *z = this->z_.data(), *h = this->h_.data(), *dh = this->dh_.data(), *u = inner_.data();
    pack_forward();
    backward_.pack({this->w_.W.data(), H, 1});
    this->project();
    std::fill_n(u, n, T(0));
    for (Size t = 0; t < this->steps; ++t) {
      if (t > 0) {
        forward_rz_(h + (t - 1) * n, H, z + t * B * G, G, true);
        forward_n_(h + (t - 1) * n, H, u + t * n, H, false);
      }
      for (Size i = 0; i < B; ++i) {
        const Size at = t * n + i * H;
        activate(z + t * B * G + i * G, t > 0 ? h + at - n : zeros_.data(), u + at, h + at);
      }
    }
    const double loss = this->read_out();
    std::fill(this->g_.b.begin(), this->g_.b.end(), T(0));
    std::fill(this->g_.bn.begin(), this->g_.bn.end(), T(0));
    for (Size t = this->steps; t-- > 0;) {
      for (Size i = 0; i < B; ++i) {
        const Size at = t * n + i * H;
        derive(z + t * B * G + i * G, t > 0 ? h + at - n : zeros_.data(), u + at, dh + at,
               t > 0 ? dh + at - n : nullptr, dz_.data() + i * G);
      }
      if (t > 0) backward_(dz_.data(), G, dh + (t - 1) * n, H, true);
    }
    this->input_gradient();
    this->recurrent_gradient(z, G, 2 * H, this->g_.W.data());
    this->recurrent_gradient(u, H, H, this->g_.W.data() + 2 * H * H);
    this->update(rate);
    return loss;
  }
  // One step from x [B, H].
  void begin() {
    this->begin_one_by_one();
    pack_forward();
  }
  const T* advance(const T* x) {
    const Size H = this->H, G = 3 * H;
    T *z = this->z_.data(), *h = this->h_.data(), *u = inner_.data();
    this->project_one(x);
    forward_rz_(h, H, z, G, true);
    forward_n_(h, H, u, H, false);
    for (Size i = 0; i < this->B; ++i) activate(z + i * G, h + i * H, u + i * H, h + i * H);
    return h;
  }
  std::size_t bytes() {
    return this->common_bytes() + forward_rz_.bytes() + forward_n_.bytes() + backward_.bytes() +
           (inner_.size() + dz_.size()) * sizeof(T);
  }

 private:
  void pack_forward() {
    const Size H = this->H;
    forward_rz_.pack({this->w_.W.data(), 1, H});
    forward_n_.pack({this->w_.W.data() + 2 * H * H, 1, H});
  }
  void activate(T* z, const T* before, T* u, T* h) const {
    const Size H = this->H;
    const T *b = this->w_.b.data(), *bn = this->w_.bn.data();
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> r = sigmoid(load(z) + load(b)), k = sigmoid(load(z + H) + load(b + H));
      const Lane<T> v = load(u) + load(bn);
      const Lane<T> n = tanh(load(z + 2 * H) + load(b + 2 * H) + r * v);
      store(z, r), store(z + H, k), store(z + 2 * H, n), store(u, v);
      store(h, n + k * (load(before) - n));
    });
  }
  // Leaves dz of the input side in z, that of the hidden side in dz and (n only) u, and what k passes on in dh_before.
  void derive(T* z, const T* before, T* u, const T* dh, T* dh_before, T* dz) {
    const Size H = this->H;
    T *db = this->g_.b.data(), *dbn = this->g_.bn.data();
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> r = load(z), k = load(z + H), n = load(z + 2 * H), d = load(dh);
      const Lane<T> zn = d * (1 - k) * (1 - n * n), zk = d * (load(before) - n) * k * (1 - k);
      const Lane<T> zr = zn * load(u) * r * (1 - r), inner = zn * r;
      if (dh_before) store(dh_before, load(dh_before) + d * k);
      store(z, zr), store(z + H, zk), store(z + 2 * H, zn), store(u, inner);
      store(dz, zr), store(dz + H, zk), store(dz + 2 * H, inner);
      store(db, load(db) + zr), store(db + H, load(db + H) + zk);
      store(db + 2 * H, load(db + 2 * H) + zn), store(dbn, load(dbn) + inner);
    });
  }
  Recurrence<T> forward_rz_, forward_n_, backward_;
  std::vector<T> inner_;  // [T·B, H]: W_n h + bn, then its cotangent
  std::vector<T> zeros_, dz_;
};

}  // namespace unroll::bench
