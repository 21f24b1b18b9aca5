// One training step of a recurrent network: by hand, as a user's cell from plain ops, with fuse, as the library's layer, and
// (where libtorch was found) in libtorch from ops and as its module, measured in turns in one run.
//
//   rnn_step --cell all --case 16,1,50 --case 128,16,50 --check
//   rnn_step --threads 2 --impl layer --case 128,16,50          // batch split over two tapes; wall time
//
// Ratios are to the step by hand, alternation by alternation; the interval is that of the median at 95 %.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>

#include "unroll/bench/blas_products.hpp"
#include "unroll/bench/hand_elman.hpp"
#include "unroll/bench/hand_gru.hpp"
#include "unroll/bench/hand_lstm.hpp"
#include "unroll/bench/one_blas_thread.hpp"
#include "unroll/bench/rnn_bars.hpp"
#include "unroll/bench/step_process.hpp"
#include "unroll/bench/user_cells.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;
using Runners = std::vector<std::unique_ptr<Runner>>;

struct Options {
  std::vector<std::string> cells, implementations{"all"};
  std::vector<Case> cases;
  std::string dtype = "float", format = "table", read_out = "stacked", profile;
  std::filesystem::path libtorch =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libtorch_step";
  Turns turns;
  int threads = 1;
  bool check = false;

  bool wants(const std::string& name) const {
    const auto listed = [&](const std::string& n) {
      return std::find(implementations.begin(), implementations.end(), n) != implementations.end();
    };
    return listed(name) || listed("all") || (listed("own") && !name.starts_with("libtorch"));
  }
  Clock clock() const { return threads > 1 ? Clock::wall : Clock::cpu; }
  bool table() const { return format == "table"; }
};

// ---- the implementations ------------------------------------------------------------------------------------------------

template <class T, template <class> class Hand, template <class, Style> class Cell, auto Layer>
class Implementations {
 public:
  static constexpr Size gates = Hand<T>::gate_count;
  Implementations(const Options& options, const Problem<T>& problem)
      : options_(options),
        problem_(problem),
        weights_(make_weights<T>(problem.size.H, gates, Hand<T>::inner_bias)) {
    all.push_back(
        in_process("hand", std::make_unique<Hand<T>>(problem_, weights_), options.clock()));
    add_user<Cell<T, Style::ops>>("ops");
    add_user<Cell<T, Style::fused>>("fused");
    add("layer", layer_model(weights_, Layer(weights_, problem.size.H), problem.size.H),
        [](const Problem<T>& p, const auto& model) { return LayerProgram(p, model); });
  }
  Runners all;

 private:
  template <class C>
  void add_user(const std::string& name) {
    const ReadOut read_out = options_.read_out == "stacked" ? ReadOut::stacked : ReadOut::per_step;
    add(name, UserModel<T, C>::of(weights_, problem_.size.H),
        [=](const Problem<T>& p, const auto& model) {
          return UserProgram<T, C>(p, read_out, model);
        });
  }
  template <class Model, class Make>
  void add(const std::string& name, const Model& model, Make make) {
    if (!options_.wants(name)) return;
    using Program = decltype(make(problem_, model));
    std::size_t own = problem_.xs.size();
    weights_.each([&](const auto& v) { own += v.size(); });
    const auto bytes = static_cast<std::int64_t>(own * sizeof(T));
    if (options_.threads == 1) {
      all.push_back(in_process(
          name, std::make_unique<TrainingStep<Program, Model>>(make(problem_, model), model),
          options_.clock(), bytes));
    } else {
      auto step = std::make_unique<ParallelStep<Program, Model>>(
          problem_, model, options_.threads,
          [&](const Problem<T>& part) { return make(part, model); });
      all.push_back(in_process(name, std::move(step), options_.clock(), bytes));
    }
  }

  const Options& options_;
  const Problem<T>& problem_;
  Weights<T> weights_;
};

void add_libtorch(Runners& all, const Options& o, const std::string& cell, const Case& c) {
  for (const std::string kind : {"ops", "module"}) {
    const std::string name = "libtorch-" + kind;
    if (!o.wants(name) || !std::filesystem::exists(o.libtorch)) continue;
    all.push_back(std::make_unique<StepProcess>(
        name, o.libtorch,
        std::vector<std::string>{kind, cell, o.dtype, fmt::format("{},{},{}", c.H, c.B, c.T),
                                 o.read_out, std::to_string(o.threads)},
        o.clock(), o.threads));
  }
}

bool losses_agree(const Runners& all, const std::string& cell, const std::string& dtype) {
  const double tolerance = dtype == "float" ? 2e-5 : 1e-11;
  bool agree = true;
  for (int k = 0; k < 3; ++k) {
    const double by_hand = all[0]->run(1, 0.05).loss;
    for (std::size_t i = 1; i < all.size(); ++i) {
      const double loss = all[i]->run(1, 0.05).loss;
      if (std::abs(loss - by_hand) <= tolerance * std::abs(by_hand)) continue;
      fmt::print(stderr, "{} {}: loss of step {} is {}, by hand {}\n", cell, all[i]->name, k, loss,
                 by_hand);
      agree = false;
    }
  }
  return agree;
}

