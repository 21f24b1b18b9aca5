// GradBench's `lstm` (tools/gradbench/lstm.hpp has its formulas) without the library: the objective as straightforward scalar
// C++, and its gradient derived by hand, equally scalar. What the library is measured against.
#pragma once

#include <cmath>
#include <vector>

#include "unroll/tools/gradbench/lstm_input.hpp"

namespace unroll::bench {

class HandGradbenchLstm {
 public:
  explicit HandGradbenchLstm(gradbench::LstmInput input) : in_(std::move(input)) {
    const Size layer_steps = (in_.chars - 1) * in_.layers;
    saved_.resize(static_cast<std::size_t>(layer_steps * in_.bits));
    y_.resize(static_cast<std::size_t>(in_.bits));
  }

  double objective() {
    const Size b = in_.bits;
    const double* extra = in_.extra.data();
    state_ = in_.state;
    double total = 0;
    for (Size t = 0; t < in_.chars - 1; ++t) {
      const double *x = &in_.sequence[at(t, b)], *target = x + b;
      for (Size j = 0; j < b; ++j) y_[at(j)] = x[j] * extra[j];
      const double* v = y_.data();
      for (Size k = 0; k < in_.layers; ++k) {
        const double *w = &in_.main[at(k, 8 * b)], *bias = w + 4 * b;
        double *h = &state_[at(k, 2 * b)], *c = h + b;
        for (Size j = 0; j < b; ++j) {
          const double f = sigmoid(v[j] * w[j] + bias[j]);
          const double i = sigmoid(h[j] * w[b + j] + bias[b + j]);
          const double o = sigmoid(v[j] * w[2 * b + j] + bias[2 * b + j]);
          const double g = std::tanh(h[j] * w[3 * b + j] + bias[3 * b + j]);
          c[j] = c[j] * f + i * g;
          h[j] = o * std::tanh(c[j]);
        }
        v = h;
      }
      double sum = 2;
      for (Size j = 0; j < b; ++j) {
        y_[at(j)] = v[j] * extra[b + j] + extra[2 * b + j];
        sum += std::exp(y_[at(j)]);
      }
      const double log_sum = std::log(sum);
      for (Size j = 0; j < b; ++j) total += target[j] * (y_[at(j)] - log_sum);
    }
    return -total / static_cast<double>(b * (in_.chars - 1));
  }

  // Of main and extra parameters, concatenated.
  std::vector<double> gradient() {
    const Size b = in_.bits, layers = in_.layers, steps = in_.chars - 1;
    const double* extra = in_.extra.data();
    const std::size_t main_size = in_.main.size();
    std::vector<double> gradient(main_size + in_.extra.size());
    double* d_extra = &gradient[main_size];
    forward();
    std::vector<double> d_state(in_.state.size()), d_v(at(b));  // d_state: hidden, cell
    const double scale = -1 / static_cast<double>(b * steps);
    for (Size t = steps; t-- > 0;) {
      const double *x = &in_.sequence[at(t, b)], *target = x + b;
      const Saved* top = &saved_[at(t * layers + layers - 1, b)];
      // forward: y = v out_weight + out_bias, total += Σ target (y - log(2 + Σ exp y))
      double sum = 2, targets = 0;
      for (Size j = 0; j < b; ++j) {
        y_[at(j)] = std::exp(top[j].h * extra[b + j] + extra[2 * b + j]);
        sum += y_[at(j)];
        targets += target[j];
      }
      // so: dy = target - Σ target · exp(y) / (2 + Σ exp y)
      for (Size j = 0; j < b; ++j) {
        const double dy = scale * (target[j] - targets * y_[at(j)] / sum);
        d_extra[b + j] += dy * top[j].h;
        d_extra[2 * b + j] += dy;
        d_v[at(j)] = dy * extra[b + j];
      }
      for (Size k = layers; k-- > 0;) {
        const double* w = &in_.main[at(k, 8 * b)];
        double *dw = &gradient[at(k, 8 * b)], *d_bias = dw + 4 * b;
        double *dh = &d_state[at(k, 2 * b)], *dc = dh + b;
        const Saved *here = &saved_[at(t * layers + k, b)], *below = here - b;
        const double *h0 = &in_.state[at(k, 2 * b)], *c0 = h0 + b;
        for (Size j = 0; j < b; ++j) {
          const Saved& s = here[j];
          const double h = t > 0 ? (here - layers * b)[j].h : h0[j];
          const double c = t > 0 ? (here - layers * b)[j].c : c0[j];
          const double v = k > 0 ? below[j].h : x[j] * extra[j];
          // forward: h' = o tanh(c'), which is the next layer's v and the next step's h
          const double d_hidden = d_v[at(j)] + dh[j];
          const double zo = d_hidden * s.tanh_c * s.o * (1 - s.o);
          // forward: c' = c f + i g
          const double d_cell = dc[j] + d_hidden * s.o * (1 - s.tanh_c * s.tanh_c);
          const double zf = d_cell * c * s.f * (1 - s.f);
          const double zi = d_cell * s.g * s.i * (1 - s.i);
          const double zc = d_cell * s.i * (1 - s.g * s.g);
          dc[j] = d_cell * s.f;
          // forward: f and o from v, i and g from h
          d_v[at(j)] = zf * w[j] + zo * w[2 * b + j];
          dh[j] = zi * w[b + j] + zc * w[3 * b + j];
          dw[j] += zf * v;
          dw[b + j] += zi * h;
          dw[2 * b + j] += zo * v;
          dw[3 * b + j] += zc * h;
          d_bias[j] += zf;
          d_bias[b + j] += zi;
          d_bias[2 * b + j] += zo;
          d_bias[3 * b + j] += zc;
        }
      }
      // forward: v = x in_weight
      for (Size j = 0; j < b; ++j) d_extra[j] += d_v[at(j)] * x[j];
    }
    return gradient;
  }

 private:
  struct Saved {
    double f, i, o, g, c, tanh_c, h;
  };

  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
  static std::size_t at(Size k, Size size = 1) { return static_cast<std::size_t>(k * size); }

  void forward() {
    const Size b = in_.bits;
    state_ = in_.state;
    for (Size t = 0; t < in_.chars - 1; ++t) {
      const double* x = &in_.sequence[at(t, b)];
      for (Size j = 0; j < b; ++j) y_[at(j)] = x[j] * in_.extra[at(j)];
      const double* v = y_.data();
      for (Size k = 0; k < in_.layers; ++k) {
        const double *w = &in_.main[at(k, 8 * b)], *bias = w + 4 * b;
        double *h = &state_[at(k, 2 * b)], *c = h + b;
        Saved* saved = &saved_[at(t * in_.layers + k, b)];
        for (Size j = 0; j < b; ++j) {
          Saved s;
          s.f = sigmoid(v[j] * w[j] + bias[j]);
          s.i = sigmoid(h[j] * w[b + j] + bias[b + j]);
          s.o = sigmoid(v[j] * w[2 * b + j] + bias[2 * b + j]);
          s.g = std::tanh(h[j] * w[3 * b + j] + bias[3 * b + j]);
          s.c = c[j] = c[j] * s.f + s.i * s.g;
          s.tanh_c = std::tanh(s.c);
          s.h = h[j] = s.o * s.tanh_c;
          saved[j] = s;
        }
        v = h;
      }
    }
  }

  gradbench::LstmInput in_;
  std::vector<Saved> saved_;  // [steps, layers, bits]
  std::vector<double> state_, y_;
};

}  // namespace unroll::bench
