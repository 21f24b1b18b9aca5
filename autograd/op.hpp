// Ops that are not elementwise: declared once, as a function and its adjoint, or as a function and its vjp.
//
//   struct CumulativeSum {                                       // linear in each argument: f and its adjoint
//     static constexpr auto name = "cumsum";
//     Size axis;
//     auto f(const auto& x) const { ... }                        // over constants: computes an array
//     auto adjoint(wrt<0>, const auto& g, const auto& x) const { return flip(cumsum(flip(g, axis), axis), axis); }
//   };
//   Var<T> y = apply(CumulativeSum{1}, x);
//
//   struct Softmax { ...; auto vjp(wrt<0>, const auto& g, const auto& y, const auto& x) const { ... } };
//
// `adjoint(wrt<i>, g, x...)` and `vjp(wrt<i>, g, y, x...)` give the cotangent of argument i from that of the result. They are
// written in the library's operations, which is what makes them differentiable in turn. A linear op gets its jvp from f; any
// other gets it from its vjp (as the derivative of u -> <vjp(u), t>), or declares `jvp(t, y, x...)` itself, where t is the
// array of the arguments' tangents, empty where one is zero.
// Invariant: rules are pure: they use their arguments and the op's own members, nothing else. An op that is swept very often may
// also have sweep_values<T>(node, sweep), its rules in one piece over blocks, which returns false where it does not apply.
#pragma once

#include "unroll/autograd/call.hpp"
#include "unroll/autograd/sweep.hpp"

namespace unroll {

namespace detail {

// A constant with the value of x that shares, but does not count, its memory.
template <class T>
Var<T> borrowed_constant(const Var<T>& x) {
  return Var<T>(Handle::borrow(x.handle().block()));
}

// The gradient of a scalar function; defined in transforms.hpp.
template <class T, class F>
Var<T> gradient_at(F&& f, const Var<T>& x);
template <class T>
Var<T> zeros_like_shape(const Shape& shape);
template <class T>
Var<T> sum_all(const Var<T>& x);

// Does the op declare an adjoint for argument I of the arguments J...?
template <std::size_t, class V>
using Repeated = const V&;
template <class Op, class V, std::size_t I, std::size_t... J>
constexpr bool has_adjoint(std::index_sequence<J...>) {
  return requires {
    std::declval<const Op&>().adjoint(wrt<I>{}, std::declval<const V&>(),
                                      std::declval<Repeated<J, V>>()...);
  };
}

template <class Op, class V, std::size_t... J>
constexpr bool has_jvp(std::index_sequence<J...>) {
  return requires {
    std::declval<const Op&>().jvp(std::declval<const std::array<V, sizeof...(J)>&>(),
                                  std::declval<const V&>(), std::declval<Repeated<J, V>>()...);
  };
}

template <class Op, class T, std::size_t N>
struct GeneralOp {
  static const Op& op(Node& n) { return *static_cast<const Op*>(n.op()); }
  static constexpr auto indices = std::make_index_sequence<N>{};

