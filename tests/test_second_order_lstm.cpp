#include "unroll/autograd/elementwise.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/models/rnn.hpp"
#include "unroll/nn/cells.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace unroll;

namespace {

constexpr Size steps = 30, batch = 2, inputs = 3, hidden = 5, classes = 4;

template <class Tree>
Tree random_like(const Tree& tree, std::uint64_t seed) {
  return tree_map([&](const auto& p) { return uniform<double>(Key(++seed), p.shape(), -0.6, 0.6); },
                  tree);
}
template <class Tree>
double largest(const Tree& tree) {
  double m = 0;
  tree_for_each([&](const auto& p) { m = std::max(m, max(abs(p)).item()); }, tree);
  return m;
}
template <class Tree>
double difference(const Tree& a, const Tree& b) {
  return largest(tree_add(a, tree_scale(b, -1))) / largest(b);
}

// The LSTM as a user would write it from plain operations, with the parameters of the library's
// own.
struct PlainLstm : Lstm<double> {
  static constexpr auto fields() { return Lstm<double>::fields(); }
  LstmState<double> operator()(const Var<double>& x, const LstmState<double>& s) const {
    const auto z = linear(x, weight_ih) + bias_ih + linear(s.h, weight_hh) + bias_hh;
    const auto gate = split<4>(z, -1);
    const auto c = sigmoid(gate[1]) * s.c + sigmoid(gate[0]) * tanh(gate[2]);
    return {sigmoid(gate[3]) * tanh(c), c};
  }
};

template <class Cell>
struct Problem {
  using Net = CellNetwork<double, Cell>;
  Net net{random_like(Cell{Lstm<double>::make(Key(1), inputs, hidden)}, 10),
          uniform<double>(Key(2), {classes, hidden}, -1, 1), zeros<double>({classes})};
  Var<double> xs = normal<double>(Key(3), {steps, batch, inputs});
  Var<double> ys = one_hot<double>(randint(Key(4), {steps, batch}, 0, classes), classes);
  LstmState<double> state = random_like(net.cell.initial_state(batch), 20);
  Net v = random_like(net, 40);

  auto loss() const {
    return [this](const Net& n) {
      std::vector<Var<double>> out;
      LstmState<double> s = state;
      for (Size t = 0; t < steps; ++t) {
        s = n.cell(index(xs, 0, t), s);
        out.push_back(read_out(s.h, n.V, n.c));
      }
      return squared_error(stack(out), ys);
    };
  }
  // ∇(∇L · v): the gradient of a sweep, by a second sweep.
  Net reverse_over_reverse() const {
    return grad([this](const Net& n) { return tree_dot<double>(grad(loss())(n), v); })(net);
  }
  Net forward_over_reverse() const { return hvp(loss(), net, v); }
  // d/de ∇L(net + e v) by five points.
  Net differences() const {
    const double h = 1e-3;
    const auto at = [&](double e) { return grad(loss())(tree_add(net, tree_scale(v, e))); };
    return tree_scale(tree_add(tree_scale(tree_add(at(h), tree_scale(at(-h), -1)), 8),
                               tree_add(at(-2 * h), tree_scale(at(2 * h), -1))),
                      1 / (12 * h));
  }
};

template <class Cell>
double both_ways() {
  const Problem<Cell> p;
  const auto reverse = p.reverse_over_reverse();
  const auto forward = p.forward_over_reverse();
  CHECK(largest(forward) > 1e-3);
  CHECK(difference(reverse, forward) <= 1e-10);
  CHECK(difference(forward, p.differences()) <= 1e-8);
  return difference(reverse, forward);
}

}  // namespace

TEST_CASE("a Hessian times a vector through 30 LSTM steps is the same in both modes") {
  const double fused = both_ways<Lstm<double>>();
  const double plain = both_ways<PlainLstm>();
  MESSAGE(
      "HVP through a 30-step LSTM, reverse over reverse against forward over reverse: fused cell "
      << fused << ", plain operations " << plain);
}

TEST_CASE("the fused LSTM and the one from plain operations have the same second derivatives") {
  const Problem<Lstm<double>> fused;
  const Problem<PlainLstm> plain;
  const auto a = fused.forward_over_reverse();
  const auto b = plain.forward_over_reverse();
  CHECK(difference(std::pair{a.V, a.cell.weight_hh}, std::pair{b.V, b.cell.weight_hh}) <= 1e-12);
}

TEST_CASE("the Hessian through an LSTM is symmetric: u·Hv = v·Hu") {
  const Problem<Lstm<double>> p;
  const auto u = random_like(p.net, 90);
  const double uhv = tree_dot<double>(u, p.forward_over_reverse()).item();
  const double vhu = tree_dot<double>(p.v, hvp(p.loss(), p.net, u)).item();
  CHECK(std::abs(uhv - vhu) <= 1e-12 * std::max(1.0, std::abs(uhv)));
}
