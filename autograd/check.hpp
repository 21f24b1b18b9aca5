// Are the derivatives of a function right? For users' ops, cells and losses, and for the library's own.
//
//   check_grads([](const Var<double>& x) { return sum(tanh(x) * x); }, x);            // throws GradientError if not
//   check_grads([](const auto& a, const auto& b) { return matmul(a, b); }, std::tuple{a, b});
//   check_grads([&](const Net& net) { return loss(net, batch); }, net, {.order = 1});
//   CheckReport r = gradient_report(f, x);                                            // the same, without throwing
//
// f maps a tree (a Var, a model, vectors, tuples, ... of these; a tuple is also unpacked into several arguments) to a Var
// or a tree. Checked are, at x: the vjp against five-point central differences, element by element; that vjp and jvp are
// adjoint, <u, J t> = <Jᵀu, t>; and, at order 2, the same for the function (x, u) -> Jᵀu. Two numbers a and b agree when
// |a - b| / max(1, |a|, |b|) is within the tolerance. Invariant: directions are functions of `seed` alone, so a check
// gives the same answer each time. Where the differences do not agree they are taken again with other steps, from 1/4096 to
// 8 times the first: one that agrees will do, and if no two of them agree the message says so instead of blaming a rule.
#pragma once

#include <functional>

#include "unroll/autograd/transforms.hpp"

namespace unroll {

/// A derivative is wrong. The message names the input, the element, both numbers and the check.
class GradientError : public Error {
 public:
  using Error::Error;
};

/// Zero means: chosen by the element type. With any float among inputs or results the defaults are the looser ones.
struct CheckOptions {
  int order = 2;                 // 1, or 2
  double tolerance = 0;          // of the differences: 1e-8, float 5e-3
  double second_tolerance = 0;   // of the differences at order 2: 1e-6, float 2e-2
  double adjoint_tolerance = 0;  // of the adjoint identity: 1e-12, float 1e-4
  double step = 0;               // of the first differences, times max(1, |x|): 2^-10, float 2^-5
  Size elements_of_each_input = 400;  // larger inputs are sampled
  std::uint64_t seed = 1;
};

struct CheckReport {
  bool ok = true;
  std::string message;  // of the first failure
  // The largest scaled errors seen, by order.
  std::array<double, 2> difference_error{}, adjoint_error{};
};

namespace detail {

// The numbers of a tree one after the other, with the names of its parts.
struct FlatInput {
  std::string name;
  Shape shape;
};
struct FlatFunction {
  std::vector<FlatInput> inputs;
  std::vector<double> x;
  Size outputs = 0;
  bool single = false;  // float somewhere
  std::function<std::vector<double>(const std::vector<double>& x)> value;
  std::function<std::vector<double>(const std::vector<double>& u)> vjp;  // at x
  std::function<std::vector<double>(const std::vector<double>& t)> jvp;  // at x
};
void check_flat(const FlatFunction& f, const CheckOptions& options, std::size_t order,
                CheckReport& report);
// Numbers in [-1, 1] that depend on seed and stream alone.
std::vector<double> check_direction(std::uint64_t seed, std::uint64_t stream, Size n);

template <class X>
std::vector<double> flatten(const X& tree) {
  std::vector<double> out;
  tree_for_each(
      [&](const auto& v) {
        const auto values = v.to_vector();
        out.insert(out.end(), values.begin(), values.end());
      },
      tree);
  return out;
}
// A tree like `like` with these numbers.
template <class X>
X unflatten(const X& like, const std::vector<double>& values) {
  std::size_t at = 0;
  return tree_map(
      [&](const auto& v) {
        using T = typename std::remove_cvref_t<decltype(v)>::value_type;
        const std::size_t n = static_cast<std::size_t>(v.size());
        const std::vector<T> part(values.begin() + at, values.begin() + at + n);
        at += n;
        return Var<T>(v.shape(), std::span<const T>(part));
      },
      like);
}
template <class X>
bool has_float(const X& tree) {
  bool found = false;
  tree_for_each(
      [&](const auto& v) {
        found =
            found || std::is_same_v<typename std::remove_cvref_t<decltype(v)>::value_type, float>;
      },
      tree);
  return found;
}

template <class F, class X>
inline constexpr bool takes_parts = false;
template <class F, class... X>
inline constexpr bool takes_parts<F, std::tuple<X...>> = std::invocable<const F&, const X&...>;

// f(tree), or f of the parts of a tuple.
template <class F, class X>
auto call_on_tree(const F& f, const X& x) {
  if constexpr (takes_parts<F, X>) {
    return std::apply(f, x);
  } else {
    return f(x);
  }
}

template <class F, class X>
void check_function(const F& f, const X& x, const CheckOptions& options, std::size_t order,
                    CheckReport& report) {
  auto reverse = vjp(f, x);
  FlatFunction flat;
  for_each_named(x, [&](const std::string& name, const auto& v) {
    flat.inputs.push_back({name, v.shape()});
  });
  flat.x = flatten(x);
  flat.outputs = static_cast<Size>(flatten(reverse.value).size());
  flat.single = has_float(x) || has_float(reverse.value);
  flat.value = [&](const std::vector<double>& at) { return flatten(f(unflatten(x, at))); };
  flat.vjp = [&](const std::vector<double>& u) {
    return flatten(reverse.pullback(unflatten(reverse.value, u)));
  };
  flat.jvp = [&](const std::vector<double>& t) {
    return flatten(unroll::jvp(f, x, unflatten(x, t)).tangent);
  };
  check_flat(flat, options, order, report);
}

}  // namespace detail

/// Checks the derivatives of f at x and says what it found.
template <class F, class X>
[[nodiscard]] CheckReport gradient_report(const F& f, const X& x,
                                          const CheckOptions& options = {}) {
  if (options.order != 1 && options.order != 2) {
    fail("check_grads", "order is " + std::to_string(options.order) + "; it can be 1 or 2");
  }
  const auto tree = detail::as_tree(x);
  using Tree = std::remove_cv_t<decltype(tree)>;
  const auto g = [&](const Tree& t) { return detail::call_on_tree(f, t); };
  CheckReport report;
  detail::check_function(g, tree, options, 1, report);
  if (options.order == 1 || !report.ok) return report;
  // The second order is the first of (x, u) -> Jᵀu.
  const auto y = g(tree);
  using Y = std::remove_cv_t<decltype(y)>;
  const Size outputs = static_cast<Size>(detail::flatten(y).size());
  const std::pair<Tree, Y> at{
      tree, detail::unflatten(y, detail::check_direction(options.seed, 17, outputs))};
  const auto pull = [&](const std::pair<Tree, Y>& p) { return vjp(g, p.first).pullback(p.second); };
  detail::check_function(pull, at, options, 2, report);
  return report;
}

/// Checks the derivatives of f at x; throws GradientError when they are wrong.
template <class F, class X>
void check_grads(const F& f, const X& x, const CheckOptions& options = {}) {
  const CheckReport report = gradient_report(f, x, options);
  if (!report.ok) throw GradientError(report.message);
}

}  // namespace unroll
