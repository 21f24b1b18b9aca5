#include "unroll/nn/lstm_variants.hpp"

#include "unroll/autograd/elementwise.hpp"

namespace unroll::detail {

template <FloatOrDouble T>
LstmResult<T> peephole_gates(const Var<T>& z, const Var<T>& c, const Peepholes<T>& peepholes) {
  auto next = fuse(
      [](auto i, auto f, auto g, auto o, auto c0, auto p_i, auto p_f, auto p_o) {
        auto c1 = sigmoid(f + p_f * c0) * c0 + sigmoid(i + p_i * c0) * tanh(g);
        return std::tuple{sigmoid(o + p_o * c1) * tanh(c1), c1};
      },
      parts<4>(z), c, peepholes.i, peepholes.f, peepholes.o);
  return {std::move(std::get<0>(next)), std::move(std::get<1>(next))};
}

template <FloatOrDouble T>
LstmResult<T> layer_norm_gates(const Var<T>& z, const Var<T>& c, const LayerNorm<T>& norm) {
  const auto gate = split<4>(z, -1);
  Var<T> c1 =
      fuse([](auto i, auto f, auto g, auto c0) { return sigmoid(f) * c0 + sigmoid(i) * tanh(g); },
           gate[0], gate[1], gate[2], c);
  Var<T> h = fuse([](auto o, auto y) { return sigmoid(o) * tanh(y); }, gate[3], norm(c1));
  return {std::move(h), std::move(c1)};
}

template LstmResult<float> peephole_gates(const Var<float>&, const Var<float>&,
                                          const Peepholes<float>&);
template LstmResult<double> peephole_gates(const Var<double>&, const Var<double>&,
                                           const Peepholes<double>&);
template LstmResult<float> layer_norm_gates(const Var<float>&, const Var<float>&,
                                            const LayerNorm<float>&);
template LstmResult<double> layer_norm_gates(const Var<double>&, const Var<double>&,
                                             const LayerNorm<double>&);

}  // namespace unroll::detail
