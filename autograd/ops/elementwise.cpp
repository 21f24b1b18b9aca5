// The built-in elementwise ops, compiled once for float and double.
#include "unroll/autograd/ops/elementwise.hpp"

#include "unroll/autograd/elementwise.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"

namespace unroll {
namespace detail {

namespace {

// What cells are made of: these get the short paths (elementwise_alike.hpp) to themselves.
template <class Op, class... Others>
constexpr bool among = (std::is_same_v<Op, Others> || ...);
template <class Op>
constexpr bool in_cells = among<Op, Add, Sub, Mul, Tanh, Sigmoid>;

template <class Op, class T, std::size_t N>
struct CellOp : DeclaredOp<Op, T, N> {
  using Declared = DeclaredOp<Op, T, N>;

  struct Kernel {
    [[gnu::always_inline]] static void forward(T* const* out, const T* const* in, Size n,
                                               const void*) {
      if (!op_costly<Op> && n % Size{Lane<T>::width} == 0) {
        map_whole_lanes<Lane<T>, N, 1>(out, in, n, 0, typename Declared::Function{});
      } else {
        T* const to[] = {out[0]};  // copies, so that the caller's own need no memory
        const T* from[N];
        std::copy_n(in, N, from);
        Declared::forward(to, from, nullptr, n, 0, nullptr);
      }
    }
    [[gnu::always_inline]] static void backward(T* const* out, const T* const* in, Size n,
                                                unsigned accumulate, const void*) {
      if (n % Size{Lane<T>::width} == 0) {
        map_whole_lanes<Lane<T>, 2 + N, N>(out, in, n, accumulate,
                                           typename Declared::Derivatives{});
      } else {
        T* to[N];
        const T* from[2 + N];
        std::copy_n(out, N, to);
        std::copy_n(in, 2 + N, from);
        Declared::backward(to, from, nullptr, n, accumulate, nullptr);
      }
    }
  };
  static void sweep(Node& n, Sweep& sweep) {
    if (!sweep.recorded()) {
      if constexpr (table.only_passes_on) {
        if (n.dense && sweep_sum<T, N>(n, sweep, table)) return;
      } else {
        if (n.alike && sweep_alike<T, N>(n, sweep, table, Kernel{})) return;
      }
    }
    sweep_elementwise<T, N>(n, sweep);
  }
  static constexpr ElementwiseTable<T> table = [] {
    ElementwiseTable<T> t = Declared::table();
    t.sweep = sweep;
    return t;
  }();
};

}  // namespace

template <class Op, class T, class... X>
Var<T> builtin(const X&... x) {
  if constexpr (in_cells<Op>) {
    constexpr std::size_t N = sizeof...(X);
    using Rules = CellOp<Op, T, N>;
    const Var<T>* inputs[] = {&x...};
    Var<T> y;
    if (!apply_alike<T, N>(Rules::table, inputs, &y, nullptr, 0, typename Rules::Kernel{})) {
      apply_unlike<T, N>(Rules::table, inputs, &y, nullptr, 0);
    }
    return y;
  } else {
    return apply_declared<Op, T>(x...);
  }
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
                     Sigmoid, Relu, NormalCdf, Gelu, Softplus>,
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

template <FloatOrDouble To, FloatOrDouble From>
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
