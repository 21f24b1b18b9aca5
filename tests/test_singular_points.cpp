// What happens where a function or its derivative does not exist: what docs/ops.md and the headers state, point by point.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"

using namespace unroll;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
using V = Var<double>;

V vec(std::initializer_list<double> values) {
  return V(Shape{static_cast<Size>(values.size())}, values);
}

void expect_near(const V& x, const std::vector<double>& expected) {
  const auto values = x.to_vector();
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::abs(values[i] - expected[i]) <= 1e-15);
}

// The derivative of f at x, alone and in the middle of an array (the two take different ways through the kernels).
template <class F>
double slope(F f, double x) {
  const double alone = grad([&](const V& v) { return f(v); })(V(x)).item();
  const V many = grad([&](const V& v) { return sum(f(v)); })(full<double>({33}, x));
  for (double g : many.to_vector()) {
    const bool same = g == alone || (std::isnan(g) && std::isnan(alone));
    CHECK(same);
  }
  return alone;
}

}  // namespace

TEST_CASE("abs and relu have the derivative 0 at 0, leaky_relu its slope, elu its alpha") {
  CHECK(slope([](const V& x) { return abs(x); }, 0) == 0);
  CHECK(slope([](const V& x) { return relu(x); }, 0) == 0);
  CHECK(slope([](const V& x) { return leaky_relu(x, 0.25); }, 0) == 0.25);
  CHECK(slope([](const V& x) { return elu(x, 1.5); }, 0) == 1.5);
}

TEST_CASE("Equal operands of maximum and minimum get half of the cotangent each") {
  for (const auto& g : {grad([](const V&a, const V&b) { return sum(maximum(a, b)); })(
                            vec({1, 2, 3}), vec({1, 3, 2})),
                        grad([](const V&a, const V&b) { return -sum(minimum(-a, -b)); })(
                            vec({1, 2, 3}), vec({1, 3, 2}))}) {
    CHECK(std::get<0>(g).to_vector() == std::vector<double>{0.5, 0, 1});
    CHECK(std::get<1>(g).to_vector() == std::vector<double>{0.5, 1, 0});
  }
  CHECK(slope([](const V& x) { return maximum(x, x); }, 2) == 1);
  CHECK(slope([](const V& x) { return clamp(x, -1, 1); }, 1) == 0.5);
}

TEST_CASE("NaN is carried through maximum, minimum and the activations") {
  const V x = vec({not_a_number, 1, not_a_number});
  const V y = vec({1, not_a_number, not_a_number});
  for (const V& z : {maximum(x, y), minimum(x, y), maximum(y, x), minimum(y, x)}) {
    for (double e : z.to_vector()) CHECK(std::isnan(e));
  }
  CHECK(std::isnan(relu(V(not_a_number)).item()));
  CHECK(std::isnan(tanh(V(not_a_number)).item()));
  CHECK(std::isnan(sigmoid(V(not_a_number)).item()));
  CHECK(std::isnan(erf(V(not_a_number)).item()));
  CHECK((V(not_a_number) != V(not_a_number)).item() == 1);
  CHECK((V(not_a_number) == V(not_a_number)).item() == 0);
  CHECK((V(not_a_number) < V(not_a_number)).item() == 0);
  CHECK(where(V(not_a_number), 1, 2).item() == 1);
}

TEST_CASE("sqrt at 0 has the derivative inf, below it is NaN") {
  CHECK(sqrt(V(0)).item() == 0);
  CHECK(slope([](const V& x) { return sqrt(x); }, 0) == inf);
  CHECK(std::isnan(sqrt(V(-1)).item()));
  CHECK(std::isnan(slope([](const V& x) { return sqrt(x); }, -1)));
}

TEST_CASE("log at 0 is -inf with the derivative inf, below it is NaN") {
  CHECK(log(V(0)).item() == -inf);
  CHECK(slope([](const V& x) { return log(x); }, 0) == inf);
  CHECK(std::isnan(log(V(-1)).item()));
  CHECK(log1p(V(-1)).item() == -inf);
  CHECK(slope([](const V& x) { return log1p(x); }, -1) == inf);
}

TEST_CASE("Division by 0 follows IEEE, in the derivatives too") {
  CHECK((V(1) / V(0)).item() == inf);
  CHECK((V(-1) / V(0)).item() == -inf);
  CHECK(std::isnan((V(0) / V(0)).item()));
  CHECK(slope([](const V& x) { return 1 / x; }, 0) == -inf);
  const auto [da, db] = grad([](const V& a, const V& b) { return a / b; })(V(1), V(0));
  CHECK(da.item() == inf);
  CHECK(db.item() == -inf);
}

