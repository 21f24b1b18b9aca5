// The elementwise ops: each is its function and its partial derivatives, once.
//
//   y = tanh(x);   z = maximum(x, 0.5) * y;     // numpy broadcasting between operands
//
// An op is a struct {name, f, d}; below it stands the function that users call. `d(wrt<i>, y, x...)` is ∂y/∂x_i, written in
// ops again, so one text serves arrays (over SIMD lanes), dual numbers and, over Vars, every higher order. `fuse` keeps the values
// of `costly` ones for the backward pass where they are small (decision 20).
// At points where the derivative does not exist the ops take: abs'(0) = 0, relu'(0) = 0, leaky_relu'(0) = slope,
// elu'(0) = alpha, maximum and minimum of equal operands: half to each, sqrt'(0) = inf, log'(0) = inf,
// pow(x, y): d/dx = y x^(y-1) (0 where both are 0), d/dy = x^y log x (0 where x = 0).
// Values follow C and IEEE: x^0 = 1^y = 1, 0^-1 = 1/0 = inf, log(0) = -inf, log and sqrt of negative numbers are NaN; a NaN in
// either operand of maximum and minimum is carried through.
#pragma once

#include "unroll/autograd/call.hpp"

namespace unroll {

// ---- arithmetic ------------------------------------------------------------------------------------------------------

struct Add {
  static constexpr auto name = "add";
  static auto f(const auto& a, const auto& b) { return a + b; }
  static auto d(wrt<0>, const auto&, const auto&, const auto&) { return unit<1>; }
  static auto d(wrt<1>, const auto&, const auto&, const auto&) { return unit<1>; }
};
struct Sub {
  static constexpr auto name = "sub";
  static auto f(const auto& a, const auto& b) { return a - b; }
  static auto d(wrt<0>, const auto&, const auto&, const auto&) { return unit<1>; }
  static auto d(wrt<1>, const auto&, const auto&, const auto&) { return unit<-1>; }
};
struct Mul {
  static constexpr auto name = "mul";
  static auto f(const auto& a, const auto& b) { return a * b; }
  static auto d(wrt<0>, const auto&, const auto&, const auto& b) { return b; }
  static auto d(wrt<1>, const auto&, const auto& a, const auto&) { return a; }
};
struct Div {
  static constexpr auto name = "div";
  static auto f(const auto& a, const auto& b) { return a / b; }
  static auto d(wrt<0>, const auto&, const auto&, const auto& b) { return 1 / b; }
  static auto d(wrt<1>, const auto& y, const auto&, const auto& b) { return -y / b; }
};
struct Neg {
  static constexpr auto name = "neg";
  static auto f(const auto& x) { return -x; }
  static auto d(wrt<0>, const auto&, const auto&) { return unit<-1>; }
};
struct Pow {
  static constexpr auto name = "pow";
  static constexpr bool costly = true;
  static auto f(const auto& x, const auto& y) { return pow(x, y); }
  static auto d(wrt<0>, const auto&, const auto& x, const auto& y) {
    return y * pow(where(y == 0, where(x == 0, 1, x), x), y - 1);
  }
  static auto d(wrt<1>, const auto& z, const auto& x, const auto&) {
    return where(x == 0, 0, z) * log(where(x == 0, 1, where(z == 0, 1, x)));  // nowhere 0 · inf
  }
};
struct Square {
  static constexpr auto name = "square";
  static auto f(const auto& x) { return x * x; }
  static auto d(wrt<0>, const auto&, const auto& x) { return 2 * x; }
};
struct Sqrt {
  static constexpr auto name = "sqrt";
  static auto f(const auto& x) { return sqrt(x); }
  static auto d(wrt<0>, const auto& y, const auto&) { return 0.5 / y; }
};
struct Abs {
  static constexpr auto name = "abs";
  static auto f(const auto& x) { return abs(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return where(x > 0, 1, where(x < 0, -1, 0)); }
};

// ---- exponentials ----------------------------------------------------------------------------------------------------

struct Exp {
  static constexpr auto name = "exp";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return exp(x); }
  static auto d(wrt<0>, const auto& y, const auto&) { return y; }
};
struct Expm1 {
  static constexpr auto name = "expm1";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return expm1(x); }
  static auto d(wrt<0>, const auto& y, const auto&) { return y + 1; }
};
struct Log {
  static constexpr auto name = "log";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return log(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return 1 / x; }
};
struct Log1p {
  static constexpr auto name = "log1p";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return log1p(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return 1 / (1 + x); }
};
struct Sin {
  static constexpr auto name = "sin";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return sin(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return cos(x); }
};
struct Cos {
  static constexpr auto name = "cos";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return cos(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return -sin(x); }
};
struct Erf {
  static constexpr auto name = "erf";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return erf(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return 1.1283791670955126 * exp(-x * x); }
};

// ---- activations -----------------------------------------------------------------------------------------------------

