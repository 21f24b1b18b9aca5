// The main kernels against a plain loop, and against what the machine can do: its copying speed and its multiply-adds, both
// measured in the same program, by Google Benchmark.
//
//   ops
//   ops --benchmark_filter='.*262144.*' --benchmark_repetitions=21        // its options apply; rows need their loop and limit
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstring>
#include <functional>

#include "unroll/autograd/autograd.hpp"
#include "unroll/bench/medians.hpp"
#include "unroll/bench/one_blas_thread.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

// A row of a table: a kernel, the plain loop (or cblas) for the same, and what they move or multiply.
struct Row {
  std::string name;
  double work;        // bytes or floating-point operations
  std::string limit;  // the benchmark whose speed is the limit
};

std::string loop_of(const std::string& name) { return name + ", loop"; }

template <class F>
void add(const std::string& name, F f) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [f](benchmark::State& state) mutable {
                                 for (auto _ : state) {
                                   f();
                                   benchmark::ClobberMemory();
                                 }
                               })
      ->MeasureProcessCPUTime()
      ->MinTime(0.01)
      ->Repetitions(9);
}

constexpr int chains = 12, times = 10000;
constexpr double peak_work = 2.0 * chains * times * static_cast<double>(Lane<float>::width);

// Multiply-adds in as many independent registers as hide their latency.
void multiply_add() {
  using Batch = Lane<float>::Batch;
  volatile float factor = 0.999F, term = 1e-3F;
  const Batch a(factor), b(term);
  Batch sum[chains];
  for (int i = 0; i < chains; ++i) sum[i] = Batch(static_cast<float>(i));  // all different
  for (int i = 0; i < times; ++i) {
    for (Batch& s : sum) s = xsimd::fma(s, a, b);
  }
  Batch total(0.0F);
  for (const Batch& s : sum) total = total + s;
  benchmark::DoNotOptimize(total);
}

std::vector<float> filled(Size n, float value) {
  return std::vector<float>(static_cast<std::size_t>(n), value);
}

// Kernels over n floats.
std::vector<Row> add_arrays(Size n) {
  const std::string limit = fmt::format("copy {}", n), suffix = fmt::format(" [{}]", n);
  const double array = static_cast<double>(n) * sizeof(float);
  std::vector<Row> rows;
  const auto buffers = std::make_shared<std::array<std::vector<float>, 3>>();
  buffers->fill(filled(n, 0.5F));
  add(limit, [buffers] {
    auto& [a, b, c] = *buffers;
    std::memcpy(c.data(), a.data(), a.size() * sizeof(float));
    benchmark::DoNotOptimize(c.data());
  });
  const Var<float> x({n}, (*buffers)[0]), y({n}, (*buffers)[1]);
  const auto row = [&](const std::string& name, double arrays, auto kernel, auto loop) {
    rows.push_back({name + suffix, arrays * array, limit});
    add(rows.back().name, kernel);
    add(loop_of(rows.back().name), loop);
  };
  const auto each = [&](auto f) {
    return [buffers, f] {
      auto& [a, b, c] = *buffers;
      for (std::size_t i = 0; i < a.size(); ++i) c[i] = f(a[i], b[i]);
      benchmark::DoNotOptimize(c.data());
    };
  };
  row(
      "x + y", 3, [=] { (void)(x + y); }, each([](float p, float q) { return p + q; }));
  row(
      "tanh x", 2, [=] { (void)tanh(x); }, each([](float p, float) { return std::tanh(p); }));
  row(
      "sigmoid x", 2, [=] { (void)sigmoid(x); },
      each([](float p, float) { return 1 / (1 + std::exp(-p)); }));
  row(
      "fused tanh(x y + x) sigmoid y", 3,
      [=] { (void)fuse([](auto p, auto q) { return tanh(p * q + p) * sigmoid(q); }, x, y); },
      each([](float p, float q) { return std::tanh(p * q + p) / (1 + std::exp(-q)); }));
  row(
      "sum of all", 1, [=] { (void)sum(x); },
      [buffers] {
        float s = 0;
        for (float v : (*buffers)[0]) s += v;
        benchmark::DoNotOptimize(s);
      });
  const Var<float> m = reshape(x, {-1, 64});
  row(
      "sum over axis 0 of [n/64, 64]", 1, [=] { (void)sum(m, {0}); },
      [buffers] {
        auto& [a, b, c] = *buffers;
        std::fill_n(c.data(), 64, 0.0F);
        for (std::size_t i = 0; i < a.size(); ++i) c[i % 64] += a[i];
        benchmark::DoNotOptimize(c.data());
      });
  return rows;
}

Row add_product(Size m, Size n, Size k) {
  const std::string name = fmt::format("linear {} x {} x {}", m, n, k);
  const auto a = filled(m * k, 0.1F), b = filled(k * n, 0.1F);
  const Var<float> A({m, k}, a), B({n, k}, b);
  add(name, [=] { (void)linear(A, B); });
  add(loop_of(name), [=, c = filled(m * n, 0)]() mutable {
    const auto i = [](Size x) { return static_cast<blasint>(x); };
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, i(m), i(n), i(k), 1, a.data(), i(k),
                b.data(), i(k), 0, c.data(), i(n));
  });
  return {name, 2.0 * static_cast<double>(m * n * k), "peak"};
}

void print(const std::vector<Row>& rows, const Medians& medians, const char* unit,
           const std::function<double(const std::string&)>& limit_of) {
  for (const Row& r : rows) {
    const Median own = medians[r.name], loop = medians[loop_of(r.name)];
    if (!own.measured || !loop.measured) continue;  // by --benchmark_filter
    const double reached = r.work / own.ns;
    fmt::print("{:<38} {:>10.2f} us {:>10.2f} us {:>8.2f} {:>9.1f} {} {:>6.0f} %\n", r.name,
               own.ns * 1e-3, loop.ns * 1e-3, own.ns / loop.ns, reached, unit,
               100 * reached / limit_of(r.limit));
  }
}
void heading(const char* what, const char* other) {
  fmt::print("{:<38} {:>13} {:>13} {:>8} {:>14} {:>8}\n", what, "library", other, "ratio",
             "reaches", "of limit");
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add("peak", multiply_add);
  const std::array sizes{Size{4096}, Size{262144}};
  std::vector<std::vector<Row>> arrays;
  for (const Size n : sizes) arrays.push_back(add_arrays(n));
  const std::vector<Row> products{add_product(1, 256, 64),    add_product(1, 2048, 512),
                                  add_product(16, 512, 128),  add_product(32, 1024, 256),
                                  add_product(256, 256, 256), add_product(1600, 1024, 256)};

  const Medians medians = run_benchmarks();
  const double flops = peak_work / medians["peak"].ns;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const double bytes = 2.0 * static_cast<double>(sizes[i]) * sizeof(float);
    const auto copying = [&](const std::string& limit) { return bytes / medians[limit].ns; };
    fmt::print("{} floats; copying {:.1f} GB/s, multiply-adds {:.0f} GFLOP/s\n", sizes[i],
               copying(arrays[i][0].limit), flops);
    heading("kernel", "plain loop");
    print(arrays[i], medians, "GB/s", copying);
  }
  fmt::print("products of float matrices; multiply-adds {:.0f} GFLOP/s\n", flops);
  heading("m x n x k", "cblas");
  print(products, medians, "GF/s", [&](const std::string&) { return flops; });
  return 0;
}
