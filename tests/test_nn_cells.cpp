// The cells: values against scalar loops that follow PyTorch's documentation, gradients against
// differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "unroll/autograd/check.hpp"
#include "unroll/nn/cells.hpp"

using namespace unroll;

namespace {

constexpr std::size_t B = 3, I = 4, H = 5;

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

// Row `row` of W x + b for one example of the batch.
double affine(const std::vector<double>& W, const std::vector<double>& b, std::size_t row,
              const std::vector<double>& x, std::size_t example) {
  const std::size_t n = x.size() / B;
  double y = b.empty() ? 0 : b[row];
  for (std::size_t i = 0; i < n; ++i) y += W[row * n + i] * x[example * n + i];
  return y;
}

double distance(const Var<double>& a, const std::vector<double>& b) {
  const auto values = a.to_vector();
  REQUIRE(values.size() == b.size());
  double d = 0;
  for (std::size_t i = 0; i < b.size(); ++i) d = std::max(d, std::abs(values[i] - b[i]));
  return d;
}

const Var<double> x = normal<double>(Key(1), {B, I});
const Var<double> h = normal<double>(Key(2), {B, H}, 0, 0.5);
const Var<double> c = normal<double>(Key(3), {B, H}, 0, 0.5);

}  // namespace

TEST_CASE("An Elman cell is tanh(U x + W a + b), its relu form max(0, U x + W a + b)") {
  auto cell = Elman<double>::make(Key(4), I, H);
  cell.b = normal<double>(Key(5), {H});
  const ReluElman<double> relu_cell{cell.U, cell.W, cell.b};
  const auto U = cell.U.to_vector(), W = cell.W.to_vector(), b = cell.b.to_vector();
  std::vector<double> expected, rectified;
  for (std::size_t e = 0; e < B; ++e) {
    for (std::size_t j = 0; j < H; ++j) {
      const double z = affine(U, b, j, x.to_vector(), e) + affine(W, {}, j, h.to_vector(), e);
      expected.push_back(std::tanh(z));
      rectified.push_back(std::max(z, 0.0));
    }
  }
  CHECK(distance(cell(x, h), expected) < 1e-15);
  CHECK(distance(relu_cell(x, h), rectified) < 2e-15);
  CHECK(distance(tanh(linear(x, cell.U) + linear(h, cell.W) + cell.b), expected) < 1e-15);
  CHECK(distance(cell.from_pre_activation(cell.pre_activation(cell.project(x), h), h), expected) <
        1e-15);
}

TEST_CASE("An LSTM step follows PyTorch's equations with the gates in the order i, f, g, o") {
  const auto cell = Lstm<double>::make(Key(4), I, H);
  const auto Wi = cell.weight_ih.to_vector(), Wh = cell.weight_hh.to_vector();
  const auto bi = cell.bias_ih.to_vector(), bh = cell.bias_hh.to_vector();
  std::vector<double> next_h, next_c;
  for (std::size_t e = 0; e < B; ++e) {
    for (std::size_t j = 0; j < H; ++j) {
      std::array<double, 4> z;
      for (std::size_t gate = 0; gate < 4; ++gate) {
        z[gate] = affine(Wi, bi, gate * H + j, x.to_vector(), e) +
                  affine(Wh, bh, gate * H + j, h.to_vector(), e);
      }
      next_c.push_back(sigma(z[1]) * c.to_vector()[e * H + j] + sigma(z[0]) * std::tanh(z[2]));
      next_h.push_back(sigma(z[3]) * std::tanh(next_c.back()));
    }
  }
  const LstmState<double> next = cell(x, {h, c});
  CHECK(distance(next.h, next_h) < 1e-15);
  CHECK(distance(next.c, next_c) < 1e-15);
  CHECK(distance(cell.output(next), next_h) < 1e-15);
  CHECK(Lstm<double>::gates == std::array<std::string_view, 4>{"i", "f", "g", "o"});
}

