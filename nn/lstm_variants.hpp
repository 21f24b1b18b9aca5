// The LSTM with a projection, with peepholes, and with layer normalisation.
//
//   auto cell = ProjectedLstm<float>::make(Key(1), 64, 512, 128);          // in, hidden, projection
//   auto state = cell.initial_state(batch);                                // h [B, 128], c [B, 512]
//   auto run = unroll::unroll(cell, xs, state);                            // [T, B, 64] -> [T, B, 128]
//
// They are cells like those of cells.hpp, with the same parts (project, step, pre_activation, ...) and the same order
// of gates i, f, g, o; a sequence runs step by step, its input product hoisted.
#pragma once

#include "unroll/nn/cells.hpp"
#include "unroll/nn/layer_norm.hpp"

namespace unroll {

namespace detail {
template <FloatOrDouble T>
struct Peepholes {
  const Var<T>&i, &f, &o;
};
template <FloatOrDouble T>
LstmResult<T> peephole_gates(const Var<T>& z, const Var<T>& c, const Peepholes<T>& peepholes);
template <FloatOrDouble T>
LstmResult<T> layer_norm_gates(const Var<T>& z, const Var<T>& c, const LayerNorm<T>& norm);
template <FloatOrDouble T>
LstmState<T> zero_state(Size batch, Size h, Size c) {
  return {zeros<T>({batch, h}), zeros<T>({batch, c})};
}
}  // namespace detail

// An LSTM whose state h is a projection of what the gates give (Sak et al., 2014), PyTorch's proj_size:
//   c' = σ(f) c + σ(i) tanh(g),   h' = W_hr (σ(o) tanh(c'))
template <FloatOrDouble T>
struct ProjectedLstm {
  Var<T> weight_ih;  // [4 hidden, in]
  Var<T> weight_hh;  // [4 hidden, projection]
  Var<T> bias_ih;    // [4 hidden]
  Var<T> bias_hh;    // [4 hidden]
  Var<T> weight_hr;  // [projection, hidden]
  static constexpr auto fields() {
    return std::tuple{
        field("weight_ih", &ProjectedLstm::weight_ih),
        field("weight_hh", &ProjectedLstm::weight_hh), field("bias_ih", &ProjectedLstm::bias_ih),
        field("bias_hh", &ProjectedLstm::bias_hh), field("weight_hr", &ProjectedLstm::weight_hr)};
  }
  static constexpr auto gates = Lstm<T>::gates;

  // PyTorch's initial values: all evenly over ±1/√hidden.
  [[nodiscard]] static ProjectedLstm make(const Key& key, Size in, Size hidden, Size projection) {
    const auto k = split<5>(key);
    return {pytorch_uniform<T>(k[0], {4 * hidden, in}, hidden),
            pytorch_uniform<T>(k[1], {4 * hidden, projection}, hidden),
            pytorch_uniform<T>(k[2], {4 * hidden}, hidden),
            pytorch_uniform<T>(k[3], {4 * hidden}, hidden),
            pytorch_uniform<T>(k[4], {projection, hidden}, hidden)};
  }

  [[nodiscard]] LstmState<T> initial_state(Size batch) const {
    return detail::zero_state<T>(batch, weight_hr.size(0), weight_hr.size(1));
  }
  [[nodiscard]] const Var<T>& output(const LstmState<T>& s) const { return s.h; }
  [[nodiscard]] LstmState<T> operator()(const Var<T>& x, const LstmState<T>& s) const {
    return step(project(x), s);
  }
  [[nodiscard]] LstmState<T> step(const Var<T>& projected, const LstmState<T>& s) const {
    return from_pre_activation(pre_activation(projected, s), s);
  }
  [[nodiscard]] Var<T> project(const Var<T>& xs) const {
    return linear(xs, weight_ih, bias_ih + bias_hh);
  }
  [[nodiscard]] Var<T> pre_activation(const Var<T>& projected, const LstmState<T>& s) const {
    return projected + linear(s.h, weight_hh);
  }
  [[nodiscard]] LstmState<T> from_pre_activation(const Var<T>& z, const LstmState<T>& s) const {
    const auto next = detail::lstm_gates(z, s.c);
    return {linear(next.h, weight_hr), next.c};
  }
};

// An LSTM whose gates see the cell state (Gers & Schmidhuber, "Recurrent nets that time and count", 2000), each unit
// its own:
//   c' = σ(f + p_f c) c + σ(i + p_i c) tanh(g),   h' = σ(o + p_o c') tanh(c')
// with i, f, g, o the blocks of the pre-activation z = W_ih x + W_hh h + b.
template <FloatOrDouble T>
struct PeepholeLstm {
  Var<T> weight_ih;                           // [4 hidden, in]
  Var<T> weight_hh;                           // [4 hidden, hidden]
  Var<T> bias;                                // [4 hidden]
  Var<T> peephole_i, peephole_f, peephole_o;  // [hidden]
  static constexpr auto fields() {
    return std::tuple{field("weight_ih", &PeepholeLstm::weight_ih),
                      field("weight_hh", &PeepholeLstm::weight_hh),
                      field("bias", &PeepholeLstm::bias),
                      field("peephole_i", &PeepholeLstm::peephole_i),
                      field("peephole_f", &PeepholeLstm::peephole_f),
                      field("peephole_o", &PeepholeLstm::peephole_o)};
  }
  static constexpr auto gates = Lstm<T>::gates;

