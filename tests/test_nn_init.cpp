// Initial weights, and the two layers that hold nothing but weights.
#include <doctest/doctest.h>

#include <cmath>

#include "unroll/autograd/check.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/init.hpp"
#include "unroll/nn/linear.hpp"

using namespace unroll;

namespace {

template <class T>
double largest(const Var<T>& x) {
  return static_cast<double>(max(abs(x)).item());
}
// Of numbers whose mean is 0.
template <class T>
double variance(const Var<T>& x) {
  return static_cast<double>(mean(square(x)).item());
}
// The distance of x xᵀ (or xᵀ x) from gain² · 1.
template <class T>
double distance_from_orthogonal(const Var<T>& q, double gain) {
  const Var<T> x = reshape(q, {q.size(0), -1});
  const bool wide = x.size(0) <= x.size(1);
  const Var<T> product = wide ? matmul(x, transpose(x)) : matmul(transpose(x), x);
  return largest(product - eye<T>(product.size(0)) * (gain * gain));
}

}  // namespace

TEST_CASE("Fans count the inputs of an output and the outputs of an input") {
  CHECK(fans({30, 20}).in == 20);
  CHECK(fans({30, 20}).out == 30);
  CHECK(fans({30, 20, 3}).in == 60);
  CHECK(fans({30, 20, 3}).out == 90);
  CHECK_THROWS_WITH_AS((void)fans({3}),
                       "[init] the shape [3] is not that of a weight: [out, in] is expected",
                       std::invalid_argument);
}

TEST_CASE_TEMPLATE("Initial weights have the spread of their formulas", T, float, double) {
  const Shape shape{300, 100};
  const Key key(1);
  // A variance of 30000 numbers is off by √(2/30000) = 0.8 % (normal) or less.
  const auto near = [](double a, double b) { return std::abs(a / b - 1) < 0.04; };
  CHECK(near(variance(glorot_uniform<T>(key, shape)), 2.0 / 400));
  CHECK(largest(glorot_uniform<T>(key, shape)) <= std::sqrt(6.0 / 400));
  CHECK(near(variance(glorot_normal<T>(key, shape, 2)), 8.0 / 400));
  CHECK(near(variance(he_uniform<T>(key, shape)), 2.0 / 100));
  CHECK(largest(he_uniform<T>(key, shape)) <= std::sqrt(6.0 / 100));
  CHECK(near(variance(he_normal<T>(key, shape, 1)), 1.0 / 100));
  CHECK(near(variance(pytorch_uniform<T>(key, shape, 100)), 1.0 / 300));
  CHECK(largest(pytorch_uniform<T>(key, shape, 100)) <= 0.1 + 1e-8);
  CHECK(std::abs(static_cast<double>(mean(glorot_uniform<T>(key, shape)).item())) < 0.002);
  CHECK(glorot_normal<T>(key, shape).shape() == shape);
}

TEST_CASE("Orthogonal weights are orthogonal, wide, tall and with more axes") {
  CHECK(distance_from_orthogonal(orthogonal<double>(Key(1), {40, 40}), 1) < 1e-14);
  CHECK(distance_from_orthogonal(orthogonal<double>(Key(2), {5, 33}, 1.5), 1.5) < 1e-14);
  CHECK(distance_from_orthogonal(orthogonal<double>(Key(3), {33, 5}), 1) < 1e-14);
  CHECK(distance_from_orthogonal(orthogonal<double>(Key(4), {6, 4, 3}), 1) < 1e-14);
  CHECK(distance_from_orthogonal(orthogonal<float>(Key(5), {64, 64}), 1) < 1e-6);
  CHECK(largest(orthogonal<double>(Key(6), {1, 1})) == doctest::Approx(1).epsilon(1e-15));
  CHECK(orthogonal<float>(Key(7), {0, 4}).shape() == Shape{0, 4});
  // Uniformly distributed: the entries of a 2 x 2 one are cosines of a uniform angle, mean square
  // 1/2.
  double square_sum = 0, sum = 0;
  for (std::uint64_t n = 0; n < 2000; ++n) {
    const double c = orthogonal<double>(fold_in(Key(8), n), {2, 2}).to_vector()[0];
    square_sum += c * c / 2000;
    sum += c / 2000;
  }
  CHECK(std::abs(square_sum - 0.5) < 4 * std::sqrt(0.125 / 2000));
  CHECK(std::abs(sum) < 4 * std::sqrt(0.5 / 2000));
}

TEST_CASE("The same key gives the same weights, another key others") {
  CHECK(glorot_uniform<float>(Key(1), {3, 4}).to_vector() ==
        glorot_uniform<float>(Key(1), {3, 4}).to_vector());
  CHECK(orthogonal<float>(Key(1), {3, 4}).to_vector() !=
        orthogonal<float>(Key(2), {3, 4}).to_vector());
}

TEST_CASE("A linear layer is W x + b over any leading axes") {
  const auto layer = Linear<double>::make(Key(1), 4, 3);
  const Var<double> x = normal<double>(Key(2), {5, 2, 4});
  const Var<double> y = layer(x);
  CHECK(y.shape() == Shape{5, 2, 3});
  const auto W = layer.weight.to_vector(), b = layer.bias.to_vector(), xs = x.to_vector();
  for (std::size_t row = 0; row < 10; ++row) {
    for (std::size_t o = 0; o < 3; ++o) {
      double expected = b[o];
      for (std::size_t i = 0; i < 4; ++i) expected += W[o * 4 + i] * xs[row * 4 + i];
      CHECK(std::abs(y.to_vector()[row * 3 + o] - expected) < 1e-15);
    }
  }
  check_grads([&](const Linear<double>& l) { return sum(square(l(x))); }, layer);
  CHECK(parameter_count(layer) == 15);
}

TEST_CASE("An embedding looks up rows, and only those get a gradient") {
  const auto embedding = Embedding<double>::make(Key(1), 6, 3);
  const Indices words({2, 2}, {4, 1, 4, 5});
  const Var<double> xs = embedding(words);
  CHECK(xs.shape() == Shape{2, 2, 3});
  CHECK(index(index(xs, 0, 1), 0, 1).to_vector() == index(embedding.weight, 0, 5).to_vector());
  const auto g = grad([&](const auto& e) { return sum(e(words)); })(embedding);
  CHECK(sum(g.weight, -1).to_vector() == std::vector<double>{0, 3, 0, 0, 6, 3});
  check_grads([&](const auto& e) { return sum(tanh(e(words))); }, embedding);
  CHECK_THROWS_AS((void)embedding(Indices({1}, {6})), std::invalid_argument);
}