struct Tanh {
  static constexpr auto name = "tanh";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return tanh(x); }
  static auto d(wrt<0>, const auto& y, const auto&) { return 1 - y * y; }
};
struct Sigmoid {
  static constexpr auto name = "sigmoid";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return sigmoid(x); }
  static auto d(wrt<0>, const auto& y, const auto&) { return y * (1 - y); }
};
struct Relu {
  static constexpr auto name = "relu";
  static auto f(const auto& x) { return maximum(x, 0); }
  static auto d(wrt<0>, const auto&, const auto& x) { return where(x > 0, 1, 0); }
};
// x where x > 0, slope * x elsewhere.
struct LeakyRelu {
  static constexpr auto name = "leaky_relu";
  static auto f(const auto& x, const auto& slope) { return where(x > 0, x, slope * x); }
  static auto d(wrt<0>, const auto&, const auto& x, const auto& slope) {
    return where(x > 0, 1, slope);
  }
  static auto d(wrt<1>, const auto&, const auto& x, const auto&) { return where(x > 0, 0, x); }
};
// x where x > 0, alpha * (exp(x) - 1) elsewhere (Clevert et al., 2015).
struct Elu {
  static constexpr auto name = "elu";
  static constexpr bool costly = true;
  static auto f(const auto& x, const auto& alpha) {
    return where(x > 0, x, alpha * expm1(minimum(x, 0)));
  }
  static auto d(wrt<0>, const auto&, const auto& x, const auto& alpha) {
    return where(x > 0, 1, alpha * exp(minimum(x, 0)));
  }
  static auto d(wrt<1>, const auto&, const auto& x, const auto&) {
    return where(x > 0, 0, expm1(minimum(x, 0)));
  }
};
// Φ(x) = erfc(-x/√2) / 2, the distribution of a standard normal number.
struct NormalCdf {
  static constexpr auto name = "normal_cdf";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return normal_cdf(x); }
  static auto d(wrt<0>, const auto&, const auto& x) {
    return 0.3989422804014327 * exp(-0.5 * x * x);
  }
};
// The exact form x·Φ(x) (Hendrycks & Gimpel, 2016), not the tanh approximation. Beyond ±40 Φ is 0 or 1; the bounds keep 0 · inf
// out of infinite x.
struct Gelu {
  static constexpr auto name = "gelu";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return maximum(x, -40) * normal_cdf(x); }
  static auto d(wrt<0>, const auto&, const auto& x) {
    const auto b = minimum(maximum(x, -40), 40);
    return normal_cdf(b) + b * (0.3989422804014327 * exp(-0.5 * b * b));
  }
};
// log(1 + exp(x)), without overflow.
struct Softplus {
  static constexpr auto name = "softplus";
  static constexpr bool costly = true;
  static auto f(const auto& x) { return maximum(x, 0) + log1p(exp(-abs(x))); }
  static auto d(wrt<0>, const auto&, const auto& x) { return sigmoid(x); }
};

// ---- choices ---------------------------------------------------------------------------------------------------------

struct Minimum {
  static constexpr auto name = "minimum";
  static auto f(const auto& a, const auto& b) { return minimum(a, b); }
  static auto d(wrt<0>, const auto&, const auto& a, const auto& b) {
    return where(a < b, 1, where(a == b, 0.5, 0));
  }
  static auto d(wrt<1>, const auto&, const auto& a, const auto& b) {
    return where(b < a, 1, where(a == b, 0.5, 0));
  }
};
struct Maximum {
  static constexpr auto name = "maximum";
  static auto f(const auto& a, const auto& b) { return maximum(a, b); }
  static auto d(wrt<0>, const auto&, const auto& a, const auto& b) {
    return where(a > b, 1, where(a == b, 0.5, 0));
  }
  static auto d(wrt<1>, const auto&, const auto& a, const auto& b) {
    return where(b > a, 1, where(a == b, 0.5, 0));
  }
};
// c ? a : b, element by element; c counts as true where it is not 0. No gradient flows to c. The branch not taken gets the
// cotangent 0 - but 0 times an infinite derivative further up is NaN, so keep the argument of that branch finite too. (In `fuse`
// only second and higher derivatives need that: there a first derivative is chosen as the value is.)
struct Where {
  static constexpr auto name = "where";
  static auto f(const auto& c, const auto& a, const auto& b) { return where(c, a, b); }
  static auto d(wrt<0>, const auto&, const auto&, const auto&, const auto&) { return unit<0>; }
  static auto d(wrt<1>, const auto&, const auto& c, const auto&, const auto&) {
    return where(c, 1, 0);
  }
  static auto d(wrt<2>, const auto&, const auto& c, const auto&, const auto&) {
    return where(c, 0, 1);
  }
};

// ---- comparisons: 1 where true, 0 where not; not differentiable --------------------------------------------------------

