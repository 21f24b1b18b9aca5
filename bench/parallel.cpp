// One training step with its batch split over two tapes on two threads, against the same step on one: wall time, in turns.
//
//   parallel --check                                   // fails when a bar is missed
//   parallel --case 256,32,50 --cell lstm --threads 4
//
// The gradients of the parts are added in a fixed order. BLAS gets one thread. The bars want as many idle cores as threads.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <thread>

#include "unroll/bench/one_blas_thread.hpp"
#include "unroll/bench/rnn_bars.hpp"
#include "unroll/bench/runner.hpp"
#include "unroll/bench/user_cells.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;
using Runners = std::vector<std::unique_ptr<Runner>>;

struct Options {
  std::vector<std::string> cells;
  std::vector<Case> cases;
  Turns turns;
  int threads = 2;
  bool check = false;
};

// The step that `make` gives a program for, on one thread and on several.
template <class Model, class Make>
Runners both(const Problem<float>& problem, const Model& model, int threads, Make make) {
  using Program = decltype(make(problem, model));
  Runners all;
  all.push_back(
      in_process("one", std::make_unique<TrainingStep<Program, Model>>(make(problem, model), model),
                 Clock::wall));
  all.push_back(in_process(
      "several",
      std::make_unique<ParallelStep<Program, Model>>(
          problem, model, threads, [&](const Problem<float>& part) { return make(part, model); }),
      Clock::wall));
  return all;
}

// How many times faster the step on several threads is; both learn the same.
Interval speed_up(const Runners& all, const Turns& turns) {
  for (int k = 0; k < 3; ++k) {
    const double one = all[0]->run(1, 0.05).loss, several = all[1]->run(1, 0.05).loss;
    if (!(std::abs(one - several) <= 2e-5 * std::abs(one)))
      throw std::runtime_error(fmt::format("the losses differ: {} and {}", one, several));
  }
  const auto seconds = take_turns(all, turns);
  return interval(ratios(seconds[0], seconds[1]));
}

template <template <class, Style> class Cell, auto Layer>
std::pair<Interval, Interval> ops_and_layer(const Problem<float>& problem, Size gates,
                                            bool inner_bias, const Options& options) {
  const Size H = problem.size.H;
  const auto weights = make_weights<float>(H, gates, inner_bias);
  using User = Cell<float, Style::ops>;
  const Interval ops =
      speed_up(both(problem, UserModel<float, User>::of(weights, H), options.threads,
                    [](const Problem<float>& p, const auto& m) {
                      return UserProgram<float, User>(p, ReadOut::stacked, m);
                    }),
               options.turns);
  const Interval layer =
      speed_up(both(problem, layer_model(weights, Layer(weights, H), H), options.threads,
                    [](const Problem<float>& p, const auto& m) { return LayerProgram(p, m); }),
               options.turns);
  return {ops, layer};
}

bool run(const Options& options) {
  bool met = true;
  for (const Case& c : options.cases) {
    const auto problem = make_problem<float>(c);
    const std::string size = fmt::format("{},{},{}", c.H, c.B, c.T);
    std::vector<Interval> ops, layer;
    for (const std::string& cell : options.cells) {
      const auto [of_ops, of_layer] =
          cell == "elman"
              ? ops_and_layer<UserElman, LayerOf<float>::elman>(problem, 1, false, options)
          : cell == "lstm"
              ? ops_and_layer<UserLstm, LayerOf<float>::lstm>(problem, 4, false, options)
              : ops_and_layer<UserGru, LayerOf<float>::gru>(problem, 3, true, options);
      ops.push_back(of_ops), layer.push_back(of_layer);
      for (const auto& [name, i] : {std::pair{"ops", of_ops}, std::pair{"layer", of_layer}})
        fmt::print("{:<15} {:>11}  {:<6} {:.2f} [{:.2f}, {:.2f}]\n", cell, size, name, i.median,
                   i.low, i.high);
      std::fflush(stdout);
    }
    const auto bar =
        options.threads == 2 && options.cells.size() == 3 ? two_thread_bar(c) : std::nullopt;
    for (const auto& [name, of_cells] : {std::pair{"ops", ops}, std::pair{"layer", layer}}) {
      const Interval g = geometric_mean(of_cells);
      const bool good = !bar || g.high >= *bar;
      fmt::print("geometric mean  {:>11}  {:<6} {:.2f} [{:.2f}, {:.2f}]{}\n", size, name, g.median,
                 g.low, g.high,
                 bar ? fmt::format("  bar {} {}", *bar, good ? "met" : "MISSED") : "");
      met = met && good;
    }
  }
  return met;
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  Options options;
  std::string cell = "all";
  std::vector<std::string> cases{"128,16,50", "256,32,50", "512,32,100"};
  CLI::App app{"A training step on several threads against one"};
  app.add_option("--cell", cell)->check(CLI::IsMember({"elman", "lstm", "gru", "all"}));
  app.add_option("--case", cases, "H,B,T; repeatable")->allow_extra_args(false);
  app.add_option("--threads", options.threads)->check(CLI::Range(2, 256));
  app.add_option("--seconds", options.turns.seconds, "at least, per cell and case");
  app.add_option("--alternations", options.turns.alternations, "at least");
  app.add_flag("--check", options.check, "fail when a bar is missed");
  CLI11_PARSE(app, argc, argv);
  options.cells = parse_cells(cell);
  auto parsed = parse_cases(cases, options.threads);
  if (!parsed) return 2;
  options.cases = std::move(*parsed);
  fmt::print("times faster on {} threads than on one ({} cores)\n", options.threads,
             std::thread::hardware_concurrency());
  const bool met = run(options);
  return options.check && !met ? 1 : 0;
}
