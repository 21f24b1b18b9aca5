// How exact the elementwise functions are, in ulp: units in the last place of the exact result.
//
//   accuracy                          // through the library's ops, at the level that the loader chose
//   accuracy --fused                  // the same functions in `fuse`, at the level this program is compiled for
//   accuracy --function exp --type double --points 100000000
//   accuracy --check                  // fails above the bars: 4 ulp for float, 2 for double (4 where erfc is used)
//
// float: every bit pattern (each k-th with --stride k; of what takes longest each 5th) against double. double: points spread evenly over all bit patterns and
// over the interval in which the function changes, and the neighbours of special points, against 80-bit long double; the
// worst of them are computed again in 128 bits, and that is what is printed. An error is |computed - exact| / ulp(exact), where
// an ulp is the distance of the two numbers that enclose the exact result (2^-149 or 2^-1074 among denormal ones). A result
// that is infinite or NaN where the exact one is not, or the other way round, counts as infinitely wrong.
#include <fmt/format.h>
#include <quadmath.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <bit>
#include <functional>
#include <limits>
#include <random>
#include <thread>

#include "unroll/autograd/autograd.hpp"
#include "unroll/bench/measure.hpp"

namespace {

using namespace unroll;

// ---- the exact functions ------------------------------------------------------------------------------------------------

namespace exact {
using Quad = __float128;
using std::cos, std::erf, std::erfc, std::exp, std::expm1, std::log, std::log1p, std::pow, std::sin,
    std::sqrt, std::tanh;
Quad cos(Quad x) { return cosq(x); }
Quad erf(Quad x) { return erfq(x); }
Quad erfc(Quad x) { return erfcq(x); }
Quad exp(Quad x) { return expq(x); }
Quad expm1(Quad x) { return expm1q(x); }
Quad log(Quad x) { return logq(x); }
Quad log1p(Quad x) { return log1pq(x); }
Quad pow(Quad x, Quad y) { return powq(x, y); }
Quad sin(Quad x) { return sinq(x); }
Quad sqrt(Quad x) { return sqrtq(x); }
Quad tanh(Quad x) { return tanhq(x); }
template <class R>
R sigmoid(R x) {
  return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}
template <class R>
R softplus(R x) {
  return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
template <class R>
R normal_cdf(R x) {
  return erfc(-x / sqrt(R(2))) / 2;
}
}  // namespace exact

// ---- what is measured ---------------------------------------------------------------------------------------------------

template <class T>
struct Function {
  const char* name;
  std::function<Var<T>(const Var<T>&)> op, fused;
  std::function<double(double)> in_double;
  std::function<long double(long double)> in_extended;
  std::function<__float128(__float128)> in_quad;
  double low, high;             // the interval in which it changes
  std::vector<double> special;  // whose neighbours are looked at
  bool slow;                    // looked at at each 5th float only, where nothing else is asked for
  double least;                 // not looked at below
  double bar;                   // the largest error, in ulp
};

// f over Vars and lanes, g over the exact types.
template <class T, class F, class G>
Function<T> function(const char* name, F f, G g, double low, double high,
                     std::vector<double> special, bool slow = false,
                     double least = -std::numeric_limits<double>::infinity(),
                     double bar = std::is_same_v<T, float> ? 4 : 2) {
  return {name,  f,  [f](const Var<T>& x) { return fuse(f, x); }, g, g, g, low, high, special, slow,
          least, bar};
}

template <class T>
std::vector<Function<T>> functions() {
  constexpr bool single = std::is_same_v<T, float>;
  // Where exp overflows, where its result becomes denormal, and where it becomes 0.
  const std::vector<double> ends =
      single ? std::vector{88.72283905206835, -87.33654475055310, -103.97207708399179}
             : std::vector{709.782712893384, -708.3964185322641, -745.1332191019412};
  std::vector<double> both = ends;
  for (const double x : ends) both.push_back(-x);
  const double most = ends[0] * 1.2, least = ends[2] * 1.2;
  return {
      function<T>(
          "exp", [](const auto& x) { return exp(x); }, [](auto x) { return exact::exp(x); }, least,
          most, ends),
      function<T>(
          "tanh", [](const auto& x) { return tanh(x); }, [](auto x) { return exact::tanh(x); }, -20,
          20, {0.625, -0.625, 9.01, 19.06}),
      function<T>(
          "sigmoid", [](const auto& x) { return sigmoid(x); },
          [](auto x) { return exact::sigmoid(x); }, least, most, both),
      function<T>(
          "log", [](const auto& x) { return log(x); }, [](auto x) { return exact::log(x); }, 0, 8,
          {1, 1.4142135623730951, 0.7071067811865476}),
      function<T>(
          "expm1", [](const auto& x) { return expm1(x); }, [](auto x) { return exact::expm1(x); },
          -40, most, ends),
      function<T>(
          "log1p", [](const auto& x) { return log1p(x); }, [](auto x) { return exact::log1p(x); },
          -1, 8, {-1, -0.2928932188134524, 0.4142135623730951}),
      function<T>(
          "softplus", [](const auto& x) { return softplus(x); },
          [](auto x) { return exact::softplus(x); }, least, 50, both, true),
      function<T>(
          "sqrt", [](const auto& x) { return sqrt(x); }, [](auto x) { return exact::sqrt(x); }, 0,
          8, {1, 4}),
      function<T>(
          "erf", [](const auto& x) { return erf(x); }, [](auto x) { return exact::erf(x); }, -7, 7,
          {0.65, 2.0 / 3, 2.2, 6}),
      function<T>(
          "normal_cdf", [](const auto& x) { return normal_cdf(x); },
          [](auto x) { return exact::normal_cdf(x); }, -40, 9, {-1, -0.25, 0}, true,
          -std::numeric_limits<double>::infinity(), 4),  // as good as the C library's erfc
      function<T>(
          "gelu", [](const auto& x) { return gelu(x); },
          [](auto x) { return x < -200 ? 0 * x : x * exact::normal_cdf(x); }, -40, 9,
          {-1, -0.25, 0}, true, single ? -13 : -37, 4),  // below, normal_cdf(x) is denormal
      function<T>(
          "x^2.75", [](const auto& x) { return pow(x, 2.75); },
          [](auto x) { return exact::pow(x, decltype(x)(2.75)); }, 0, 1000, {1}, true),
      function<T>(
          "x^-7", [](const auto& x) { return pow(x, -7); },
          [](auto x) { return exact::pow(x, decltype(x)(-7)); }, -100, 100, {1, -1}, true),
      function<T>(
          "1.75^x", [](const auto& x) { return pow(1.75, x); },
          [](auto x) { return exact::pow(decltype(x)(1.75), x); }, -200, 200, {0}, true),
      function<T>(
          "sin", [](const auto& x) { return sin(x); }, [](auto x) { return exact::sin(x); }, -100,
          100, {3.141592653589793, 6.283185307179586}, true),
      function<T>(
          "cos", [](const auto& x) { return cos(x); }, [](auto x) { return exact::cos(x); }, -100,
          100, {1.5707963267948966, 4.71238898038469}, true),
  };
}

// ---- errors ---------------------------------------------------------------------------------------------------------------

// Infinite results stand for the power of two after the largest number.
template <class T, class R>
double error_in_ulp(T computed, R expected) {
  using Limits = std::numeric_limits<T>;
  const bool nan = !(expected == expected);
  if (nan || std::isnan(computed))
    return nan == std::isnan(computed) ? 0 : std::numeric_limits<double>::infinity();
  const auto power = [](int exponent) { return static_cast<R>(std::ldexp(1.0L, exponent)); };
  const R end = power(Limits::max_exponent);
  const R a = std::clamp<R>(computed, -end, end), b = std::clamp<R>(expected, -end, end);
  const auto size = static_cast<double>(b < 0 ? -b : b);
  const int exponent = size > 0 ? std::ilogb(size) + 1 : Limits::min_exponent;
  return static_cast<double>(
      (a < b ? b - a : a - b) /
      power(std::clamp(exponent, Limits::min_exponent, Limits::max_exponent) - Limits::digits));
}

template <class T>
struct Worst {
  double error = 0;
  T at = 0;
  void see(double e, T x) {
    if (e > error) error = e, at = x;
  }
};
template <class T>
struct Errors {
  Worst<T> normal, denormal;  // by the exact result
  std::int64_t points = 0;
  double seconds = 0;
  Errors& operator+=(const Errors& other) {
    normal.see(other.normal.error, other.normal.at);
    denormal.see(other.denormal.error, other.denormal.at);
    points += other.points;
    return *this;
  }
};

constexpr std::size_t at_once = 1 << 14;

// The errors at the points of xs. What is within reach of the worst seen so far is computed in 128 bits.
template <class T>
void look(const Function<T>& f, bool fused, const std::vector<T>& xs, Errors<T>& errors) {
  const Var<T> x(Shape{static_cast<Size>(xs.size())}, xs);
  const std::vector<T> y = (fused ? f.fused(x) : f.op(x)).to_vector();
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (xs[i] < f.least) continue;
    double e;
    bool denormal;
    const auto is_denormal = [](auto expected) {
      return expected != 0 && std::abs(static_cast<long double>(expected)) <
                                  static_cast<long double>(std::numeric_limits<T>::min());
    };
    if constexpr (std::is_same_v<T, float>) {
      const double expected = f.in_double(static_cast<double>(xs[i]));
      e = error_in_ulp(y[i], expected);
      denormal = is_denormal(expected);
    } else {
      const long double expected = f.in_extended(static_cast<long double>(xs[i]));
      e = error_in_ulp(y[i], expected);
      denormal = is_denormal(expected);
      const double worst = (denormal ? errors.denormal : errors.normal).error;
      if (e > 0.99 * worst) e = error_in_ulp(y[i], f.in_quad(static_cast<__float128>(xs[i])));
    }
    (denormal ? errors.denormal : errors.normal).see(e, xs[i]);
  }
  errors.points += static_cast<std::int64_t>(xs.size());
}

// Calls part(i) for i < parts on all threads and adds up what it finds.
template <class T, class Part>
Errors<T> in_parts(std::int64_t parts, int threads, Part&& part) {
  std::vector<Errors<T>> found(static_cast<std::size_t>(threads));
  std::atomic<std::int64_t> next{0};
  const double begin = bench::wall_seconds();
  {
    std::vector<std::jthread> workers;
    for (Errors<T>& errors : found) {
      workers.emplace_back([&] {
        for (std::int64_t i = next++; i < parts; i = next++) part(i, errors);
      });
    }
  }
  Errors<T> all;
  for (const Errors<T>& errors : found) all += errors;
  all.seconds = bench::wall_seconds() - begin;
  return all;
}

struct Options {
  std::string only, type = "both";
  std::int64_t stride = 0, points = 12'000'000;
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  bool fused = false, check = false;
};

Errors<float> measure(const Function<float>& f, const Options& o) {
  const std::int64_t stride = o.stride > 0 ? o.stride : f.slow ? 5 : 1;
  const std::int64_t patterns = ((std::int64_t{1} << 32) + stride - 1) / stride, size = at_once;
  return in_parts<float>(
      (patterns + size - 1) / size, o.threads, [&](std::int64_t part, auto& errors) {
        std::vector<float> xs;
        for (std::int64_t i = part * size; i < std::min((part + 1) * size, patterns); ++i)
          xs.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(i * stride)));
        look(f, o.fused, xs, errors);
      });
}

