// GradBench's `lstm` as a user of the library writes it: a model, a loop over characters and layers with one `fuse`, and
// value_and_grad.
//
//   Lstm lstm(input);
//   double loss = lstm.objective();
//   std::vector<double> gradient = lstm.gradient();    // of main and extra parameters, in the order of their rows
//
// v = x_t·in_weight; in each layer  f = σ(v wf + bf), i = σ(h wi + bi), o = σ(v wo + bo), g = tanh(h wc + bc),
// c' = c f + i g, h' = o tanh(c'), and v = h' for the next; all elementwise. With y = v·out_weight + out_bias the loss is
// the mean over characters and bits of -x_{t+1} (y - log(2 + Σ exp y)).
#pragma once

#include "unroll/autograd/autograd.hpp"
#include "unroll/tools/gradbench/lstm_input.hpp"

namespace unroll::gradbench {

struct LstmLayer {
  Var<double> weight, bias;  // [4 bits]: forget, in, out, change
  static constexpr auto fields() {
    return std::tuple{field("weight", &LstmLayer::weight), field("bias", &LstmLayer::bias)};
  }
};
struct LstmModel {
  std::vector<LstmLayer> layers;
  Var<double> in_weight, out_weight, out_bias;  // [bits]
  static constexpr auto fields() {
    return std::tuple{
        field("layers", &LstmModel::layers), field("in_weight", &LstmModel::in_weight),
        field("out_weight", &LstmModel::out_weight), field("out_bias", &LstmModel::out_bias)};
  }
};

class Lstm {
 public:
  explicit Lstm(const LstmInput& in)
      : steps_(in.chars - 1),
        state_(Shape{in.layers, 2, in.bits}, in.state),
        sequence_(Shape{in.chars, in.bits}, in.sequence) {
    const auto row = [&](const std::vector<double>& rows, Size k, Size size) {
      return Var<double>({size}, std::span(rows).subspan(static_cast<std::size_t>(k * size),
                                                         static_cast<std::size_t>(size)));
    };
    for (Size k = 0; k < in.layers; ++k) {
      model_.layers.push_back(
          {row(in.main, 2 * k, 4 * in.bits), row(in.main, 2 * k + 1, 4 * in.bits)});
    }
    model_.in_weight = row(in.extra, 0, in.bits);
    model_.out_weight = row(in.extra, 1, in.bits);
    model_.out_bias = row(in.extra, 2, in.bits);
  }

  [[nodiscard]] double objective() const { return loss(model_).item(); }

  [[nodiscard]] std::vector<double> gradient() const {
    const LstmModel g = grad([&](const LstmModel& m) { return loss(m); })(model_);
    std::vector<double> out;
    out.reserve(static_cast<std::size_t>(parameter_count(g)));
    tree_for_each(
        [&](const Var<double>& p) {
          const std::vector<double> values = p.to_vector();
          out.insert(out.end(), values.begin(), values.end());
        },
        g);
    return out;
  }

 private:
  struct Layer {
    std::array<Var<double>, 4> w, b;  // forget, in, out, change
    Var<double> hidden, cell;
  };

  Var<double> loss(const LstmModel& m) const {
    std::vector<Layer> layers;
    for (const LstmLayer& layer : m.layers) {
      const Var<double> state = index(state_, 0, static_cast<Size>(layers.size()));
      layers.push_back({split<4>(layer.weight, 0), split<4>(layer.bias, 0), index(state, 0, 0),
                        index(state, 0, 1)});
    }
    const Var<double> inputs = slice(sequence_, 0, {0, steps_}) * m.in_weight;  // [T, bits]
    std::vector<Var<double>> outputs;
    outputs.reserve(static_cast<std::size_t>(steps_));
    for (Size t = 0; t < steps_; ++t) {
      Var<double> v = index(inputs, 0, t);
      for (Layer& l : layers) v = step(l, v);
      outputs.push_back(v);
    }
    // The read-out of all steps at once.
    const auto [y, exp_y] = fuse(
        [](auto v, auto w, auto b) {
          auto y = v * w + b;
          return std::tuple{y, exp(y)};
        },
        stack(outputs), m.out_weight, m.out_bias);
    const Var<double> log_sum = log(2 + sum(exp_y, {-1}));              // [T]
    const Var<double> target = slice(sequence_, 0, {1, std::nullopt});  // [T, bits]
    return (dot(sum(target, {-1}), log_sum) - dot(target, y)) / y.size();
  }

  static Var<double> step(Layer& l, const Var<double>& v) {
    std::tie(l.hidden, l.cell) = fuse(
        [](auto v, auto h, auto c, auto wf, auto wi, auto wo, auto wc, auto bf, auto bi, auto bo,
           auto bc) {
          auto cell = c * sigmoid(v * wf + bf) + sigmoid(h * wi + bi) * tanh(h * wc + bc);
          return std::tuple{sigmoid(v * wo + bo) * tanh(cell), cell};
        },
        v, l.hidden, l.cell, l.w[0], l.w[1], l.w[2], l.w[3], l.b[0], l.b[1], l.b[2], l.b[3]);
    return l.hidden;
  }

  Size steps_;
  Var<double> state_, sequence_;
  LstmModel model_;
};

}  // namespace unroll::gradbench
