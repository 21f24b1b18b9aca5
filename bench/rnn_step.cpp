// One training step of a recurrent network: by hand, as a user's cell from plain ops, with fuse, and as the library's layer,
// measured in turns in one run.
//
//   rnn_step --cell all --case 16,1,50 --case 128,16,50 --check
//
// Ratios are to the step by hand, alternation by alternation; the interval is that of the median at 95 %.
#include <cblas.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "unroll/bench/allocation_counter.hpp"
#include "unroll/bench/blas_products.hpp"
#include "unroll/bench/hand_elman.hpp"
#include "unroll/bench/hand_gru.hpp"
#include "unroll/bench/hand_lstm.hpp"
#include "unroll/bench/measure.hpp"
#include "unroll/bench/user_cells.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

struct Options {
  std::vector<std::string> cells, implementations{"all"};
  std::vector<Case> cases;
  std::string dtype = "float", format = "table", read_out = "stacked", profile;
  double seconds = 2;
  int alternations = 30;
  bool check = false;
};

struct Implementation {
  std::string name;
  std::function<double(double)> step;
  std::int64_t bytes = 0;  // of its own model and workspace; of the library's pool: measured
  std::vector<double> ms, ratio;
  double allocations = 0;
};

template <class T, template <class> class Hand, template <class, Style> class Cell, auto Layer>
class Measurement {
 public:
  Measurement(const Options& options, std::string cell, const Case& size)
      : options_(options),
        cell_(std::move(cell)),
        problem_(make_problem<T>(size)),
        weights_(make_weights<T>(size.H, Hand<T>::gate_count, Hand<T>::inner_bias)) {
    add_hand();
    const ReadOut read_out = options.read_out == "stacked" ? ReadOut::stacked : ReadOut::per_step;
    add_user<Cell<T, Style::ops>>("ops", read_out);
    add_user<Cell<T, Style::fused>>("fused", read_out);
    add_layer();
  }

  bool losses_agree() {
    std::vector<std::vector<double>> losses;
    for (Implementation& i : all_) {
      auto& l = losses.emplace_back();
      for (int k = 0; k < 3; ++k) l.push_back(i.step(0.05));
    }
    bool agree = true;
    const double tolerance = std::is_same_v<T, float> ? 2e-5 : 1e-11;
    for (std::size_t i = 1; i < all_.size(); ++i) {
      for (std::size_t k = 0; k < 3; ++k) {
        if (std::abs(losses[i][k] - losses[0][k]) <= tolerance * std::abs(losses[0][k])) continue;
        fmt::print(stderr, "{} {}: loss {} of {} is {}, by hand {}\n", cell_, all_[i].name, k,
                   all_[i].name, losses[i][k], losses[0][k]);
        agree = false;
      }
    }
    return agree;
  }

  // Runs one implementation alone, for a profiler to look at.
  void loop(const std::string& name) {
    for (Implementation& i : all_) {
      if (i.name != name) continue;
      const double begin = cpu_seconds();
      while (cpu_seconds() - begin < options_.seconds) i.step(rate);
    }
  }

  // Ratios to the hand-written step, by implementation.
  std::vector<std::pair<std::string, Interval>> run() {
    std::vector<int> repeats;
    for (Implementation& i : all_) {
      i.step(rate);  // the pools are warm from here on
      const double begin = cpu_seconds();
      i.step(rate);
      repeats.push_back(
          std::max(1, static_cast<int>(1e-3 / std::max(cpu_seconds() - begin, 1e-7))));
    }
    for (Implementation& i : all_) {
      const Size before = memory_report().live_bytes;
      reset_memory_peak();
      const auto asked = allocations();
      for (int k = 0; k < 4; ++k) i.step(rate);
      i.allocations = static_cast<double>(allocations() - asked) / 4;
      if (i.name != "hand") i.bytes += memory_report().peak_bytes - before;
    }
    const double start = cpu_seconds();
    for (int r = 0; r < options_.alternations || cpu_seconds() - start < options_.seconds; ++r) {
      for (std::size_t k = 0; k < all_.size(); ++k) {
        const double begin = cpu_seconds();
        for (int n = 0; n < repeats[k]; ++n) all_[k].step(rate);
        all_[k].ms.push_back((cpu_seconds() - begin) / repeats[k] * 1e3);
        all_[k].ratio.push_back(all_[k].ms.back() / all_[0].ms.back());
      }
    }
    std::vector<std::pair<std::string, Interval>> out;
    for (const Implementation& i : all_) {
      print(i);
      out.emplace_back(i.name, interval(i.ratio));
    }
    const Case& c = problem_.size;
    if (c.H >= 128 && options_.format == "table") {
      const double work = flops(c, Hand<T>::gate_count), hand = work / median(all_[0].ms) * 1e-6;
      const double blas = work / blas_seconds<T>(c, Hand<T>::gate_count) * 1e-9;
      fmt::print(
          "                             by hand {:.0f} GFLOP/s in all, cblas on its products alone "
          "{:.0f}\n",
          hand, blas);
    }
    return out;
  }

