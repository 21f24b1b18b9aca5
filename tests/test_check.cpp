// check_grads itself: it accepts what is right, and finds what is wrong and says where.
#include <doctest/doctest.h>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"

using namespace unroll;
using V = Var<double>;

namespace {

V numbers(const Shape& shape) {
  std::vector<double> values;
  for (double d : detail::check_direction(7, 7, shape.size())) values.push_back(d);
  return V(shape, std::span<const double>(values));
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Net {
  V weight, bias;
  std::vector<V> more;
  static constexpr auto fields() {
    return std::tuple{field("weight", &Net::weight), field("bias", &Net::bias),
                      field("more", &Net::more)};
  }
};
V output(const Net& net) {
  return sum(tanh(linear(net.more[1], net.weight, net.bias)) * net.more[0]);
}
Net a_net() { return {numbers({4, 3}), numbers({4}), {numbers({2, 4}), numbers({2, 3})}}; }

// ---- user's ops, right and wrong ----

struct Cube {
  static constexpr auto name = "cube";
  static auto f(const auto& x) { return x * x * x; }
  static auto d(wrt<0>, const auto&, const auto& x) { return 3 * x * x; }
};
struct WrongCube {  // 2x² instead of 3x²
  static constexpr auto name = "wrong_cube";
  static auto f(const auto& x) { return x * x * x; }
  static auto d(wrt<0>, const auto&, const auto& x) { return 2 * x * x; }
};
struct
    Hidden {  // right to first order, wrong to second: the derivative is a constant for the next order
  static constexpr auto name = "hidden";
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return x * x * x;
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x) const {
    return g * stop_gradient(3 * x * x);
  }
};
struct WrongTangent {  // declared linear, but its adjoint belongs to another function
  static constexpr auto name = "wrong_tangent";
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return 2 * x;
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&) const {
    return 3 * g;
  }
};
struct OneElement {  // wrong in the third element only
  static constexpr auto name = "one_element";
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return x * x;
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x) const {
    return 2 * g * x * where(arange<T>(x.size()) == 3, 1.001, 1);
  }
};

}  // namespace

TEST_CASE("check_grads accepts a Var, several arguments, a model and nested trees") {
  check_grads([](const V& x) { return sum(tanh(x) * x); }, numbers({2, 3}));
  check_grads([](const auto& a, const auto& b) { return matmul(a, b); },
              std::tuple{numbers({2, 3}), numbers({3, 2})});
  check_grads(output, a_net());
  check_grads(
      [](const std::pair<V, std::vector<V>>& p) {
        return std::tuple{p.first * p.second[0], exp(p.second[1])};
      },
      std::pair{numbers({3}), std::vector{numbers({3}), numbers({2, 2})}});
  check_grads([](const std::optional<V>& x) { return *x * *x; }, std::optional{numbers({3})});
  check_grads([](const std::tuple<V, V>& t) { return std::get<0>(t) * std::get<1>(t); },
              std::tuple{numbers({3}), numbers({3})});
  check_grads([](const V& x) { return x * x; }, 3.0);
  check_grads([](const Var<float>& x) { return sum(tanh(x)); }, cast<float>(numbers({5})));
  check_grads([](const V& x) { return V(2) + 0 * sum(x); }, numbers({3}));
}

TEST_CASE("A function that does not use its input passes with a gradient of zeros") {
  CHECK(gradient_report([](const V&) { return V(3); }, numbers({2})).ok);
  CHECK(
      gradient_report([](const V& x) { return argmax(x)(0) + sum(stop_gradient(x)) * 0 + sum(x); },
                      numbers({4}))
          .ok);
}

TEST_CASE("The errors of right derivatives are small, and the report gives them") {
  const CheckReport r =
      gradient_report([](const V& x) { return sum(exp(x) * sin(x)); }, numbers({3, 4}));
  CHECK(r.ok);
  CHECK(r.message.empty());
  for (int order : {0, 1}) {
    CHECK(r.difference_error[static_cast<std::size_t>(order)] < 1e-10);
    CHECK(r.difference_error[static_cast<std::size_t>(order)] > 0);
    CHECK(r.adjoint_error[static_cast<std::size_t>(order)] < 1e-14);
  }
}

TEST_CASE("A user's op that is right passes, in both orders") {
  check_grads([](const V& x) { return unroll::apply<Cube>(x); }, numbers({5}));
  check_grads([](const V& x) { return fuse([](auto a) { return unroll::apply<Cube>(a) + a; }, x); },
              numbers({5}));
}

TEST_CASE("A wrong derivative is found, with both numbers") {
  const auto f = [](const V& x) { return sum(unroll::apply<WrongCube>(x)); };
  const CheckReport r = gradient_report(f, V(Shape{1}, {2.0}));
  CHECK_FALSE(r.ok);
  INFO(r.message);
  CHECK(contains(r.message, "[check_grads]"));
  CHECK(contains(r.message, "input 0 of shape [1], element [0]"));
  CHECK(contains(r.message, "differences"));
  CHECK_THROWS_AS(check_grads(f, V(Shape{1}, {2.0})), GradientError);
  // The numbers are those of the first direction: in the ratio 2 to 3.
  const double u = detail::check_direction(1, 2, 1)[0];
  CHECK(contains(r.message, "vjp " + std::to_string(8 * u).substr(0, 6)));
  CHECK(contains(r.message, "differences " + std::to_string(12 * u).substr(0, 6)));
}

