#include "unroll/autograd/xtensor_headers.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <type_traits>

using unroll::Dense;

namespace {

template <class Array>
void check_evaluation_and_sums() {
  using T = typename Array::value_type;
  Array a = xt::reshape_view(xt::arange<T>(1, 7), {1, 3, 2});  // [[[1, 2], [3, 4], [5, 6]]]
  Array b = xt::reshape_view(xt::arange<T>(10, 40, 10), {1, 3, 1});
  Array expected_sum = xt::reshape_view(Array{T(11), T(12), T(23), T(24), T(35), T(36)}, {1, 3, 2});

  auto sum = xt::eval(a + b);
  static_assert(std::is_same_v<std::decay_t<decltype(sum)>, xt::xarray<T>>);
  REQUIRE(sum.dimension() == 3);
  CHECK(sum == expected_sum);

  Array over_rows = xt::sum(a, {1}, xt::evaluation_strategy::immediate);
  REQUIRE(over_rows.dimension() == 2);
  CHECK(over_rows == Array{{T(9), T(12)}});

  Array kept = xt::sum(a, {2}, xt::evaluation_strategy::immediate | xt::keep_dims);
  CHECK(kept == Array(xt::reshape_view(Array{T(3), T(7), T(11)}, {1, 3, 1})));

  Array lazy = xt::sum(a * a, {0, 2});
  CHECK(lazy == Array{T(5), T(25), T(61)});
}

}  // namespace

TEST_CASE(
    "xt::eval and immediate sums of dynamic arrays give arrays of the right rank and values") {
  check_evaluation_and_sums<xt::xarray<float>>();
  check_evaluation_and_sums<xt::xarray<double>>();
  check_evaluation_and_sums<Dense<float>>();
  check_evaluation_and_sums<Dense<double>>();
}

TEST_CASE("immediate reductions work for every rank from 1 to 6") {
  for (std::size_t rank = 1; rank <= 6; ++rank) {
    Dense<double> a = xt::ones<double>(typename Dense<double>::shape_type(rank, 2));
    Dense<double> s = xt::sum(a, {0}, xt::evaluation_strategy::immediate);
    REQUIRE(s.dimension() == rank - 1);
    CHECK(xt::all(xt::equal(s, 2.0)));
  }
}

TEST_CASE("Dense has the standard allocator whatever xtensor's default is") {
  static_assert(std::is_same_v<Dense<float>::storage_type::allocator_type, std::allocator<float>>);
  static_assert(Dense<float>::static_layout == xt::layout_type::row_major);
  Dense<float> a = xt::zeros<float>({2, 3});
  CHECK(a.strides()[0] == 3);
}
