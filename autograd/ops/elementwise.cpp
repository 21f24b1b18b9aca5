// The built-in elementwise ops, compiled once for float and double.
#include "unroll/autograd/ops/elementwise.hpp"

#include "unroll/autograd/elementwise.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"

namespace unroll {
namespace detail {

template <class Op, class T, class... X>
Var<T> builtin(const X&... x) {
  return apply_declared<Op, T>(x...);
}

namespace {

// Naming a function makes the compiler emit it: one line for each number of operands.
template <class T, class... Op>
constexpr auto unary = std::tuple{&builtin<Op, T, Var<T>>...};
template <class T, class... Op>
constexpr auto binary = std::tuple{&builtin<Op, T, Var<T>, Var<T>>...};
template <class T>
constexpr auto all_for =
    std::tuple{unary<T, Neg, Square, Sqrt, Abs, Exp, Expm1, Log, Log1p, Sin, Cos, Erf, Tanh,
                     Sigmoid, Relu, Gelu, Softplus>,
               binary<T, Add, Sub, Mul, Div, Pow, Minimum, Maximum, LeakyRelu, Elu, Less, LessEqual,
                      Greater, GreaterEqual, Equal, NotEqual>,
               &builtin<Where, T, Var<T>, Var<T>, Var<T>>};

[[gnu::used]] constinit auto floats = all_for<float>;
[[gnu::used]] constinit auto doubles = all_for<double>;

// float <-> double
template <class To, class From>
void sweep_cast(Node& n, Sweep& sweep) {
  if (sweep.wants(n, 0)) sweep.add(*n.inputs()[0].node(), cast<From>(sweep.take<To>(n)));
}
template <class To, class From>
void push_cast(Node& n, Push& push) {
  const Var<From> t = push.input_tangent<From>(n, 0);
  if (!t.empty()) push.set(n, cast<To>(t));
}
template <class To, class From>
constexpr OpTable cast_table{"cast", sweep_cast<To, From>, push_cast<To, From>};

}  // namespace
}  // namespace detail

template <Real To, Real From>
Var<To> cast(const Var<From>& x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else {
    auto* tape = static_cast<detail::TapeCore*>(x.handle().tape());
    const detail::Ref from = detail::contiguous(x.handle().block());
    detail::Ref to = detail::new_block<To>(from->shape());
    std::transform(from->data<From>(), from->data<From>() + from->size(), to->data<To>(),
                   [](From v) { return static_cast<To>(v); });
    if (!tape) return Var<To>(detail::Handle(std::move(to)));
    detail::Node* n = tape->record(&detail::cast_table<To, From>, 1, 0, to.give());
    tape->set_input(n, 0, x.handle());
    return Var<To>(detail::Handle(n, tape));
  }
}
template Var<float> cast(const Var<float>&);
template Var<float> cast(const Var<double>&);
template Var<double> cast(const Var<float>&);
template Var<double> cast(const Var<double>&);

}  // namespace unroll
