// The functions of lanes over their whole range: errors in ulp against long double, the edges where results overflow or become
// denormal, and results that do not depend on what else is in the register. bench/accuracy looks at all numbers.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "unroll/autograd/autograd.hpp"

using namespace unroll;

namespace {

template <class T>
using Op = Var<T> (*)(const Var<T>&);
using Exact = long double (*)(long double);

long double exact_sigmoid(long double x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
long double exact_softplus(long double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

template <class T>
struct Function {
  const char* name;
  Op<T> op;
  Exact exact;
  double low, high;
};
template <class T>
std::vector<Function<T>> functions() {
  using V = const Var<T>&;
  const double far = std::is_same_v<T, float> ? 104 : 746;
  return {
      {"exp", [](V x) { return exp(x); }, [](long double x) { return std::exp(x); }, -far, far},
      {"expm1", [](V x) { return expm1(x); }, [](long double x) { return std::expm1(x); }, -40,
       far},
      {"tanh", [](V x) { return tanh(x); }, [](long double x) { return std::tanh(x); }, -20, 20},
      {"sigmoid", [](V x) { return sigmoid(x); }, exact_sigmoid, -far, far},
      {"softplus", [](V x) { return softplus(x); }, exact_softplus, -far, 50},
      {"log", [](V x) { return log(x); }, [](long double x) { return std::log(x); }, 0, 4},
      {"log1p", [](V x) { return log1p(x); }, [](long double x) { return std::log1p(x); }, -1, 4},
      {"erf", [](V x) { return erf(x); }, [](long double x) { return std::erf(x); }, -7, 7},
      {"sin", [](V x) { return sin(x); }, [](long double x) { return std::sin(x); }, -300, 300},
      {"cos", [](V x) { return cos(x); }, [](long double x) { return std::cos(x); }, -300, 300},
  };
}

template <class T>
std::vector<T> values(Op<T> f, const std::vector<T>& x) {
  return f(Var<T>({static_cast<Size>(x.size())}, x)).to_vector();
}
template <class T>
T at(Op<T> f, T x) {
  return f(Var<T>(x)).item();
}

// Evenly over the interval, and over the exponents of either sign.
template <class T>
std::vector<T> points(double low, double high) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> x{T(0), Limits::max(), -Limits::max(), Limits::min(), Limits::denorm_min()};
  const int n = 20011;
  for (int i = 0; i <= n; ++i) x.push_back(static_cast<T>(low + (high - low) * i / n));
  for (int e = Limits::min_exponent - Limits::digits; e < Limits::max_exponent; ++e) {
    for (const double m : {1.0, 1.1, 1.37, 1.570796, 1.9}) {
      x.push_back(static_cast<T>(std::ldexp(m, e)));
      x.push_back(-x.back());
    }
  }
  return x;
}

template <class T>
double ulps(T computed, long double exact) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(exact) || std::isnan(computed))
    return std::isnan(exact) && std::isnan(computed) ? 0 : Limits::infinity();
  const long double end = std::ldexp(1.0L, Limits::max_exponent);
  const long double a = std::clamp<long double>(computed, -end, end),
                    b = std::clamp(exact, -end, end);
  int exponent = 0;
  std::frexp(b, &exponent);
  exponent = b == 0 ? Limits::min_exponent
                    : std::clamp(exponent, Limits::min_exponent, Limits::max_exponent);
  return static_cast<double>(std::abs(a - b) / std::ldexp(1.0L, exponent - Limits::digits));
}

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T tiny = std::numeric_limits<T>::denorm_min();

}  // namespace

TEST_CASE_TEMPLATE("Functions are within 4 ulp in float and 2 ulp in double", T, float, double) {
  for (const Function<T>& f : functions<T>()) {
    const std::vector<T> x = points<T>(f.low, f.high), y = values(f.op, x);
    double worst = 0;
    T where = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double e = ulps(y[i], f.exact(static_cast<long double>(x[i])));
      if (e > worst) worst = e, where = x[i];
    }
    INFO(f.name << "(" << where << "): " << worst << " ulp");
    CHECK(worst <= (std::is_same_v<T, float> ? 4 : 2));
  }
}

TEST_CASE_TEMPLATE("NaN and infinities go where they should", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Function<T>& f : functions<T>()) {
    INFO(std::string(f.name));
    CHECK(std::isnan(at(f.op, nan)));
    for (const T x : {infinity<T>, -infinity<T>}) {
      const auto expected = static_cast<T>(f.exact(static_cast<long double>(x))), y = at(f.op, x);
      CHECK((std::isnan(expected) ? std::isnan(y) : y == expected));
    }
  }
}

TEST_CASE("The sigmoid of a very negative number is not 0") {
  CHECK(at<float>([](const auto& x) { return sigmoid(x); }, -20) ==
        doctest::Approx(2.0611536e-9).epsilon(1e-6));
  CHECK(at<float>([](const auto& x) { return sigmoid(x); }, -87) ==
        doctest::Approx(1.6458115e-38).epsilon(1e-6));
  CHECK(at<float>([](const auto& x) { return sigmoid(x); }, -103) == tiny<float>);
  CHECK(at<double>([](const auto& x) { return sigmoid(x); }, -700) ==
        doctest::Approx(9.8596765437597708e-305).epsilon(1e-15));
  CHECK(at<double>([](const auto& x) { return sigmoid(x); }, -745) == tiny<double>);
}

TEST_CASE("exp ends where its result does") {
  const auto exp_f = [](float x) { return at<float>([](const auto& v) { return exp(v); }, x); };
  const auto exp_d = [](double x) { return at<double>([](const auto& v) { return exp(v); }, x); };
  CHECK(exp_f(88.7228317F) < infinity<float>);
  CHECK(exp_f(88.7228394F) == infinity<float>);
  CHECK(exp_f(-103.97207F) == tiny<float>);
  CHECK(exp_f(-103.97209F) == 0);
  CHECK(exp_d(709.782712893384) < infinity<double>);
  CHECK(exp_d(709.7827128933841) == infinity<double>);
  CHECK(exp_d(-745.1332191019411) == tiny<double>);
  CHECK(exp_d(-745.1332191019412) == 0);
}

TEST_CASE_TEMPLATE("An element's bits do not depend on numbers of another size beside it", T, float,
                   double) {
  // Each function takes another way for some of these.
  const std::vector<T> others{T(1e-30),
                              T(0.3),
                              T(5),
                              T(-90),
                              T(250),
                              T(-1e7),
                              T(1e30),
                              T(-0.),
                              T(50),
                              T(2),
                              std::numeric_limits<T>::min() / 4};
  for (const Function<T>& f : functions<T>()) {
    std::vector<T> mixed;
    for (std::size_t i = 0; i < 64; ++i) mixed.push_back(others[i % others.size()]);
    const std::vector<T> y = values(f.op, mixed);
    for (std::size_t i = 0; i < others.size(); ++i) {
      const T alone = values(f.op, std::vector<T>(64, others[i]))[i];
      INFO(f.name << "(" << others[i] << ")");
      CHECK(
          ((std::isnan(alone) && std::isnan(y[i])) || std::memcmp(&alone, &y[i], sizeof(T)) == 0));
    }
  }
}