 private:
  static constexpr double rate = 0.01;

  bool wanted(const std::string& name) const {
    const auto& list = options_.implementations;
    return list[0] == "all" || std::find(list.begin(), list.end(), name) != list.end();
  }
  void add_hand() {
    auto hand = std::make_shared<Hand<T>>(problem_, weights_);
    const auto bytes = static_cast<std::int64_t>(hand->bytes());
    all_.push_back({"hand", [hand](double r) { return hand->step(r); }, bytes, {}, {}, 0});
  }
  template <class C>
  void add_user(const std::string& name, ReadOut read_out) {
    if (wanted(name)) add(name, std::make_shared<UserStep<T, C>>(problem_, weights_, read_out));
  }
  void add_layer() {
    using LayerCell = decltype(Layer(weights_, problem_.size.H));
    if (!wanted("layer")) return;
    add("layer", std::make_shared<LayerStep<T, LayerCell>>(problem_, weights_,
                                                           Layer(weights_, problem_.size.H)));
  }
  template <class Step>
  void add(const std::string& name, std::shared_ptr<Step> step) {
    std::size_t own = problem_.xs.size();
    weights_.each([&](const auto& v) { own += v.size(); });
    all_.push_back({name,
                    [step](double r) { return step->step(r); },
                    static_cast<std::int64_t>(own * sizeof(T)),
                    {},
                    {},
                    0});
  }
  void print(const Implementation& i) const {
    const Case& c = problem_.size;
    const Interval r = interval(i.ratio);
    const double low = *std::min_element(i.ms.begin(), i.ms.end());
    if (options_.format == "json") {
      fmt::print(
          "{{\"impl\":\"{}\",\"cell\":\"{}\",\"dtype\":\"{}\",\"threads\":1,\"H\":{},\"B\":{},"
          "\"T\":{},"
          "\"ms_median\":{:.6g},\"ms_min\":{:.6g},\"ratio_to_hand\":{:.4f},\"ratio_low\":{:.4f},"
          "\"ratio_high\":{:.4f},\"peak_bytes\":{},\"mallocs_per_step\":{}}}\n",
          i.name, cell_, options_.dtype, c.H, c.B, c.T, median(i.ms), low, r.median, r.low, r.high,
          i.bytes, i.allocations);
    } else {
      fmt::print(
          "{:<6} {:>5} {:>4} {:>5}  {:<6} {:>10.4f} {:>10.4f}   {:>6.2f} [{:.2f}, {:.2f}] {:>9.2f} "
          "MB {:>7}\n",
          cell_, c.H, c.B, c.T, i.name, median(i.ms), low, r.median, r.low, r.high,
          static_cast<double>(i.bytes) * 1e-6, i.allocations);
    }
    std::fflush(stdout);
  }

  const Options& options_;
  std::string cell_;
  Problem<T> problem_;
  Weights<T> weights_;
  std::vector<Implementation> all_;
};

