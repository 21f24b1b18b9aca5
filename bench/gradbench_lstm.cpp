// GradBench's `lstm` (from ADBench): objective and gradient by the library, beside a scalar objective and a scalar gradient
// derived by hand, measured in turns in one run, in double on one thread.
//
//   gradbench_lstm                                    // the suite's sizes
//   gradbench_lstm --layers 2 --chars 1024 --bits 14
//   gradbench_lstm --input case.json                  // a message's input, with "loss" and "gradient" to compare with
//
// Ratios are to the scalar objective, alternation by alternation; the interval is that of the median at 95 %. Before
// anything is measured the results are compared, with the file's where it has them, else with those by hand.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <functional>

#include "unroll/bench/hand_gradbench_lstm.hpp"
#include "unroll/bench/measure.hpp"
#include "unroll/bench/one_blas_thread.hpp"
#include "unroll/tools/gradbench/lstm.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;
using gradbench::LstmInput;

struct Options {
  Size layers = 0, chars = 0, bits = 14;
  std::string input, format = "table", profile;
  double seconds = 2;
  int alternations = 30;
  bool check = false;
};

constexpr double tolerance = 1e-12, bar = 1.2;

struct Expected {
  const char* source;
  double loss;
  std::vector<double> gradient;
};

// Differences relative to the largest element.
bool agree(const char* what, const std::vector<double>& mine, const Expected& expected,
           const std::vector<double>& theirs) {
  double difference = mine.size() == theirs.size() ? 0 : std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < std::min(mine.size(), theirs.size()); ++i) {
    difference = std::max(difference, std::abs(mine[i] - theirs[i]));
    largest = std::max(largest, std::abs(theirs[i]));
  }
  if (difference <= tolerance * largest) return true;
  fmt::print(stderr, "{}: differs from {} by {:.2g} of the largest element\n", what,
             expected.source, difference / largest);
  return false;
}

struct Implementation {
  const char* name;
  std::function<double()> run;
  std::vector<double> ms = {}, ratio = {};  // the ratio is to the first implementation
};

class Measurement {
 public:
  Measurement(const Options& options, const LstmInput& input)
      : options_(options), input_(input), hand_(input), lstm_(input) {
    all_.push_back({"scalar objective", [this] { return hand_.objective(); }});
    all_.push_back({"scalar gradient", [this] { return hand_.gradient()[0]; }});
    all_.push_back({"objective", [this] { return lstm_.objective(); }});
    all_.push_back({"gradient", [this] { return lstm_.gradient()[0]; }});
  }

  bool results_agree(const nlohmann::json& file) {
    Expected expected{"that by hand", hand_.objective(), hand_.gradient()};
    const std::vector<double> by_hand = expected.gradient;
    if (file.contains("loss") && file.contains("gradient")) {
      expected = {"the file's", file["loss"], file["gradient"]};
    }
    bool right = agree("objective", {lstm_.objective()}, expected, {expected.loss});
    right = agree("gradient", lstm_.gradient(), expected, expected.gradient) && right;
    return agree("gradient by hand", by_hand, expected, expected.gradient) && right;
  }

  // Runs one implementation alone, for a profiler to look at.
  void loop(const std::string& name) {
    for (const Implementation& i : all_) {
      if (i.name != name) continue;
      const double begin = cpu_seconds();
      while (cpu_seconds() - begin < options_.seconds) i.run();
    }
  }

  // The library's gradient to the scalar objective.
  Interval run() {
    std::vector<int> repeats;
    for (const Implementation& i : all_) {
      i.run();  // the pools are warm from here on
      const double begin = cpu_seconds();
      i.run();
      repeats.push_back(
          std::max(1, static_cast<int>(1e-3 / std::max(cpu_seconds() - begin, 1e-7))));
    }
    const double start = cpu_seconds();
    for (int r = 0; r < options_.alternations || cpu_seconds() - start < options_.seconds; ++r) {
      for (std::size_t k = 0; k < all_.size(); ++k) {
        const double begin = cpu_seconds();
        for (int n = 0; n < repeats[k]; ++n) all_[k].run();
        all_[k].ms.push_back((cpu_seconds() - begin) / repeats[k] * 1e3);
        all_[k].ratio.push_back(all_[k].ms.back() / all_[0].ms.back());
      }
    }
    for (const Implementation& i : all_) print(i);
    return interval(all_.back().ratio);
  }