TEST_CASE("A wrong derivative is found in the input and at the element where it is") {
  Net net = a_net();
  net.more[0] = numbers({6});
  const auto f = [](const Net& n) {
    return sum(unroll::apply(OneElement{}, n.more[0])) + sum(n.weight) + sum(n.bias * n.bias);
  };
  const CheckReport r = gradient_report(f, net);
  CHECK_FALSE(r.ok);
  INFO(r.message);
  CHECK(contains(r.message, "input more.0 of shape [6], element [3]"));
}

TEST_CASE("What is wrong at the second order only is found there") {
  const auto f = [](const V& x) { return sum(unroll::apply(Hidden{}, x)); };
  CHECK(gradient_report(f, numbers({4}), {.order = 1}).ok);
  const CheckReport r = gradient_report(f, numbers({4}));
  CHECK_FALSE(r.ok);
  INFO(r.message);
  CHECK(contains(r.message, "order 2"));
  CHECK(contains(r.message, "element [0]"));
}

TEST_CASE("A tangent that is not the adjoint's is found") {
  const auto f = [](const V& x) { return unroll::apply(WrongTangent{}, x); };
  CHECK_FALSE(gradient_report(f, numbers({4})).ok);
  // Differences wide open: then the identity finds it.
  const CheckReport r = gradient_report(f, numbers({4}), {.tolerance = 10});
  CHECK_FALSE(r.ok);
  INFO(r.message);
  CHECK(contains(r.message, "not adjoint"));
  CHECK(contains(r.message, "jvp"));
}

TEST_CASE("A kink within the steps is found, NaN never passes") {
  const auto kink = [](const V& x) { return sum(relu(x)); };
  CHECK_FALSE(gradient_report(kink, V(Shape{2}, {1, 1e-7})).ok);
  CHECK(gradient_report(kink, V(Shape{2}, {1, 0.0005}), {.order = 1}).ok);  // in the longest only
  CHECK_FALSE(gradient_report([](const V& x) { return sum(sqrt(x)); }, V(Shape{2}, {1, 0})).ok);
  CHECK_FALSE(gradient_report([](const V& x) { return sum(log(x)); }, V(-1)).ok);
}

TEST_CASE("Checks are the same each time, and another seed takes another direction") {
  const auto f = [](const V& x) { return sum(exp(x)) * sum(x); };
  const auto a = gradient_report(f, numbers({5})), b = gradient_report(f, numbers({5}));
  CHECK(a.difference_error == b.difference_error);
  CHECK(a.adjoint_error == b.adjoint_error);
  CHECK(gradient_report(f, numbers({5}), {.seed = 2}).difference_error != a.difference_error);
  for (double d : detail::check_direction(3, 4, 1000)) CHECK(std::abs(d) <= 1);
}

TEST_CASE("Large inputs are sampled") {
  Size calls = 0;
  const auto f = [&](const V& x) {
    ++calls;
    return sum(x * x);
  };
  check_grads(f, numbers({1000}), {.order = 1, .elements_of_each_input = 5});
  CHECK(calls < 40);
}

TEST_CASE("Other orders than 1 and 2 are refused") {
  CHECK_THROWS_AS(check_grads([](const V& x) { return x; }, 1.0, {.order = 3}),
                  std::invalid_argument);
}

namespace {
// Steps of the classical Runge-Kutta method for Lorenz's system, whose solutions part exponentially.
V lorenz(V state, int steps) {
  const auto slope = [](const V& s) {
    const V x = index(s, 0, 0), y = index(s, 0, 1), z = index(s, 0, 2);
    return stack(std::vector<V>{10 * (y - x), x * (28 - z) - y, x * y - z * (8.0 / 3)});
  };
  constexpr double h = 0.02;
  for (int t = 0; t < steps; ++t) {
    const V a = slope(state), b = slope(state + h / 2 * a), c = slope(state + h / 2 * b),
            d = slope(state + h * c);
    state = state + h / 6 * (a + 2 * b + 2 * c + d);
  }
  return state;
}
}  // namespace

TEST_CASE("Where the first step is too long or too short for the function, others are tried") {
  const V x(Shape{3}, {1.0, 1.5, 20.0});
  const auto loop = [](const V& s) { return sum(lorenz(s, 100)) * 0.01; };
  check_grads(loop, x, {.order = 1});
  // sin(3000 x) bends within 2^-10, and is right all the same.
  check_grads([](const V& s) { return sum(sin(3000 * s)) / 3000; }, x, {.order = 1});
  // A wrong rule at the end of the loop is blamed, since the differences agree with each other.
  const CheckReport wrong = gradient_report(
      [&](const V& s) { return unroll::apply<WrongCube>(loop(s)); }, x, {.order = 1});
  CHECK_FALSE(wrong.ok);
  INFO(wrong.message);
  CHECK(contains(wrong.message, "the vjp and central differences disagree"));
}

TEST_CASE("Differences that do not settle are said to do so, and no rule is blamed") {
  // √|x| so close to 0 is bent at each of the steps.
  const CheckReport r =
      gradient_report([](const V& x) { return sum(sqrt(abs(x))); }, V(Shape{1}, {1e-7}));
  CHECK_FALSE(r.ok);
  INFO(r.message);
  CHECK(contains(r.message, "the differences do not settle"));
  CHECK(contains(r.message, "at a step of"));
  CHECK_FALSE(contains(r.message, "rule"));
}
