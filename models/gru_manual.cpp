#include "unroll/models/gru_manual.hpp"

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
struct GruTrace {
  Dense<T> r, z, n;  // the gates [T, B, H]
  Dense<T> q;        // W_hn h_{t-1} + b_hn, what r scales [T, B, H]
  Dense<T> states;   // [T, B, H]
};

template <class T>
void check_gru(const GruParameters<T>& p, const Dense<T>& xs, const Dense<T>& h0) {
  const auto function = "gru_manual";
  const std::int64_t H = detail::size_of(function, "weight_hh", p.weight_hh, 2, 1);
  const std::int64_t B = detail::size_of(function, "xs", xs, 3, 1);
  detail::expect_shape(function, "weight_ih", p.weight_ih,
                       {3 * H, detail::size_of(function, "xs", xs, 3, 2)});
  detail::expect_shape(function, "weight_hh", p.weight_hh, {3 * H, H});
  detail::expect_shape(function, "bias_ih", p.bias_ih, {3 * H});
  detail::expect_shape(function, "bias_hh", p.bias_hh, {3 * H});
  detail::expect_shape(function, "h0", h0, {B, H});
}

template <class T>
GruTrace<T> gru_forward(const GruParameters<T>& p, const Dense<T>& xs, const Dense<T>& h0) {
  check_gru(p, xs, h0);
  const Dense<T> empty = xt::empty<T>({xs.shape(0), xs.shape(1), p.weight_hh.shape(1)});
  GruTrace<T> trace{empty, empty, empty, empty, empty};
  Dense<T> h = h0;  // [B, H]
  for (std::size_t t = 0; t < xs.shape(0); ++t) {
    const Dense<T> x = xt::view(xs, t);                                      // [B, I]
    const Dense<T> input = dot(x, xt::transpose(p.weight_ih)) + p.bias_ih;   // [B, 3H]
    const Dense<T> hidden = dot(h, xt::transpose(p.weight_hh)) + p.bias_hh;  // [B, 3H]
    const Dense<T> r = sigmoid<T>(gate<3>(input, 0) + gate<3>(hidden, 0));
    const Dense<T> z = sigmoid<T>(gate<3>(input, 1) + gate<3>(hidden, 1));
    const Dense<T> q = gate<3>(hidden, 2);
    const Dense<T> n = xt::tanh(gate<3>(input, 2) + r * q);
    h = (T(1) - z) * n + z * h;

    xt::view(trace.r, t) = r;
    xt::view(trace.z, t) = z;
    xt::view(trace.n, t) = n;
    xt::view(trace.q, t) = q;
    xt::view(trace.states, t) = h;
  }
  return trace;
}

}  // namespace

template <class T>
T gru_loss(const GruParameters<T>& p, const Dense<T>& xs, const Dense<T>& ys, const Dense<T>& h0) {
  return squared_error(readout_predictions(p.V, p.c, gru_forward(p, xs, h0).states), ys);
}