// Bars on the geometric mean over the cells (float): ops.
double bar(const std::string& implementation, const Case& c) {
  if (implementation != "ops") return 0;
  if (c.H == 16 && c.B == 1 && c.T == 50) return 4;
  if (c.H == 64 && c.B == 1 && c.T == 100) return 2.5;
  if (c.H == 128 && c.B == 16 && c.T == 50) return 1.9;
  if (c.H == 256 && c.B == 32 && c.T == 50) return 1.6;
  return 0;
}

template <class T>
int run_all(const Options& options) {
  bool agree = true, met = true;
  if (options.format == "table") {
    fmt::print(
        "cell       H    B     T  impl    ms median     ms min    ratio [95 %]        peak     "
        "mallocs\n");
  }
  for (const Case& c : options.cases) {
    std::vector<std::string> names;
    std::vector<std::vector<Interval>> ratios;
    const auto one = [&]<template <class> class Hand, template <class, Style> class Cell,
                         auto Layer>(const std::string& name) {
      Measurement<T, Hand, Cell, Layer> m(options, name, c);
      if (!options.profile.empty()) return m.loop(options.profile);
      agree = m.losses_agree() && agree;
      const auto results = m.run();
      names.resize(results.size());
      ratios.resize(results.size());
      for (std::size_t i = 0; i < results.size(); ++i) {
        names[i] = results[i].first;
        ratios[i].push_back(results[i].second);
      }
    };
    for (const std::string& cell : options.cells) {
      if (cell == "elman") one.template operator()<HandElman, UserElman, LayerOf<T>::elman>(cell);
      if (cell == "lstm") one.template operator()<HandLstm, UserLstm, LayerOf<T>::lstm>(cell);
      if (cell == "gru") one.template operator()<HandGru, UserGru, LayerOf<T>::gru>(cell);
    }
    for (std::size_t i = 1; i < names.size(); ++i) {
      const Interval g = geometric_mean(ratios[i]);
      const double limit =
          std::is_same_v<T, float> && options.cells.size() == 3 ? bar(names[i], c) : 0;
      if (limit > 0 && g.low > limit) met = false;
      if (options.format == "table") {
        fmt::print(
            "geometric mean {:>4},{},{}  {:<6} {:.2f} [{:.2f}, {:.2f}]{}\n", c.H, c.B, c.T,
            names[i], g.median, g.low, g.high,
            limit > 0 ? fmt::format("  bar {} {}", limit, g.low <= limit ? "met" : "MISSED") : "");
      }
    }
  }
  if (!agree) return 2;
  return options.check && !met ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  openblas_set_num_threads(1);
  Options options;
  std::string cell = "all";
  std::vector<std::string> cases{"16,1,50", "64,1,100", "128,16,50", "256,32,50"};
  CLI::App app{"One training step of a recurrent network against the same by hand"};
  app.add_option("--cell", cell)->check(CLI::IsMember({"elman", "lstm", "gru", "all"}));
  app.add_option("--case", cases, "H,B,T; repeatable")->allow_extra_args(false);
  app.add_option("--impl", options.implementations, "ops, fused, layer; all by default")
      ->allow_extra_args(false);
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"float", "double"}));
  app.add_option("--read-out", options.read_out, "of the user's program")
      ->check(CLI::IsMember({"stacked", "per-step"}));
  app.add_option("--format", options.format)->check(CLI::IsMember({"table", "json"}));
  app.add_option("--seconds", options.seconds, "at least, per cell and case");
  app.add_option("--alternations", options.alternations, "at least");
  app.add_option("--profile", options.profile, "only run this implementation for --seconds");
  app.add_flag("--check", options.check, "fail when a bar is missed");
  CLI11_PARSE(app, argc, argv);
  options.cells =
      cell == "all" ? std::vector<std::string>{"elman", "lstm", "gru"} : std::vector{cell};
  for (const std::string& text : cases) {
    long h = 0, b = 0, t = 0;
    if (std::sscanf(text.c_str(), "%ld,%ld,%ld", &h, &b, &t) != 3 || h < 1 || b < 1 || t < 1) {
      fmt::print(stderr, "--case wants H,B,T, not \"{}\"\n", text);
      return 2;
    }
    options.cases.push_back({h, b, t});
  }
  return options.dtype == "float" ? run_all<float>(options) : run_all<double>(options);
}
