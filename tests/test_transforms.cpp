// Transforms inside transforms: perturbations are never confused, tapes join when they must, public tapes are read as often
// as one likes, and what is not used has a gradient of zeros.
#include <doctest/doctest.h>

#include <cmath>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"

using namespace unroll;
using V = Var<double>;

namespace {

V vec(std::initializer_list<double> values) {
  return V(Shape{static_cast<Size>(values.size())}, values);
}
bool near(double a, double b, double tolerance = 1e-13) {
  return std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b));
}
bool near(const V& a, const V& b, double tolerance = 1e-13) {
  const auto p = a.to_vector(), q = b.to_vector();
  bool same = a.shape() == b.shape();
  for (std::size_t i = 0; same && i < p.size(); ++i) same = near(p[i], q[i], tolerance);
  return same;
}

}  // namespace

TEST_CASE("x * grad(y -> x y)(3) differentiates in x") {
  const auto f = [](const V& x) { return x * grad([&](const V& y) { return x * y; })(3.0); };
  CHECK(f(V(5)).item() == 25);
  CHECK(grad(f)(5.0).item() == 10);
  CHECK(grad(grad(f))(5.0).item() == 2);
}

TEST_CASE("f(x) = x * grad(y -> x y)(x) has f'(2) = 4") {
  const auto f = [](const V& x) { return x * grad([&](const V& y) { return x * y; })(x); };
  CHECK(f(V(2)).item() == 4);
  CHECK(grad(f)(2.0).item() == 4);
  CHECK(jvp(f, 2.0, 1.0).tangent.item() == 4);
  CHECK(grad(grad(f))(2.0).item() == 2);
  CHECK(jvp(grad(f), 2.0, 1.0).tangent.item() == 2);
  CHECK(grad([&](const V& x) { return jvp(f, x, 1.0).tangent; })(2.0).item() == 2);
}

TEST_CASE("x * jvp(y -> x + y)(1) has the derivative 1: the inner tangent is not the outer one") {
  // The example of Siskind and Pearlmutter: d/dx (x · d/dy (x + y)) at 1.
  const auto forward = [](const V& x) {
    return x * jvp([&](const V& y) { return x + y; }, 1.0, 1.0).tangent;
  };
  const auto reverse = [](const V& x) { return x * grad([&](const V& y) { return x + y; })(1.0); };
  CHECK(jvp(forward, 1.0, 1.0).tangent.item() == 1);
  CHECK(grad(forward)(1.0).item() == 1);
  CHECK(jvp(reverse, 1.0, 1.0).tangent.item() == 1);
  CHECK(grad(reverse)(1.0).item() == 1);
}

TEST_CASE("Three functions deep, each using the variables of those around it") {
  // ∂/∂x [ x² ∂/∂y ( x y² ∂/∂z (x y z²) ) ] at y = x, z = y: x² · ∂/∂y (x y² · 2 x y y) = x² · 8 x² y³ -> 8 x⁷
  const auto f = [](const V& x) {
    return x * x * grad([&](const V& y) {
             return x * y * y * grad([&](const V& z) { return x * y * z * z; })(y);
           })(x);
  };
  CHECK(near(f(V(1.5)).item(), 8 * std::pow(1.5, 7)));
  CHECK(near(grad(f)(1.5).item(), 56 * std::pow(1.5, 6)));
  CHECK(near(grad(grad(f))(1.5).item(), 336 * std::pow(1.5, 5)));
  check_grads(f, V(0.8));
}

TEST_CASE("An inner function of no use to the outer one, and the reverse") {
  const auto constant = [](const V& x) {
    return x * grad([](const V& y) { return y * y * y; })(2.0);
  };
  CHECK(grad(constant)(5.0).item() == 12);
  const auto unused = [](const V& x) { return grad([&](const V&) { return x * x; })(2.0) + x; };
  CHECK(grad(unused)(5.0).item() == 1);
  const auto inner_only = [](const V& x) {
    return grad([](const V& y) { return y * y; })(stop_gradient(x));
  };
  CHECK(grad(inner_only)(5.0).item() == 0);
}

