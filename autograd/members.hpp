// The types of the members of a plain struct, so that a struct whose fields() leaves one out is refused.
//
//   struct Net { Var<float> weight, bias; double scale; };
//   detail::MembersOf<Net>                        // Members<Var<float>, Var<float>, double>
//
// An aggregate without bases takes one initialiser for each member, and structured bindings tell their types. What cannot be
// counted so (classes with constructors or private members, with bases, C arrays or references, or more than 16 members) is
// passed over.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace unroll::detail {

// Initialises a member of any type, or a base of M only.
template <std::size_t>
struct AnyMember {
  template <class X>
  operator X() const {
    __builtin_unreachable();  // only asked for its type; clang wants a body
  }
};
template <class M>
struct AnyBase {
  template <class X>
  requires(std::is_base_of_v<X, M> && !std::is_same_v<X, M>) operator X() const;
};

// The largest number of initialisers that M takes: an array counts as its elements.
template <class M, std::size_t... I>
constexpr std::size_t initialisers(std::index_sequence<I...>) {
  if constexpr (requires { M{AnyMember<I>{}..., AnyMember<0>{}}; }) {
    return initialisers<M>(std::make_index_sequence<sizeof...(I) + 1>{});
  } else {
    return sizeof...(I);
  }
}
// Is the member behind those of I an array? Then {} stands for several initialisers.
template <class M, std::size_t... I, std::size_t... Rest>
constexpr bool array_at(std::index_sequence<I...>, std::index_sequence<Rest...>) {
  return requires { M{AnyMember<I>{}..., {}}; }
  &&!requires { M{AnyMember<I>{}..., {}, AnyMember<Rest>{}...}; };
}
template <class M, std::size_t... I>
constexpr bool has_array(std::index_sequence<I...>) {
  return (array_at<M>(std::make_index_sequence<I>{},
                      std::make_index_sequence<sizeof...(I) - 1 - I>{}) ||
          ...);
}

// The number of M's members, or 0 where it cannot be told.
template <class M>
constexpr std::size_t member_count() {
  if constexpr (!std::is_aggregate_v<M> || !std::is_move_assignable_v<M> ||
                requires { M{AnyBase<M>{}}; }) {
    return 0;
  } else {
    constexpr std::size_t n = initialisers<M>(std::index_sequence<>{});
    return has_array<M>(std::make_index_sequence<n>{}) ? 0 : n;
  }
}

template <class... X>
struct Members {};
template <class... X>
Members<X...> members(const X&...) {
  return {};
}

template <class M>
auto members_of(const M& m) {
  constexpr std::size_t count = member_count<M>();
  if constexpr (count == 1) {
    const auto& [a] = m;
    return members(a);
  } else if constexpr (count == 2) {
    const auto& [a, b] = m;
    return members(a, b);
  } else if constexpr (count == 3) {
    const auto& [a, b, c] = m;
    return members(a, b, c);
  } else if constexpr (count == 4) {
    const auto& [a, b, c, d] = m;
    return members(a, b, c, d);
  } else if constexpr (count == 5) {
    const auto& [a, b, c, d, e] = m;
    return members(a, b, c, d, e);
  } else if constexpr (count == 6) {
    const auto& [a, b, c, d, e, f] = m;
    return members(a, b, c, d, e, f);
  } else if constexpr (count == 7) {
    const auto& [a, b, c, d, e, f, g] = m;
    return members(a, b, c, d, e, f, g);
  } else if constexpr (count == 8) {
    const auto& [a, b, c, d, e, f, g, h] = m;
    return members(a, b, c, d, e, f, g, h);
  } else if constexpr (count == 9) {
    const auto& [a, b, c, d, e, f, g, h, i] = m;
    return members(a, b, c, d, e, f, g, h, i);
  } else if constexpr (count == 10) {
    const auto& [a, b, c, d, e, f, g, h, i, j] = m;
    return members(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (count == 11) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k] = m;
    return members(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (count == 12) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l] = m;
    return members(a, b, c, d, e, f, g, h, i, j, k, l);
  } else if constexpr (count == 13) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, n] = m;
    return members(a, b, c, d, e, f, g, h, i, j, k, l, n);
  } else if constexpr (count == 14) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, n, o] = m;
    return members(a, b, c, d, e, f, g, h, i, j, k, l, n, o);
  } else if constexpr (count == 15) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, n, o, p] = m;
    return members(a, b, c, d, e, f, g, h, i, j, k, l, n, o, p);
  } else if constexpr (count == 16) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, n, o, p, q] = m;
    return members(a, b, c, d, e, f, g, h, i, j, k, l, n, o, p, q);
  } else {
    (void)m;
    return Members<>{};
  }
}
template <class M>
using MembersOf = decltype(members_of(std::declval<const M&>()));

}  // namespace unroll::detail