// Special points of every function, with their neighbours.
std::vector<double> special_points(const Function<double>& f) {
  using Limits = std::numeric_limits<double>;
  std::vector<double> centres{0,  Limits::min(), 1e-8, 1e-16, 1e-300,       0.5, 1, 2, 3,
                              10, 1e8,           1e16, 1e300, Limits::max()};
  for (const double x : std::vector(centres)) centres.push_back(-x);
  centres.insert(centres.end(), f.special.begin(), f.special.end());
  for (int k = -1080; k <= 1080; ++k) centres.push_back(k * 0.6931471805599453 / 2);
  std::vector<double> xs{Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()};
  for (const double c : centres) {
    double up = c, down = c;
    for (int i = 0; i < 500; ++i) {
      xs.push_back(up), xs.push_back(down);
      up = std::nextafter(up, Limits::infinity()), down = std::nextafter(down, -Limits::infinity());
    }
  }
  return xs;
}

Errors<double> measure(const Function<double>& f, const Options& o) {
  const std::int64_t size = at_once;
  const std::vector<double> special = special_points(f);
  const auto near = (static_cast<std::int64_t>(special.size()) + size - 1) / size;
  return in_parts<double>(near + o.points / size, o.threads, [&](std::int64_t part, auto& errors) {
    std::vector<double> xs;
    if (part < near) {
      xs.assign(special.begin() + part * size,
                special.begin() + std::min<std::int64_t>((part + 1) * size, std::ssize(special)));
    } else {
      std::mt19937_64 random(static_cast<std::uint64_t>(part));
      std::uniform_real_distribution<double> within(f.low, f.high);
      for (std::int64_t i = 0; i < size; ++i)
        xs.push_back(i % 2 ? within(random) : std::bit_cast<double>(random()));
    }
    look(f, o.fused, xs, errors);
  });
}