TEST_CASE("An inner tape that has recorded much before it meets the outer one") {
  const auto f = [](const V& x) {
    return grad([&](const V& y) {
      V z = y;
      for (int i = 0; i < 1000; ++i) z = z * 1.001;  // on the inner tape alone
      const V w = sin(z);
      return w * x + y * x * x;  // here it joins the outer one
    })(0.5);
  };
  const double c = std::pow(1.001, 1000);
  CHECK(near(f(V(2)).item(), c * std::cos(0.5 * c) * 2 + 4, 1e-11));
  CHECK(near(grad(f)(2.0).item(), c * std::cos(0.5 * c) + 4, 1e-11));
  CHECK(near(grad(grad(f))(2.0).item(), 2));
}

TEST_CASE(
    "What outlives an inner transform as an auxiliary result stays connected to the outer one") {
  const auto f = [](const V& x) {
    const auto r = value_and_grad(
        [&](const V& y) {
          const V z = x * y;
          return std::tuple{z * z, z};
        },
        3.0);
    return r.value + r.gradient * r.auxiliary;  // 9x² + 6x²·3x
  };
  CHECK(f(V(2)).item() == 9 * 4 + 18 * 8);
  CHECK(grad(f)(2.0).item() == 18 * 2 + 54 * 4);
}

TEST_CASE("Derivatives of every order of x⁴ and of sin") {
  const auto f = [](const V& x) { return x * x * x * x; };
  CHECK(grad(f)(2.0).item() == 32);
  CHECK(grad(grad(f))(2.0).item() == 48);
  CHECK(grad(grad(grad(f)))(2.0).item() == 48);
  CHECK(grad(grad(grad(grad(f))))(2.0).item() == 24);
  CHECK(grad(grad(grad(grad(grad(f)))))(2.0).item() == 0);
  const auto s = [](const V& x) { return sin(x); };
  CHECK(near(grad(grad(grad(s)))(0.7).item(), -std::cos(0.7)));
  const auto t = [](const V& x) { return fuse([](auto a) { return tanh(a); }, x); };
  const auto u = [](const V& x) { return tanh(x); };
  CHECK(near(grad(grad(grad(t)))(0.3).item(), grad(grad(grad(u)))(0.3).item()));
}

TEST_CASE("jvp in grad, grad in jvp, and Jacobians of gradients are one Hessian") {
  const auto f = [](const V& x) { return sum(exp(x) * flip(sin(x), 0)) + prod(x) + logsumexp(x); };
  const V x = vec({0.3, -0.4, 0.9}), v = vec({1, -2, 0.5});
  const V h = hessian(f, x);
  CHECK(h.shape() == Shape{3, 3});
  CHECK(near(h, transpose(h)));
  const V forward_reverse = jvp(grad(f), x, v).tangent;
  const V reverse_forward = grad([&](const V& y) { return jvp(f, y, v).tangent; })(x);
  const V reverse_reverse = grad([&](const V& y) { return dot(grad(f)(y), v); })(x);
  CHECK(near(forward_reverse, matmul(h, v)));
  CHECK(near(reverse_forward, matmul(h, v)));
  CHECK(near(reverse_reverse, matmul(h, v)));
  CHECK(near(hvp(f, x, v), matmul(h, v)));
  CHECK(near(jacobian(grad(f), x), h));
  // Forward over forward: vᵀ H v.
  CHECK(near(jvp([&](const V& y) { return jvp(f, y, v).tangent; }, x, v).tangent.item(),
             dot(v, matmul(h, v)).item()));
}

TEST_CASE("The Jacobian of a function of arrays has the axes of both") {
  const V A(Shape{2, 3}, {1, 2, 3, 4, 5, 6});
  const V j = jacobian([&](const V& x) { return matmul(A, x); }, vec({1, 1, 1}));
  CHECK(near(j, A));
  const V k = jacobian([](const V& x) { return transpose(x); }, A);
  CHECK(k.shape() == Shape{3, 2, 2, 3});
  CHECK(sum(k).item() == 6);
  CHECK(jacobian([](const V& x) { return x * x; }, V(3)).shape() == Shape{});
  CHECK(jacobian(
            [](const V& x) {
              return slice(x, 0, {0, 0});
            },
            vec({1, 2}))
            .shape() == Shape{0, 2});
  // A Jacobian inside a gradient.
  const V g = grad([](const V& x) {
    return sum(square(jacobian([](const V& y) { return y * y * y; }, x)));
  })(vec({1, 2}));
  CHECK(near(g, vec({36, 288})));
}

