// What must not grow faster than the work: memory of slices and look-ups, products for one weight used at many steps, the
// stack under long chains.
#include <doctest/doctest.h>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/pool.hpp"

using namespace unroll;

namespace {

// The most that f holds at one time above what is held before it.
template <class F>
Size peak_bytes(F&& f) {
  reset_memory_peak();
  const Size before = memory_report().live_bytes;
  f();
  return memory_report().peak_bytes - before;
}

// The sum of squares of the rows, taken one by one.
Var<float> by_rows(const Var<float>& x) {
  Var<float> total = 0;
  for (Size i = 0; i < x.size(0); ++i) total += sum(square(index(x, 0, i)));
  return total;
}
Var<float> by_slices(const Var<float>& x) {
  Var<float> total = 0;
  for (Size i = 0; i < x.size(0); ++i) total += sum(slice(x, 0, {i, i + 1}) * 2);
  return total;
}
Var<float> by_unbind(const Var<float>& x) {
  Var<float> total = 0;
  for (const auto& row : unbind(x)) total += sum(row * row);
  return total;
}
Var<float> by_lookups(const Var<float>& x) {
  Var<float> total = 0;
  for (Size i = 0; i < x.size(0); ++i) total += sum(take(x, Indices({2}, {i, 0})));
  return total;
}

}  // namespace

TEST_CASE("A small op takes at most 128 bytes beside the elements of its value") {
  constexpr int nodes = 100'000;
  constexpr Size elements = 16;
  // What the last chunk of the tape has left is spread over all nodes. With a sanitizer each value is a block of its own.
  constexpr double most = detail::bypass_pool ? 160 : 129;
  const auto bytes_of = [&](const Shape& shape, auto op) {
    Tape<float> tape;
    const Var<float> y = tape.leaf(full<float>(shape, 0.5F));
    Var<float> z = y;
    const Size before = memory_report().live_bytes;
    for (int i = 0; i < nodes; ++i) z = op(z, y);
    const auto bytes = static_cast<double>(memory_report().live_bytes - before);
    return bytes / nodes - double{elements} * sizeof(float);
  };
  for (const Shape& shape : {Shape{elements}, Shape{4, 4}, Shape{1, elements}, Shape{2, 2, 4}}) {
    CAPTURE(to_string(shape));
    CHECK(bytes_of(shape, [](const auto& z, const auto& y) { return z + y; }) <= most);
    CHECK(bytes_of(shape, [](const auto& z, const auto& y) { return z * y; }) <= most);
    CHECK(bytes_of(shape, [](const auto& z, const auto&) { return tanh(z); }) <= most);
    CHECK(bytes_of(shape, [](const auto& z, const auto&) {
            return slice(z, 0, {0, z.size(0)});
          }) <= most);
  }
}

TEST_CASE("The gradient of n slices of an array with n rows needs memory for n rows, not n²") {
  const Size n = 1000, width = 64, bytes = n * width * static_cast<Size>(sizeof(float));
  const Var<float> x = ones<float>({n, width});
  for (const auto& f : {by_rows, by_slices, by_unbind, by_lookups}) {
    const Size peak = peak_bytes([&] { (void)grad(f)(x); });
    INFO(peak << " bytes for an array of " << bytes);
    CHECK(peak < 8 * bytes);  // one array per row would be 1000 times that
  }
  CHECK(grad(by_rows)(x).to_vector() == std::vector<float>(static_cast<std::size_t>(n * width), 2));
  CHECK(grad(by_slices)(x).to_vector() ==
        std::vector<float>(static_cast<std::size_t>(n * width), 2));
}

TEST_CASE("Ten times the slices need ten times the memory") {
  const auto peak = [](Size n) {
    const Var<float> x = ones<float>({n, 64});
    return static_cast<double>(peak_bytes([&] { (void)grad(by_rows)(x); }));
  };
  CHECK(peak(10000) / peak(1000) < 12);
}

TEST_CASE("Second derivatives of slices are linear in memory too") {
  const Size n = 1000, width = 64, bytes = n * width * static_cast<Size>(sizeof(float));
  const Var<float> x = ones<float>({n, width});
  Var<float> h;
  const Size reverse = peak_bytes(
      [&] { h = grad([](const Var<float>& v) { return sum(grad(by_rows)(v) * v); })(x); });
  CHECK(h.to_vector() == std::vector<float>(static_cast<std::size_t>(n * width), 4));
  const Size forward = peak_bytes([&] { h = hvp(by_rows, x, x); });
  CHECK(h.to_vector() == std::vector<float>(static_cast<std::size_t>(n * width), 2));
  INFO(reverse << " and " << forward << " bytes for an array of " << bytes);
  CHECK(reverse < 20 * bytes);
  CHECK(forward < 20 * bytes);
}

