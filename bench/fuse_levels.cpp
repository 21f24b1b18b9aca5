// An LSTM's gates, forward and backward, as plain ops and by `fuse`: what the instruction level of the caller's kernels is worth. To be
// compiled with and without -march=native.
//
//   fuse_levels [--batch 32] [--hidden 128] [--steps 100] [--seconds 1]
//
// Prints the levels in use, and the least and the median CPU time of all steps together for each way, which take turns.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <vector>

#include "measure.hpp"
#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/random.hpp"

namespace {

using namespace unroll;

constexpr auto gates = [](auto i, auto f, auto g, auto o, auto before) {
  auto cell = sigmoid(f) * before + sigmoid(i) * tanh(g);
  return std::tuple{sigmoid(o) * tanh(cell), cell};
};

// The same as an op of the user's own, for one result.
struct Gated {
  static constexpr auto name = "gated";
  static auto f(const auto& x, const auto& y) { return sigmoid(x) * tanh(y); }
  static auto d(wrt<0>, const auto& out, const auto& x, const auto&) {
    return out * (1 - sigmoid(x));
  }
  static auto d(wrt<1>, const auto&, const auto& x, const auto& y) {
    const auto t = tanh(y);
    return sigmoid(x) * (1 - t * t);
  }
};

enum class Way { plain, fused, plain_op, own_op };

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"An LSTM's gates as plain ops and by fuse"};
  Size batch = 32, hidden = 128, steps = 100;
  double seconds = 1;
  app.add_option("--batch", batch);
  app.add_option("--hidden", hidden);
  app.add_option("--steps", steps);
  app.add_option("--seconds", seconds, "for each way");
  CLI11_PARSE(app, argc, argv);

  std::vector<Var<float>> gate;
  for (std::uint64_t k = 0; k < 5; ++k) gate.push_back(normal<float>(Key(k), {batch, hidden}));
  const auto run = [&](Way way) {
    const auto loss = [&](const Var<float>& i, const Var<float>& f, const Var<float>& g,
                          const Var<float>& o, const Var<float>& before) {
      Var<float> c = before, h = o;  // each step's gate o is the h before
      for (Size t = 0; t < steps; ++t) {
        if (way == Way::plain) {
          std::tie(h, c) = gates(i, f, g, h, c);
        } else if (way == Way::fused) {
          std::tie(h, c) = fuse(gates, i, f, g, h, c);
        } else if (way == Way::plain_op) {
          h = sigmoid(h) * tanh(i);
        } else {
          h = apply<Gated>(h, i);
        }
      }
      return sum(h);
    };
    return value_and_grad(loss, gate[0], gate[1], gate[2], gate[3], gate[4]);
  };

  std::printf("caller's kernels: %s, library's: %s\n", caller_level(), kernel_level());
  constexpr Way ways[] = {Way::plain, Way::fused, Way::plain_op, Way::own_op};
  constexpr const char* names[] = {"gates of plain ops", "gates by fuse", "one op of plain ops",
                                   "one op of the user's"};
  std::vector<double> times[std::size(ways)];
  const double start = bench::cpu_seconds();
  do {
    for (std::size_t k = 0; k < std::size(ways); ++k) {
      const double before = bench::cpu_seconds();
      const auto result = run(ways[k]);
      times[k].push_back(bench::cpu_seconds() - before);
    }
  } while (bench::cpu_seconds() - start < seconds * std::size(ways));
  for (std::size_t k = 0; k < std::size(ways); ++k) {
    std::printf("%-22s %8.3f ms least, %8.3f ms median of %zu\n", names[k],
                1e3 * *std::min_element(times[k].begin(), times[k].end()),
                1e3 * bench::median(times[k]), times[k].size());
  }
}
