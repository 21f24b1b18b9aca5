// The cells as a user of the library would write them, from plain ops and with `fuse`, the library's own layers, and the
// training programs around them.
#pragma once

#include "unroll/autograd/autograd.hpp"
#include "unroll/bench/training_step.hpp"
#include "unroll/nn/nn.hpp"

namespace unroll::bench {

enum class Style { ops, fused };

template <class T>
struct State {
  Var<T> h, c;  // c: LSTM only
};

// ---- the cells -------------------------------------------------------------------------------------------------------

template <class T, Style style>
struct UserElman {
  Var<T> U, W, b;
  static constexpr auto fields() {
    return std::tuple{field("U", &UserElman::U), field("W", &UserElman::W),
                      field("b", &UserElman::b)};
  }
  explicit UserElman(const Weights<T>& w, Size H) : U({H, H}, w.U), W({H, H}, w.W), b({H}, w.b) {}

  State<T> operator()(const Var<T>& x, const State<T>& s) const {
    if constexpr (style == Style::ops) {
      return {tanh(linear(x, U) + linear(s.h, W) + b), {}};
    } else {
      return {fuse([](auto u, auto w, auto bias) { return tanh(u + w + bias); }, linear(x, U),
                   linear(s.h, W), b),
              {}};
    }
  }
};

template <class T, Style style>
struct UserLstm {
  Var<T> U, W, b;
  static constexpr auto fields() {
    return std::tuple{field("U", &UserLstm::U), field("W", &UserLstm::W), field("b", &UserLstm::b)};
  }
  explicit UserLstm(const Weights<T>& w, Size H)
      : U({4 * H, H}, w.U), W({4 * H, H}, w.W), b({4 * H}, w.b) {}

  State<T> operator()(const Var<T>& x, const State<T>& s) const {
    const Var<T> z = linear(x, U, b) + linear(s.h, W);
    if constexpr (style == Style::ops) {
      const std::array<Var<T>, 4> gate = split<4>(z, -1);
      const Var<T> c = sigmoid(gate[1]) * s.c + sigmoid(gate[0]) * tanh(gate[2]);
      return {sigmoid(gate[3]) * tanh(c), c};
    } else {
      const auto [h, c] = fuse(
          [](auto i, auto f, auto g, auto o, auto before) {
            auto cell = sigmoid(f) * before + sigmoid(i) * tanh(g);
            return std::tuple{sigmoid(o) * tanh(cell), cell};
          },
          parts<4>(z), s.c);
      return {h, c};
    }
  }
};

template <class T, Style style>
struct UserGru {
  Var<T> U, W, b, bn;
  static constexpr auto fields() {
    return std::tuple{field("U", &UserGru::U), field("W", &UserGru::W), field("b", &UserGru::b),
                      field("bn", &UserGru::bn)};
  }
  explicit UserGru(const Weights<T>& w, Size H)
      : U({3 * H, H}, w.U), W({3 * H, H}, w.W), b({3 * H}, w.b), bn({H}, w.bn) {}

  State<T> operator()(const Var<T>& x, const State<T>& s) const {
    const Var<T> from_x = linear(x, U, b), from_h = linear(s.h, W);
    if constexpr (style == Style::ops) {
      const std::array<Var<T>, 3> in = split<3>(from_x, -1), rec = split<3>(from_h, -1);
      const Var<T> r = sigmoid(in[0] + rec[0]), z = sigmoid(in[1] + rec[1]);
      const Var<T> n = tanh(in[2] + r * (rec[2] + bn));
      return {n + z * (s.h - n), {}};
    } else {
      return {fuse(
                  [](auto xr, auto xz, auto xn, auto hr, auto hz, auto hn, auto bias, auto before) {
                    auto r = sigmoid(xr + hr);
                    auto z = sigmoid(xz + hz);
                    auto n = tanh(xn + r * (hn + bias));
                    return n + z * (before - n);
                  },
                  parts<3>(from_x), parts<3>(from_h), bn, s.h),
              {}};
    }
  }
};

// ---- the training step -------------------------------------------------------------------------------------------------

enum class ReadOut {
  stacked,   // the states are stacked, and projected together
  per_step,  // a projection in each step, the logits are stacked
};

// A cell and a read-out; trained by plain gradient descent.
template <class T, class Cell>
struct UserModel {
  Cell cell;
  Var<T> V, c;
  static constexpr auto fields() {
    return std::tuple{field("cell", &UserModel::cell), field("V", &UserModel::V),
                      field("c", &UserModel::c)};
  }
  static UserModel of(const Weights<T>& w, Size H) {
    return {Cell(w, H), Var<T>({classes, H}, w.V), Var<T>({classes}, w.c)};
  }
};

template <class T, class Cell>
class UserProgram {
 public:
  using Model = UserModel<T, Cell>;
  UserProgram(const Problem<T>& problem, ReadOut read_out, const Model& model)
      : size_(problem.size),
        read_out_(read_out),
        sgd_(model),
        xs_(Shape{size_.T, size_.B, size_.H}, problem.xs),
        labels_(Shape{size_.T * size_.B}, problem.labels) {
    rows_.reserve(static_cast<std::size_t>(size_.T));
  }