TEST_CASE("vjp's pullback may be called many times, also within an outer gradient") {
  const auto r = vjp([](const V& x) { return x * x; }, vec({1, 2, 3}));
  for (int i = 0; i < 3; ++i) {
    CHECK(r.pullback(vec({1, 0, 0})).to_vector() == std::vector<double>{2, 0, 0});
    CHECK(r.pullback(vec({1, 1, 1})).to_vector() == std::vector<double>{2, 4, 6});
  }
  const V g = grad([](const V& x) {
    const auto inner = vjp([&](const V& y) { return x * y * y; }, x);
    return sum(inner.pullback(ones<double>({3})) * inner.pullback(x));  // 2x² · 2x³
  })(vec({1, 2, 3}));
  CHECK(near(g, vec({20, 20 * 16, 20 * 81})));
}

TEST_CASE("vjp and jvp agree on functions from models to trees") {
  const auto f = [](const std::vector<V>& x) {
    return std::tuple{x[0] * x[1], sum(x[1]), std::vector{x[0]}};
  };
  const std::vector x{vec({1, 2}), vec({3, 4})};
  const auto r = jvp(f, x, std::vector{vec({1, 0}), vec({0, 1})});
  CHECK(std::get<0>(r.tangent).to_vector() == std::vector<double>{3, 2});
  CHECK(std::get<1>(r.tangent).item() == 1);
  CHECK(std::get<2>(r.tangent)[0].to_vector() == std::vector<double>{1, 0});
  const auto back = vjp(f, x).pullback(std::tuple{vec({1, 1}), V(2), std::vector{vec({5, 6})}});
  CHECK(back[0].to_vector() == std::vector<double>{8, 10});
  CHECK(back[1].to_vector() == std::vector<double>{3, 4});
}

TEST_CASE(
    "A public tape is read many times, from several results, with seeds, forwards and backwards") {
  Tape<double> tape;
  const V x = tape.leaf(vec({1, 2, 3})), w = tape.leaf(vec({2, 2, 2})),
          unused = tape.leaf(vec({7}));
  const V y = x * w, z = sum(y * y);
  for (int i = 0; i < 3; ++i) {
    const auto g = tape.pullback(z);
    CHECK(g(x).to_vector() == std::vector<double>{8, 16, 24});
    CHECK(g(w).to_vector() == std::vector<double>{4, 16, 36});
    CHECK(g(unused).to_vector() == std::vector<double>{0});
    CHECK(tape.pullback(y, vec({1, 0, 2}))(x).to_vector() == std::vector<double>{2, 0, 4});
    CHECK(tape.pushforward({{x, vec({1, 1, 1})}}, z).item() == 48);
    CHECK(tape.pushforward({{x, vec({1, 0, 0})}, {w, vec({0, 1, 0})}}, y).to_vector() ==
          std::vector<double>{2, 2, 0});
    CHECK(tape.pushforward({{unused, vec({1})}}, z).item() == 0);
  }
  const V later = sum(x * x * x);  // the tape may grow between readings
  CHECK(tape.pullback(later)(x).to_vector() == std::vector<double>{3, 12, 27});
  CHECK(tape.pullback(z)(x).to_vector() == std::vector<double>{8, 16, 24});
}

TEST_CASE("A recorded pullback can be read in turn") {
  Tape<double> tape;
  const V x = tape.leaf(2.0);
  const V y = x * x * x;
  const V first = tape.recorded_pullback(y)(x);
  CHECK(first.item() == 12);
  CHECK(first.is_tracked());
  const V second = tape.recorded_pullback(first)(x);
  CHECK(second.item() == 12);
  CHECK(tape.pullback(second)(x).item() == 6);
  CHECK(tape.pullback(first)(x).item() == 12);
  CHECK_FALSE(tape.pullback(y)(x).is_tracked());
}

TEST_CASE("A public tape inside a transform records for both") {
  const V g = grad([](const V& x) {
    Tape<double> tape;
    const V y = tape.leaf(2.0);
    const V z = x * y * y;
    const V inner = tape.pullback(z)(y);  // 2xy
    CHECK(inner.item() == 12);
    return inner * x;  // 2x²y
  })(3.0);
  CHECK(g.item() == 24);
  // ... one that has nothing to do with it
  CHECK(grad([](const V& x) {
          Tape<double> tape;
          const V y = tape.leaf(2.0);
          return x * tape.pullback(y * y)(y);
        })(3.0)
            .item() == 4);
  // ... and whose leaf is itself tracked outside
  CHECK(grad([](const V& x) {
          Tape<double> tape;
          const V y = tape.leaf(x);
          return tape.pullback(y * y * y)(y);
        })(3.0)
            .item() == 18);
}

