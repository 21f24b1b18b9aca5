// Products of a constant sequence's rows with a matrix are computed ahead where a loop asks for them in order. Nobody can tell:
// every row has the bits of a product by itself, in whatever order the loop goes.
#include <doctest/doctest.h>

#include <random>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/kernels.hpp"

using namespace unroll;

namespace {

template <class T>
std::vector<T> numbers(Size n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& v : x) v = static_cast<T>(uniform(random));
  return x;
}

// Row t of xs [T, ...] in memory of its own, [1, in].
template <class T>
Var<T> row_alone(const std::vector<T>& xs, Size t, Size in) {
  return Var<T>(Shape{1, in}, std::span<const T>(xs).subspan(static_cast<std::size_t>(t * in),
                                                             static_cast<std::size_t>(in)));
}

struct Sizes {
  Size steps, in, out;
};

template <class T>
void check_order(const Sizes& s, const std::vector<Size>& order, bool with_bias) {
  const std::vector<T> elements = numbers<T>(s.steps * s.in, 1);
  const Var<T> xs(Shape{s.steps, 1, s.in}, elements);
  const Var<T> W(Shape{s.out, s.in}, numbers<T>(s.out * s.in, 2)),
      b(Shape{s.out}, numbers<T>(s.out, 3));
  const auto product = [&](const Var<T>& x, const Var<T>& w) {
    return with_bias ? linear(x, w, b) : linear(x, w);
  };
  Tape<T> tape;
  const Var<T> w = tape.leaf(W);
  for (const Size t : order) {
    CAPTURE(s.steps);
    CAPTURE(s.in);
    CAPTURE(s.out);
    CAPTURE(t);
    const Var<T> y = product(index(xs, 0, t), w);
    CHECK(y.is_tracked());
    CHECK(y.to_vector() == product(row_alone(elements, t, s.in), W).to_vector());
  }
}

std::vector<Size> ascending(Size n) {
  std::vector<Size> order(static_cast<std::size_t>(n));
  for (Size t = 0; t < n; ++t) order[static_cast<std::size_t>(t)] = t;
  return order;
}

}  // namespace

TEST_CASE_TEMPLATE("Rows in order have the bits of products by themselves", T, float, double) {
  for (const Sizes& s :
       {Sizes{1, 8, 8}, Sizes{2, 16, 16}, Sizes{3, 9, 7}, Sizes{50, 16, 64}, Sizes{150, 33, 29},
        Sizes{30, 64, 256}, Sizes{23, 17, 131}, Sizes{9, 1, 1}, Sizes{9, 8, 0}, Sizes{9, 0, 8},
        Sizes{9, 7, 9}, Sizes{9, 70, 1}, Sizes{9, 32, 2}}) {
    for (const bool with_bias : {false, true}) check_order<T>(s, ascending(s.steps), with_bias);
  }
}

TEST_CASE_TEMPLATE("Rows in any other order too", T, float, double) {
  const Sizes s{40, 24, 33};
  std::vector<Size> order = ascending(s.steps);
  std::reverse(order.begin(), order.end());
  check_order<T>(s, order, true);
  check_order<T>(s, {0, 1, 2, 3, 9, 10, 11, 4, 5, 6, 7, 8, 8, 9, 9, 39, 0, 1, 2}, true);
}

TEST_CASE("Several matrices, arrays and windows take turns") {
  constexpr Size steps = 20, in = 24;
  const std::vector<double> elements = numbers<double>(steps * in, 4);
  const Var<double> xs(Shape{steps, 1, in}, elements);
  std::vector<Var<double>> matrices, leaves;
  Tape<double> tape;
  for (unsigned i = 0; i < 6; ++i) {
    matrices.emplace_back(Shape{16, in}, numbers<double>(16 * in, 10 + i));
    leaves.push_back(tape.leaf(matrices.back()));
  }
  const Var<double> late = slice(xs, 0, {5, 15});
  for (Size t = 0; t < 10; ++t) {
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      CHECK(linear(index(xs, 0, t), leaves[i]).to_vector() ==
            linear(row_alone(elements, t, in), matrices[i]).to_vector());
      CHECK(linear(index(late, 0, t), leaves[i]).to_vector() ==
            linear(row_alone(elements, t + 5, in), matrices[i]).to_vector());
    }
  }
}

TEST_CASE("A loop in order takes few products") {
  constexpr Size steps = 100, in = 16;
  const Var<float> xs(Shape{steps, 1, in}, numbers<float>(steps * in, 5)),
      W(Shape{in, in}, numbers<float>(in * in, 6));
  const Size before = detail::gemm_calls();
  const auto total = grad([&](const Var<float>& w) {
    Var<float> y(0);
    for (Size t = 0; t < steps; ++t) y = y + sum(linear(index(xs, 0, t), w));
    return y;
  })(W);
  const Size calls = detail::gemm_calls() - before;
  if (detail::gemm_path() == detail::GemmPath::plain) {
    CHECK(calls ==
          steps + 1);  // BLAS promises no equal bits: each product by itself, and the gradient
  } else {
    CHECK(calls <= 10);  // 1 + 6 of the loop, and the gradient
  }
  // d/dW is the sum of the rows, for each of W's.
  std::vector<float> rows = sum(reshape(xs, Shape{steps, in}), {0}).to_vector();
  for (Size i = 0; i < in; ++i) {
    for (Size j = 0; j < in; ++j) {
      CHECK(total.to_vector()[static_cast<std::size_t>(i * in + j)] ==
            doctest::Approx(rows[static_cast<std::size_t>(j)]).epsilon(1e-5));
    }
  }
}

TEST_CASE("What was computed ahead goes with the tape") {
  constexpr Size steps = 64, in = 64;
  const Var<double> xs(Shape{steps, 1, in}, numbers<double>(steps * in, 7)),
      W(Shape{in, in}, numbers<double>(in * in, 8));
  const Size before = memory_report().live_bytes;
  {
    Tape<double> tape;
    const Var<double> w = tape.leaf(W);
    for (Size t = 0; t < 10; ++t) (void)linear(index(xs, 0, t), w);
  }
  // W keeps its packed form, as after any products.
  CHECK(memory_report().live_bytes - before <= Size{3} * in * in * Size{sizeof(double)});
}
