// Models are plain structs: what their parameters are is said in `fields()`, and nothing is inherited or registered.
//
//   struct Net {
//     Linear<float> hidden, out;
//     Var<float> scale;
//     static constexpr auto fields() {
//       return std::tuple{field("hidden", &Net::hidden), field("out", &Net::out), constant("scale", &Net::scale)};
//     }
//   };
//   for_each_named(net, [](const std::string& name, const auto& p) { ... });   // "hidden.weight", ...
//   Net moved = tree_map([](const auto& p, const auto& g) { return p - 0.1 * g; }, net, gradient);
//
// A tree is a Var, such a struct, or a std::vector, array, optional, tuple or pair of trees: whatever a transform
// differentiates with respect to. A struct that leaves a member that is a tree out of its fields() does not compile, where
// the compiler can tell (members.hpp). `constant` fields are saved with the model but are no parameters: they have no gradient
// and no optimiser changes them (frozen weights, statistics). A parameter used in two places (tied) is one field.
// Invariant: a gradient, or Adam's moments, are trees of the model's own type.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "unroll/autograd/members.hpp"
#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

enum class FieldKind { parameter, constant };
template <class M, class X>
struct FieldOf {
  const char* name;
  X M::*member;
  FieldKind kind;
};
template <class M, class X>
constexpr FieldOf<M, X> field(const char* name, X M::*member) {
  static_assert(!std::is_const_v<X>, "a field of this struct is const, so nothing could train it");
  return {name, member, FieldKind::parameter};
}
template <class M, class X>
constexpr FieldOf<M, X> constant(const char* name, X M::*member) {
  static_assert(!std::is_const_v<X>, "a field of this struct is const, so nothing could load it");
  return {name, member, FieldKind::constant};
}

template <class M>
concept HasFields = requires {
  std::remove_cvref_t<M>::fields();
};

namespace detail {

template <class X>
inline constexpr bool is_sequence = false;
template <class X, class A>
inline constexpr bool is_sequence<std::vector<X, A>> = true;
template <class X, std::size_t N>
inline constexpr bool is_sequence<std::array<X, N>> = true;
template <class X>
inline constexpr bool is_optional = false;
template <class X>
inline constexpr bool is_optional<std::optional<X>> = true;
template <class X>
inline constexpr bool is_tuple = false;
template <class... X>
inline constexpr bool is_tuple<std::tuple<X...>> = true;
template <class A, class B>
inline constexpr bool is_tuple<std::pair<A, B>> = true;

template <class X>
constexpr bool tree_type() {
  if constexpr (is_var<X> || HasFields<X>) {
    return true;
  } else if constexpr (is_sequence<X> || is_optional<X>) {
    return tree_type<typename X::value_type>();
  } else if constexpr (is_tuple<X>) {
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (tree_type<std::tuple_element_t<I, X>>() && ...);
    }
    (std::make_index_sequence<std::tuple_size_v<X>>{});
  } else {
    return false;
  }
}

inline std::string join_name(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}

}  // namespace detail

template <class X>
concept Tree = detail::tree_type<std::remove_cvref_t<X>>();

