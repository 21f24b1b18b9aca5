#include "unroll/models/lstm_manual.hpp"

#include "unroll/autograd/xtensor_blas_headers.hpp"
#include "unroll/models/gates_manual.hpp"
#include "unroll/models/readout_manual.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace unroll::manual {

using xt::linalg::dot;

namespace {

// What a step forward leaves behind for the step backward.
template <class T>
struct LstmTrace {
  Dense<T> i, f, g, o;     // [T, B, H]
  Dense<T> tanh_c;         // [T, B, H]
  Dense<T> states, cells;  // [T, B, H]
};

template <class T>
void check_lstm(const LstmParameters<T>& p, const Dense<T>& xs, const Dense<T>& h0,
                const Dense<T>& c0) {
  const auto function = "lstm_manual";
  const std::int64_t H = detail::size_of(function, "weight_hh", p.weight_hh, 2, 1);
  const std::int64_t B = detail::size_of(function, "xs", xs, 3, 1);
  detail::expect_shape(function, "weight_ih", p.weight_ih,
                       {4 * H, detail::size_of(function, "xs", xs, 3, 2)});
  detail::expect_shape(function, "weight_hh", p.weight_hh, {4 * H, H});
  detail::expect_shape(function, "bias_ih", p.bias_ih, {4 * H});
  detail::expect_shape(function, "bias_hh", p.bias_hh, {4 * H});
  detail::expect_shape(function, "h0", h0, {B, H});
  detail::expect_shape(function, "c0", c0, {B, H});
}

template <class T>
LstmTrace<T> lstm_forward(const LstmParameters<T>& p, const Dense<T>& xs, const Dense<T>& h0,
                          const Dense<T>& c0) {
  check_lstm(p, xs, h0, c0);
  const Dense<T> empty = xt::empty<T>({xs.shape(0), xs.shape(1), p.weight_hh.shape(1)});
  LstmTrace<T> trace{empty, empty, empty, empty, empty, empty, empty};
  Dense<T> h = h0, c = c0;  // [B, H]
  for (std::size_t t = 0; t < xs.shape(0); ++t) {
    const Dense<T> x = xt::view(xs, t);  // [B, I]
    const Dense<T> z = dot(x, xt::transpose(p.weight_ih)) + p.bias_ih +
                       dot(h, xt::transpose(p.weight_hh)) + p.bias_hh;
    const Dense<T> i = sigmoid(gate<4>(z, 0)), f = sigmoid(gate<4>(z, 1));
    const Dense<T> g = xt::tanh(gate<4>(z, 2)), o = sigmoid(gate<4>(z, 3));
    c = f * c + i * g;
    const Dense<T> tanh_c = xt::tanh(c);
    h = o * tanh_c;

    xt::view(trace.i, t) = i;
    xt::view(trace.f, t) = f;
    xt::view(trace.g, t) = g;
    xt::view(trace.o, t) = o;
    xt::view(trace.tanh_c, t) = tanh_c;
    xt::view(trace.states, t) = h;
    xt::view(trace.cells, t) = c;
  }
  return trace;
}

}  // namespace

template <class T>
T lstm_loss(const LstmParameters<T>& p, const Dense<T>& xs, const Dense<T>& ys, const Dense<T>& h0,
            const Dense<T>& c0) {
  return squared_error(readout_predictions(p.V, p.c, lstm_forward(p, xs, h0, c0).states), ys);
}

