// One step forward of a recurrent cell on constants, nothing recorded: by hand, as a user's cell from plain ops, with fuse, and
// as the library's cell, measured in turns; then a long stream of steps, whose memory must not grow.
//
//   inference --case 128,1 --case 64,16 --check
//
// By hand (bench/hand_*.hpp) the weights are packed once, before the stream; the bar is for the library's LSTM at 128,1.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "unroll/bench/hand_elman.hpp"
#include "unroll/bench/hand_gru.hpp"
#include "unroll/bench/hand_lstm.hpp"
#include "unroll/bench/one_blas_thread.hpp"
#include "unroll/bench/runner.hpp"
#include "unroll/bench/user_cells.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

constexpr Size inputs = 64;  // the stream goes round and round these
constexpr double layer_bar = 1.2;

struct Options {
  Turns turns{.seconds = 0.5};
  int stream = 50000;
  bool check = false;
};

// A stream of steps of `advance(x, state) -> state`; what InProcess runs.
template <class T, class Cell, class State>
class Stream {
 public:
  Stream(const Problem<T>& problem, Cell cell, State start)
      : cell_(std::move(cell)), state_(std::move(start)) {
    const Case& c = problem.size;
    const Size one = c.B * c.H;
    for (Size t = 0; t < c.T; ++t)
      xs_.emplace_back(Shape{c.B, c.H},
                       std::span(problem.xs.data() + t * one, static_cast<std::size_t>(one)));
  }
  double step(double) {
    state_ = cell_(xs_[next_], state_);
    next_ = next_ + 1 < xs_.size() ? next_ + 1 : 0;
    return 0;
  }
  std::vector<T> output() const { return h(state_).to_vector(); }

 private:
  static const Var<T>& h(const Var<T>& state) { return state; }
  static const Var<T>& h(const auto& state) { return state.h; }
  Cell cell_;
  State state_;
  std::vector<Var<T>> xs_;
  std::size_t next_ = 0;
};

template <class T, class Hand>
class HandStream {
 public:
  HandStream(const Problem<T>& problem, const Weights<T>& weights)
      : problem_(problem), hand_(problem, weights) {
    hand_.begin();
  }
  double step(double) {
    const Case& c = problem_.size;
    h_ = hand_.advance(problem_.xs.data() + next_ * c.B * c.H);
    next_ = next_ + 1 < c.T ? next_ + 1 : 0;
    return 0;
  }
  std::vector<T> output() const { return {h_, h_ + problem_.size.B * problem_.size.H}; }
  std::size_t bytes() { return hand_.bytes(); }

 private:
  const Problem<T>& problem_;
  Hand hand_;
  const T* h_ = nullptr;
  Size next_ = 0;
};

// All implementations of one cell, and whether they agree.
template <class T, template <class> class Hand, template <class, Style> class Cell, auto Layer>
class Measurement {
 public:
  Measurement(const Options& options, const std::string& cell, const Case& size)
      : options_(options), cell_(cell), problem_(make_problem<T>({size.H, size.B, inputs})) {
    const Size H = size.H;
    const auto w = make_weights<T>(H, Hand<T>::gate_count, Hand<T>::inner_bias);
    const Var<T> zero = zeros<T>({size.B, H});
    add("hand", std::make_unique<HandStream<T, Hand<T>>>(problem_, w));
    add_stream("ops", Cell<T, Style::ops>(w, H), State<T>{zero, zero});
    add_stream("fused", Cell<T, Style::fused>(w, H), State<T>{zero, zero});
    const auto layer = Layer(w, H);
    add_stream("layer", layer, layer.initial_state(size.B));
  }

  // Whether all agree and every bar is met.
  bool run() {
    const auto seconds = take_turns(all_, options_.turns);
    for (std::size_t i = 0; i < all_.size(); ++i) {
      const Interval ratio = interval(ratios(seconds[i], seconds[0]));
      const Case& c = problem_.size;
      fmt::print("{:<6} {:>4} {:>4}  {:<6} {:>10.3f} {:>10.3f}   {:<22}", cell_, c.H, c.B,
                 all_[i]->name, median(seconds[i]) * 1e6,
                 *std::min_element(seconds[i].begin(), seconds[i].end()) * 1e6,
                 fmt::format("{:.2f} [{:.2f}, {:.2f}]", ratio.median, ratio.low, ratio.high));
      stream(*all_[i]);
      if (cell_ == "lstm" && all_[i]->name == "layer" && c.H == 128 && c.B == 1) {
        bar(fmt::format("ratio of the layer, bar {}", layer_bar), ratio.low <= layer_bar);
      }
    }
    return good_;
  }

