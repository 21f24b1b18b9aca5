// xtensor arrays in and out: any xtensor expression becomes a Var or Indices, and `v.value()` is an
// xtensor expression.
//
//   xt::xarray<double> x = ...;
//   Var<double> y = tanh(W * x + 2 * xt::ones<double>({3}));   // W is a Var: all is recorded
//   std::cout << xt::sum(y.value(), {0});                      // y's memory stays alive meanwhile
//
// An expression is evaluated straight into the new array's memory, in row-major order whatever its
// own layout; integers and bools become numbers. Invariant: a Var and an xtensor expression in one
// formula mean the recorded operation. Lazy xtensor functions of a Var do not exist, because they
// would drop the recording without a word.
#pragma once

#include <cstring>

#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/xtensor_headers.hpp"

// xtensor's operators and functions take anything beside an expression, as a scalar. Without a type
// for their result they stand back from overload resolution, and the library's own take their
// place.
namespace xt::detail {
template <class F, class... E>
requires(unroll::is_var<std::remove_cvref_t<E>> || ...) struct xfunction_type<F, E...> {
};
}  // namespace xt::detail

namespace unroll::detail {

template <class T, class E>
void check_element_type() {
  using From = typename E::value_type;
  if constexpr (std::is_same_v<T, std::int64_t>) {
    static_assert(std::is_integral_v<From>,
                  "Indices are made from integers: convert with xt::cast<int>(...)");
  } else {
    static_assert(std::is_arithmetic_v<From>, "the elements of this expression are no numbers");
    static_assert(
        std::is_integral_v<From> || std::is_same_v<From, T> || !std::is_arithmetic_v<From>,
        "the expression's element type differs from the Var's (float and double): convert it with "
        "xt::cast<float>(...) or xt::cast<double>(...)");
  }
}

template <class E>
requires xt::is_xexpression<E>::value struct ForeignArray<E> {
  static constexpr bool supported = true;
  using var_type =
      Var<std::conditional_t<std::is_same_v<typename E::value_type, float>, float, double>>;

  // Do the elements lie in memory as the block wants them?
  template <class T>
  static constexpr bool is_plain() {
    if constexpr (xt::has_data_interface<E>::value && std::is_same_v<typename E::value_type, T>) {
      return E::contiguous_layout && E::static_layout == xt::layout_type::row_major;
    } else {
      return false;
    }
  }

  template <class T>
  static Ref block(const E& expression) {
    check_element_type<T, E>();
    const auto& sizes = expression.shape();
    Ref out = new_block<T>(Shape(sizes.begin(), sizes.end()));
    const std::size_t n = static_cast<std::size_t>(out->size());
    T* p = out->template data<T>();
    if constexpr (is_plain<T>()) {
      if (n != 0) std::memcpy(p, expression.data() + expression.data_offset(), n * sizeof(T));
    } else if (n != 0) {
      const xt::dynamic_shape<std::size_t> shape(sizes.begin(), sizes.end());
      xt::noalias(xt::adapt<xt::layout_type::row_major>(p, n, xt::no_ownership(), shape)) =
          expression;
    }
    return out;
  }
};

// Keeps a block alive inside an xtensor buffer; xtensor recognises an owner by its call operator.
struct BlockOwner {
  Ref block;
  void operator()() const {}
};
template <class T>
using ValueBuffer = xt::xbuffer_adaptor<const T*, xt::no_ownership, BlockOwner>;
template <class T>
using ValueArray = xt::xarray_adaptor<ValueBuffer<T>, xt::layout_type::row_major>;

template <class T>
ValueArray<T> value_array(Ref block) {
  const xt::dynamic_shape<std::size_t> shape(block->sizes(), block->sizes() + block->rank);
  const T* p = block->data<T>();
  const auto n = static_cast<std::size_t>(block->size());
  return ValueArray<T>(ValueBuffer<T>(p, n, BlockOwner{std::move(block)}), shape);
}

template <class T>
struct ArrayView {
  static ValueArray<T> of(const Var<T>& x) {
    return value_array<T>(contiguous(x.handle().block()));
  }
};
template <>
struct ArrayView<std::int64_t> {
  static ValueArray<std::int64_t> of(const Indices& x) {
    return value_array<std::int64_t>(x.block());
  }
};

static_assert(is_var<decltype(std::declval<Var<double>&>() + std::declval<xt::xarray<double>&>())>,
              "Var + xarray is not a Var: a version of xtensor whose operators must be kept away "
              "in another way");

// One of them a Var, the others Vars or xtensor expressions, and not all Vars.
template <class... X>
concept VarsAndForeign = (is_var<X> || ...) && (Foreign<X> || ...) &&
                         ((is_var<X> || Foreign<X>)&&...);

}  // namespace unroll::detail

namespace unroll {

// The products of a Var and an xtensor expression.
template <class A, class B>
requires detail::VarsAndForeign<A, B>
[[nodiscard]] auto matmul(const A& a, const B& b) {
  using T = typename detail::FirstVar<A, B>::type;
  return matmul(detail::as_var<T>(a), detail::as_var<T>(b));
}
template <class A, class B>
requires detail::VarsAndForeign<A, B>
[[nodiscard]] auto linear(const A& x, const B& W) {
  using T = typename detail::FirstVar<A, B>::type;
  return linear(detail::as_var<T>(x), detail::as_var<T>(W));
}
template <class A, class B, class C>
requires detail::VarsAndForeign<A, B, C>
[[nodiscard]] auto linear(const A& x, const B& W, const C& b) {
  using T = typename detail::FirstVar<A, B, C>::type;
  return linear(detail::as_var<T>(x), detail::as_var<T>(W), detail::as_var<T>(b));
}
template <class A, class B>
requires detail::VarsAndForeign<A, B>
[[nodiscard]] auto outer(const A& a, const B& b) {
  using T = typename detail::FirstVar<A, B>::type;
  return outer(detail::as_var<T>(a), detail::as_var<T>(b));
}
template <class A, class B>
requires detail::VarsAndForeign<A, B>
[[nodiscard]] auto dot(const A& a, const B& b) {
  using T = typename detail::FirstVar<A, B>::type;
  return dot(detail::as_var<T>(a), detail::as_var<T>(b));
}

}  // namespace unroll