template <class T>
LstmGradients<T> lstm_backward(const LstmParameters<T>& p, const Dense<T>& xs, const Dense<T>& ys,
                               const Dense<T>& h0, const Dense<T>& c0) {
  LstmTrace<T> trace = lstm_forward(p, xs, h0, c0);
  ReadoutGradients<T> readout = readout_backward(p.V, p.c, trace.states, ys);

  LstmGradients<T> grad;
  grad.d_weight_ih = xt::zeros_like(p.weight_ih);
  grad.d_weight_hh = xt::zeros_like(p.weight_hh);
  grad.d_bias_ih = xt::zeros_like(p.bias_ih);
  grad.d_z = xt::zeros<T>({xs.shape(0), xs.shape(1), p.weight_hh.shape(0)});
  grad.d_xs = xt::zeros_like(xs);
  Dense<T> dh_later = xt::zeros_like(h0);  // what h_t gets from step t + 1, through W_hh
  Dense<T> dc_later = xt::zeros_like(c0);  // what c_t gets from step t + 1, through the forget gate

  for (std::size_t t = xs.shape(0); t-- > 0;) {
    const Dense<T> x = xt::view(xs, t);                                              // [B, I]
    const Dense<T> h_before = t > 0 ? Dense<T>(xt::view(trace.states, t - 1)) : h0;  // [B, H]
    const Dense<T> c_before = t > 0 ? Dense<T>(xt::view(trace.cells, t - 1)) : c0;
    const Dense<T> i = xt::view(trace.i, t), f = xt::view(trace.f, t);
    const Dense<T> g = xt::view(trace.g, t), o = xt::view(trace.o, t);
    const Dense<T> tanh_c = xt::view(trace.tanh_c, t);

    // forward: h_t goes to ŷ_t and to z_{t+1};  so: dh_t = Vᵀ do_t + W_hhᵀ dz_{t+1}
    const Dense<T> dh = xt::view(readout.d_states, t) + dh_later;

    // forward: h_t = o ∘ tanh(c_t), and c_{t+1} = f_{t+1} ∘ c_t + ...;
    // so: do = dh ∘ tanh(c_t) and dc_t = dh ∘ o ∘ (1 - tanh²(c_t)) + f_{t+1} ∘ dc_{t+1}
    const Dense<T> d_out = dh * tanh_c;
    const Dense<T> dc = dh * o * (T(1) - tanh_c * tanh_c) + dc_later;

    // forward: c_t = f ∘ c_{t-1} + i ∘ g;
    // so: df = dc ∘ c_{t-1}, di = dc ∘ g, dg = dc ∘ i, dc_{t-1} = dc ∘ f
    const Dense<T> df = dc * c_before, di = dc * g, dg = dc * i;
    dc_later = dc * f;

    // forward: i, f, o = sigmoid(z), which has s' = s (1 - s), and g = tanh(z), which has 1 - g²;
    // so: dz of a gate is the gate's gradient times that, the four blocks side by side
    const std::size_t H = h0.shape(1);
    auto dz_block = [&](std::size_t k) {  // a view of block k of step t
      return xt::view(grad.d_z, t, xt::all(), xt::range(k * H, (k + 1) * H));
    };
    dz_block(0) = di * i * (T(1) - i);
    dz_block(1) = df * f * (T(1) - f);
    dz_block(2) = dg * (T(1) - g * g);
    dz_block(3) = d_out * o * (T(1) - o);
    const Dense<T> dz = xt::view(grad.d_z, t);  // [B, 4H]

    // forward: z_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh, the same weights at every step;
    // so: their gradients are sums over t, and the two biases, which are only ever added, share one
    grad.d_weight_ih += dot(xt::transpose(dz), x);         // dW_ih = Σ_t dz_t x_tᵀ
    grad.d_weight_hh += dot(xt::transpose(dz), h_before);  // dW_hh = Σ_t dz_t h_{t-1}ᵀ
    grad.d_bias_ih += xt::sum(dz, {0});                    // db = Σ_t dz_t
    xt::view(grad.d_xs, t) = dot(dz, p.weight_ih);         // dx_t = W_ihᵀ dz_t
    dh_later = dot(dz, p.weight_hh);  // what h_{t-1} gets from step t: W_hhᵀ dz_t
  }
  grad.d_bias_hh = grad.d_bias_ih;
  grad.d_h0 = dh_later;
  grad.d_c0 = dc_later;

  grad.states = std::move(trace.states);
  grad.cells = std::move(trace.cells);
  grad.loss = readout.loss;
  grad.predictions = std::move(readout.predictions);
  grad.d_o = std::move(readout.d_o);
  grad.dV = std::move(readout.dV);
  grad.dc = std::move(readout.dc);
  return grad;
}

template float lstm_loss(const LstmParameters<float>&, const Dense<float>&, const Dense<float>&,
                         const Dense<float>&, const Dense<float>&);
template double lstm_loss(const LstmParameters<double>&, const Dense<double>&, const Dense<double>&,
                          const Dense<double>&, const Dense<double>&);
template LstmGradients<float> lstm_backward(const LstmParameters<float>&, const Dense<float>&,
                                            const Dense<float>&, const Dense<float>&,
                                            const Dense<float>&);
template LstmGradients<double> lstm_backward(const LstmParameters<double>&, const Dense<double>&,
                                             const Dense<double>&, const Dense<double>&,
                                             const Dense<double>&);

}  // namespace unroll::manual
