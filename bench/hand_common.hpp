// What the hand-written training steps share: the products, the read-out and the update.
//
//   HandLstm<float> hand(problem, weights);
//   double loss = hand.step(0.01);                     // forward, backward to all weights, SGD
//   hand.begin(); const float* h = hand.advance(x);    // or: forward only, from a zero state, step by step
//
// These steps are the limit that speed is measured against: no tape, no allocation in a step, one product over all T·B rows
// for the input projection, the logits and each weight gradient, the recurrent weights packed once per step of training.
// Elementwise code runs over the library's own lanes, so the mathematics is the same.
#pragma once

#include <optional>

#include "unroll/autograd/ops/elementwise.hpp"
#include "unroll/autograd/tape.hpp"
#include "unroll/bench/packed_gemm.hpp"
#include "unroll/bench/problem.hpp"

namespace unroll::bench {

using detail::for_each_lane;

// A recurrent product with weights that are packed once per training step.
template <class T>
class Recurrence {
 public:
  Recurrence(Size rows, Size k, Size n)
      : rows_(rows),
        packed_(rows == 1 ? detail::Panels<T>::of_row(k, n) : detail::Panels<T>::of_tiles(k, n)) {}
  void pack(const Matrix<T>& b) { packed_.pack(b); }
  void operator()(const T* a, Size a_row, T* c, Size c_row, bool accumulate) const {
    if (rows_ == 1) {
      detail::multiply_row(a, packed_.panels(), c, accumulate);
    } else {
      detail::multiply(rows_, {a, a_row, 1}, packed_.panels(), c, c_row, accumulate);
    }
  }
  std::size_t bytes() const { return packed_.bytes(); }

 private:
  Size rows_;
  PackedMatrix<T> packed_;
};

template <class T>
class HandStep {
 public:
 protected:
  HandStep(const Problem<T>& problem, Weights<T> weights)
      : problem_(problem),
        H(problem.size.H),
        B(problem.size.B),
        steps(problem.size.T),
        rows(B * steps),
        gates(static_cast<Size>(weights.b.size()) / H),
        w_(std::move(weights)),
        g_(w_),
        gemm_(std::max(gates * H, classes)) {
    z_.resize(static_cast<std::size_t>(rows * gates * H));
    h_.resize(static_cast<std::size_t>(rows * H));
    dh_.resize(static_cast<std::size_t>(rows * H));
    y_.resize(static_cast<std::size_t>(rows * classes));
  }

  // For steps one by one: the input weights are packed once, z = x Uᵀ for one step, and the state is what the last one left.
  void begin_one_by_one() {
    input_.emplace(B, H, gates * H);
    input_->pack({w_.U.data(), 1, H});
    std::fill(h_.begin(), h_.end(), T(0));
  }
  void project_one(const T* x) { (*input_)(x, H, z_.data(), gates * H, false); }

  // z = xs Uᵀ for all steps.
  void project() {
    gemm_(rows, gates * H, H, {problem_.xs.data(), H, 1}, {w_.U.data(), 1, H}, z_.data(), gates * H,
          false);
  }
  // From the states: the loss, dV, dc, and the states' cotangents as far as they come from the read-out.
  double read_out() {
    gemm_(rows, classes, H, {h_.data(), H, 1}, {w_.V.data(), 1, H}, y_.data(), classes, false);
    const double loss = softmax_cross_entropy();
    gemm_(classes, H, rows, {y_.data(), 1, classes}, {h_.data(), H, 1}, g_.V.data(), H, false);
    gemm_(rows, H, classes, {y_.data(), classes, 1}, {w_.V.data(), H, 1}, dh_.data(), H, false);
    return loss;
  }
  // dU, and a block of dW, from dz.
  void input_gradient() {
    gemm_(gates * H, H, rows, {z_.data(), 1, gates * H}, {problem_.xs.data(), H, 1}, g_.U.data(), H,
          false);
  }
  void recurrent_gradient(const T* dz, Size dz_row, Size columns, T* out) {
    if (steps == 1) {
      std::fill_n(out, columns * H, T(0));
      return;
    }
    gemm_(columns, H, rows - B, {dz + B * dz_row, 1, dz_row}, {h_.data(), H, 1}, out, H, false);
  }
  void update(double rate) {
    const auto one = [rate = static_cast<T>(rate)](std::vector<T>& w, const std::vector<T>& g) {
      T* p = w.data();
      const T* d = g.data();
      for (std::size_t i = 0; i < w.size(); ++i) p[i] -= rate * d[i];
    };
    one(w_.U, g_.U), one(w_.W, g_.W), one(w_.b, g_.b), one(w_.bn, g_.bn), one(w_.V, g_.V),
        one(w_.c, g_.c);
  }
  std::size_t common_bytes() {
    std::size_t n = problem_.xs.size() + z_.size() + h_.size() + dh_.size() + y_.size();
    w_.each([&](const auto& v) { n += 2 * v.size(); });
    return n * sizeof(T) + gemm_.bytes();
  }

  const Problem<T>& problem_;
  Size H, B, steps, rows, gates;
  Weights<T> w_, g_;
  Gemm<T> gemm_;
  std::optional<Recurrence<T>> input_;
  std::vector<T> z_;   // [T·B, gates·H]: pre-activations, then activations, then their cotangents
  std::vector<T> h_;   // [T·B, H]
  std::vector<T> dh_;  // [T·B, H]
  std::vector<T> y_;   // [T·B, classes]: logits, then their cotangents

 private:
  double softmax_cross_entropy() {
    constexpr Size w = Lane<T>::width;
    constexpr Size lanes = classes / w;
    const Lane<T> scale(1 / static_cast<T>(rows));
    double loss = 0;
    Lane<T> dc[lanes], c[lanes];
    for (Size j = 0; j < lanes; ++j) dc[j] = Lane<T>(0), c[j] = Lane<T>::load(w_.c.data() + j * w);
    for (Size i = 0; i < rows; ++i) {
      T* y = y_.data() + i * classes;
      const Size label = problem_.labels[static_cast<std::size_t>(i)];
      Lane<T> x[lanes];
      for (Size j = 0; j < lanes; ++j) x[j] = Lane<T>::load(y + j * w) + c[j];
      const T at_label = y[label] + w_.c[static_cast<std::size_t>(label)];
      auto most = x[0].batch();
      for (Size j = 1; j < lanes; ++j) most = xsimd::max(most, x[j].batch());
      T parts[w];
      most.store_unaligned(parts);
      T largest = parts[0];
      for (Size j = 1; j < w; ++j) largest = std::max(largest, parts[j]);
      Lane<T> total(0);
      for (Size j = 0; j < lanes; ++j) {
        x[j] = exp(x[j] - Lane<T>(largest));
        total = total + x[j];
      }
      const T sum = unroll::detail::lane_math::sum_of_elements(total.batch());
      loss += static_cast<double>(std::log(sum) + largest - at_label);
      const Lane<T> factor = scale / Lane<T>(sum);
      for (Size j = 0; j < lanes; ++j) (x[j] * factor).store(y + j * w);
      y[label] -= 1 / static_cast<T>(rows);
      for (Size j = 0; j < lanes; ++j) dc[j] = dc[j] + Lane<T>::load(y + j * w);
    }
    for (Size j = 0; j < lanes; ++j) dc[j].store(g_.c.data() + j * w);
    return loss / static_cast<double>(rows);
  }
};

}  // namespace unroll::bench