// ---- what is printed ----------------------------------------------------------------------------------------------------

class Report {
 public:
  explicit Report(const Options& options) : options_(options) {
    if (!options.table()) return;
    fmt::print("{:<6} {:>4} {:>4} {:>4}  {:<15} {:>7} {:>12} {:>10}   {:<22} {:>9} {:>11}\n",
               "cell", "H", "B", "T", "impl", "threads", options.threads > 1 ? "wall ms" : "CPU ms",
               "least", "ratio to hand [95 %]", "peak", "mallocs");
  }
  bool met() const { return met_; }

  void row(const std::string& cell, const Case& c, const Runner& runner,
           const std::vector<double>& seconds, const Interval& ratio, const Cost& cost) {
    const double ms = median(seconds) * 1e3,
                 least = *std::min_element(seconds.begin(), seconds.end()) * 1e3;
    if (options_.table()) {
      fmt::print(
          "{:<6} {:>4} {:>4} {:>4}  {:<15} {:>7} {:>12.4f} {:>10.4f}   {:<22} {:>6.2f} MB {:>11}\n",
          cell, c.H, c.B, c.T, runner.name, runner.threads, ms, least, text(ratio),
          static_cast<double>(cost.peak_bytes) * 1e-6, cost.allocations);
    } else {
      fmt::print(
          "{{\"impl\":\"{}\",\"cell\":\"{}\",\"dtype\":\"{}\",\"threads\":{},\"H\":{},\"B\":{},"
          "\"T\":{},\"ms_median\":{:.6g},\"ms_min\":{:.6g},\"ratio_to_hand\":{:.4f},"
          "\"ratio_low\":{:.4f},\"ratio_high\":{:.4f},\"peak_bytes\":{},\"mallocs_per_step\":{}}}"
          "\n",
          runner.name, cell, options_.dtype, runner.threads, c.H, c.B, c.T, ms, least, ratio.median,
          ratio.low, ratio.high, cost.peak_bytes, cost.allocations);
    }
    std::fflush(stdout);
  }
  // A line of the table; with a bar also when only JSON is wanted and the bar is missed.
  void line(const std::string& words, std::optional<double> bar = {}, bool met = true) {
    const std::string verdict = bar ? fmt::format("  bar {} {}", *bar, met ? "met" : "MISSED") : "";
    if (options_.table()) fmt::print("{}{}\n", words, verdict);
    if (!options_.table() && !met) fmt::print(stderr, "{}{}\n", words, verdict);
    met_ = met_ && met;
  }
  // Bars are for float on one thread, where the step by hand is compiled like the library's kernels.
  bool has_bars() const {
    return options_.dtype == "float" && options_.threads == 1 &&
           std::string_view(kernel_level()) == caller_level();
  }
  static std::string text(const Interval& i) {
    return fmt::format("{:.2f} [{:.2f}, {:.2f}]", i.median, i.low, i.high);
  }

 private:
  const Options& options_;
  bool met_ = true;
};

// How much faster the library is than libtorch, by cell.
void compare(Report& report, const std::string& cell, const Case& c, const Runners& all,
             const std::vector<std::vector<double>>& seconds) {
  const auto find = [&](std::string_view name) {
    std::size_t i = 0;
    while (i < all.size() && all[i]->name != name) ++i;
    return i;
  };
  const std::pair<const char*, const char*> pairs[] = {
      {"hand", "libtorch-ops"}, {"ops", "libtorch-ops"}, {"layer", "libtorch-module"}};
  for (const auto& [fast, slow] : pairs) {
    const std::size_t i = find(fast), j = find(slow);
    if (i == all.size() || j == all.size()) continue;
    const Interval times = interval(ratios(seconds[j], seconds[i]));
    std::optional<double> bar;
    for (const SpeedBar& b : speed_bars) {
      if (report.has_bars() && b.fast == fast && b.slow == slow && applies(b, cell, c))
        bar = b.times;
    }
    report.line(
        fmt::format("times faster  {:<6} {:>9}  {:<5} than {:<15} {}", cell,
                    fmt::format("{},{},{}", c.H, c.B, c.T), fast, slow, Report::text(times)),
        bar, !bar || times.high >= *bar);
  }
}

void compare_memory(Report& report, const std::string& cell, const Case& c, const Runner& runner,
                    const Cost& cost) {
  const auto bar = report.has_bars() ? memory_bar(runner.name, cell, c) : std::nullopt;
  if (!bar) return;
  const double megabytes = static_cast<double>(cost.peak_bytes) * 1e-6;
  report.line(fmt::format("peak memory  {:<6} {:>10}  {:<6} {:.1f} MB", cell,
                          fmt::format("{},{},{}", c.H, c.B, c.T), runner.name, megabytes),
              bar, megabytes <= *bar);
}