  // Evenly over ±1/√hidden, as those of the Lstm; peepholes too.
  [[nodiscard]] static PeepholeLstm make(const Key& key, Size in, Size hidden) {
    const auto k = split<6>(key);
    const auto uniform = [&](std::size_t i, const Shape& shape) {
      return pytorch_uniform<T>(k[i], shape, hidden);
    };
    return {uniform(0, {4 * hidden, in}), uniform(1, {4 * hidden, hidden}),
            uniform(2, {4 * hidden}),     uniform(3, {hidden}),
            uniform(4, {hidden}),         uniform(5, {hidden})};
  }

  [[nodiscard]] LstmState<T> initial_state(Size batch) const {
    return detail::zero_state<T>(batch, weight_hh.size(1), weight_hh.size(1));
  }
  [[nodiscard]] const Var<T>& output(const LstmState<T>& s) const { return s.h; }
  [[nodiscard]] LstmState<T> operator()(const Var<T>& x, const LstmState<T>& s) const {
    return step(project(x), s);
  }
  [[nodiscard]] LstmState<T> step(const Var<T>& projected, const LstmState<T>& s) const {
    return from_pre_activation(pre_activation(projected, s), s);
  }
  [[nodiscard]] Var<T> project(const Var<T>& xs) const { return linear(xs, weight_ih, bias); }
  // Without the peepholes' share.
  [[nodiscard]] Var<T> pre_activation(const Var<T>& projected, const LstmState<T>& s) const {
    return projected + linear(s.h, weight_hh);
  }
  [[nodiscard]] LstmState<T> from_pre_activation(const Var<T>& z, const LstmState<T>& s) const {
    const auto next = detail::peephole_gates<T>(z, s.c, {peephole_i, peephole_f, peephole_o});
    return {next.h, next.c};
  }
};

// An LSTM whose sums are normalised before they enter the gates, and its cell state on the way out (Ba et al., 2016,
// equations 20 to 22); LN_· is a LayerNorm of its own each:
//   z = LN_ih(W_ih x) + LN_hh(W_hh h) + b
//   c' = σ(f) c + σ(i) tanh(g),   h' = σ(o) tanh(LN_c(c'))
template <FloatOrDouble T>
struct LayerNormLstm {
  Var<T> weight_ih;               // [4 hidden, in]
  Var<T> weight_hh;               // [4 hidden, hidden]
  Var<T> bias;                    // [4 hidden]
  LayerNorm<T> norm_ih, norm_hh;  // of 4 hidden
  LayerNorm<T> norm_c;            // of hidden
  static constexpr auto fields() {
    return std::tuple{field("weight_ih", &LayerNormLstm::weight_ih),
                      field("weight_hh", &LayerNormLstm::weight_hh),
                      field("bias", &LayerNormLstm::bias),
                      field("norm_ih", &LayerNormLstm::norm_ih),
                      field("norm_hh", &LayerNormLstm::norm_hh),
                      field("norm_c", &LayerNormLstm::norm_c)};
  }
  static constexpr auto gates = Lstm<T>::gates;

  // Weights evenly over ±1/√hidden, biases 0, norms as LayerNorm makes them.
  [[nodiscard]] static LayerNormLstm make(const Key& key, Size in, Size hidden) {
    const auto [a, b] = split(key);
    const auto norm = LayerNorm<T>::make(4 * hidden);
    return {pytorch_uniform<T>(a, {4 * hidden, in}, hidden),
            pytorch_uniform<T>(b, {4 * hidden, hidden}, hidden),
            zeros<T>({4 * hidden}),
            norm,
            norm,
            LayerNorm<T>::make(hidden)};
  }

  [[nodiscard]] LstmState<T> initial_state(Size batch) const {
    return detail::zero_state<T>(batch, weight_hh.size(1), weight_hh.size(1));
  }
  [[nodiscard]] const Var<T>& output(const LstmState<T>& s) const { return s.h; }
  [[nodiscard]] LstmState<T> operator()(const Var<T>& x, const LstmState<T>& s) const {
    return step(project(x), s);
  }
  [[nodiscard]] LstmState<T> step(const Var<T>& projected, const LstmState<T>& s) const {
    return from_pre_activation(pre_activation(projected, s), s);
  }
  [[nodiscard]] Var<T> project(const Var<T>& xs) const {
    return norm_ih(linear(xs, weight_ih)) + bias;
  }
  [[nodiscard]] Var<T> pre_activation(const Var<T>& projected, const LstmState<T>& s) const {
    return projected + norm_hh(linear(s.h, weight_hh));
  }
  [[nodiscard]] LstmState<T> from_pre_activation(const Var<T>& z, const LstmState<T>& s) const {
    const auto next = detail::layer_norm_gates(z, s.c, norm_c);
    return {next.h, next.c};
  }
};

}  // namespace unroll
