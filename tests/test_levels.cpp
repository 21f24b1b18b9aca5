// The kernels' instruction level is the loader's choice; tests/meson.build runs some of the tests at each.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/random.hpp"

using namespace unroll;

TEST_CASE("The kernels run at the level that was asked for") {
  const std::string level = kernel_level();
  CHECK_FALSE(level.empty());
#ifdef __x86_64__
  const char* asked = std::getenv("UNROLL_EXPECTED_LEVEL");
  if (asked && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    CHECK(level == asked);
  }
#endif
}

namespace {

struct Gated {
  static constexpr auto name = "gated";
  static auto f(const auto& x, const auto& y) { return sigmoid(x) * tanh(y); }
  static auto d(wrt<0>, const auto& out, const auto& x, const auto&) {
    return out * (1 - sigmoid(x));
  }
  static auto d(wrt<1>, const auto&, const auto& x, const auto& y) {
    return sigmoid(x) * (1 - square(tanh(y)));
  }
};

template <class T>
void near(const Var<T>& a, const Var<T>& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(x[i] == doctest::Approx(y[i]).epsilon(sizeof(T) == 4 ? 1e-5 : 1e-13).scale(1));
  }
}
// The values and gradients of two functions of two arrays.
template <class T>
void same_function(const auto& f, const auto& g, const Shape& shape) {
  const auto x = 2 * normal<T>(Key(1), shape), y = 2 * normal<T>(Key(2), shape);
  const auto w = normal<T>(Key(3), shape);
  near<T>(f(x, y), g(x, y));
  const auto of = [&](const auto& h) {
    return grad([&](const Var<T>& a, const Var<T>& b) { return sum(w * h(a, b)); })(x, y);
  };
  const auto [fx, fy] = of(f);
  const auto [gx, gy] = of(g);
  near<T>(fx, gx);
  near<T>(fy, gy);
}
template <class T>
void same_bits(const auto& op, const Var<T>& x) {
  CHECK(fuse([=](auto v) { return op(v); }, x).to_vector() == op(x).to_vector());
}
// A helper of a user's that is left out of the kernel hands a lane from one level to another.
template <class X>
[[gnu::noinline]] auto left_out(const X& x) {
  return where(x > 0, x * 0.5, exp(x) * x);
}

}  // namespace

#ifdef UNROLL_LEVELS
TEST_CASE("A file that is compiled for any processor has kernels for the library's level") {
  CHECK(std::string(caller_level()) == kernel_level());
}
#endif

TEST_CASE_TEMPLATE("A caller's kernels compute what plain ops do", T, float, double) {
  const auto gated = [](const auto& a, const auto& b) { return sigmoid(a) * tanh(b); };
  const auto by_fuse = [](const Var<T>& a, const Var<T>& b) {
    return fuse([](auto p, auto q) { return sigmoid(p) * tanh(q); }, a, b);
  };
  const auto by_op = [](const Var<T>& a, const Var<T>& b) { return apply<Gated>(a, b); };
  const auto many = [](auto a, auto b) {
    auto positive = exp(a * 0.5) + 0.25;
    return softplus(a) * log(positive) - sin(b) * cos(a) + erf(a - b) * expm1(b * 0.25) +
           log1p(positive) * gelu(b) + pow(positive, b) / (1 + sigmoid(a)) +
           where(a < b, maximum(a, 0.5), sqrt(positive) * abs(b));
  };
  for (const Shape& shape : {Shape{1}, Shape{7}, Shape{16}, Shape{5, 33}, Shape{64, 64}}) {
    CAPTURE(to_string(shape));
    same_function<T>(by_fuse, gated, shape);
    same_function<T>(by_op, gated, shape);
    same_function<T>([&](const Var<T>& a, const Var<T>& b) { return fuse(many, a, b); }, many,
                     shape);
  }
}

TEST_CASE_TEMPLATE("A function that is left out of a kernel gets and gives its lanes", T, float,
                   double) {
  const auto plain = [](auto a, auto b) { return left_out(a) * b; };
  same_function<T>([&](const Var<T>& a, const Var<T>& b) { return fuse(plain, a, b); }, plain,
                   {3, 37});
}

TEST_CASE_TEMPLATE("One op has the same bits in a caller's kernel and in the library's", T, float,
                   double) {
  if (std::string(caller_level()) != kernel_level()) return;
  const auto x = 3 * normal<T>(Key(4), {1001});
  same_bits<T>([](const auto& v) { return exp(v); }, x);
  same_bits<T>([](const auto& v) { return tanh(v); }, x);
  same_bits<T>([](const auto& v) { return sigmoid(v); }, x);
  same_bits<T>([](const auto& v) { return sin(v); }, x);
  same_bits<T>([](const auto& v) { return log(v); }, abs(x));
}
