// The recurrent cells: one step from an input and a state to the next state.
//
//   auto cell = Lstm<float>::make(Key(1), 64, 128);
//   auto state = cell.initial_state(batch);    // zeros
//   state = cell(x, state);                    // x [B, 64]; state.h and state.c are [B, 128]
//   cell.output(state);                        // what the next layer sees: h
//
// A cell is a plain struct like one of a user's own; `unroll` asks no more of it than `operator()`.
// These also offer:
//   project(xs)                      what depends on inputs only, all steps in one product
//   step(projected, state)           the rest of the step: cell(x, s) = step(project(x), s)
//   pre_activation(projected, state) what enters the nonlinearities: a Var; for the GRU two
//   from_pre_activation(z, state)    the rest of step
//   gates                            names of the blocks of H columns in z
//   sequence(projected, state)       all steps as one node: {outputs, last state}, or nothing if the
//                                    shapes are not [T, B, ...] and [B, hidden]; unroll takes it
// The three before that are how per-step derivatives are taken (probe.hpp); `step` is composed of them and
// costs no more.
#pragma once

#include <string_view>

#include "unroll/autograd/model.hpp"
#include "unroll/nn/init.hpp"
#include "unroll/nn/sequence.hpp"

namespace unroll {

namespace detail {
template <FloatOrDouble T>
struct LstmResult {
  Var<T> h, c;
};
// The elementwise parts of the cells, each one fused node. Compiled into the library.
template <FloatOrDouble T>
LstmResult<T> lstm_gates(const Var<T>& z, const Var<T>& c);
template <FloatOrDouble T>
Var<T> gru_gates(const Var<T>& input, const Var<T>& hidden, const Var<T>& h);
template <class Activation, FloatOrDouble T>
Var<T> activate(const Var<T>& z);
template <class Activation, FloatOrDouble T>
Var<T> activate_sum(const Var<T>& a, const Var<T>& b);
}  // namespace detail

// What a cell's sequence() gives: the outputs of all steps and the state after the last.
template <FloatOrDouble T, class State>
using SequenceRun = std::optional<std::pair<Var<T>, State>>;

// Elman's network, in the notes' letters: a_t = φ(U x_t + W a_{t-1} + b), φ an elementwise op
// (Tanh, Relu).
template <FloatOrDouble T, class Activation>
struct BasicElman {
  Var<T> U;  // [hidden, in]
  Var<T> W;  // [hidden, hidden]
  Var<T> b;  // [hidden]
  static constexpr auto fields() {
    return std::tuple{field("U", &BasicElman::U), field("W", &BasicElman::W),
                      field("b", &BasicElman::b)};
  }
  static constexpr std::array<std::string_view, 1> gates{"a"};

  // U after Glorot, W orthogonal (so that at first nothing vanishes or explodes through W alone), b
  // zero.
  [[nodiscard]] static BasicElman make(const Key& key, Size in, Size hidden) {
    const auto [u, w] = split(key);
    return {glorot_uniform<T>(u, {hidden, in}), orthogonal<T>(w, {hidden, hidden}),
            zeros<T>({hidden})};
  }

  [[nodiscard]] Var<T> initial_state(Size batch) const { return zeros<T>({batch, W.size(1)}); }
  [[nodiscard]] const Var<T>& output(const Var<T>& a) const { return a; }
  [[nodiscard]] Var<T> operator()(const Var<T>& x, const Var<T>& a) const {
    return step(project(x), a);
  }

  [[nodiscard]] Var<T> project(const Var<T>& xs) const { return linear(xs, U, b); }
  [[nodiscard]] Var<T> step(const Var<T>& projected, const Var<T>& a) const {
    return detail::activate_sum<Activation>(projected, linear(a, W));
  }
  // z_t = U x_t + W a_{t-1} + b
  [[nodiscard]] Var<T> pre_activation(const Var<T>& projected, const Var<T>& a) const {
    return projected + linear(a, W);
  }
  [[nodiscard]] Var<T> from_pre_activation(const Var<T>& z, const Var<T>&) const {
    return detail::activate<Activation>(z);
  }
  [[nodiscard]] SequenceRun<T, Var<T>> sequence(const Var<T>& projected, const Var<T>& a) const {
    auto run = detail::sequence<detail::ElmanSteps<Activation>>(projected, W, a);
    if (!run) return {};
    return {{std::move(run->outputs), std::move(run->h)}};
  }
};
template <FloatOrDouble T>
using Elman = BasicElman<T, Tanh>;
template <FloatOrDouble T>
using ReluElman = BasicElman<T, Relu>;

// The same network under PyTorch's names and with its two biases: h' = φ(W_ih x + b_ih + W_hh h + b_hh).
template <FloatOrDouble T, class Activation>
struct BasicRnn {
  Var<T> weight_ih;  // [hidden, in]
  Var<T> weight_hh;  // [hidden, hidden]
  Var<T> bias_ih;    // [hidden]
  Var<T> bias_hh;    // [hidden]
  static constexpr auto fields() {
    return std::tuple{field("weight_ih", &BasicRnn::weight_ih),
                      field("weight_hh", &BasicRnn::weight_hh),
                      field("bias_ih", &BasicRnn::bias_ih), field("bias_hh", &BasicRnn::bias_hh)};
  }
  static constexpr std::array<std::string_view, 1> gates{"a"};

