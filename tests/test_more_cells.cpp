// The variants of the LSTM and the normalisation: values against scalar loops, gradients against differences.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "tree_distance.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr std::size_t B = 3, I = 4, H = 5;
using Numbers = std::vector<double>;

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

// W x of one example, row after row.
Numbers product(const Var<double>& W, const Numbers& x) {
  const Numbers w = W.to_vector();
  Numbers y(static_cast<std::size_t>(W.size(0)));
  for (std::size_t r = 0; r < y.size(); ++r) {
    for (std::size_t i = 0; i < x.size(); ++i) y[r] += w[r * x.size() + i] * x[i];
  }
  return y;
}
Numbers row(const Var<double>& x, std::size_t example) {
  const Numbers all = x.to_vector();
  const std::size_t n = all.size() / B;
  return {all.begin() + static_cast<std::ptrdiff_t>(example * n),
          all.begin() + static_cast<std::ptrdiff_t>((example + 1) * n)};
}
Numbers normalised(const LayerNorm<double>& norm, const Numbers& x) {
  const double n = static_cast<double>(x.size());
  const double mean = std::accumulate(x.begin(), x.end(), 0.0) / n;
  double variance = 0;
  for (const double v : x) variance += (v - mean) * (v - mean) / n;
  Numbers y;
  const Numbers w = norm.weight.to_vector(), b = norm.bias.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) {
    y.push_back((x[i] - mean) / std::sqrt(variance + norm.epsilon) * w[i] + b[i]);
  }
  return y;
}
Var<double> batch(const std::vector<Numbers>& rows) {
  Numbers all;
  for (const Numbers& r : rows) all.insert(all.end(), r.begin(), r.end());
  return {Shape{static_cast<Size>(B), static_cast<Size>(all.size() / B)},
          std::span<const double>(all)};
}

const Var<double> x = normal<double>(Key(1), {B, I});

// Against step(example, x, h, c) -> {h', c'} in plain numbers; then differences, for one step and for a sequence.
template <class Cell, class Step>
void check_cell(const Cell& cell, Step&& step) {
  const auto s = random_like(cell.initial_state(B), 7);
  std::vector<Numbers> h, c;
  for (std::size_t e = 0; e < B; ++e) {
    const auto [h1, c1] = step(row(x, e), row(s.h, e), row(s.c, e));
    h.push_back(h1);
    c.push_back(c1);
  }
  const auto next = cell(x, s);
  CHECK(distance(next.h, batch(h)) < 1e-14);
  CHECK(distance(next.c, batch(c)) < 1e-14);
  CHECK(distance(cell.output(next), next.h) == 0);

  const auto loss = [](const auto& tree) { return weighted_squares<double>(tree, 30); };
  check_grads([&](const Cell& m, const Var<double>& in, const auto& s0) { return loss(m(in, s0)); },
              std::tuple{cell, x, s});
  const auto xs = normal<double>(Key(2), {3, B, I});
  check_grads(
      [&](const Cell& m) {
        const auto run = unroll::unroll(m, xs, s);
        return loss(std::tuple{run.outputs, run.state});
      },
      cell);
  // Hoisting and probing use the parts of a step.
  CHECK(distance(unroll::unroll(cell, xs, s).outputs,
                 unroll::unroll(cell, xs, s, {.hoist = Hoist::never}).outputs) < 1e-14);
  CHECK(distance(unroll_probed(cell, xs, s, zero_probe(cell, xs, s)).outputs,
                 unroll::unroll(cell, xs, s).outputs) < 1e-14);
}

}  // namespace

TEST_CASE("A projected LSTM carries W_hr of what its gates give") {
  const auto cell = ProjectedLstm<double>::make(Key(3), I, H, 2);
  CHECK(cell.initial_state(B).h.shape() == Shape{B, 2});
  CHECK(cell.initial_state(B).c.shape() == Shape{B, H});
  const Numbers b1 = cell.bias_ih.to_vector(), b2 = cell.bias_hh.to_vector();
  check_cell(cell, [&](const Numbers& in, const Numbers& h, const Numbers& c) {
    const Numbers u = product(cell.weight_ih, in), w = product(cell.weight_hh, h);
    const auto z = [&](std::size_t gate, std::size_t j) {
      const std::size_t k = gate * H + j;
      return u[k] + w[k] + b1[k] + b2[k];
    };
    Numbers full, next;
    for (std::size_t j = 0; j < H; ++j) {
      next.push_back(sigma(z(1, j)) * c[j] + sigma(z(0, j)) * std::tanh(z(2, j)));
      full.push_back(sigma(z(3, j)) * std::tanh(next[j]));
    }
    return std::pair{product(cell.weight_hr, full), next};
  });
}