 private:
  template <class C, class S>
  void add_stream(const char* name, C cell, S start) {
    add(name, std::make_unique<Stream<T, C, S>>(problem_, std::move(cell), std::move(start)));
  }
  template <class S>
  void add(const char* name, std::unique_ptr<S> stream) {
    for (Size t = 0; t < 2 * inputs; ++t) stream->step(0);
    const std::vector<T> h = stream->output();
    if (by_hand_.empty()) by_hand_ = h;
    double apart = 0;
    for (std::size_t i = 0; i < h.size(); ++i)
      apart = std::max(apart, static_cast<double>(std::abs(h[i] - by_hand_[i])));
    if (!(apart < 1e-5)) bar(fmt::format("{} {} agrees with hand: {}", cell_, name, apart), false);
    all_.push_back(in_process(name, std::move(stream), Clock::cpu));
  }
  // A long stream: what it asks of the system, and what the pool reaches above the models, early and late.
  void stream(Runner& runner) {
    reset_memory_peak();
    const Size models = memory_report().live_bytes;
    const auto asked = allocations();
    runner.run(options_.stream / 100, 0);
    const Size early = memory_report().peak_bytes - models;
    runner.run(options_.stream, 0);
    const Size late = memory_report().peak_bytes - models;
    const auto made = allocations() - asked;
    fmt::print(" {:>8} {:>12.2f} KB {:>11.2f} KB\n", made, static_cast<double>(early) * 1e-3,
               static_cast<double>(late) * 1e-3);
    std::fflush(stdout);
    if (made > 0) bar("no allocation", false);
    if (late > early) bar("memory stays the same", false);
  }
  void bar(const std::string& words, bool met) {
    fmt::print("  {}: {}\n", words, met ? "met" : "MISSED");
    good_ = good_ && met;
  }

  const Options& options_;
  std::string cell_;
  Problem<T> problem_;
  std::vector<T> by_hand_;
  std::vector<std::unique_ptr<Runner>> all_;
  bool good_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  Options options;
  std::string cell = "all";
  std::vector<std::string> cases{"16,1", "64,1", "128,1", "512,1", "128,16"};
  CLI::App app{"One step forward of a recurrent cell against the same by hand"};
  app.add_option("--cell", cell)->check(CLI::IsMember({"elman", "lstm", "gru", "all"}));
  app.add_option("--case", cases, "H,B; repeatable")->allow_extra_args(false);
  app.add_option("--seconds", options.turns.seconds, "at least, per cell and case");
  app.add_option("--alternations", options.turns.alternations, "at least");
  app.add_option("--stream", options.stream, "steps of the long stream");
  app.add_flag("--check", options.check, "fail when a bar is missed");
  CLI11_PARSE(app, argc, argv);
  fmt::print("{:<6} {:>4} {:>4}  {:<6} {:>10} {:>10}   {:<22} {:>8} {:>15} {:>14}\n", "cell", "H",
             "B", "impl", "CPU us", "least", "ratio to hand [95 %]", "mallocs", "memory, early",
             "late");
  bool met = true;
  for (const std::string& text : cases) {
    const auto c = parse_case(text);
    if (!c) {
      fmt::print(stderr, "--case wants H,B, not \"{}\"\n", text);
      return 2;
    }
    const auto wants = [&](const char* name) { return cell == "all" || cell == name; };
    if (wants("elman"))
      met = Measurement<float, HandElman, UserElman, LayerOf<float>::elman>(options, "elman", *c)
                .run() &&
            met;
    if (wants("lstm"))
      met =
          Measurement<float, HandLstm, UserLstm, LayerOf<float>::lstm>(options, "lstm", *c).run() &&
          met;
    if (wants("gru"))
      met = Measurement<float, HandGru, UserGru, LayerOf<float>::gru>(options, "gru", *c).run() &&
            met;
  }
  fmt::print(
      "mallocs: of all {} steps of the stream; memory: the most that the library's pool held above "
      "the models\n",
      options.stream + options.stream / 100);
  return options.check && !met ? 1 : 0;
}
