// What one small operation costs on the tape: nanoseconds per node forward and in the sweep, bytes per node beside the buffer of
// its value, and beside each the plain loop over the same 16 floats, measured by Google Benchmark.
//
//   tape_overhead --check                                 // fails when a bar for add is missed
//   tape_overhead --benchmark_repetitions=21 --json       // its options apply
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstring>

#include "unroll/autograd/autograd.hpp"
#include "unroll/bench/measure.hpp"
#include "unroll/bench/medians.hpp"
#include "unroll/bench/one_blas_thread.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

constexpr Size n = 16;
constexpr int nodes = 2000, repetitions = 31;

struct Chain {
  double forward, sweep;  // ns per node
};

// `nodes` steps of `op` over leaves, the second of which has the value y everywhere, and the reading back.
template <class Op>
Chain run_chain(const Shape& shape, float y, Op&& op) {
  const Var<float> x0 = full<float>(shape, 1.0F / n), y0 = full<float>(shape, y);
  double begin = 0, recorded = 0;
  const auto result = value_and_grad(
      [&](const Var<float>& first, const Var<float>& second) {
        begin = cpu_seconds();
        Var<float> z = first;
        for (int i = 0; i < nodes; ++i) z = op(z, second);
        recorded = cpu_seconds();
        return sum(z);
      },
      x0, y0);
  const double end = cpu_seconds();
  return {(recorded - begin) * 1e9 / nodes, (end - recorded) * 1e9 / nodes};
}

// Of a node, its buffer not counted; over so many that the last chunk of the tape, which is not full, hardly counts.
template <class Op>
double bytes_per_node(const Shape& shape, Op&& op) {
  constexpr int many = 50'000;
  Tape<float> tape;
  const Var<float> y = tape.leaf(full<float>(shape, 1.0F / n));
  Var<float> z = y;
  const Size before = memory_report().live_bytes;
  for (int i = 0; i < many; ++i) z = op(z, y);
  const auto bytes = static_cast<double>(memory_report().live_bytes - before);
  return bytes / many - static_cast<double>(shape.size()) * sizeof(float);
}

// The same arithmetic from buffer to buffer, with nothing around it.
template <class F>
void run_loop(benchmark::State& state, F f) {
  std::vector<float> x(n * n, 1.0F / n), y(x), out(x);
  for (auto _ : state) {
    f(x.data(), y.data(), out.data());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
    std::swap(x, out);
  }
}

struct Operation {
  std::string name;
  double bytes;
};
std::vector<Operation> operations;

// Where y is small, no gradient along the chain becomes a denormal number, which processors are slow with.
template <class Op, class Loop>
void add(const char* name, const Shape& shape, float y, Op op, Loop loop) {
  operations.push_back({name, bytes_per_node(shape, op)});
  // An iteration's time is a node's; a whole chain stands behind it.
  const auto part = [&](const char* what, double Chain::*time) {
    benchmark::RegisterBenchmark(fmt::format("{}/{}", name, what).c_str(),
                                 [=](benchmark::State& state) {
                                   for (auto _ : state)
                                     state.SetIterationTime(run_chain(shape, y, op).*time * 1e-9);
                                 })
        ->UseManualTime()
        ->MinTime(0.02 / nodes)
        ->Repetitions(repetitions);
  };
  part("forward", &Chain::forward);
  part("sweep", &Chain::sweep);
  benchmark::RegisterBenchmark(fmt::format("{}/loop", name).c_str(),
                               [=](benchmark::State& state) { run_loop(state, loop); })
      ->MeasureProcessCPUTime()
      ->MinTime(0.02)
      ->Repetitions(repetitions);
}