TEST_CASE("Peepholes: the input and forget gates see the old cell state, the output gate the new") {
  const auto cell = PeepholeLstm<double>::make(Key(3), I, H);
  const Numbers b = cell.bias.to_vector(), p_i = cell.peephole_i.to_vector(),
                p_f = cell.peephole_f.to_vector(), p_o = cell.peephole_o.to_vector();
  check_cell(cell, [&](const Numbers& in, const Numbers& h, const Numbers& c) {
    const Numbers u = product(cell.weight_ih, in), w = product(cell.weight_hh, h);
    const auto z = [&](std::size_t gate, std::size_t j) {
      const std::size_t k = gate * H + j;
      return u[k] + w[k] + b[k];
    };
    Numbers out, next;
    for (std::size_t j = 0; j < H; ++j) {
      next.push_back(sigma(z(1, j) + p_f[j] * c[j]) * c[j] +
                     sigma(z(0, j) + p_i[j] * c[j]) * std::tanh(z(2, j)));
      out.push_back(sigma(z(3, j) + p_o[j] * next[j]) * std::tanh(next[j]));
    }
    return std::pair{out, next};
  });
}

TEST_CASE("A layer-normalised LSTM normalises both sums and the cell state on its way out") {
  auto cell = LayerNormLstm<double>::make(Key(3), I, H);
  CHECK(distance(cell.bias, zeros<double>({4 * H})) == 0);
  cell = random_like(cell, 60);  // norms that are not the identity
  const Numbers b = cell.bias.to_vector();
  check_cell(cell, [&](const Numbers& in, const Numbers& h, const Numbers& c) {
    const Numbers u = normalised(cell.norm_ih, product(cell.weight_ih, in));
    const Numbers w = normalised(cell.norm_hh, product(cell.weight_hh, h));
    const auto z = [&](std::size_t gate, std::size_t j) {
      const std::size_t k = gate * H + j;
      return u[k] + w[k] + b[k];
    };
    Numbers out, next;
    for (std::size_t j = 0; j < H; ++j) {
      next.push_back(sigma(z(1, j)) * c[j] + sigma(z(0, j)) * std::tanh(z(2, j)));
    }
    const Numbers seen = normalised(cell.norm_c, next);
    for (std::size_t j = 0; j < H; ++j) out.push_back(sigma(z(3, j)) * std::tanh(seen[j]));
    return std::pair{out, next};
  });
}

TEST_CASE("PyTorch's form of Elman's network has two biases, else it is Elman's") {
  const auto rnn = Rnn<double>::make(Key(3), I, H);
  const ReluRnn<double> relu_rnn{rnn.weight_ih, rnn.weight_hh, rnn.bias_ih, rnn.bias_hh};
  const auto check = [&](const auto& cell, const auto& elman) {
    const auto xs = normal<double>(Key(2), {6, B, I});
    const auto h = normal<double>(Key(4), {B, H});
    CHECK(distance(cell(x, h), elman(x, h)) < 1e-15);
    CHECK(distance(unroll::unroll(cell, xs, h).outputs, unroll::unroll(elman, xs, h).outputs) <
          1e-14);
    check_grads([&](const auto& m, const Var<double>& in,
                    const Var<double>& s) { return weighted_squares<double>(m(in, s), 3); },
                std::tuple{cell, x, h});
    const auto probe = zero_probe(cell, xs, h);
    CHECK(distance(unroll_probed(cell, xs, h, probe).outputs, unroll::unroll(cell, xs, h).outputs) <
          1e-14);
  };
  const auto bias = rnn.bias_ih + rnn.bias_hh;
  check(rnn, Elman<double>{rnn.weight_ih, rnn.weight_hh, bias});
  check(relu_rnn, ReluElman<double>{rnn.weight_ih, rnn.weight_hh, bias});
}

TEST_CASE("Layer normalisation: rows of mean 0 and variance 1, scaled and shifted") {
  auto norm = LayerNorm<double>::make(I);
  const auto y = norm(x);
  CHECK(distance(mean(y, {-1}), zeros<double>({B})) < 1e-15);
  norm.epsilon = 0;
  CHECK(distance(var(norm(x), {-1}), ones<double>({B})) < 1e-14);
  CHECK(distance(norm(5 * x + 3), norm(x)) < 1e-13);
  norm = random_like(norm, 5);
  norm.epsilon = 1e-3;
  std::vector<Numbers> expected;
  for (std::size_t e = 0; e < B; ++e) expected.push_back(normalised(norm, row(x, e)));
  CHECK(distance(norm(x), batch(expected)) < 1e-14);
  CHECK(distance(norm(reshape(x, {1, B, I})), reshape(norm(x), {1, B, I})) == 0);
  // A row whose numbers are equal has no direction: it is the bias.
  CHECK(distance(norm(full<double>({2, I}, 7)), stack({norm.bias, norm.bias})) < 1e-14);
  check_grads([](const LayerNorm<double>& n, const Var<double>& v) { return n(v); },
              std::tuple{norm, x});
  CHECK_THROWS_WITH_AS((void)norm(zeros<double>({2, 3})),
                       "[layer_norm] the weight [4] and the bias [4] do not fit the rows of [2, 3]",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)LayerNorm<double>::make(0)(zeros<double>({2, 0})), std::invalid_argument);
}