  template <std::size_t I, class G, class Y, class X>
  static auto vjp(const Op& op, const G& g, const Y& y, const X& x) {
    return [&]<std::size_t... J>(std::index_sequence<J...>) {
      if constexpr (has_adjoint<Op, Var<T>, I>(std::make_index_sequence<N>{})) {
        return op.adjoint(wrt<I>{}, g, x[J]...);
      } else {
        return op.vjp(wrt<I>{}, g, y, x[J]...);
      }
    }
    (indices);
  }
  static std::array<Var<T>, N> inputs(Node& n, const Sweep& sweep) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<Var<T>, N>{sweep.input<T>(n, I)...};
    }
    (indices);
  }
  static void sweep(Node& n, Sweep& sweep) {
    if constexpr (requires { Op::template sweep_values<T>(n, sweep); }) {
      if (!sweep.recorded() && Op::template sweep_values<T>(n, sweep)) return;
    }
    sweep_by_rules(n, sweep);
  }
  [[gnu::noinline]] static void sweep_by_rules(Node& n, Sweep& sweep) {
    const Var<T> g = sweep.take<T>(n);
    const Var<T> y = sweep.of_node<T>(n);
    const auto x = inputs(n, sweep);
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (
          [&] {
            if (sweep.wants(n, I)) sweep.add(*n.inputs()[I].node(), vjp<I>(op(n), g, y, x));
          }(),
          ...);
    }
    (indices);
  }
  static constexpr bool linear = has_adjoint<Op, Var<T>, 0>(std::make_index_sequence<N>{});

  static void push(Node& n, Push& push) {
    const auto x = inputs(n, push.values());
    Var<T> tangent;
    bool any = false;
    for (std::size_t i = 0; i < N; ++i) any = any || !push.input_tangent<T>(n, i).empty();
    if (!any) return;
    if constexpr (linear) {
      for (std::size_t i = 0; i < N; ++i) {
        const Var<T> t = push.input_tangent<T>(n, i);
        if (t.empty()) continue;
        auto with_tangent = x;
        with_tangent[i] = t;
        const Var<T> term =
            std::apply([&](const auto&... v) { return apply(op(n), v...); }, with_tangent);
        tangent = tangent.empty() ? term : tangent + term;
      }
    } else if constexpr (has_jvp<Op, Var<T>>(std::make_index_sequence<N>{})) {
      const Var<T> y = push.values().template of_node<T>(n);
      std::array<Var<T>, N> t;
      for (std::size_t i = 0; i < N; ++i) t[i] = push.input_tangent<T>(n, i);
      tangent = std::apply([&](const auto&... v) { return op(n).jvp(t, y, v...); }, x);
    } else {
      // <vjp(u), t> is linear in u, and its gradient with respect to u is the tangent J t.
      const Var<T> y = push.values().template of_node<T>(n);
      std::array<Var<T>, N> t;
      for (std::size_t i = 0; i < N; ++i) t[i] = push.input_tangent<T>(n, i);
      tangent = gradient_at<T>(
          [&](const Var<T>& u) {
            Var<T> total(0);
            [&]<std::size_t... I>(std::index_sequence<I...>) {
              (
                  [&] {
                    if (!t[I].empty()) {
                      total = total + sum_all<T>(Var<T>(vjp<I>(op(n), u, y, x)) * t[I]);
                    }
                  }(),
                  ...);
            }
            (indices);
            return total;
          },
          zeros_like_shape<T>(y.shape()));
    }
    push.set(n, std::move(tangent));
  }
  static void destroy(Node& n) { static_cast<Op*>(n.op())->~Op(); }

  static constexpr OpTable table{Op::name, sweep, push,
                                 std::is_trivially_destructible_v<Op> ? nullptr : destroy};
};

}  // namespace detail

namespace detail {

// Of an op of the library that writes its result straight into the tape: value<T>(tape or null, block...) -> Block*.
template <class Op, class T, std::size_t N>
constexpr bool writes_value = []<std::size_t... I>(std::index_sequence<I...>) {
  return requires(const Op& op, TapeCore* tape, const std::array<Block*, N>& x) {
    op.template value<T>(tape, *x[I]...);
  };
}
(std::make_index_sequence<N>{});

template <class T, class Op, std::size_t N>
Var<T> apply_value(const Op& op, const std::array<Handle::Contents, N>& x) {
  TapeState* state = x[0].tape;
  bool all_nodes = state != nullptr;
  for (std::size_t i = 1; i < N; ++i) {
    if (x[i].tape != state) state = join(state, x[i].tape);
    all_nodes = all_nodes && x[i].tape;
  }
  auto* tape = static_cast<TapeCore*>(state);
  Block* y = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return op.template value<T>(tape, *x[I].block...);
  }
  (std::make_index_sequence<N>{});
  if (!tape) return Var<T>(Handle(Ref(y)));
  Node* n = tape->record(&GeneralOp<Op, T, N>::table, N, sizeof(Op), nullptr);
  n->value = y;
  n->alike = all_nodes && std::is_trivially_destructible_v<Op> && y->counted_by_holder();
  for (std::size_t i = 0; i < N; ++i) tape->set_input(n, i, x[i]);
  new (n->op()) Op(op);
  return Var<T>(Handle(n, tape));
}

}  // namespace detail

