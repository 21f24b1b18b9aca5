#include "unroll/models/rnn_manual.hpp"

#include "unroll/autograd/xtensor_blas_headers.hpp"
#include "unroll/models/readout_manual.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace unroll::manual {

using xt::linalg::dot;

namespace {

template <class T>
void check_rnn(const RnnParameters<T>& p, const Dense<T>& xs, const Dense<T>& a0) {
  const auto function = "rnn_manual";
  const std::int64_t H = detail::size_of(function, "U", p.U, 2, 0);
  const std::int64_t B = detail::size_of(function, "xs", xs, 3, 1);
  detail::expect_shape(function, "U", p.U, {H, detail::size_of(function, "xs", xs, 3, 2)});
  detail::expect_shape(function, "W", p.W, {H, H});
  detail::expect_shape(function, "b", p.b, {H});
  detail::expect_shape(function, "a0", a0, {B, H});
}

}  // namespace

// A batch is stored as rows, so U x_t of the formulas is x_t Uᵀ in the code, and the column-vector
// outer product dz xᵀ, summed over the batch, is dzᵀ x.
template <class T>
Dense<T> rnn_states(const RnnParameters<T>& p, const Dense<T>& xs, const Dense<T>& a0) {
  check_rnn(p, xs, a0);
  Dense<T> states = xt::empty<T>({xs.shape(0), xs.shape(1), p.U.shape(0)});
  Dense<T> a = a0;  // [B, H]
  for (std::size_t t = 0; t < xs.shape(0); ++t) {
    const Dense<T> x = xt::view(xs, t);                                                // [B, I]
    const Dense<T> z = dot(x, xt::transpose(p.U)) + dot(a, xt::transpose(p.W)) + p.b;  // [B, H]
    a = xt::tanh(z);
    xt::view(states, t) = a;
  }
  return states;
}

template <class T>
T rnn_loss(const RnnParameters<T>& p, const Dense<T>& xs, const Dense<T>& ys, const Dense<T>& a0) {
  return squared_error(readout_predictions(p.V, p.c, rnn_states(p, xs, a0)), ys);
}

template <class T>
RnnGradients<T> rnn_backward(const RnnParameters<T>& p, const Dense<T>& xs, const Dense<T>& ys,
                             const Dense<T>& a0) {
  RnnGradients<T> g;
  g.states = rnn_states(p, xs, a0);
  ReadoutGradients<T> readout = readout_backward(p.V, p.c, g.states, ys);

  g.dU = xt::zeros_like(p.U);
  g.dW = xt::zeros_like(p.W);
  g.db = xt::zeros_like(p.b);
  g.d_z = xt::zeros_like(g.states);
  g.d_xs = xt::zeros_like(xs);
  Dense<T> da_later = xt::zeros_like(a0);  // ∂(L_{t+1} + .. + L_T)/∂a_t; 0 after the last step

  for (std::size_t t = xs.shape(0); t-- > 0;) {
    const Dense<T> x = xt::view(xs, t);  // [B, I]
    const Dense<T> a = xt::view(g.states, t);
    const Dense<T> a_before = t > 0 ? Dense<T>(xt::view(g.states, t - 1)) : a0;

    // forward: a_t goes to ŷ_t and to a_{t+1}, hence to every later ŷ;
    // so: da_t = Vᵀ do_t + Wᵀ dz_{t+1}. This one addition per step is the whole sum over paths:
    // each path from L_t' to a_t passes a_{t+1} or ŷ_t.
    const Dense<T> da = xt::view(readout.d_states, t) + da_later;

    // forward: a_t = tanh(z_t);  so: dz_t = diag(1 - a_t²) da_t
    const Dense<T> dz = (T(1) - a * a) * da;

    // forward: z_t = U x_t + W a_{t-1} + b, the same U, W, b at every step;
    // so: their gradients are sums over t
    g.dU += dot(xt::transpose(dz), x);         // dU = Σ_t dz_t x_tᵀ
    g.dW += dot(xt::transpose(dz), a_before);  // dW = Σ_t dz_t a_{t-1}ᵀ
    g.db += xt::sum(dz, {0});                  // db = Σ_t dz_t
    xt::view(g.d_xs, t) = dot(dz, p.U);        // dx_t = Uᵀ dz_t
    da_later = dot(dz, p.W);                   // what a_{t-1} gets from step t: Wᵀ dz_t
    xt::view(g.d_z, t) = dz;
  }
  g.d_a0 = da_later;

  g.loss = readout.loss;
  g.predictions = std::move(readout.predictions);
  g.d_o = std::move(readout.d_o);
  g.dV = std::move(readout.dV);
  g.dc = std::move(readout.dc);
  return g;
}

template Dense<float> rnn_states(const RnnParameters<float>&, const Dense<float>&,
                                 const Dense<float>&);
template Dense<double> rnn_states(const RnnParameters<double>&, const Dense<double>&,
                                  const Dense<double>&);
template float rnn_loss(const RnnParameters<float>&, const Dense<float>&, const Dense<float>&,
                        const Dense<float>&);
template double rnn_loss(const RnnParameters<double>&, const Dense<double>&, const Dense<double>&,
                         const Dense<double>&);
template RnnGradients<float> rnn_backward(const RnnParameters<float>&, const Dense<float>&,
                                          const Dense<float>&, const Dense<float>&);
template RnnGradients<double> rnn_backward(const RnnParameters<double>&, const Dense<double>&,
                                           const Dense<double>&, const Dense<double>&);

}  // namespace unroll::manual