  // PyTorch's initial values: all evenly over ±1/√hidden.
  [[nodiscard]] static BasicRnn make(const Key& key, Size in, Size hidden) {
    const auto k = split<4>(key);
    return {pytorch_uniform<T>(k[0], {hidden, in}, hidden),
            pytorch_uniform<T>(k[1], {hidden, hidden}, hidden),
            pytorch_uniform<T>(k[2], {hidden}, hidden), pytorch_uniform<T>(k[3], {hidden}, hidden)};
  }

  [[nodiscard]] Var<T> initial_state(Size batch) const { return recurrent().initial_state(batch); }
  [[nodiscard]] const Var<T>& output(const Var<T>& h) const { return h; }
  [[nodiscard]] Var<T> operator()(const Var<T>& x, const Var<T>& h) const {
    return step(project(x), h);
  }
  [[nodiscard]] Var<T> project(const Var<T>& xs) const {
    return linear(xs, weight_ih, bias_ih + bias_hh);
  }
  [[nodiscard]] Var<T> step(const Var<T>& projected, const Var<T>& h) const {
    return recurrent().step(projected, h);
  }
  [[nodiscard]] Var<T> pre_activation(const Var<T>& projected, const Var<T>& h) const {
    return recurrent().pre_activation(projected, h);
  }
  [[nodiscard]] Var<T> from_pre_activation(const Var<T>& z, const Var<T>& h) const {
    return recurrent().from_pre_activation(z, h);
  }
  [[nodiscard]] SequenceRun<T, Var<T>> sequence(const Var<T>& projected, const Var<T>& h) const {
    return recurrent().sequence(projected, h);
  }

 private:
  // What follows the projection is that of Elman's cell.
  BasicElman<T, Activation> recurrent() const { return {{}, weight_hh, {}}; }
};
template <FloatOrDouble T>
using Rnn = BasicRnn<T, Tanh>;
template <FloatOrDouble T>
using ReluRnn = BasicRnn<T, Relu>;

template <FloatOrDouble T>
struct LstmState {
  Var<T> h, c;  // [B, hidden]
  static constexpr auto fields() {
    return std::tuple{field("h", &LstmState::h), field("c", &LstmState::c)};
  }
};

// The LSTM (Hochreiter & Schmidhuber, 1997; Gers et al., 2000), PyTorch's equations, names and gate
// order:
//   z = W_ih x + b_ih + W_hh h + b_hh, four blocks i, f, g, o
//   c' = σ(f) c + σ(i) tanh(g),   h' = σ(o) tanh(c')
template <FloatOrDouble T>
struct Lstm {
  Var<T> weight_ih;  // [4 hidden, in]
  Var<T> weight_hh;  // [4 hidden, hidden]
  Var<T> bias_ih;    // [4 hidden]
  Var<T> bias_hh;    // [4 hidden]
  static constexpr auto fields() {
    return std::tuple{field("weight_ih", &Lstm::weight_ih), field("weight_hh", &Lstm::weight_hh),
                      field("bias_ih", &Lstm::bias_ih), field("bias_hh", &Lstm::bias_hh)};
  }
  static constexpr std::array<std::string_view, 4> gates{"i", "f", "g", "o"};

  // PyTorch's initial values: all evenly over ±1/√hidden.
  [[nodiscard]] static Lstm make(const Key& key, Size in, Size hidden) {
    const auto k = split<4>(key);
    return {pytorch_uniform<T>(k[0], {4 * hidden, in}, hidden),
            pytorch_uniform<T>(k[1], {4 * hidden, hidden}, hidden),
            pytorch_uniform<T>(k[2], {4 * hidden}, hidden),
            pytorch_uniform<T>(k[3], {4 * hidden}, hidden)};
  }