template <class T>
GruGradients<T> gru_backward(const GruParameters<T>& p, const Dense<T>& xs, const Dense<T>& ys,
                             const Dense<T>& h0) {
  GruTrace<T> trace = gru_forward(p, xs, h0);
  ReadoutGradients<T> readout = readout_backward(p.V, p.c, trace.states, ys);

  GruGradients<T> grad;
  grad.d_weight_ih = xt::zeros_like(p.weight_ih);
  grad.d_weight_hh = xt::zeros_like(p.weight_hh);
  grad.d_bias_ih = xt::zeros_like(p.bias_ih);
  grad.d_bias_hh = xt::zeros_like(p.bias_hh);
  grad.d_z = xt::zeros<T>({xs.shape(0), xs.shape(1), p.weight_hh.shape(0)});
  grad.d_z_hidden = xt::zeros_like(grad.d_z);
  grad.d_xs = xt::zeros_like(xs);
  Dense<T> dh_later = xt::zeros_like(h0);  // what h_t gets from step t + 1

  for (std::size_t t = xs.shape(0); t-- > 0;) {
    const Dense<T> x = xt::view(xs, t);                                              // [B, I]
    const Dense<T> h_before = t > 0 ? Dense<T>(xt::view(trace.states, t - 1)) : h0;  // [B, H]
    const Dense<T> r = xt::view(trace.r, t), z = xt::view(trace.z, t);
    const Dense<T> n = xt::view(trace.n, t), q = xt::view(trace.q, t);

    // forward: h_t goes to ŷ_t and to step t + 1;  so: dh_t = Vᵀ do_t + what step t + 1 hands back
    const Dense<T> dh = xt::view(readout.d_states, t) + dh_later;

    // forward: h_t = (1 - z) ∘ n + z ∘ h_{t-1};  so: dn = dh ∘ (1 - z), dz = dh ∘ (h_{t-1} - n),
    // and h_{t-1} gets dh ∘ z directly, besides what comes through the gates below
    const Dense<T> dn = dh * (T(1) - z);
    const Dense<T> dz = dh * (h_before - n);

    // forward: n = tanh(s_n), s_n = input_n + r ∘ q, q = hidden_n;
    // so: ds_n = dn ∘ (1 - n²) is the input side, dq = ds_n ∘ r the hidden side, and dr = ds_n ∘ q
    const Dense<T> ds_n = dn * (T(1) - n * n);
    const Dense<T> dq = ds_n * r;
    const Dense<T> dr = ds_n * q;

    // forward: r = sigmoid(input_r + hidden_r), z = sigmoid(input_z + hidden_z);
    // so: both sides of each get the same, dr ∘ r (1 - r) and dz ∘ z (1 - z)
    const Dense<T> ds_r = dr * r * (T(1) - r);
    const Dense<T> ds_z = dz * z * (T(1) - z);

    const std::size_t H = h0.shape(1);
    auto block = [&](Dense<T>& all, std::size_t k) {  // a view of block k of step t
      return xt::view(all, t, xt::all(), xt::range(k * H, (k + 1) * H));
    };
    block(grad.d_z, 0) = ds_r;
    block(grad.d_z, 1) = ds_z;
    block(grad.d_z, 2) = ds_n;
    block(grad.d_z_hidden, 0) = ds_r;
    block(grad.d_z_hidden, 1) = ds_z;
    block(grad.d_z_hidden, 2) = dq;
    const Dense<T> d_input = xt::view(grad.d_z, t);          // [B, 3H]
    const Dense<T> d_hidden = xt::view(grad.d_z_hidden, t);  // [B, 3H]

    // forward: input = W_ih x_t + b_ih, hidden = W_hh h_{t-1} + b_hh, the same weights at every
    // step;
    // so: their gradients are sums over t, each from its own side
    grad.d_weight_ih += dot(xt::transpose(d_input), x);          // dW_ih = Σ_t dinput_t x_tᵀ
    grad.d_weight_hh += dot(xt::transpose(d_hidden), h_before);  // dW_hh = Σ_t dhidden_t h_{t-1}ᵀ
    grad.d_bias_ih += xt::sum(d_input, {0});
    grad.d_bias_hh += xt::sum(d_hidden, {0});
    xt::view(grad.d_xs, t) = dot(d_input, p.weight_ih);  // dx_t = W_ihᵀ dinput_t
    dh_later = dh * z + dot(d_hidden, p.weight_hh);      // h_{t-1}: dh_t ∘ z + W_hhᵀ dhidden_t
  }
  grad.d_h0 = dh_later;

  grad.states = std::move(trace.states);
  grad.loss = readout.loss;
  grad.predictions = std::move(readout.predictions);
  grad.d_o = std::move(readout.d_o);
  grad.dV = std::move(readout.dV);
  grad.dc = std::move(readout.dc);
  return grad;
}

template float gru_loss(const GruParameters<float>&, const Dense<float>&, const Dense<float>&,
                        const Dense<float>&);
template double gru_loss(const GruParameters<double>&, const Dense<double>&, const Dense<double>&,
                         const Dense<double>&);
template GruGradients<float> gru_backward(const GruParameters<float>&, const Dense<float>&,
                                          const Dense<float>&, const Dense<float>&);
template GruGradients<double> gru_backward(const GruParameters<double>&, const Dense<double>&,
                                           const Dense<double>&, const Dense<double>&);

}  // namespace unroll::manual