template <class T>
void compare_with_blas(Report& report, const Case& c, Size gates, double hand_seconds) {
  const double work = flops(c, static_cast<double>(gates)) * 1e-9;
  const double hand = work / hand_seconds, blas = work / blas_seconds<T>(c, gates);
  report.line(fmt::format("{:>37} GFLOP/s by hand in all, {:.0f} by cblas on its products alone: "
                          "{:.0f} %",
                          fmt::format("{:.0f}", hand), blas, 100 * hand / blas),
              100 * blas_bar, hand >= blas_bar * blas);
}

// ---- the run ------------------------------------------------------------------------------------------------------------

// Runs one implementation alone, for a profiler to look at.
void loop(Runner& runner, double seconds) {
  for (const double begin = wall_seconds(); wall_seconds() - begin < seconds;) runner.run(1, 0.01);
}

template <class T>
int run_all(const Options& options) {
  bool agree = true;
  Report report(options);
  for (const Case& c : options.cases) {
    const Problem<T> problem = make_problem<T>(c);
    std::map<std::string, std::vector<Interval>> by_name;
    std::vector<std::string> names;
    const auto one = [&]<template <class> class Hand, template <class, Style> class Cell,
                         auto Layer>(const std::string& cell) {
      Implementations<T, Hand, Cell, Layer> implementations(options, problem);
      Runners& all = implementations.all;
      add_libtorch(all, options, cell, c);
      if (!options.profile.empty()) {
        for (const auto& r : all) {
          if (r->name == options.profile) loop(*r, options.turns.seconds);
        }
        return;
      }
      agree = losses_agree(all, cell, options.dtype) && agree;
      const auto seconds = take_turns(all, options.turns);
      names.clear();
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Interval ratio = interval(ratios(seconds[i], seconds[0]));
        const Cost cost = all[i]->cost(options.turns.rate);
        report.row(cell, c, *all[i], seconds[i], ratio, cost);
        compare_memory(report, cell, c, *all[i], cost);
        names.push_back(all[i]->name);
        by_name[names.back()].push_back(ratio);
      }
      compare(report, cell, c, all, seconds);
      if (c.H >= 128 && options.threads == 1)
        compare_with_blas<T>(report, c, implementations.gates, median(seconds[0]));
    };
    for (const std::string& cell : options.cells) {
      if (cell == "elman") one.template operator()<HandElman, UserElman, LayerOf<T>::elman>(cell);
      if (cell == "lstm") one.template operator()<HandLstm, UserLstm, LayerOf<T>::lstm>(cell);
      if (cell == "gru") one.template operator()<HandGru, UserGru, LayerOf<T>::gru>(cell);
    }
    for (std::size_t i = 1; i < names.size(); ++i) {
      const Interval g = geometric_mean(by_name[names[i]]);
      const auto bar =
          report.has_bars() && options.cells.size() == 3 ? hand_bar(names[i], c) : std::nullopt;
      report.line(fmt::format("geometric mean  {:>9}  {:<15} {}",
                              fmt::format("{},{},{}", c.H, c.B, c.T), names[i], Report::text(g)),
                  bar, !bar || g.low <= *bar);
    }
  }
  if (!agree) return 2;
  return options.check && !report.met() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  Options options;
  std::string cell = "all";
  std::vector<std::string> cases{"16,1,50", "64,1,100", "128,16,50", "256,32,50"};
  CLI::App app{"One training step of a recurrent network against the same by hand"};
  app.add_option("--cell", cell)->check(CLI::IsMember({"elman", "lstm", "gru", "all"}));
  app.add_option("--case", cases, "H,B,T; repeatable")->allow_extra_args(false);
  app.add_option("--impl", options.implementations,
                 "ops, fused, layer, libtorch-ops, libtorch-module, own (the first three), all")
      ->allow_extra_args(false);
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"float", "double"}));
  app.add_option("--threads", options.threads, "tapes over which the batch is split; wall time")
      ->check(CLI::Range(1, 256));
  app.add_option("--read-out", options.read_out, "of the user's program")
      ->check(CLI::IsMember({"stacked", "per-step"}));
  app.add_option("--format", options.format)->check(CLI::IsMember({"table", "json"}));
  app.add_option("--seconds", options.turns.seconds, "at least, per cell and case");
  app.add_option("--alternations", options.turns.alternations, "at least");
  app.add_option("--libtorch", options.libtorch, "the program libtorch_step, if elsewhere");
  app.add_option("--profile", options.profile, "only run this implementation for --seconds");
  app.add_flag("--check", options.check, "fail when a bar is missed");
  CLI11_PARSE(app, argc, argv);
  options.cells = parse_cells(cell);
  auto parsed = parse_cases(cases, options.threads);
  if (!parsed) return 2;
  options.cases = std::move(*parsed);
  if (options.wants("libtorch-ops") && !std::filesystem::exists(options.libtorch))
    fmt::print(stderr, "no {}: libtorch is left out\n", options.libtorch.string());
  return options.dtype == "float" ? run_all<float>(options) : run_all<double>(options);
}