TEST_CASE("pow at 0 and of negative numbers follows C, and its derivatives are the limits") {
  CHECK(pow(V(0), 0).item() == 1);
  CHECK(pow(V(0), 2).item() == 0);
  CHECK(pow(V(0), -1).item() == inf);
  CHECK(pow(V(not_a_number), 0).item() == 1);
  CHECK(std::isnan(pow(V(0), not_a_number).item()));
  CHECK(pow(V(-2), 3).item() == doctest::Approx(-8).epsilon(1e-15));
  CHECK(pow(V(-2), -2).item() == doctest::Approx(0.25).epsilon(1e-15));
  CHECK(std::isnan(pow(V(-2), 0.5).item()));
  const auto d = [](double x, double y) { return slope([&](const V& v) { return pow(v, y); }, x); };
  CHECK(d(0, 0) == 0);
  CHECK(d(0, 1) == 1);
  CHECK(d(0, 2) == 0);
  CHECK(d(0, 3) == 0);
  CHECK(d(0, 0.5) == inf);
  CHECK(d(-2, 3) == doctest::Approx(12).epsilon(1e-14));
  CHECK(d(-2, 2) == doctest::Approx(-4).epsilon(1e-14));
  // Second derivatives: 2 for x², also at 0.
  CHECK(grad(grad([](const V& x) { return pow(x, 2); }))(0.0).item() == 2);
  CHECK(grad(grad(grad([](const V& x) { return pow(x, 3); })))(0.0).item() == 6);
  // In the exponent: 0 where the base is 0.
  CHECK(grad([](const V& y) { return pow(0, y); })(2.0).item() == 0);
  CHECK(grad([](const V& y) { return pow(0, y); })(0.0).item() == 0);
}

TEST_CASE("prod has the right gradient with one zero, with two, with not_a_number") {
  const auto f = [](const V& x) { return prod(x); };
  CHECK(grad(f)(vec({2, 3, 4})).to_vector() == std::vector<double>{12, 8, 6});
  CHECK(grad(f)(vec({2, 0, 4})).to_vector() == std::vector<double>{0, 8, 0});
  CHECK(grad(f)(vec({0, 0, 4})).to_vector() == std::vector<double>{0, 0, 0});
  // ... and the second derivatives with two zeros: ∂²/∂x₀∂x₁ = x₂.
  CHECK(hessian(f, vec({0, 0, 4})).to_vector() == std::vector<double>{0, 4, 0, 4, 0, 0, 0, 0, 0});
  check_grads([](const V& x) { return prod(x, 1); },
              V(Shape{3, 5}, {1, 0, 2, 3, 4, 0, 0, 1, 2, 3, -1, 2, -2, 1, 0.5}));
  CHECK(prod(zeros<double>({0})).item() == 1);
}

TEST_CASE("norm at 0 has the gradient 0, row by row") {
  CHECK(norm(zeros<double>({3})).item() == 0);
  CHECK(grad([](const V& x) { return norm(x); })(zeros<double>({3})).to_vector() ==
        std::vector<double>{0, 0, 0});
  const V x(Shape{2, 2}, {0, 0, 3, 4});
  const V g = grad([](const V& v) { return sum(norm(v, 1)); })(x);
  expect_near(g, {0, 0, 0.6, 0.8});
  const V h = hessian([](const V& v) { return norm(v); }, zeros<double>({2}));
  for (double e : h.to_vector()) CHECK(std::isfinite(e));
  CHECK(norm(zeros<double>({0})).item() == 0);
}

TEST_CASE("Equal extremes share the cotangent") {
  CHECK(grad([](const V& x) { return max(x); })(vec({1, 3, 3, 2, 3, 3})).to_vector() ==
        std::vector<double>{0, 0.25, 0.25, 0, 0.25, 0.25});
  CHECK(grad([](const V& x) { return min(x); })(vec({1, 3, 1, 2})).to_vector() ==
        std::vector<double>{0.5, 0, 0.5, 0});
  const V x(Shape{2, 2}, {5, 5, 1, 2});
  CHECK(grad([](const V& v) { return sum(max(v, 1)); })(x).to_vector() ==
        std::vector<double>{0.5, 0.5, 0, 1});
  CHECK(max(vec({1, inf, 2})).item() == inf);
  CHECK(max(vec({-inf, -inf})).item() == -inf);
  CHECK(std::isnan(max(vec({1, not_a_number, 2})).item()));
  CHECK(std::isnan(min(vec({not_a_number, 1, 2})).item()));
}

TEST_CASE("where passes no NaN or inf of the branch that is not taken") {
  const V x = vec({-1, 0, 4});
  const V y = where(x > 0, sqrt(x), 0);
  CHECK(y.to_vector() == std::vector<double>{0, 0, 2});
  CHECK(where(vec({1, 0}), vec({3, inf}), vec({not_a_number, 4})).to_vector() ==
        std::vector<double>{3, 4});
  // Backwards the branch gets the cotangent 0, and 0·inf is NaN: guard the argument, not the result.
  CHECK(std::isnan(grad([](const V& v) { return where(v > 0, sqrt(v), 0); })(0.0).item()));
  CHECK(grad([](const V& v) { return where(v > 0, sqrt(where(v > 0, v, 1)), 0); })(0.0).item() ==
        0);
}