// Computes op.f(x...) and records it when an argument is tracked. `op` is copied into the node.
template <class Op, FloatOrDouble T, class... Rest>
Var<T> apply(const Op& op, const Var<T>& first, const Rest&... rest) {
  static_assert((std::is_same_v<Rest, Var<T>> && ...),
                "apply: all arguments must be Vars of one element type");
  static_assert(alignof(Op) <= 8);
  constexpr std::size_t N = 1 + sizeof...(Rest);
  if constexpr (detail::writes_value<Op, T, N>) {
    return detail::apply_value<T>(op, std::array<detail::Handle::Contents, N>{
                                          first.handle().contents(), rest.handle().contents()...});
  } else {
    detail::TapeState* state = first.handle().tape();
    ((state = detail::join(state, rest.handle().tape())), ...);
    Var<T> y = op.f(detail::borrowed_constant(first), detail::borrowed_constant(rest)...);
    if (!state) return y;
    auto* tape = static_cast<detail::TapeCore*>(state);
    detail::Node* n = tape->record(&detail::GeneralOp<Op, T, N>::table, N, sizeof(Op),
                                   detail::take_block(std::move(y)).give());
    std::size_t i = 0;
    tape->set_input(n, i++, first.handle());
    (tape->set_input(n, i++, rest.handle()), ...);
    new (n->op()) Op(op);
    return Var<T>(detail::Handle(n, tape));
  }
}

namespace detail {

template <class T, class Op>
Var<T> apply_variadic(const Op& op, std::span<const Var<T>> x);

// A linear op over any number of arguments: f(span) and adjoint(i, at, g, shape), where `at` is the sum of the extents of
// the arguments before number i and `shape` is that argument's own.
template <class Op, class T>
struct VariadicOp {
  static const Op& op(Node& n) { return *static_cast<const Op*>(n.op()); }
  static std::vector<Var<T>> inputs(Node& n, const Sweep& sweep) {
    std::vector<Var<T>> x;
    x.reserve(n.input_count);
    for (std::size_t i = 0; i < n.input_count; ++i) x.push_back(sweep.input<T>(n, i));
    return x;
  }
  static void sweep(Node& n, Sweep& sweep) {
    if constexpr (requires { Op::template sweep_values<T>(n, sweep); }) {
      if (!sweep.recorded() && Op::template sweep_values<T>(n, sweep)) return;
    }
    const Var<T> g = sweep.take<T>(n);
    Size at = 0;
    for (std::size_t i = 0; i < n.input_count; ++i) {
      const Block& x = *n.input_block(i);
      if (sweep.wants(n, i)) sweep.add(*n.inputs()[i].node(), op(n).adjoint(i, at, g, x.shape()));
      at += op(n).extent(x.shape());
    }
  }
  static void push(Node& n, Push& push) {
    std::vector<Var<T>> tangents = inputs(n, push.values());
    bool any = false;
    for (std::size_t i = 0; i < n.input_count; ++i) {
      Var<T> t = push.input_tangent<T>(n, i);
      any = any || !t.empty();
      tangents[i] = t.empty() ? zeros_like_shape<T>(tangents[i].shape()) : t;
    }
    if (any) push.set(n, apply_variadic<T>(op(n), std::span<const Var<T>>(tangents)));
  }
  static void destroy(Node& n) { static_cast<Op*>(n.op())->~Op(); }
  static constexpr OpTable table{Op::name, sweep, push,
                                 std::is_trivially_destructible_v<Op> ? nullptr : destroy};
};

template <class T, class Op>
Var<T> apply_variadic(const Op& op, std::span<const Var<T>> x) {
  TapeState* state = nullptr;
  for (const Var<T>& v : x) state = join(state, v.handle().tape());
  Var<T> y = op.f(x);
  if (!state) return y;
  auto* tape = static_cast<TapeCore*>(state);
  share(y.handle().block());
  Node* n = tape->record(&VariadicOp<Op, T>::table, x.size(), sizeof(Op), y.handle().block());
  for (std::size_t i = 0; i < x.size(); ++i) tape->set_input(n, i, x[i].handle());
  new (n->op()) Op(op);
  return Var<T>(Handle(n, tape));
}

}  // namespace detail
}  // namespace unroll
