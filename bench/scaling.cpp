// How cost grows: with the number of steps of an unrolled cell, the number of slices of one array, the length of a chain; for a
// training step of the library's LSTM with its width, the batch, the steps, and the threads that share the batch.
//
//   scaling --check
//
// The exponent is the slope of log cost over log size (least squares); peak memory is that of the process.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "unroll/bench/measure.hpp"
#include "unroll/bench/one_blas_thread.hpp"
#include "unroll/bench/user_cells.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

struct Point {
  double size, seconds;
};

double exponent(const std::vector<Point>& points) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const Point& p : points) {
    const double lx = std::log(p.size), ly = std::log(p.seconds);
    n += 1, x += lx, y += ly, xx += lx * lx, xy += lx * ly;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

double peak_gigabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024e-9;
}

double seconds_of(clockid_t clock, const auto& f) {
  const double begin = clock_seconds(clock);
  f();
  return clock_seconds(clock) - begin;
}
// The best of several: growth is what is wanted here, and a neighbour's noise only adds.
double best(clockid_t clock, const auto& f) {
  double best = seconds_of(clock, f), total = best;
  for (int r = 1; r < 3 || total < 0.3; ++r) {
    const double s = seconds_of(clock, f);
    best = std::min(best, s);
    total += s;
  }
  return best;
}

template <class F>
std::vector<Point> measure(const char* what, const std::vector<Size>& sizes, F&& f) {
  std::vector<Point> points;
  fmt::print("{}\n", what);
  for (Size n : sizes) {
    const double s = best(CLOCK_PROCESS_CPUTIME_ID, [&] { f(n); });
    points.push_back({static_cast<double>(n), s});
    fmt::print("  {:>9}  {:>10.3f} ms  {:>8.1f} ns each   peak of the process {:.3f} GB\n", n,
               s * 1e3, s * 1e9 / static_cast<double>(n), peak_gigabytes());
    std::fflush(stdout);
  }
  fmt::print("  exponent {:.3f}\n", exponent(points));
  return points;
}

double cost_each(const Point& p) { return p.seconds / p.size; }

class Bars {
 public:
  void operator()(const char* what, double value, double limit) {
    met_ = met_ && value <= limit;
    fmt::print("  {} {:.3g}, bar {:.3g}: {}\n", what, value, limit,
               value <= limit ? "met" : "MISSED");
  }
  bool met() const { return met_; }

 private:
  bool met_ = true;
};

// a_t = tanh(W a_{t-1} + x), H = 4, B = 1; the loss is the sum of the last state.
bool steps_of_a_cell(Size longest) {
  const std::vector<float> w(16, 0.1F), x(4, 0.5F);
  const Var<float> W({4, 4}, w), in({1, 4}, x);
  const auto points = measure("steps of a cell, H = 4: forward and backward",
                              {1000, 10000, 100000, longest}, [&](Size T) {
                                (void)value_and_grad(
                                    [&](const Var<float>& weights) {
                                      Var<float> a = zeros<float>({1, 4});
                                      for (Size t = 0; t < T; ++t)
                                        a = tanh(linear(a, weights) + in);
                                      return sum(a);
                                    },
                                    W);
                              });
  Bars bar;
  bar("cost per step, longest over 1000 steps:",
      cost_each(points.back()) / cost_each(points.front()), 3);
  bar("exponent from 10000 steps on:", exponent({points.begin() + 1, points.end()}), 1.05);
  bar("peak memory, GB:", peak_gigabytes(), 2);
  return bar.met();
}

bool slices_of_an_array() {
  const std::vector<float> table(10000 * 64, 0.1F);
  const Var<float> array({10000, 64}, table);
  const auto points = measure("slices of one array [10000, 64]", {1000, 10000}, [&](Size count) {
    (void)value_and_grad(
        [&](const Var<float>& v) {
          Var<float> total = index(v, 0, 0);
          for (Size i = 1; i < count; ++i) total = total + index(v, 0, i);
          return sum(total);
        },
        array);
  });
  Bars bar;
  bar("10000 slices over 1000:", points[1].seconds / points[0].seconds, 12);
  return bar.met();
}