TEST_CASE("A transform gives back all the memory it took") {
  const Var<float> x = ones<float>({100, 8});
  (void)grad(by_rows)(x);
  const Size before = memory_report().live_bytes;
  for (int i = 0; i < 3; ++i) {
    (void)grad(by_rows)(x);
    (void)jvp(by_rows, x, x);
    (void)hvp(by_rows, x, x);
    try {
      (void)grad([](const Var<float>& v) { return matmul(v, v); })(x);
    } catch (const std::invalid_argument&) {
    }
    Tape<float> tape;
    (void)tape.recorded_pullback(by_rows(tape.leaf(x)));
  }
  CHECK(memory_report().live_bytes == before);
}

TEST_CASE("A weight used at T steps needs one product for its gradient") {
  const Size in = 5, hidden = 7;
  for (const Size T : {1, 2, 50}) {
    for (const Size B : {1, 3, 16}) {
      const Var<double> xs = full<double>({T, B, in}, 0.3), a0 = full<double>({B, hidden}, 0.1);
      struct Weights {
        Var<double> U, W;
        static constexpr auto fields() {
          return std::tuple{field("U", &Weights::U), field("W", &Weights::W)};
        }
      };
      const Weights weights{full<double>({hidden, in}, 0.2), full<double>({hidden, hidden}, 0.05)};
      Size forward = 0;
      const Size before = detail::gemm_calls();
      const auto r = value_and_grad(
          [&](const Weights& w) {
            Var<double> a = a0;
            for (Size t = 0; t < T; ++t) a = tanh(linear(index(xs, 0, t), w.U) + linear(a, w.W));
            forward = detail::gemm_calls() - before;
            return sum(a);
          },
          weights);
      const Size all = detail::gemm_calls() - before;
      INFO("T = " << T << ", B = " << B);
      CHECK(forward == 2 * T);
      const Size hidden_states = T - 1;           // a0 is a constant
      CHECK(all - forward - hidden_states == 2);  // one for U, one for W
      // The same by one product per step.
      const auto slow = [&](bool input) {
        std::vector<Var<double>> a{a0};
        for (Size t = 0; t < T; ++t)
          a.push_back(tanh(linear(index(xs, 0, t), weights.U) + linear(a.back(), weights.W)));
        Var<double> g = ones<double>({B, hidden}),
                    total = zeros<double>(input ? Shape{hidden, in} : Shape{hidden, hidden});
        for (Size t = T; t-- > 0;) {
          const Var<double>& y = a[static_cast<std::size_t>(t + 1)];
          g = g * (1 - y * y);
          total += matmul(transpose(g), input ? index(xs, 0, t) : a[static_cast<std::size_t>(t)]);
          g = matmul(g, weights.W);
        }
        return total;
      };
      CHECK(max(abs(r.gradient.U - slow(true))).item() < 1e-13);
      CHECK(max(abs(r.gradient.W - slow(false))).item() < 1e-13);
    }
  }
}

TEST_CASE("matmul settles its products too, on either side") {
  const Var<double> W0 = full<double>({4, 4}, 0.1), x = full<double>({3, 4}, 0.5);
  for (const bool left : {false, true}) {
    Size forward = 0;
    const Size before = detail::gemm_calls();
    const Var<double> g = grad([&](const Var<double>& W) {
      Var<double> a = left ? transpose(x) : x;
      for (int t = 0; t < 20; ++t) a = left ? matmul(W, a) : matmul(a, W);
      forward = detail::gemm_calls() - before;
      return sum(a);
    })(W0);
    CHECK(forward == 20);
    CHECK(detail::gemm_calls() - before - forward == 19 + 1);
    CHECK(g.size() == 16);
  }
}

TEST_CASE("A chain of 2,000,000 nodes runs and destructs") {
  const int n = 2'000'000;
  const auto chain = [&](const Var<float>& x) {
    Var<float> y = x;
    for (int i = 0; i < n; ++i) y = -y;
    return y;
  };
  CHECK(grad(chain)(1.0F).item() == 1);
  trim_memory();
  {
    Tape<float> tape;  // destructed without being read
    CHECK(chain(tape.leaf(1.0F)).item() == 1);
  }
  trim_memory();
  CHECK(jvp(chain, 1.0F, 2.0F).tangent.item() == 2);
  trim_memory();
}

TEST_CASE("A wide sum of 200,000 terms and second derivatives along a long chain need no stack") {
  const Var<double> g = grad([](const Var<double>& x) {
    Var<double> y = 0;
    for (int i = 0; i < 200'000; ++i) y += x * i;
    return y;
  })(1.0);
  CHECK(g.item() == 199'999.0 * 100'000.0);
  const auto chain = [](const Var<double>& x) {
    Var<double> y = x;
    for (int i = 0; i < 50'000; ++i) y = y * 1.00001;
    return y * x;
  };
  CHECK(grad(grad(chain))(1.0).item() ==
        doctest::Approx(2 * std::pow(1.00001, 50'000)).epsilon(1e-9));
}