 private:
  void print(const Implementation& i) const {
    const Interval r = interval(i.ratio);
    const double low = *std::min_element(i.ms.begin(), i.ms.end());
    const double per_step =  // ns for each layer of each step
        median(i.ms) * 1e6 / static_cast<double>(input_.layers * (input_.chars - 1));
    if (options_.format == "json") {
      fmt::print(
          "{{\"impl\":\"{}\",\"dtype\":\"double\",\"threads\":1,\"layers\":{},\"chars\":{},"
          "\"bits\":{},\"ms_median\":{:.6g},\"ms_min\":{:.6g},\"ns_per_layer_step\":{:.5g},"
          "\"ratio_to_scalar_objective\":{:.4f},\"ratio_low\":{:.4f},\"ratio_high\":{:.4f}}}\n",
          i.name, input_.layers, input_.chars, input_.bits, median(i.ms), low, per_step, r.median,
          r.low, r.high);
    } else {
      fmt::print(
          "{:>6} {:>6} {:>5}  {:<17} {:>10.4f} {:>10.4f} {:>10.0f}   {:>6.2f} [{:.2f}, {:.2f}]\n",
          input_.layers, input_.chars, input_.bits, i.name, median(i.ms), low, per_step, r.median,
          r.low, r.high);
    }
    std::fflush(stdout);
  }

  const Options& options_;
  LstmInput input_;
  HandGradbenchLstm hand_;
  gradbench::Lstm lstm_;
  std::vector<Implementation> all_;
};

int run_all(const Options& options) {
  nlohmann::json file;
  std::vector<LstmInput> inputs;
  if (!options.input.empty()) {
    std::ifstream stream(options.input);
    file = nlohmann::json::parse(stream);
    inputs.push_back(gradbench::lstm_input(file));
  } else if (options.layers > 0 || options.chars > 0) {
    inputs.push_back(gradbench::random_lstm_input(options.layers > 0 ? options.layers : 2,
                                                  options.chars > 0 ? options.chars : 1024,
                                                  options.bits));
  } else {
    for (const auto& [layers, chars] :
         std::vector<std::pair<Size, Size>>{{2, 1024}, {4, 1024}, {2, 4096}, {6, 4096}}) {
      inputs.push_back(gradbench::random_lstm_input(layers, chars, options.bits));
    }
  }
  if (options.format == "table") {
    fmt::print(
        "layers  chars  bits  impl               ms median     ms min  ns/layer,t    ratio "
        "[95 %]\n");
  }
  bool right = true, met = true;
  for (const LstmInput& input : inputs) {
    Measurement m(options, input);
    if (!options.profile.empty()) {
      m.loop(options.profile);
      continue;
    }
    right = m.results_agree(file) && right;
    const Interval ratio = m.run();
    met = met && ratio.low <= bar;
    if (options.format == "table" && options.check) {
      fmt::print("gradient to scalar objective {:.2f} [{:.2f}, {:.2f}]  bar {} {}\n", ratio.median,
                 ratio.low, ratio.high, bar, ratio.low <= bar ? "met" : "MISSED");
    }
  }
  if (!right) return 2;
  return options.check && !met ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  Options options;
  CLI::App app{"GradBench's lstm: objective and gradient against scalar C++ by hand"};
  app.add_option("--layers", options.layers, "one case instead of the suite's")
      ->check(CLI::Range(1, 1000));
  app.add_option("--chars", options.chars, "one case instead of the suite's")
      ->check(CLI::Range(2, 1000000));
  app.add_option("--bits", options.bits, "features")->check(CLI::Range(1, 1000));
  app.add_option("--input", options.input,
                 "a JSON file with main_params, extra_params, state, sequence; and, to compare "
                 "with, loss and gradient")
      ->check(CLI::ExistingFile);
  app.add_option("--format", options.format)->check(CLI::IsMember({"table", "json"}));
  app.add_option("--seconds", options.seconds, "at least, per case");
  app.add_option("--alternations", options.alternations, "at least")->check(CLI::PositiveNumber);
  app.add_option("--profile", options.profile, "only run this implementation for --seconds")
      ->check(CLI::IsMember({"scalar objective", "scalar gradient", "objective", "gradient"}));
  app.add_flag("--check", options.check, "fail when a bar is missed");
  CLI11_PARSE(app, argc, argv);
  try {
    return run_all(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "gradbench_lstm: {}\n", e.what());
    return 2;
  }
}