  [[nodiscard]] LstmState<T> initial_state(Size batch) const {
    const Var<T> zero = zeros<T>({batch, weight_hh.size(1)});
    return {zero, zero};
  }
  [[nodiscard]] const Var<T>& output(const LstmState<T>& s) const { return s.h; }
  [[nodiscard]] LstmState<T> operator()(const Var<T>& x, const LstmState<T>& s) const {
    return step(project(x), s);
  }

  [[nodiscard]] Var<T> project(const Var<T>& xs) const {
    return linear(xs, weight_ih, bias_ih + bias_hh);
  }
  [[nodiscard]] LstmState<T> step(const Var<T>& projected, const LstmState<T>& s) const {
    return from_pre_activation(pre_activation(projected, s), s);
  }
  [[nodiscard]] Var<T> pre_activation(const Var<T>& projected, const LstmState<T>& s) const {
    return projected + linear(s.h, weight_hh);
  }
  [[nodiscard]] LstmState<T> from_pre_activation(const Var<T>& z, const LstmState<T>& s) const {
    auto next = detail::lstm_gates(z, s.c);
    return {std::move(next.h), std::move(next.c)};
  }
  [[nodiscard]] SequenceRun<T, LstmState<T>> sequence(const Var<T>& projected,
                                                      const LstmState<T>& s) const {
    auto run = detail::sequence<detail::LstmSteps>(projected, weight_hh, s.h, s.c);
    if (!run) return {};
    return {{std::move(run->outputs), {std::move(run->h), std::move(run->c)}}};
  }
};

// The two sides that the GRU adds up: what comes from the input, and what comes from the state.
template <FloatOrDouble T>
struct GruPreActivation {
  Var<T> input, hidden;  // W_ih x + b_ih and W_hh h + b_hh, [B, 3 hidden]
  static constexpr auto fields() {
    return std::tuple{field("input", &GruPreActivation::input),
                      field("hidden", &GruPreActivation::hidden)};
  }
};

// The GRU (Cho et al., 2014), PyTorch's equations, names and gate order r, z, n:
//   r = σ(x_r + h_r),   z = σ(x_z + h_z),   n = tanh(x_n + r h_n),   h' = (1 - z) n + z h
// where x_· are the blocks of W_ih x + b_ih and h_· those of W_hh h + b_hh.
template <FloatOrDouble T>
struct Gru {
  Var<T> weight_ih;  // [3 hidden, in]
  Var<T> weight_hh;  // [3 hidden, hidden]
  Var<T> bias_ih;    // [3 hidden]
  Var<T> bias_hh;    // [3 hidden]
  static constexpr auto fields() {
    return std::tuple{field("weight_ih", &Gru::weight_ih), field("weight_hh", &Gru::weight_hh),
                      field("bias_ih", &Gru::bias_ih), field("bias_hh", &Gru::bias_hh)};
  }
  static constexpr std::array<std::string_view, 3> gates{"r", "z", "n"};

  // PyTorch's initial values: all evenly over ±1/√hidden.
  [[nodiscard]] static Gru make(const Key& key, Size in, Size hidden) {
    const auto k = split<4>(key);
    return {pytorch_uniform<T>(k[0], {3 * hidden, in}, hidden),
            pytorch_uniform<T>(k[1], {3 * hidden, hidden}, hidden),
            pytorch_uniform<T>(k[2], {3 * hidden}, hidden),
            pytorch_uniform<T>(k[3], {3 * hidden}, hidden)};
  }

  [[nodiscard]] Var<T> initial_state(Size batch) const {
    return zeros<T>({batch, weight_hh.size(1)});
  }
  [[nodiscard]] const Var<T>& output(const Var<T>& h) const { return h; }
  [[nodiscard]] Var<T> operator()(const Var<T>& x, const Var<T>& h) const {
    return step(project(x), h);
  }

  [[nodiscard]] Var<T> project(const Var<T>& xs) const { return linear(xs, weight_ih, bias_ih); }
  [[nodiscard]] Var<T> step(const Var<T>& projected, const Var<T>& h) const {
    return from_pre_activation(pre_activation(projected, h), h);
  }
  [[nodiscard]] GruPreActivation<T> pre_activation(const Var<T>& projected, const Var<T>& h) const {
    return {projected, linear(h, weight_hh, bias_hh)};
  }
  [[nodiscard]] Var<T> from_pre_activation(const GruPreActivation<T>& z, const Var<T>& h) const {
    return detail::gru_gates(z.input, z.hidden, h);
  }
  [[nodiscard]] SequenceRun<T, Var<T>> sequence(const Var<T>& projected, const Var<T>& h) const {
    auto run = detail::sequence<detail::GruSteps>(projected, weight_hh, h, bias_hh);
    if (!run) return {};
    return {{std::move(run->outputs), std::move(run->h)}};
  }
};

}  // namespace unroll