  Var<T> loss(const Model& m) {
    State<T> s{zeros<T>({size_.B, size_.H}), zeros<T>({size_.B, size_.H})};
    rows_.clear();
    for (Size t = 0; t < size_.T; ++t) {
      s = m.cell(index(xs_, 0, t), s);
      rows_.push_back(read_out_ == ReadOut::per_step ? linear(s.h, m.V, m.c) : s.h);
    }
    const Var<T> joined = concat(rows_);  // [T·B, ...]
    rows_.clear();
    const Var<T> y = read_out_ == ReadOut::per_step ? joined : linear(joined, m.V, m.c);
    return cross_entropy(y, labels_);
  }
  void update(Model& model, const Model& gradient, double rate) {
    sgd_.options.learning_rate = rate;
    sgd_.step(model, gradient);
  }

 private:
  Case size_;
  ReadOut read_out_;
  Sgd<Model> sgd_;
  Var<T> xs_;
  Indices labels_;
  std::vector<Var<T>> rows_;
};

template <class T, class Cell>
class UserStep : public TrainingStep<UserProgram<T, Cell>, UserModel<T, Cell>> {
 public:
  UserStep(const Problem<T>& problem, const Weights<T>& w, ReadOut read_out)
      : UserStep(problem, read_out, UserModel<T, Cell>::of(w, problem.size.H)) {}

 private:
  UserStep(const Problem<T>& problem, ReadOut read_out, const UserModel<T, Cell>& model)
      : UserStep::TrainingStep({problem, read_out, model}, model) {}
};

// ---- the library's layers ----------------------------------------------------------------------------------------------

// From the same weights. The layers have a bias on either side; what the others do not have stays 0: `mask` is 0 there.
template <class T>
struct LayerOf {
  static unroll::Elman<T> elman(const Weights<T>& w, Size H) {
    return {Var<T>({H, H}, w.U), Var<T>({H, H}, w.W), Var<T>({H}, w.b)};
  }
  static unroll::Lstm<T> lstm(const Weights<T>& w, Size H) {
    return {Var<T>({4 * H, H}, w.U), Var<T>({4 * H, H}, w.W), Var<T>({4 * H}, w.b),
            zeros<T>({4 * H})};
  }
  static unroll::Gru<T> gru(const Weights<T>& w, Size H) {
    return {Var<T>({3 * H, H}, w.U), Var<T>({3 * H, H}, w.W), Var<T>({3 * H}, w.b),
            concat({zeros<T>({2 * H}), Var<T>({H}, w.bn)})};
  }
};

template <class T, class Cell>
struct LayerModel {
  Cell cell;
  unroll::Linear<T> read_out;
  static constexpr auto fields() {
    return std::tuple{field("cell", &LayerModel::cell), field("read_out", &LayerModel::read_out)};
  }
};

template <class T, class Cell>
LayerModel<T, Cell> layer_model(const Weights<T>& w, Cell cell, Size H) {
  return {std::move(cell), {Var<T>({classes, H}, w.V), Var<T>({classes}, w.c)}};
}

template <class T, class Cell>
class LayerProgram {
 public:
  using Model = LayerModel<T, Cell>;
  LayerProgram(const Problem<T>& problem, const Model& model)
      : xs_(Shape{problem.size.T, problem.size.B, problem.size.H}, problem.xs),
        labels_(Shape{problem.size.T, problem.size.B}, problem.labels),
        sgd_(model) {
    if constexpr (requires { model.cell.bias_hh; }) {
      const Size H = problem.size.H, all = model.cell.bias_hh.size();
      mask_ = all == 3 * H ? concat({zeros<T>({2 * H}), ones<T>({H})}) : zeros<T>({all});
    }
  }

  Var<T> loss(const Model& m) const {
    const auto run = unroll::unroll(m.cell, xs_, m.cell.initial_state(xs_.size(1)));
    return cross_entropy(m.read_out(run.outputs), labels_);
  }
  void update(Model& model, Model& gradient, double rate) {
    if constexpr (requires { model.cell.bias_hh; })
      gradient.cell.bias_hh = gradient.cell.bias_hh * mask_;
    sgd_.options.learning_rate = rate;
    sgd_.step(model, gradient);
  }

 private:
  Var<T> xs_;
  Indices labels_;
  Sgd<Model> sgd_;
  Var<T> mask_;
};

template <class T, class Cell>
class LayerStep : public TrainingStep<LayerProgram<T, Cell>, LayerModel<T, Cell>> {
 public:
  LayerStep(const Problem<T>& problem, const Weights<T>& w, Cell cell)
      : LayerStep(problem, layer_model(w, std::move(cell), problem.size.H)) {}

 private:
  LayerStep(const Problem<T>& problem, const LayerModel<T, Cell>& model)
      : LayerStep::TrainingStep({problem, model}, model) {}
};

}  // namespace unroll::bench