TEST_CASE("A transform inside a public tape is seen by the tape") {
  Tape<double> tape;
  const V x = tape.leaf(2.0);
  const V v = grad([&](const V& y) { return x * y * y; })(3.0);  // 6x
  CHECK(v.item() == 12);
  CHECK(v.is_tracked());
  CHECK(tape.pullback(v)(x).item() == 6);
  const V h = hessian([&](const V& y) { return sum(x * y * y * y); }, vec({1, 2}));
  CHECK(tape.pullback(sum(h))(x).item() == 18);
  const V t = jvp([&](const V& y) { return x * y; }, x, 1.0).tangent;
  CHECK(t.item() == 2);
  CHECK(tape.pullback(t)(x).item() == 1);
  CHECK_FALSE(grad([](const V& y) { return y * y; })(3.0).is_tracked());
}

TEST_CASE("Parameters that are not used get zeros of their shape") {
  const auto [a, b, c] = grad([](const V& x, const V&, const std::vector<V>& z) {
    return sum(x) + sum(z[1]);
  })(vec({1, 2}), ones<double>({2, 3}), std::vector{ones<double>({4}), ones<double>({2})});
  CHECK(a.to_vector() == std::vector<double>{1, 1});
  CHECK(b.shape() == Shape{2, 3});
  CHECK(sum(b).item() == 0);
  CHECK(c[0].to_vector() == std::vector<double>(4, 0));
  CHECK(c[1].to_vector() == std::vector<double>{1, 1});
  CHECK(grad([](const V&) { return V(1); })(vec({1, 2})).to_vector() == std::vector<double>{0, 0});
  CHECK(sum(hessian([](const V& x) { return sum(x); }, vec({1, 2}))).item() == 0);
}

TEST_CASE("stop_gradient stops gradients and tangents, not values") {
  const auto f = [](const V& x) { return x * stop_gradient(x); };
  CHECK(f(V(3)).item() == 9);
  CHECK(grad(f)(3.0).item() == 3);
  CHECK(jvp(f, 3.0, 1.0).tangent.item() == 3);
  CHECK(grad(grad(f))(3.0).item() == 0);
}

TEST_CASE("float and double are differentiated in one program, and in one function") {
  const auto f = [](const V& x, const Var<float>& y) { return x * cast<double>(y * y); };
  const auto [gx, gy] = grad(f)(3.0, 2.0F);
  static_assert(std::is_same_v<decltype(gx), const V>);
  static_assert(std::is_same_v<decltype(gy), const Var<float>>);
  CHECK(gx.item() == 4);
  CHECK(gy.item() == 12.0F);
}

TEST_CASE("The value of a transform is a constant that owns its data") {
  const auto [value, gradient] = value_and_grad([](const V& x) { return sum(x * x); }, vec({1, 2}));
  CHECK_FALSE(value.is_tracked());
  CHECK_FALSE(gradient.is_tracked());
  CHECK(value.item() == 5);
  const auto identity = value_and_grad([](const V& x) { return x; }, 4.0);
  CHECK(identity.value.item() == 4);
  CHECK(identity.gradient.item() == 1);
}

TEST_CASE("A function may keep Vars of its own across calls, constants as they are") {
  const V weights = vec({1, 2, 3});
  V sum_so_far = zeros<double>({3});
  for (int i = 0; i < 3; ++i) {
    sum_so_far +=
        grad([&](const V& x) { return dot(x, weights) + dot(x, sum_so_far); })(vec({0, 0, 0}));
  }
  CHECK(sum_so_far.to_vector() == std::vector<double>{7, 14, 21});
}

