// One name, every kind of operand: how `tanh(x)` finds its way when x is a lane, a dual number or a Var.
//
//   struct Tanh { static auto f(const auto& x); static auto d(wrt<0>, const auto& y, const auto& x); ... };
//   auto tanh(const Operand auto& x) { return call<Tanh>(x); }
//
// Over lanes an op is its function f; over dual numbers it is f with its partial derivatives d (so any expression of ops
// carries its derivative along); over Vars it computes arrays and records. Invariant: a rule is one text for all three.
#pragma once

#include <array>
#include <bit>
#include <tuple>

#include "unroll/autograd/var.hpp"

namespace unroll {

// Names an argument of an op: `d(wrt<1>, ...)` is the partial derivative with respect to the second one.
template <std::size_t I>
struct wrt {};

// A derivative that is the same whole number everywhere: multiplying by it costs nothing.
template <int V>
struct Unit {};
template <int V>
inline constexpr Unit<V> unit{};

namespace detail {
template <class L>
class Kept;
}

// A value with its derivatives with respect to the inputs whose bit is set in Mask: zeros that are known from the types
// are never stored or multiplied. (Forward mode; the idea is that of ceres' Jet with a static sparsity.)
template <class L, unsigned Mask>
struct Dual {
  L v;
  std::array<L, std::popcount(Mask)> d;
  detail::Kept<L>* kept;  // of lanes: what costly ops gave, for all numbers of one computation
};

template <class X>
inline constexpr bool is_dual = false;
template <class L, unsigned Mask>
inline constexpr bool is_dual<Dual<L, Mask>> = true;

template <class T, class Arch>
class Lane;
template <class X>
inline constexpr bool is_lane = false;
template <class T, class Arch>
inline constexpr bool is_lane<Lane<T, Arch>> = true;

// What the ops' functions are defined for; anything else is left to other libraries' overloads.
template <class X>
concept Operand = is_lane<X> || is_dual<X> || is_var<X>;
template <class... X>
concept Operands = (Operand<X> || ...) &&
                   ((Operand<X> || std::is_arithmetic_v<X> || detail::Foreign<X>)&&...);

namespace detail {

// Computes a built-in elementwise op; compiled into the library.
template <class Op, class T, class... X>
Var<T> builtin(const X&... x);

// Computes a user's elementwise op; defined in elementwise.hpp.
template <class Op, class T, class... X>
Var<T> apply_declared(const X&... x);
// Marks an op that is not compiled into the library.
template <class Op>
struct UserOp : Op {
  using Declared = Op;
};

template <class Op, class... X>
auto call_dual(const X&... x);

template <class... X>
struct FirstVar;
template <class X, class... Rest>
struct FirstVar<X, Rest...> : FirstVar<Rest...> {};
template <class T, class... Rest>
struct FirstVar<Var<T>, Rest...> {
  using type = T;
};

template <class X, class T>
inline constexpr bool other_real = is_var<X> && !std::is_same_v<X, Var<T>>;

template <class T, class X>
decltype(auto) as_var(const X& x) {
  if constexpr (is_var<X>) {
    return (x);
  } else {
    return Var<T>(x);
  }
}

// The lane (or Var) type that a dual number is made of; void for other types.
template <class X>
struct LaneOf {
  using type = void;
};
template <class T, class Arch>
struct LaneOf<Lane<T, Arch>> {
  using type = Lane<T, Arch>;
};
template <class L, unsigned Mask>
struct LaneOf<Dual<L, Mask>> {
  using type = L;
};
template <class... X>
struct FirstLane {
  using type = void;
};
template <class X, class... Rest>
struct FirstLane<X, Rest...> {
  using Own = typename LaneOf<X>::type;
  using type =
      typename std::conditional_t<std::is_void_v<Own>, FirstLane<Rest...>, LaneOf<X>>::type;
};

template <class L, class X>
decltype(auto) primal(const X& x) {
  if constexpr (is_dual<X>) {
    return (x.v);
  } else if constexpr (std::is_same_v<X, L>) {
    return (x);
  } else {
    return L(x);
  }
}

}  // namespace detail

template <class Op, class... X>
auto call(const X&... x) {
  if constexpr ((is_dual<X> || ...)) {
    return detail::call_dual<Op>(x...);
  } else if constexpr ((is_var<X> || ...)) {
    using T = typename detail::FirstVar<X...>::type;
    static_assert(!(detail::other_real<X, T> || ...),
                  "the operands differ in element type (float and double): convert one of them "
                  "with cast<float>(x) or cast<double>(x)");
    if constexpr (requires { typename Op::Declared; }) {
      return detail::apply_declared<typename Op::Declared, T>(detail::as_var<T>(x)...);
    } else {
      return detail::builtin<Op, T>(detail::as_var<T>(x)...);
    }
  } else {
    using L = typename detail::FirstLane<X...>::type;
    return Op::f(detail::primal<L>(x)...);
  }
}

namespace detail {

// ---- dual numbers ----------------------------------------------------------------------------------------------------

template <class X>
inline constexpr unsigned mask_of = 0;
template <class L, unsigned Mask>
inline constexpr unsigned mask_of<Dual<L, Mask>> = Mask;

// Does a value carry a derivative with respect to this input?
template <class X>
constexpr bool depends_on(std::size_t bit) {
  return ((mask_of<X>) >> bit & 1) != 0;
}

// Where the derivative for input `bit` stands among those of Mask.
template <unsigned Mask>
constexpr std::size_t slot_of(unsigned bit) {
  return std::popcount(Mask & ((1U << bit) - 1));
}
// Dual<L, Mask>{v, {f(the input's number)...}, kept}: all derivatives at once, since compilers clear an array that is filled one
// by one with a slow `rep stos`.
template <unsigned Mask, class L, class F>
Dual<L, Mask> make_dual(const L& v, Kept<L>* kept, const F& f) {
  constexpr auto inputs = [] {
    std::array<unsigned, std::popcount(Mask)> bits{};
    std::size_t n = 0;
    for (unsigned bit = 0; Mask >> bit; ++bit) {
      if (Mask >> bit & 1) bits[n++] = bit;
    }
    return bits;
  }();
  return [&]<std::size_t... Slot>(std::index_sequence<Slot...>) {
    return Dual<L, Mask>{v, {f(std::integral_constant<unsigned, inputs[Slot]>{})...}, kept};
  }
  (std::make_index_sequence<inputs.size()>{});
}

template <class L, int V>
L times(Unit<V>, const L& x) {
  if constexpr (V == 1) {
    return x;
  } else if constexpr (V == -1) {
    return -x;
  } else {
    return x * V;
  }
}
template <class L, class D>
L times(const D& d, const L& x) {
  return d * x;
}

// sum += derivative * x.d[bit], where `started` says whether there is a sum yet.
template <unsigned Bit, class L, class D, class X>
void add_partial(L& sum, bool& started, const D& derivative, const X& x) {
  if constexpr (depends_on<X>(Bit) && !std::is_same_v<D, Unit<0>>) {
    const L term = times<L>(derivative, x.d[slot_of<mask_of<X>>(Bit)]);
    sum = started ? sum + term : term;
    started = true;
  }
}

template <class Op>
inline constexpr bool op_costly = false;
template <class Op>
requires requires { Op::costly; }
inline constexpr bool op_costly<Op> = Op::costly;

// What the first dual number among x has.
template <class L, class X, class... Rest>
Kept<L>* kept_of(const X& x, const Rest&... rest) {
  if constexpr (is_dual<X>) {
    return x.kept;
  } else {
    return kept_of<L>(rest...);
  }
}

// ∂y/∂x_I, where x_I carries derivatives at all.
template <class Op, std::size_t I, class X, class L, class... V>
auto partial_if_dual(const L& y, const V&... v) {
  if constexpr (mask_of<X> != 0) {
    return Op::d(wrt<I>{}, y, v...);
  } else {
    return unit<0>;
  }
}

// The chain rule for one input bit: Σ_i ∂y/∂x_i · x_i.d[bit].
template <unsigned Bit, class L, class Partials, class X, std::size_t... I>
L chain(const Partials& partials, const X& x, std::index_sequence<I...>) {
  L sum{};
  bool started = false;
  (add_partial<Bit>(sum, started, std::get<I>(partials), std::get<I>(x)), ...);
  return started ? sum : L(0);
}

template <class Op, std::size_t... I, class... X>
auto call_dual_indexed(std::index_sequence<I...> indices, const X&... x) {
  using L = typename FirstLane<X...>::type;
  constexpr unsigned mask = (mask_of<X> | ...);
  Kept<L>* const kept = kept_of<L>(x...);
  const auto compute = [&] { return call<Op>(primal<L>(x)...); };
  const L y = [&] {
    if constexpr (op_costly<Op> && is_lane<L>) {
      return (*kept)(compute);
    } else {
      return compute();
    }
  }();
  const std::tuple<decltype(primal<L>(x))...> v{primal<L>(x)...};
  const auto partials = std::apply(
      [&](const auto&... p) { return std::tuple{partial_if_dual<Op, I, X>(y, p...)...}; }, v);
  const auto operands = std::tie(x...);
  return make_dual<mask>(y, kept, [&](auto bit) {
    return chain<decltype(bit)::value, L>(partials, operands, indices);
  });
}

template <class Op, class... X>
auto call_dual(const X&... x) {
  return call_dual_indexed<Op>(std::index_sequence_for<X...>{}, x...);
}

// Dual numbers are compared by their values; the choice has no derivative.
template <class Op, class A, class B, class Compare>
auto compare(const A& a, const B& b, Compare&& compare_lanes) {
  using L = typename FirstLane<A, B>::type;
  if constexpr (std::is_void_v<L>) {
    return call<Op>(a, b);
  } else {
    return compare_lanes(primal<L>(a), primal<L>(b));
  }
}

template <class C, class A, class B>
auto where_dual(const C& c, const A& a, const B& b) {
  if constexpr (is_dual<C>) {
    return where_dual(c.v, a, b);
  } else {
    using L = typename FirstLane<A, B>::type;
    if constexpr (std::is_void_v<L>) {
      return where(c, a, b);
    } else {
      constexpr unsigned mask = mask_of<A> | mask_of<B>;
      const auto part = [](const auto& x, auto bit) -> L {
        using X = std::remove_cvref_t<decltype(x)>;
        if constexpr (depends_on<X>(decltype(bit)::value)) {
          return x.d[slot_of<mask_of<X>>(decltype(bit)::value)];
        } else {
          return L(0);
        }
      };
      const L chosen = where(c, primal<L>(a), primal<L>(b));
      if constexpr (mask == 0) {
        return chosen;
      } else {
        return make_dual<mask>(chosen, kept_of<L>(a, b),
                               [&](auto bit) { return where(c, part(a, bit), part(b, bit)); });
      }
    }
  }
}

}  // namespace detail
}  // namespace unroll
