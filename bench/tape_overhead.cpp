// What one small operation costs on the tape: nanoseconds per node forward and in the sweep, bytes per node, and beside each
// the plain loop over the same 16 floats.
//
//   tape_overhead --check        // fails when a forward or sweep of add exceeds its bar
#include <cblas.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstring>

#include "unroll/autograd/autograd.hpp"
#include "unroll/bench/measure.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

constexpr Size n = 16;
constexpr int nodes = 2000, rounds = 41;

struct Cost {
  double forward, sweep, bytes, loop;
};

// Chains `nodes` steps of `op` over leaves, reads the tape back; medians over rounds after warm-up.
template <class Op, class Loop>
Cost measure(const Shape& shape, Op&& op, int nodes_per_step, Loop&& loop) {
  std::vector<float> values(static_cast<std::size_t>(shape.size()),
                            1.0F / n);  // a product of such has such elements
  std::vector<double> forward, sweep, plain;
  double bytes = 0;
  for (int r = 0; r < rounds; ++r) {
    double recorded = 0, begin = 0;
    const Var<float> x0(shape, values), y0(shape, values);
    const auto result = value_and_grad(
        [&](const Var<float>& x, const Var<float>& y) {
          const Size before = memory_report().live_bytes;
          begin = cpu_seconds();
          Var<float> z = x;
          for (int i = 0; i < nodes; ++i) z = op(z, y);
          recorded = cpu_seconds();
          bytes = static_cast<double>(memory_report().live_bytes - before) / nodes / nodes_per_step;
          return sum(z);
        },
        x0, y0);
    const double end = cpu_seconds();
    forward.push_back((recorded - begin) * 1e9 / nodes / nodes_per_step);
    sweep.push_back((end - recorded) * 1e9 / nodes / nodes_per_step);
    plain.push_back(loop());
  }
  return {median(forward), median(sweep), bytes, median(plain)};
}

// The same arithmetic from buffer to buffer, with nothing around it.
template <class F>
auto plain_loop(F f) {
  return [f]() mutable {
    std::vector<float> x(n * n, 0.01F), y(n * n, 0.01F), out(n * n);
    const double begin = cpu_seconds();
    for (int i = 0; i < nodes; ++i) {
      f(x.data(), y.data(), out.data());
      asm volatile("" : : "r"(out.data()) : "memory");
      std::swap(x, out);
    }
    return (cpu_seconds() - begin) * 1e9 / nodes;
  };
}

}  // namespace

int main(int argc, char** argv) {
  openblas_set_num_threads(1);
  bool check = false, json = false;
  double bar = 60;
  CLI::App app{"Cost of small operations on the tape"};
  app.add_flag("--check", check, "fail when a bar is missed");
  app.add_option("--bar", bar, "ns, for add forward and add sweep");
  app.add_flag("--json", json, "a line per operation");
  CLI11_PARSE(app, argc, argv);

  const auto lanes = [](auto f) {
    return plain_loop([f](const float* x, const float* y, float* out) {
      for (Size i = 0; i < n; i += Lane<float>::width) {
        f(Lane<float>::load(x + i), Lane<float>::load(y + i)).store(out + i);
      }
    });
  };
  struct Row {
    const char* name;
    Cost cost;
  };
  std::vector<Row> rows;
  rows.push_back({"add", measure(
                             Shape{n}, [](const auto& z, const auto& y) { return z + y; }, 1,
                             lanes([](auto x, auto y) { return x + y; }))});
  rows.push_back({"tanh", measure(
                              Shape{n}, [](const auto& z, const auto&) { return tanh(z); }, 1,
                              lanes([](auto x, auto) { return tanh(x); }))});
  rows.push_back({"fused tanh(a+b)", measure(
                                         Shape{n},
                                         [](const auto& z, const auto& y) {
                                           return fuse([](auto a, auto b) { return tanh(a + b); },
                                                       z, y);
                                         },
                                         1, lanes([](auto x, auto y) { return tanh(x + y); }))});
  rows.push_back(
      {"matmul 16x16", measure(
                           Shape{n, n}, [](const auto& z, const auto& y) { return matmul(z, y); },
                           1, plain_loop([](const float* x, const float* y, float* out) {
                             for (Size i = 0; i < n; ++i) {
                               float row[n] = {};
                               for (Size p = 0; p < n; ++p) {
                                 for (Size j = 0; j < n; ++j) row[j] += x[i * n + p] * y[p * n + j];
                               }
                               std::memcpy(out + i * n, row, sizeof row);
                             }
                           }))});
  rows.push_back({"slice 16 of 16", measure(
                                        Shape{n},
                                        [](const auto& z, const auto&) {
                                          return slice(z, 0, {0, n});
                                        },
                                        1, plain_loop([](const float* x, const float*, float* out) {
                                          std::memcpy(out, x, n * sizeof(float));
                                        }))});

  if (!json)
    fmt::print(
        "16 floats (matmul: 16x16), ns per node      forward    sweep    plain loop    bytes per "
        "node\n");
  for (const Row& r : rows) {
    if (json) {
      fmt::print(
          "{{\"op\":\"{}\",\"forward_ns\":{:.2f},\"sweep_ns\":{:.2f},\"loop_ns\":{:.2f},\"bytes_"
          "per_node\":{:.1f}}}\n",
          r.name, r.cost.forward, r.cost.sweep, r.cost.loop, r.cost.bytes);
    } else {
      fmt::print("{:<42} {:>8.1f} {:>8.1f} {:>13.1f} {:>17.0f}\n", r.name, r.cost.forward,
                 r.cost.sweep, r.cost.loop, r.cost.bytes);
    }
  }
  const Cost& add = rows[0].cost;
  const bool met = add.forward <= bar && add.sweep <= bar;
  if (!json) {
    fmt::print("bar for add: {} ns forward, {} ns sweep: {}\n", bar, bar, met ? "met" : "MISSED");
    fmt::print(
        "bytes: of the node, its value's 64 bytes (matmul: 1024) and header, as the pool counts "
        "them\n");
  }
  return check && !met ? 1 : 0;
}