struct Less {
  static constexpr auto name = "less";
  static constexpr bool differentiable = false;
  static auto f(const auto& a, const auto& b) { return where(a < b, 1, 0); }
};
struct LessEqual {
  static constexpr auto name = "less_equal";
  static constexpr bool differentiable = false;
  static auto f(const auto& a, const auto& b) { return where(a <= b, 1, 0); }
};
struct Greater {
  static constexpr auto name = "greater";
  static constexpr bool differentiable = false;
  static auto f(const auto& a, const auto& b) { return where(a > b, 1, 0); }
};
struct GreaterEqual {
  static constexpr auto name = "greater_equal";
  static constexpr bool differentiable = false;
  static auto f(const auto& a, const auto& b) { return where(a >= b, 1, 0); }
};
struct Equal {
  static constexpr auto name = "equal";
  static constexpr bool differentiable = false;
  static auto f(const auto& a, const auto& b) { return where(a == b, 1, 0); }
};
struct NotEqual {
  static constexpr auto name = "not_equal";
  static constexpr bool differentiable = false;
  static auto f(const auto& a, const auto& b) { return where(a != b, 1, 0); }
};

// ---- the functions ---------------------------------------------------------------------------------------------------

auto operator-(const Operand auto& x) { return call<Neg>(x); }
auto square(const Operand auto& x) { return call<Square>(x); }
auto sqrt(const Operand auto& x) { return call<Sqrt>(x); }
auto abs(const Operand auto& x) { return call<Abs>(x); }
auto exp(const Operand auto& x) { return call<Exp>(x); }
auto expm1(const Operand auto& x) { return call<Expm1>(x); }
auto log(const Operand auto& x) { return call<Log>(x); }
auto log1p(const Operand auto& x) { return call<Log1p>(x); }
auto sin(const Operand auto& x) { return call<Sin>(x); }
auto cos(const Operand auto& x) { return call<Cos>(x); }
auto erf(const Operand auto& x) { return call<Erf>(x); }
auto tanh(const Operand auto& x) { return call<Tanh>(x); }
auto sigmoid(const Operand auto& x) { return call<Sigmoid>(x); }
auto relu(const Operand auto& x) { return call<Relu>(x); }
auto normal_cdf(const Operand auto& x) { return call<NormalCdf>(x); }
auto gelu(const Operand auto& x) { return call<Gelu>(x); }
auto softplus(const Operand auto& x) { return call<Softplus>(x); }

template <class A, class B>
requires Operands<A, B>
auto operator+(const A& a, const B& b) { return call<Add>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto operator-(const A& a, const B& b) { return call<Sub>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto operator*(const A& a, const B& b) { return call<Mul>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto operator/(const A& a, const B& b) { return call<Div>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto pow(const A& a, const B& b) { return call<Pow>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto minimum(const A& a, const B& b) { return call<Minimum>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto maximum(const A& a, const B& b) { return call<Maximum>(a, b); }
template <class A, class B>
requires Operands<A, B>
auto operator<(const A& a, const B& b) {
  return detail::compare<Less>(a, b, [](const auto& x, const auto& y) { return x < y; });
}
template <class A, class B>
requires Operands<A, B>
auto operator<=(const A& a, const B& b) {
  return detail::compare<LessEqual>(a, b, [](const auto& x, const auto& y) { return x <= y; });
}
template <class A, class B>
requires Operands<A, B>
auto operator>(const A& a, const B& b) {
  return detail::compare<Greater>(a, b, [](const auto& x, const auto& y) { return x > y; });
}
template <class A, class B>
requires Operands<A, B>
auto operator>=(const A& a, const B& b) {
  return detail::compare<GreaterEqual>(a, b, [](const auto& x, const auto& y) { return x >= y; });
}
template <class A, class B>
requires Operands<A, B>
auto operator==(const A& a, const B& b) {
  return detail::compare<Equal>(a, b, [](const auto& x, const auto& y) { return x == y; });
}
template <class A, class B>
requires Operands<A, B>
auto operator!=(const A& a, const B& b) {
  return detail::compare<NotEqual>(a, b, [](const auto& x, const auto& y) { return x != y; });
}

template <class A, class B>
requires Operands<A, B>
auto leaky_relu(const A& x, const B& slope) { return call<LeakyRelu>(x, slope); }
auto leaky_relu(const Operand auto& x) { return leaky_relu(x, 0.01); }
template <class A, class B>
requires Operands<A, B>
auto elu(const A& x, const B& alpha) { return call<Elu>(x, alpha); }
auto elu(const Operand auto& x) { return elu(x, 1); }

// x limited to [low, high].
template <class A, class B, class C>
requires Operands<A, B, C>
auto clamp(const A& x, const B& low, const C& high) { return minimum(maximum(x, low), high); }

template <class C, class A, class B>
requires(is_dual<C> || is_var<C> || is_dual<A> || is_var<A> || is_dual<B> ||
         is_var<B>) auto where(const C& c, const A& a, const B& b) {
  if constexpr (is_dual<C> || is_dual<A> || is_dual<B>) {
    return detail::where_dual(c, a, b);
  } else {
    return call<Where>(c, a, b);
  }
}

template <class T, class B>
Var<T>& operator+=(Var<T>& a, const B& b) {
  return a = a + b;
}
template <class T, class B>
Var<T>& operator-=(Var<T>& a, const B& b) {
  return a = a - b;
}
template <class T, class B>
Var<T>& operator*=(Var<T>& a, const B& b) {
  return a = a * b;
}
template <class T, class B>
Var<T>& operator/=(Var<T>& a, const B& b) {
  return a = a / b;
}

}  // namespace unroll