TEST_CASE("logsumexp stands large numbers and -inf, and its gradient is the softmax") {
  CHECK(logsumexp(vec({1000, 1000})).item() == doctest::Approx(1000 + std::log(2)).epsilon(1e-15));
  CHECK(logsumexp(vec({-inf, -inf})).item() == -inf);
  CHECK(logsumexp(vec({-inf, 2})).item() == doctest::Approx(2).epsilon(1e-15));
  CHECK(logsumexp(vec({inf, 2})).item() == inf);
  CHECK(std::isnan(logsumexp(vec({not_a_number, 2})).item()));
  const auto g = grad([](const V& x) { return logsumexp(x); });
  CHECK(g(vec({-inf, 2})).to_vector() == std::vector<double>{0, 1});
  CHECK(g(vec({1000, 1000})).to_vector() == std::vector<double>{0.5, 0.5});
  CHECK(g(vec({-1e300, 3, 3})).to_vector() == std::vector<double>{0, 0.5, 0.5});
}

TEST_CASE("softmax gives 0 to -inf and stands large numbers") {
  CHECK(softmax(vec({-inf, 1, 1})).to_vector() == std::vector<double>{0, 0.5, 0.5});
  CHECK(softmax(vec({1000, 0})).to_vector() == std::vector<double>{1, 0});
  CHECK(log_softmax(vec({-inf, 1})).to_vector() == std::vector<double>{-inf, 0});
  CHECK(log_softmax(vec({-1000, 1000})).to_vector() == std::vector<double>{-2000, 0});
  const V g = grad([](const V& x) { return index(softmax(x), 0, 1); })(vec({-inf, 1, 1}));
  CHECK(g.to_vector() == std::vector<double>{0, 0.25, -0.25});
  const V h = grad([](const V& x) { return index(log_softmax(x), 0, 1); })(vec({-inf, 1, 1}));
  expect_near(h, {0, 0.5, -0.5});
  for (double e : softmax(vec({-inf, -inf})).to_vector()) CHECK(std::isnan(e));
}

TEST_CASE("Activations stay finite far out, and so do their derivatives") {
  for (double x : {-1e300, -800.0, -40.0, 40.0, 800.0, 1e300}) {
    INFO(x);
    const double positive = x > 0 ? 1 : 0;
    CHECK(sigmoid(V(x)).item() == doctest::Approx(positive));
    CHECK(tanh(V(x)).item() == (x > 0 ? 1 : -1));
    CHECK(erf(V(x)).item() == (x > 0 ? 1 : -1));
    CHECK(softplus(V(x)).item() == doctest::Approx(positive * x));
    CHECK(gelu(V(x)).item() == doctest::Approx(positive * x));
    CHECK(elu(V(x)).item() == doctest::Approx(x > 0 ? x : -1));
    CHECK(slope([](const V& v) { return sigmoid(v); }, x) == doctest::Approx(0));
    CHECK(slope([](const V& v) { return tanh(v); }, x) == 0);
    CHECK(slope([](const V& v) { return softplus(v); }, x) == doctest::Approx(positive));
    CHECK(slope([](const V& v) { return gelu(v); }, x) == doctest::Approx(positive));
    CHECK(slope([](const V& v) { return elu(v); }, x) == doctest::Approx(positive));
  }
}

TEST_CASE("expm1 and log1p keep their digits near 0") {
  for (double x : {1e-20, -1e-12, 1e-5}) {
    CHECK(expm1(V(x)).item() == doctest::Approx(std::expm1(x)).epsilon(1e-14));
    CHECK(log1p(V(x)).item() == doctest::Approx(std::log1p(x)).epsilon(1e-14));
    CHECK(tanh(V(x)).item() == doctest::Approx(std::tanh(x)).epsilon(1e-14));
  }
}

TEST_CASE("argmax takes the first of equals, and NaN before all") {
  CHECK(argmax(vec({1, 3, 3}))(0) == 1);
  CHECK(argmin(vec({2, 1, 1}))(0) == 1);
  CHECK(argmax(vec({1, not_a_number, 3, not_a_number}))(0) == 1);
  CHECK(argmin(vec({1, not_a_number, 0}))(0) == 1);
}

TEST_CASE("Gradients of arrays without elements are arrays without elements") {
  const V nothing = zeros<double>({0, 3});
  for (const auto& f : std::vector<std::function<V(const V&)>>{
           [](const V& x) { return sum(x); }, [](const V& x) { return sum(tanh(x) * x); },
           [](const V& x) { return prod(x); },
           [](const V& x) {
             return sum(matmul(x, ones<double>({3, 2})));
           },
           [](const V& x) { return sum(softmax(x)); },
           [](const V& x) {
             return sum(concat({x, x}));
           },
           [](const V& x) { return sum(cumsum(x, 0)); }, [](const V& x) { return norm(x); }}) {
    const V g = grad(f)(nothing);
    CHECK(g.shape() == Shape{0, 3});
    CHECK(g.to_vector().empty());
  }
}
