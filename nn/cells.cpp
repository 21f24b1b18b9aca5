#include "unroll/nn/cells.hpp"

#include "unroll/autograd/elementwise.hpp"

namespace unroll::detail {

template <FloatOrDouble T>
LstmResult<T> lstm_gates(const Var<T>& z, const Var<T>& c) {
  auto next = fuse(
      [](auto i, auto f, auto g, auto o, auto c0) {
        auto c1 = sigmoid(f) * c0 + sigmoid(i) * tanh(g);
        return std::tuple{sigmoid(o) * tanh(c1), c1};
      },
      parts<4>(z), c);
  return {std::move(std::get<0>(next)), std::move(std::get<1>(next))};
}

template <FloatOrDouble T>
Var<T> gru_gates(const Var<T>& input, const Var<T>& hidden, const Var<T>& h) {
  return fuse(
      [](auto x_r, auto x_z, auto x_n, auto h_r, auto h_z, auto h_n, auto h0) {
        auto r = sigmoid(x_r + h_r);
        auto z = sigmoid(x_z + h_z);
        auto n = tanh(x_n + r * h_n);
        return n + z * (h0 - n);
      },
      parts<3>(input), parts<3>(hidden), h);
}

template <class Activation, FloatOrDouble T>
Var<T> activate(const Var<T>& z) {
  return call<Activation>(z);
}
template <class Activation, FloatOrDouble T>
Var<T> activate_sum(const Var<T>& a, const Var<T>& b) {
  return fuse([](auto x, auto y) { return call<Activation>(x + y); }, a, b);
}

template LstmResult<float> lstm_gates(const Var<float>&, const Var<float>&);
template LstmResult<double> lstm_gates(const Var<double>&, const Var<double>&);
template Var<float> gru_gates(const Var<float>&, const Var<float>&, const Var<float>&);
template Var<double> gru_gates(const Var<double>&, const Var<double>&, const Var<double>&);
template Var<float> activate<Tanh>(const Var<float>&);
template Var<double> activate<Tanh>(const Var<double>&);
template Var<float> activate<Relu>(const Var<float>&);
template Var<double> activate<Relu>(const Var<double>&);
template Var<float> activate_sum<Tanh>(const Var<float>&, const Var<float>&);
template Var<double> activate_sum<Tanh>(const Var<double>&, const Var<double>&);
template Var<float> activate_sum<Relu>(const Var<float>&, const Var<float>&);
template Var<double> activate_sum<Relu>(const Var<double>&, const Var<double>&);

}  // namespace unroll::detail