bool chain_of_additions() {
  const auto points =
      measure("a chain of additions, 1 float", {2000, 20000, 200000, 2000000}, [&](Size n) {
        (void)value_and_grad(
            [&](const Var<float>& v) {
              Var<float> y = v;
              for (Size i = 0; i < n; ++i) y = y + v;
              return y;
            },
            Var<float>(1.0F));
      });
  Bars bar;
  bar("exponent of a chain:", exponent(points), 1.1);
  return bar.met();
}

using LstmModel = LayerModel<float, Lstm<float>>;
LstmModel lstm_model(Size H) {
  const auto w = make_weights<float>(H, 4, false);
  return layer_model(w, LayerOf<float>::lstm(w, H), H);
}

// A training step of the library's LSTM along one of H, B, T.
void layer_along(const char* what, const std::vector<Size>& sizes, Case (*at)(Size)) {
  using Step = TrainingStep<LayerProgram<float, Lstm<float>>, LstmModel>;
  std::optional<Step> step;
  Size made = 0;
  measure(what, sizes, [&](Size n) {
    if (made != n) {  // the best of several calls is taken, so making it does not count
      const LstmModel model = lstm_model(at(n).H);
      step.emplace(LayerProgram(make_problem<float>(at(n)), model), model);
      made = n;
    }
    step->step(1e-3);
  });
}
bool layer_along_all() {
  layer_along("LSTM, training step along H: B = 1, T = 20", {16, 32, 64, 128, 256, 512},
              [](Size n) {
                return Case{n, 1, 20};
              });
  layer_along("LSTM, training step along B: H = 64, T = 20", {1, 4, 16, 64, 256}, [](Size n) {
    return Case{64, n, 20};
  });
  layer_along("LSTM, training step along T: H = 64, B = 1", {10, 100, 1000, 10000}, [](Size n) {
    return Case{64, 1, n};
  });
  return true;
}

// Wall time of the best step.
bool threads_over_a_batch() {
  const Case c{128, 32, 50};
  const LstmModel model = lstm_model(c.H);
  const auto problem = make_problem<float>(c);
  const auto most = static_cast<int>(std::clamp<Size>(std::thread::hardware_concurrency(), 2, c.B));
  fmt::print("LSTM, training step along threads: H = 128, B = 32, T = 50, wall time\n");
  std::vector<Point> points;
  for (int n = 1; n <= most; n *= 2) {
    ParallelStep<LayerProgram<float, Lstm<float>>, LstmModel> step(
        problem, model, n, [&](const Problem<float>& part) { return LayerProgram(part, model); });
    const double s = best(CLOCK_MONOTONIC, [&] { step.step(1e-3); });
    points.push_back({static_cast<double>(n), s});
    fmt::print("  {:>9}  {:>10.3f} ms  {:>8.2f} times one thread's speed\n", n, s * 1e3,
               points[0].seconds / s);
  }
  fmt::print("  exponent {:.3f}, -1 would be ideal\n", exponent(points));
  return true;
}

// In a process of its own, so that what one part leaves in the heap and the caches is no other's.
bool alone(const auto& part) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const bool met = part();
    std::fflush(stdout);
    _exit(met ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0;
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  bool check = false;
  Size longest = 1000000;
  CLI::App app{"Growth of cost with size"};
  app.add_flag("--check", check, "fail when a bar is missed");
  app.add_option("--steps", longest, "the longest unroll");
  CLI11_PARSE(app, argc, argv);
  bool met = alone([&] { return steps_of_a_cell(longest); });
  met = alone(slices_of_an_array) && met;
  met = alone(chain_of_additions) && met;
  met = alone(layer_along_all) && met;
  met = alone(threads_over_a_batch) && met;
  return check && !met ? 1 : 0;
}