TEST_CASE("A single argument that is a tuple or a pair has a gradient of all its parts") {
  const V a = vec({0.5, -1, 2}), b = vec({3, 0.25, -2});
  // Σ a²b has the derivatives 2ab and a², and the Hessian [2b 2a; 2a 0].
  const auto of_pair = [](const std::pair<V, V>& p) { return sum(p.first * p.first * p.second); };
  const auto of_tuple = [](const std::tuple<V, V>& t) {
    return sum(std::get<0>(t) * std::get<0>(t) * std::get<1>(t));
  };
  const std::pair<V, V> pair{a, b};
  const std::tuple<V, V> tuple{a, b};
  const auto gradient = grad(of_pair)(pair);
  CHECK(near(gradient.first, 2 * a * b));
  CHECK(near(gradient.second, a * a));
  const auto [value, of_parts] = value_and_grad(of_tuple, tuple);
  CHECK(near(value.item(), sum(a * a * b).item()));
  CHECK(near(std::get<0>(of_parts), 2 * a * b));
  CHECK(near(std::get<1>(of_parts), a * a));
  const auto curvature = hvp(of_pair, pair, std::pair<V, V>{b, a});
  CHECK(near(curvature.first, 2 * b * b + 2 * a * a));
  CHECK(near(curvature.second, 2 * a * b));
  const auto alone =
      grad([](const std::tuple<V>& t) { return sum(std::get<0>(t)); })(std::tuple{a});
  static_assert(std::is_same_v<decltype(alone), const std::tuple<V>>);
  CHECK(near(std::get<0>(alone), vec({1, 1, 1})));
}

TEST_CASE_TEMPLATE("A pullback is differentiable in its cotangent where x is a constant", T, float,
                   double) {
  const Var<T> x({3}, {T(0.1), T(0.2), T(0.3)}), u({3}, {T(1), T(-2), T(0.5)});
  const auto close = [](const Var<T>& a, const Var<T>& b) {
    return a.shape() == b.shape() &&
           max(abs(a - b)).item() < (std::is_same_v<T, float> ? 1e-5 : 1e-12);
  };
  // Jᵀu of sin is cos(x) u.
  const auto pulled = [&](const Var<T>& v) {
    return vjp([](const Var<T>& a) { return sin(a); }, x).pullback(v);
  };
  CHECK(close(grad([&](const Var<T>& v) { return sum(pulled(v)); })(u), cos(x)));
  CHECK(close(jvp(pulled, u, x).tangent, cos(x) * x));
  // f(a) = tanh(W a) by a matrix product, a fused lambda and slices: Jᵀ u = Wᵀ (u (1 - y²)), of which the square has second
  // derivatives in u.
  const Var<T> W({3, 3}, {1, 2, 0, -1, T(0.5), 1, T(0.25), -1, T(0.75)});
  const auto f = [&](const Var<T>& a) {
    const Var<T> z = matmul(W, a);
    const auto parts = split<3>(fuse([](auto p) { return tanh(p); }, z), 0);
    return concat(std::vector<Var<T>>{parts[0], parts[1], parts[2]});
  };
  const Var<T> slope = 1 - square(tanh(matmul(W, x)));
  const auto outer = vjp(f, x);  // made outside of the gradient that reads it
  const auto squared = [&](const Var<T>& v) { return sum(square(outer.pullback(v))); };
  const Var<T> expected = 2 * slope * matmul(W, matmul(transpose(W), slope * u));
  CHECK(close(grad(squared)(u), expected));
  CHECK(close(hvp(squared, u, u), expected));  // it is quadratic
  CHECK(close(outer.pullback(u), matmul(transpose(W), slope * u)));
  CHECK_FALSE(outer.pullback(u).is_tracked());
}

namespace {
struct ByVjp {  // x cos(point)
  static constexpr auto name = "by_vjp";
  V point;
  V f(const V& x) const { return x * cos(point); }
  V adjoint(wrt<0>, const V& g, const V&) const {
    return vjp([](const V& a) { return sin(a); }, point).pullback(g);
  }
};
}  // namespace

TEST_CASE("A user's rule that is written with vjp has a second order in its cotangent") {
  const V point = vec({0.1, 0.2, 0.3});
  check_grads([&](const V& x) { return square(unroll::apply(ByVjp{point}, x)); }, vec({1, -2, 3}));
}

TEST_CASE("A public tape's pullback is differentiable in its cotangent") {
  Tape<double> tape;
  const V x = vec({0.1, 0.2, 0.3});
  const V leaf = tape.leaf(x), y = sin(leaf);
  const auto pulled = [&](const V& u) { return sum(tape.pullback(y, u)(leaf)); };
  const auto pushed = [&](const V& u) { return sum(tape.pushforward({{leaf, u}}, y)); };
  CHECK(near(grad(pulled)(vec({1, 1, 1})), cos(x)));
  CHECK(near(grad(pushed)(vec({1, 1, 1})), cos(x)));
  CHECK(near(tape.pullback(y, vec({1, 1, 1}))(leaf), cos(x)));
}
