// The table of all ops: how each is called, what it computes, and samples on which its derivatives are checked.
//
//   for (const OpEntry& op : op_table())
//     for (const OpSample& s : op.samples) { auto y = s.f(s.inputs<double>()); ... }
//
// One table serves three ends: the sweep checks every sample to second order, docs/ops.md is printed from it, and the
// headers are compared with it, so that an op without a sample is noticed. An op is added here when it is added there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "unroll/autograd/autograd.hpp"

namespace unroll::testing {

template <class T>
using Vars = std::vector<Var<T>>;

// The interval that an input's elements are spread over.
struct Domain {
  double low = -1.5, high = 1.5;
};

enum class OpKind {
  elementwise,         // declared by f and d
  linear,              // declared by f and adjoint
  general,             // declared by f and vjp
  composite,           // made of other ops
  maker,               // makes a constant from shapes and integers
  not_differentiable,  // its result is never tracked
};

struct OpSample {
  std::string label;
  std::vector<Shape> shapes;
  std::vector<Domain> domains;  // of each input; the last stands for all that follow
  std::function<Vars<double>(const Vars<double>&)> f;
  std::function<Vars<float>(const Vars<float>&)> single;

  // Elements that differ from each other and from 0, in no particular order.
  template <class T>
  [[nodiscard]] Var<T> input(std::size_t i) const {
    constexpr std::array<double, 4> offsets{0.37, 0.63, 0.25, 0.75};
    const Domain d = domains.empty() ? Domain{} : domains[std::min(i, domains.size() - 1)];
    const Size n = shapes[i].size();
    const Size stride = n % 7 == 0 ? 11 : 7;  // no common divisor with n
    std::vector<T> values(static_cast<std::size_t>(n));
    for (Size k = 0; k < n; ++k) {
      const double at =
          (static_cast<double>((k * stride + 3) % n) + offsets[i % 4]) / static_cast<double>(n);
      values[static_cast<std::size_t>(k)] = static_cast<T>(d.low + (d.high - d.low) * at);
    }
    return Var<T>(shapes[i], std::span<const T>(values));
  }
  template <class T>
  [[nodiscard]] Vars<T> inputs() const {
    Vars<T> x;
    for (std::size_t i = 0; i < shapes.size(); ++i) x.push_back(input<T>(i));
    return x;
  }
};

struct OpEntry {
  std::string group, name, call, formula, notes;
  OpKind kind;
  std::vector<OpSample> samples;
};

// All ops, in the order of the reference.
const std::vector<OpEntry>& op_table();
// Its parts, one per file.
void add_elementwise_ops(std::vector<OpEntry>& table);
void add_array_ops(std::vector<OpEntry>& table);
void add_structure_ops(std::vector<OpEntry>& table);

// ---- for writing entries ----

template <class T>
Vars<T> as_vars(Var<T> v) {
  return {std::move(v)};
}
template <class T>
Vars<T> as_vars(Vars<T> v) {
  return v;
}
template <class T, std::size_t N>
Vars<T> as_vars(const std::array<Var<T>, N>& v) {
  return {v.begin(), v.end()};
}
template <class T, class... Rest>
Vars<T> as_vars(const std::tuple<Var<T>, Rest...>& v) {
  return std::apply([](const auto&... part) { return Vars<T>{part...}; }, v);
}

// f takes x: a vector of Vars.
template <class F>
OpSample sample(std::vector<Shape> shapes, F f, std::vector<Domain> domains = {},
                std::string label = {}) {
  for (const Shape& s : shapes) label += (label.empty() ? "" : " ") + to_string(s);
  return {std::move(label), std::move(shapes), std::move(domains),
          [f](const Vars<double>& x) { return as_vars(f(x)); },
          [f](const Vars<float>& x) { return as_vars(f(x)); }};
}
// The same f over several lists of shapes.
template <class F>
std::vector<OpSample> samples(const std::vector<std::vector<Shape>>& shapes, F f,
                              const std::vector<Domain>& domains = {},
                              const std::string& label = {}) {
  std::vector<OpSample> out;
  for (const auto& s : shapes) out.push_back(sample(s, f, domains, label));
  return out;
}
inline std::vector<OpSample> all_of(std::initializer_list<std::vector<OpSample>> lists) {
  std::vector<OpSample> out;
  for (const auto& list : lists) out.insert(out.end(), list.begin(), list.end());
  return out;
}

// The element type of a vector of Vars, in a generic lambda.
template <class X>
using element_of = typename std::remove_cvref_t<X>::value_type::value_type;

}  // namespace unroll::testing