TEST_CASE("A GRU step follows PyTorch's equations with the gates in the order r, z, n") {
  const auto cell = Gru<double>::make(Key(4), I, H);
  const auto Wi = cell.weight_ih.to_vector(), Wh = cell.weight_hh.to_vector();
  const auto bi = cell.bias_ih.to_vector(), bh = cell.bias_hh.to_vector();
  std::vector<double> next;
  for (std::size_t e = 0; e < B; ++e) {
    for (std::size_t j = 0; j < H; ++j) {
      std::array<double, 3> in, rec;
      for (std::size_t gate = 0; gate < 3; ++gate) {
        in[gate] = affine(Wi, bi, gate * H + j, x.to_vector(), e);
        rec[gate] = affine(Wh, bh, gate * H + j, h.to_vector(), e);
      }
      const double r = sigma(in[0] + rec[0]), z = sigma(in[1] + rec[1]);
      const double n = std::tanh(in[2] + r * rec[2]);
      next.push_back((1 - z) * n + z * h.to_vector()[e * H + j]);
    }
  }
  CHECK(distance(cell(x, h), next) < 1e-15);
  CHECK(Gru<double>::gates == std::array<std::string_view, 3>{"r", "z", "n"});
}

TEST_CASE("Every cell is right under differences and its tangents agree, to second order") {
  const auto weights = normal<double>(Key(9), {B, H});
  const auto check = [&](const auto& cell, const auto& state) {
    check_grads([&](const auto& m, const Var<double>& input,
                    const auto& s) { return sum(weights * m.output(m(input, s))); },
                std::tuple{cell, x, state});
  };
  check(Elman<double>::make(Key(4), I, H), h);
  check(ReluElman<double>::make(Key(4), I, H), h);
  check(Lstm<double>::make(Key(4), I, H), LstmState<double>{h, c});
  check(Gru<double>::make(Key(4), I, H), h);
}

TEST_CASE("The cell state of an LSTM has its own gradient") {
  const auto cell = Lstm<double>::make(Key(4), I, H);
  check_grads(
      [&](const LstmState<double>& s) {
        const auto next = cell(x, s);
        return sum(square(next.c)) + sum(sin(next.h));
      },
      LstmState<double>{h, c});
}

TEST_CASE("In float a cell computes what it computes in double, to float's precision") {
  const auto cell = Lstm<double>::make(Key(4), I, H);
  const Lstm<float> single{cast<float>(cell.weight_ih), cast<float>(cell.weight_hh),
                           cast<float>(cell.bias_ih), cast<float>(cell.bias_hh)};
  const auto a = single(cast<float>(x), {cast<float>(h), cast<float>(c)});
  CHECK(distance(cast<double>(a.h), cell(x, {h, c}).h.to_vector()) < 1e-6);
}

TEST_CASE("New cells have the documented shapes, names, spread and zero states") {
  const auto lstm = Lstm<float>::make(Key(1), 7, 16);
  CHECK(lstm.weight_ih.shape() == Shape{64, 7});
  CHECK(lstm.weight_hh.shape() == Shape{64, 16});
  CHECK(lstm.bias_hh.shape() == Shape{64});
  CHECK(max(abs(lstm.weight_ih)).item() <= 0.25f);
  CHECK(max(abs(lstm.weight_ih)).item() > 0.24f);
  std::vector<std::string> names;
  for_each_named(lstm, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"weight_ih", "weight_hh", "bias_ih", "bias_hh"});
  const auto s = lstm.initial_state(2);
  CHECK(s.h.shape() == Shape{2, 16});
  CHECK(s.c.to_vector() == std::vector<float>(32, 0.0f));
  const auto gru = Gru<float>::make(Key(1), 7, 16);
  CHECK(gru.weight_ih.shape() == Shape{48, 7});
  CHECK(gru.initial_state(2).shape() == Shape{2, 16});
  const auto elman = Elman<double>::make(Key(1), 7, 16);
  CHECK(elman.U.shape() == Shape{16, 7});
  CHECK(elman.b.to_vector() == std::vector<double>(16, 0.0));
  CHECK(max(abs(matmul(elman.W, transpose(elman.W)) - eye<double>(16))).item() < 1e-14);
}

TEST_CASE("A state or input of the wrong size is an error that names the product") {
  const auto cell = Lstm<double>::make(Key(4), I, H);
  CHECK_THROWS_AS((void)cell(normal<double>(Key(1), {B, I + 1}), {h, c}), std::invalid_argument);
  CHECK_THROWS_AS((void)cell(x, cell.initial_state(B + 1)), std::invalid_argument);
}