// Prints a row for each function; are the bars met?
template <class T>
bool run(const Options& o) {
  constexpr bool single = std::is_same_v<T, float>;
  bool met = true;
  for (const Function<T>& f : functions<T>()) {
    if (!o.only.empty() && o.only != f.name) continue;
    const Errors<T> e = measure(f, o);
    const bool good = e.normal.error <= f.bar && e.denormal.error <= f.bar;
    fmt::print("{:<9} {:<7} {:>12} {:>12.3f} {:>24.17g} {:>12.3f} {:>24.17g} {:>8.1f}  {}\n",
               f.name, single ? "float" : "double", e.points, e.normal.error, e.normal.at,
               e.denormal.error, e.denormal.at, e.seconds, good ? "met" : "MISSED");
    std::fflush(stdout);
    met = met && good;
  }
  return met;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Errors of the elementwise functions in ulp"};
  app.add_option("--function", o.only, "only this one");
  app.add_option("--type", o.type)->check(CLI::IsMember({"float", "double", "both"}));
  app.add_option("--stride", o.stride, "float: every k-th bit pattern")->check(CLI::PositiveNumber);
  app.add_option("--points", o.points, "double")->check(CLI::PositiveNumber);
  app.add_option("--threads", o.threads)->check(CLI::Range(1, 256));
  app.add_flag("--fused", o.fused, "in the caller's code instead of the library's");
  app.add_flag("--check", o.check, "fail above 4 ulp (float) or 2 ulp (double)");
  CLI11_PARSE(app, argc, argv);
  fmt::print("level: {}\n", o.fused ? caller_level() : kernel_level());
  fmt::print("{:<9} {:<7} {:>12} {:>12} {:>24} {:>12} {:>24} {:>8}\n", "function", "type", "points",
             "largest ulp", "at", "of denormals", "at", "seconds");
  bool met = true;
  if (o.type != "double") met = run<float>(o) && met;
  if (o.type != "float") met = run<double>(o) && met;
  return o.check && !met ? 1 : 0;
}
