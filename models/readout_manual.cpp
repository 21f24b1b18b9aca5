#include "unroll/models/readout_manual.hpp"

#include "unroll/autograd/error.hpp"
#include "unroll/autograd/xtensor_blas_headers.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace unroll::manual {

using xt::linalg::dot;

namespace {

// [T, B, n] as one matrix [T B, n]: the read-out of a step depends on no other step.
template <class T>
Dense<T> as_rows(const Dense<T>& array) {
  Dense<T> rows = array;
  rows.reshape({array.shape(0) * array.shape(1), array.shape(2)});
  return rows;
}

template <class T>
Dense<T> as_steps(Dense<T> rows, const Dense<T>& like) {
  rows.reshape({like.shape(0), like.shape(1), rows.shape(1)});
  return rows;
}

template <class T>
void check_readout(std::string_view function, const Dense<T>& V, const Dense<T>& c,
                   const Dense<T>& states) {
  const std::int64_t K = detail::size_of(function, "V", V, 2, 0);
  const std::int64_t H = detail::size_of(function, "states", states, 3, 2);
  detail::expect_shape(function, "V", V, {K, H});
  detail::expect_shape(function, "c", c, {K});
}

}  // namespace

template <class T>
Dense<T> readout_predictions(const Dense<T>& V, const Dense<T>& c, const Dense<T>& states) {
  check_readout("readout_predictions", V, c, states);
  const Dense<T> a = as_rows(states);               // [T B, H]
  const Dense<T> o = dot(a, xt::transpose(V)) + c;  // [T B, K]
  const Dense<T> largest =
      xt::amax(o, {1}, xt::keep_dims);  // softmax(o) = softmax(o - max o), which cannot overflow
  const Dense<T> e = xt::exp(o - largest);
  const Dense<T> total = xt::sum(e, {1}, xt::keep_dims);
  return as_steps<T>(e / total, states);
}

template <class T>
T squared_error(const Dense<T>& predictions, const Dense<T>& ys) {
  const std::int64_t steps = detail::size_of("squared_error", "predictions", predictions, 3, 0);
  const std::int64_t batch = detail::size_of("squared_error", "predictions", predictions, 3, 1);
  detail::expect_shape(
      "squared_error", "ys", ys,
      {steps, batch, detail::size_of("squared_error", "predictions", predictions, 3, 2)});
  double total = 0;  // in double for float too: a sum of T B K terms, one after the other
  for (std::size_t i = 0; i < ys.size(); ++i) {
    const double difference = double(predictions.data()[i]) - double(ys.data()[i]);
    total += difference * difference;
  }
  return T(total / double(steps * batch));
}

template <class T>
ReadoutGradients<T> readout_backward(const Dense<T>& V, const Dense<T>& c, const Dense<T>& states,
                                     const Dense<T>& ys) {
  ReadoutGradients<T> result;
  result.predictions = readout_predictions(V, c, states);
  result.loss = squared_error(result.predictions, ys);

  const Dense<T> a = as_rows(states);                  // [T B, H]
  const Dense<T> y_hat = as_rows(result.predictions);  // [T B, K]
  const Dense<T> y = as_rows(ys);

  // forward: L = 1/(T B) Σ (ŷ - y)²;  so: ∂L/∂ŷ = 2/(T B) (ŷ - y)
  const T scale = T(2) / T(a.shape(0));
  const Dense<T> d_y_hat = scale * (y_hat - y);

  // forward: ŷ_j = exp(o_j) / Σ_m exp(o_m);
  // so: ∂ŷ_j/∂o_k = ŷ_j (1[j = k] - ŷ_k), the softmax Jacobian diag(ŷ) - ŷ ŷᵀ,
  // and ∂L/∂o_k = Σ_j ∂L/∂ŷ_j ∂ŷ_j/∂o_k = ŷ_k (∂L/∂ŷ_k - Σ_j ∂L/∂ŷ_j ŷ_j)
  const Dense<T> mean = xt::sum(d_y_hat * y_hat, {1}, xt::keep_dims);  // [T B, 1]
  const Dense<T> d_o = y_hat * (d_y_hat - mean);

  // forward: o = V a + c, V and c used at every step;
  // so: dV = Σ_t do_t a_tᵀ, dc = Σ_t do_t, da_t = Vᵀ do_t
  result.dV = dot(xt::transpose(d_o), a);
  result.dc = xt::sum(d_o, {0});
  result.d_states = as_steps<T>(dot(d_o, V), states);
  result.d_o = as_steps<T>(d_o, states);
  return result;
}

namespace detail {
namespace {

template <class T>
std::vector<std::int64_t> shape_of(const Dense<T>& array) {
  return {array.shape().begin(), array.shape().end()};
}

}  // namespace

template <class T>
std::int64_t size_of(std::string_view function, std::string_view name, const Dense<T>& array,
                     std::size_t rank, std::size_t axis) {
  if (array.dimension() != rank || array.size() == 0) {
    fail(function, std::string(name) + " is " + shape_string(shape_of(array)) + ", expected " +
                       std::to_string(rank) + " axes, none of them empty");
  }
  return static_cast<std::int64_t>(array.shape(axis));
}

template <class T>
void expect_shape(std::string_view function, std::string_view name, const Dense<T>& array,
                  std::initializer_list<std::int64_t> expected) {
  const std::vector<std::int64_t> shape = shape_of(array);
  if (!std::equal(shape.begin(), shape.end(), expected.begin(), expected.end())) {
    fail(function, std::string(name) + " is " + shape_string(shape) + ", expected " +
                       shape_string(std::vector<std::int64_t>(expected)));
  }
}

template std::int64_t size_of(std::string_view, std::string_view, const Dense<float>&, std::size_t,
                              std::size_t);
template std::int64_t size_of(std::string_view, std::string_view, const Dense<double>&, std::size_t,
                              std::size_t);
template void expect_shape(std::string_view, std::string_view, const Dense<float>&,
                           std::initializer_list<std::int64_t>);
template void expect_shape(std::string_view, std::string_view, const Dense<double>&,
                           std::initializer_list<std::int64_t>);

}  // namespace detail

template Dense<float> readout_predictions(const Dense<float>&, const Dense<float>&,
                                          const Dense<float>&);
template Dense<double> readout_predictions(const Dense<double>&, const Dense<double>&,
                                           const Dense<double>&);
template float squared_error(const Dense<float>&, const Dense<float>&);
template double squared_error(const Dense<double>&, const Dense<double>&);
template ReadoutGradients<float> readout_backward(const Dense<float>&, const Dense<float>&,
                                                  const Dense<float>&, const Dense<float>&);
template ReadoutGradients<double> readout_backward(const Dense<double>&, const Dense<double>&,
                                                   const Dense<double>&, const Dense<double>&);

}  // namespace unroll::manual