void add_all() {
  constexpr float small = 1e-6F;
  const auto lanes = [](auto f) {
    return [f](const float* x, const float* y, float* out) {
      for (Size i = 0; i < n; i += Lane<float>::width)
        f(Lane<float>::load(x + i), Lane<float>::load(y + i)).store(out + i);
    };
  };
  add(
      "add", {n}, small, [](const auto& z, const auto& y) { return z + y; },
      lanes([](auto x, auto y) { return x + y; }));
  add(
      "tanh", {n}, small, [](const auto& z, const auto&) { return tanh(z); },
      lanes([](auto x, auto) { return tanh(x); }));
  add(
      "fused tanh(a+b)", {n}, small,
      [](const auto& z, const auto& y) {
        return fuse([](auto a, auto b) { return tanh(a + b); }, z, y);
      },
      lanes([](auto x, auto y) { return tanh(x + y); }));
  add(
      "matmul 16x16", {n, n}, 1.0F / n, [](const auto& z, const auto& y) { return matmul(z, y); },
      [](const float* x, const float* y, float* out) {
        for (Size i = 0; i < n; ++i) {
          float row[n] = {};
          for (Size p = 0; p < n; ++p) {
            for (Size j = 0; j < n; ++j) row[j] += x[i * n + p] * y[p * n + j];
          }
          std::memcpy(out + i * n, row, sizeof row);
        }
      });
  add(
      "slice 16 of 16", {n}, small,
      [](const auto& z, const auto&) {
        return slice(z, 0, {0, n});
      },
      [](const float* x, const float*, float* out) { std::memcpy(out, x, n * sizeof(float)); });
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  initialize(argc, argv);
  bool check = false, json = false;
  double forward_bar = 25, sweep_bar = 30, bytes_bar = 128;
  CLI::App app{"Cost of small operations on the tape"};
  app.add_flag("--check", check, "fail when a bar is missed");
  app.add_option("--forward-bar", forward_bar, "ns, for add");
  app.add_option("--sweep-bar", sweep_bar, "ns, for add");
  app.add_option("--bytes-bar", bytes_bar, "of add, beside its buffer");
  app.add_flag("--json", json, "a line per operation");
  CLI11_PARSE(app, argc, argv);

  add_all();
  const Medians medians = run_benchmarks();
  if (!json) {
    fmt::print("{:<42} {:>8} {:>8} {:>13} {:>17}\n", "16 floats (matmul: 16x16), ns per node",
               "forward", "sweep", "plain loop", "bytes per node");
  }
  for (const auto& [name, bytes] : operations) {
    const Median forward = medians[name + "/forward"], sweep = medians[name + "/sweep"],
                 loop = medians[name + "/loop"];
    if (!forward.measured && !sweep.measured && !loop.measured) continue;  // by --benchmark_filter
    if (json) {
      fmt::print(
          "{{\"op\":\"{}\",\"forward_ns\":{:.2f},\"sweep_ns\":{:.2f},\"loop_ns\":{:.2f},\"bytes_"
          "per_node\":{:.1f}}}\n",
          name, forward.ns, sweep.ns, loop.ns, bytes);
    } else {
      fmt::print("{:<42} {:>8.1f} {:>8.1f} {:>13.1f} {:>17.1f}\n", name, forward.ns, sweep.ns,
                 loop.ns, bytes);
    }
  }
  bool met = true;
  const auto bar = [&](const char* what, double value, double limit) {
    met = met && value <= limit;
    if (!json)
      fmt::print("{}: {:.1f}, bar {}: {}\n", what, value, limit, value <= limit ? "met" : "MISSED");
  };
  bar("add forward, ns", medians["add/forward"].ns, forward_bar);
  bar("add sweep, ns", medians["add/sweep"].ns, sweep_bar);
  // Less than a byte per node is what the tape's chunks lose at their ends.
  const double of_three_axes =
      bytes_per_node({1, 1, n}, [](const auto& z, const auto& y) { return z + y; });
  bar("add over three axes, whole bytes per node", std::floor(of_three_axes), bytes_bar);
  if (!json)
    fmt::print(
        "bytes: node and header as the pool counts them, without the value's 64 (matmul: 1024)\n");
  return check && !met ? 1 : 0;
}
