// The main kernels against a plain loop, and against what the machine can do: its copying speed and its multiply-adds,
// both measured in the same program.
//
//   ops
#include <cblas.h>
#include <fmt/format.h>

#include <cstring>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/kernels.hpp"
#include "unroll/bench/measure.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

// Multiply-adds in as many independent registers as hide their latency.
double peak_gflops() {
  using Batch = Lane<float>::Batch;
  constexpr int chains = 12, times = 100000;
  volatile float factor = 0.999F, term = 1e-3F;
  const double seconds = time_per_call([&] {
    const Batch a(factor), b(term);
    Batch sum[chains];
    for (int i = 0; i < chains; ++i) sum[i] = Batch(static_cast<float>(i));  // all different
    for (int i = 0; i < times; ++i) {
      for (Batch& s : sum) s = xsimd::fma(s, a, b);
    }
    Batch total(0.0F);
    for (const Batch& s : sum) total = total + s;
    volatile float keep = total.get(0);
    (void)keep;
  });
  return 2.0 * chains * times * Lane<float>::width / seconds * 1e-9;
}

void row(const char* name, double ours, double loop, double work, const char* unit, double limit) {
  fmt::print("{:<34} {:>10.2f} us {:>10.2f} us {:>8.2f} {:>9.1f} {} {:>6.0f} %\n", name, ours * 1e6,
             loop * 1e6, ours / loop, work / ours * 1e-9, unit, 100 * work / ours * 1e-9 / limit);
}

}  // namespace

int main() {
  openblas_set_num_threads(1);
  const double flops = peak_gflops();
  for (Size n : {Size{4096}, Size{262144}}) {
    std::vector<float> a(static_cast<std::size_t>(n), 0.5F), b = a, c = a;
    const double copy = time_per_call([&] {
      std::memcpy(c.data(), a.data(), a.size() * sizeof(float));
      asm volatile("" : : "r"(c.data()) : "memory");
    });
    const double bytes = static_cast<double>(n) * sizeof(float), limit = 2 * bytes / copy * 1e-9;
    fmt::print("{} floats; copying {:.1f} GB/s, multiply-adds {:.0f} GFLOP/s\n", n, limit, flops);
    fmt::print("{:<34} {:>13} {:>13} {:>8} {:>14} {:>8}\n", "kernel", "library", "plain loop",
               "ratio", "reaches", "of limit");
    const Var<float> x({n}, a), y({n}, b);
    const auto keep = [](const float* p) { asm volatile("" : : "r"(p) : "memory"); };
    const auto loop = [&](auto f) {
      return time_per_call([&] {
        for (std::size_t i = 0; i < a.size(); ++i) c[i] = f(a[i], b[i]);
        keep(c.data());
      });
    };
    row("x + y", time_per_call([&] { (void)(x + y); }),
        loop([](float p, float q) { return p + q; }), 3 * bytes, "GB/s", limit);
    row("tanh x", time_per_call([&] { (void)tanh(x); }),
        loop([](float p, float) { return std::tanh(p); }), 2 * bytes, "GB/s", limit);
    row("sigmoid x", time_per_call([&] { (void)sigmoid(x); }),
        loop([](float p, float) { return 1 / (1 + std::exp(-p)); }), 2 * bytes, "GB/s", limit);
    row("fused tanh(x y + x) sigmoid y", time_per_call([&] {
          (void)fuse([](auto p, auto q) { return tanh(p * q + p) * sigmoid(q); }, x, y);
        }),
        loop([](float p, float q) { return std::tanh(p * q + p) / (1 + std::exp(-q)); }), 3 * bytes,
        "GB/s", limit);
    const double sum_loop = time_per_call([&] {
      float s = 0;
      for (float v : a) s += v;
      volatile float out = s;
      (void)out;
    });
    row("sum of all", time_per_call([&] { (void)sum(x); }), sum_loop, bytes, "GB/s", limit);
    const Var<float> m = reshape(x, {-1, 64});
    const double columns_loop = time_per_call([&] {
      std::fill_n(c.data(), 64, 0.0F);
      for (std::size_t i = 0; i < a.size(); ++i) c[i % 64] += a[i];
      keep(c.data());
    });
    row("sum over axis 0 of [n/64, 64]", time_per_call([&] { (void)sum(m, {0}); }), columns_loop,
        bytes, "GB/s", limit);
  }
  fmt::print("products of float matrices; multiply-adds {:.0f} GFLOP/s\n", flops);
  fmt::print("{:<34} {:>13} {:>13} {:>8} {:>14} {:>8}\n", "m x n x k", "library", "cblas", "ratio",
             "reaches", "of limit");
  struct Sizes {
    Size m, n, k;
  };
  for (const Sizes& s : {Sizes{1, 256, 64},
                         {1, 2048, 512},
                         {16, 512, 128},
                         {32, 1024, 256},
                         {256, 256, 256},
                         {1600, 1024, 256}}) {
    const auto filled = [](Size n) {
      return std::vector<float>(static_cast<std::size_t>(n), 0.1F);
    };
    const auto a = filled(s.m * s.k), b = filled(s.k * s.n);
    auto c = filled(s.m * s.n);
    const Var<float> A({s.m, s.k}, a), B({s.n, s.k}, b);
    const double ours = time_per_call([&] { (void)linear(A, B); });
    const double blas = time_per_call([&] {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(s.m),
                  static_cast<blasint>(s.n), static_cast<blasint>(s.k), 1, a.data(),
                  static_cast<blasint>(s.k), b.data(), static_cast<blasint>(s.k), 0, c.data(),
                  static_cast<blasint>(s.n));
    });
    const std::string name = fmt::format("linear {} x {} x {}", s.m, s.n, s.k);
    row(name.c_str(), ours, blas, 2.0 * static_cast<double>(s.m * s.n * s.k), "GF/s", flops);
  }
  return 0;
}
