// The one header that includes xtensor, 0.24 to 0.27 (0.26 moved the files into folders).
//
//   #include "unroll/autograd/xtensor_headers.hpp"
//   unroll::Dense<double> a = xt::ones<double>({3, 4});
//
// It also repairs a silent fault: up to 0.25 the trait xt::detail::xtype_for_shape tests for
// exactly C++17, so g++ in C++20 takes the dynamic shape svector<size_t, 4> for a static one of
// rank 4. Then xt::eval(a + b) of xarrays is an xtensor<T, 4>, and immediate reductions crash.
//
// Invariant: an evaluated expression of xarrays is an xarray; static_asserts at the end hold it.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/core/xexpression_traits.hpp>
#include <xtensor/core/xtensor_config.hpp>
#include <xtensor/core/xtensor_forward.hpp>
#else
#include <xtensor/xexpression_traits.hpp>
#include <xtensor/xtensor_config.hpp>
#include <xtensor/xtensor_forward.hpp>
#endif

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#if XTENSOR_VERSION_MAJOR == 0 && XTENSOR_VERSION_MINOR < 26
// Full specialisations win over the wrong partial one and say what the primary template says, so
// they change nothing for the compilers that were right. They stand before the first header that
// could use the trait.
namespace xt::detail {
template <>
struct xtype_for_shape<svector<std::size_t, 4, std::allocator<std::size_t>, true>> {
  template <class T, layout_type L>
  using type = xarray<T, L>;
};
template <>
struct xtype_for_shape<svector<std::ptrdiff_t, 4, std::allocator<std::ptrdiff_t>, true>> {
  template <class T, layout_type L>
  using type = xarray<T, L>;
};
}  // namespace xt::detail
#endif

#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/containers/xtensor.hpp>
#include <xtensor/core/xeval.hpp>
#include <xtensor/core/xmath.hpp>
#include <xtensor/core/xnoalias.hpp>
#include <xtensor/generators/xbuilder.hpp>
#include <xtensor/misc/xmanipulation.hpp>
#include <xtensor/views/xstrided_view.hpp>
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xbuilder.hpp>
#include <xtensor/xeval.hpp>
#include <xtensor/xmanipulation.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xnoalias.hpp>
#include <xtensor/xstrided_view.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>
#endif

namespace unroll {

/// The array that crosses the project's borders. Its allocator is named, so that its type (and with
/// it every symbol it appears in) is the same with and without XTENSOR_USE_XSIMD and at every
/// instruction level.
template <class T>
using Dense = xt::xarray<T, xt::layout_type::row_major, std::allocator<T>>;

namespace detail {
template <class Array>
using Evaluated =
    std::decay_t<decltype(xt::eval(std::declval<const Array&>() + std::declval<const Array&>()))>;

static_assert(
    std::is_same_v<Evaluated<xt::xarray<float>>, xt::xarray<float>>,
    "xt::eval(a + b) of xarrays is not an xarray: a version of xtensor that needs a new cure");
static_assert(
    std::is_same_v<Evaluated<Dense<double>>, xt::xarray<double>>,
    "xt::eval(a + b) of Dense arrays is not an xarray: a version of xtensor that needs a new cure");
}  // namespace detail
}  // namespace unroll