namespace detail {

// Errors that name the struct M: about the type of one of its fields, and about the number of them.
template <class M, class X>
struct CheckField {
  static constexpr bool ok = tree_type<X>();
  static_assert(
      ok,
      "a field of this struct is no Var, struct with fields(), or vector, array, optional, "
      "tuple or pair of these: leave numbers, maps and pointers out of fields(), and give a "
      "nested struct its own fields()");
};
template <class M, std::size_t members, std::size_t fields>
struct CheckFieldCount {
  static_assert(
      members <= fields,
      "this struct has more members that are Vars (or structs, vectors, ... of Vars) than its "
      "fields() names, and such a member would be neither trained nor saved: name each by "
      "field(...), or by constant(...) what is saved but not trained");
  static constexpr bool ok = members <= fields;
};
template <class... X>
constexpr std::size_t count_trees(Members<X...>) {
  return (std::size_t{Tree<X>} + ... + 0);
}
template <class M, class... Owner, class... X>
constexpr bool check_fields(std::type_identity<std::tuple<FieldOf<Owner, X>...>>) {
  return (CheckField<M, X>::ok && ... &&
          CheckFieldCount<M, count_trees(MembersOf<M>{}), sizeof...(X)>::ok);
}
template <class M>
constexpr bool checked_fields = check_fields<M>(std::type_identity<decltype(M::fields())>{});

template <std::size_t I, class F, class Name, class... X>
void walk_tuple_part(F& f, FieldKind kind, const Name& name, X&... x);

// The name of a part while a tree is walked: none where none is asked for, which compiles to
// nothing.
struct NoName {
  NoName operator/(std::string_view) const { return {}; }
  NoName operator/(std::size_t) const { return {}; }
  std::string text() const { return {}; }
};
struct PartName {
  std::string name;
  PartName operator/(std::string_view part) const { return {join_name(name, part)}; }
  PartName operator/(std::size_t part) const { return {join_name(name, std::to_string(part))}; }
  const std::string& text() const { return name; }
};
[[noreturn, gnu::cold]] inline void fail_structure(const std::string& name, const char* what) {
  fail("tree", "two trees differ in structure: \"" + name + "\" " + what);
}

// Walks one tree, or several of one structure in step; f(kind, name, var, other_vars...).
template <class F, class Name, class X, class... Rest>
void walk(F& f, FieldKind kind, const Name& name, X& x, Rest&... rest) {
  using Plain = std::remove_cvref_t<X>;
  if constexpr (is_var<Plain>) {
    f(kind, name, x, rest...);
  } else if constexpr (HasFields<Plain>) {
    if constexpr (checked_fields<Plain>) {
      const auto visit = [&](const auto& part) {
        detail::walk(f, kind == FieldKind::constant ? kind : part.kind,
                     name / std::string_view(part.name), x.*part.member, rest.*part.member...);
      };
      std::apply([&](const auto&... part) { (visit(part), ...); }, Plain::fields());
    }
  } else if constexpr (is_sequence<Plain>) {
    if (((rest.size() != x.size()) || ...)) {
      fail_structure(name.text(), "has another number of parts in one of them");
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      detail::walk(f, kind, name / i, x[i], rest[i]...);
    }
  } else if constexpr (is_optional<Plain>) {
    if (((rest.has_value() != x.has_value()) || ...)) {
      fail_structure(name.text(), "is set in one of them only");
    }
    if (x) detail::walk(f, kind, name, *x, *rest...);
  } else {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (walk_tuple_part<I>(f, kind, name, x, rest...), ...);
    }
    (std::make_index_sequence<std::tuple_size_v<Plain>>{});
  }
}
template <std::size_t I, class F, class Name, class... X>
void walk_tuple_part(F& f, FieldKind kind, const Name& name, X&... x) {
  detail::walk(f, kind, name / I, std::get<I>(x)...);
}

}  // namespace detail

// f(p, q...) for each parameter of the trees, in the order of their fields.
template <class F, Tree X, class... Rest>
void tree_for_each(F&& f, X& x, Rest&... rest) {
  auto parameter = [&](FieldKind kind, const detail::NoName&, auto&... p) {
    if (kind == FieldKind::parameter) f(p...);
  };
  detail::walk(parameter, FieldKind::parameter, detail::NoName{}, x, rest...);
}
// A copy of the first tree in which each parameter p is f(p, q...).
template <class F, Tree X, class... Rest>
[[nodiscard]] X tree_map(F&& f, const X& x, const Rest&... rest) {
  X out = x;
  tree_for_each([&](auto& o, const auto&... p) { o = f(p...); }, out, x, rest...);
  return out;
}
// f(name, p): parameters only.
template <class F, Tree X>
void for_each_named(X& x, F&& f) {
  auto parameter = [&](FieldKind kind, const detail::PartName& name, auto& p) {
    if (kind == FieldKind::parameter) f(name.name, p);
  };
  detail::walk(parameter, FieldKind::parameter, detail::PartName{}, x);
}
// f(name, p): parameters and constants, as in a saved model.
template <class F, Tree X>
void for_each_state(X& x, F&& f) {
  auto all = [&](FieldKind, const detail::PartName& name, auto& p) { f(name.name, p); };
  detail::walk(all, FieldKind::parameter, detail::PartName{}, x);
}

// A tree of the same structure with zeros.
template <Tree X>
[[nodiscard]] X zeros_like(const X& x) {
  return tree_map(
      [](const auto& p) {
        using T = typename std::remove_cvref_t<decltype(p)>::value_type;
        return zeros<T>(p.shape());
      },
      x);
}
// a + b, parameter by parameter: sums over examples, batches, threads.
template <Tree X>
[[nodiscard]] X tree_add(const X& a, const X& b) {
  return tree_map([](const auto& p, const auto& q) { return p + q; }, a, b);
}
template <Tree X>
[[nodiscard]] X tree_scale(const X& a, double factor) {
  return tree_map([&](const auto& p) { return p * factor; }, a);
}
// Σ a·b over all parameters, in the element type of the first.
template <FloatOrDouble T, Tree X>
[[nodiscard]] Var<T> tree_dot(const X& a, const X& b) {
  Var<T> total(0);
  tree_for_each([&](const auto& p, const auto& q) { total = total + cast<T>(sum(p * q)); }, a, b);
  return total;
}
// The number of elements of all parameters.
template <Tree X>
[[nodiscard]] Size parameter_count(const X& x) {
  Size n = 0;
  tree_for_each([&](const auto& p) { n += p.size(); }, x);
  return n;
}

}  // namespace unroll
