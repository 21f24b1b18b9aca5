#include "unroll/autograd/xtensor.hpp"

#include <doctest/doctest.h>

#include <sstream>

#include "unroll/autograd/autograd.hpp"

#if __has_include(<xtensor/io/xio.hpp>)
#include <xtensor/io/xio.hpp>
#else
#include <xtensor/xio.hpp>
#endif

using namespace unroll;

namespace {

using Array = xt::xarray<double>;
using Fixed = xt::xtensor<double, 2>;
using Columns = xt::xarray<double, xt::layout_type::column_major>;
using View = decltype(xt::view(std::declval<Array&>(), 0, xt::all()));
using Lazy = decltype(std::declval<Array&>() * 2.0 + 1.0);
using Reduced = decltype(xt::sum(std::declval<Array&>(), {0}));
using Value = decltype(std::declval<Var<double>>().value());

// ---- the types, for every kind of expression, both orders and all value categories --------------

template <class V, class A, class B>
constexpr bool all_operators_give() {
  return std::is_same_v<decltype(std::declval<A>() + std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() - std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() * std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() / std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() < std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() <= std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() > std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() >= std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() == std::declval<B>()), V> &&
         std::is_same_v<decltype(std::declval<A>() != std::declval<B>()), V> &&
         std::is_same_v<decltype(pow(std::declval<A>(), std::declval<B>())), V> &&
         std::is_same_v<decltype(minimum(std::declval<A>(), std::declval<B>())), V> &&
         std::is_same_v<decltype(maximum(std::declval<A>(), std::declval<B>())), V> &&
         std::is_same_v<decltype(where(std::declval<A>(), std::declval<B>(), std::declval<B>())),
                        V> &&
         std::is_same_v<decltype(where(std::declval<A>(), std::declval<A>(), std::declval<B>())),
                        V> &&
         std::is_same_v<decltype(where(std::declval<A>(), std::declval<B>(), 1.0)), V> &&
         std::is_same_v<decltype(clamp(std::declval<A>(), std::declval<B>(), 1.0)), V>;
}
template <class V, class E>
constexpr bool both_orders() {
  return all_operators_give<V, V&, E>() && all_operators_give<V, const V&, E>() &&
         all_operators_give<V, V, E>() && all_operators_give<V, E, V&>() &&
         all_operators_give<V, E, const V&>() && all_operators_give<V, E, V>();
}
template <class E>
constexpr bool recorded() {
  using V = Var<double>;
  return both_orders<V, E&>() && both_orders<V, const E&>() && both_orders<V, E>() &&
         both_orders<V, const E>();
}
static_assert(recorded<Array>());
static_assert(recorded<Fixed>());
static_assert(recorded<Columns>());
static_assert(recorded<View>());
static_assert(recorded<Lazy>());
static_assert(recorded<Reduced>());
static_assert(recorded<Value>());
static_assert(recorded<xt::xarray<int>>());
static_assert(recorded<xt::xarray<bool>>());
static_assert(recorded<xt::xtensor_fixed<double, xt::xshape<2, 3>>>());
static_assert(both_orders<Var<float>, xt::xarray<float>&>());
static_assert(both_orders<Var<float>, xt::xtensor<float, 1>>());

// xtensor's functions that this library has not stay away too, rather than hide the Var in a lazy
// expression.
template <class A, class B>
concept HasHypot = requires(A a, B b) {
  xt::hypot(a, b);
};
template <class A, class B>
concept HasMaximum = requires(A a, B b) {
  xt::maximum(a, b);
};
template <class A, class B>
concept HasModulus = requires(A a, B b) {
  a % b;
};
static_assert(HasHypot<Array, double> && HasHypot<Array, Lazy>);
static_assert(!HasHypot<Array, Var<double>> && !HasHypot<Var<double>, Array>);
static_assert(HasMaximum<Array, int>);
static_assert(!HasMaximum<Array, Var<double>> && !HasMaximum<Var<double>, Lazy>);
static_assert(!HasModulus<Array, Var<double>>);

// Among themselves the expressions are xtensor's, as ever.
static_assert(xt::is_xexpression<decltype(std::declval<Array&>() + std::declval<Lazy>())>::value);
static_assert(xt::is_xexpression<decltype(2.0 * std::declval<Value>())>::value);
static_assert(!is_var<decltype(xt::where(std::declval<Array&>() > 0, 1.0, 0.0))>);

Array numbers(std::vector<std::size_t> shape, double first = 1) {
  Array a(shape);
  for (std::size_t i = 0; i < a.size(); ++i) a.flat(i) = first + 0.5 * static_cast<double>(i);
  return a;
}

// The elements in row-major order, by indexing: independent of layouts and of the conversion under
// test.
template <class E>
std::vector<double> elements(const E& e) {
  std::vector<double> out;
  if (e.size() == 0)
    return out;  // xtensor's iterators of an empty container step off a null pointer
  for (auto it = e.template begin<xt::layout_type::row_major>();
       it != e.template end<xt::layout_type::row_major>(); ++it) {
    out.push_back(static_cast<double>(*it));
  }
  return out;
}
template <class E>
void check_conversion(const E& e) {
  const Var<double> v = e;
  CHECK(v.shape() == Shape(e.shape().begin(), e.shape().end()));
  CHECK(v.to_vector() == elements(e));
  CHECK(!v.is_tracked());
}

}  // namespace

TEST_CASE(
    "any xtensor expression becomes a Var with its shape and its elements in row-major order") {
  Array a = numbers({2, 3, 4});
  check_conversion(a);
  check_conversion(Array(2.5));
  check_conversion(xt::xtensor<double, 3>(a));
  check_conversion(xt::xtensor_fixed<double, xt::xshape<2, 2>>{{1, 2}, {3, 4}});
  check_conversion(2.0 * a + xt::ones<double>({3, 1}));
  check_conversion(xt::view(a, 1));
  check_conversion(xt::view(a, xt::all(), 1, xt::range(3, 0, -1)));
  check_conversion(xt::view(a, xt::all(), xt::newaxis(), xt::range(0, 3, 2)));
  check_conversion(xt::strided_view(a, {xt::ellipsis(), 2}));
  check_conversion(xt::transpose(a));
  check_conversion(xt::sum(a, {0, 2}));
  check_conversion(xt::sum(a));
  check_conversion(xt::broadcast(xt::view(a, 0, 0), {5, 4}));
  check_conversion(xt::arange<double>(7));
  check_conversion(xt::flip(a, 1));
  check_conversion(xt::concatenate(xt::xtuple(a, a), 1));
  check_conversion(xt::stack(xt::xtuple(a, a + 1), 2));
  check_conversion(xt::where(a > 3, a, -a));
}

TEST_CASE("column-major and dynamic layouts give the same Var as row-major ones") {
  const Array a = numbers({3, 4, 2});
  check_conversion(Columns(a));
  check_conversion(xt::xtensor<double, 3, xt::layout_type::column_major>(a));
  xt::xarray<double, xt::layout_type::dynamic> d(std::vector<std::size_t>{3, 4, 2},
                                                 xt::layout_type::column_major);
  xt::noalias(d) = a;
  check_conversion(d);
  check_conversion(Columns(a) * 2 + a);
  check_conversion(xt::view(Columns(a), 1));
  CHECK(Var<double>(Columns(a)).to_vector() == Var<double>(a).to_vector());
  std::vector<double> memory{1, 2, 3, 4, 5, 6};
  const std::vector<std::size_t> shape{2, 3};
  CHECK(Var<double>(xt::adapt<xt::layout_type::column_major>(memory, shape)).to_vector() ==
        std::vector<double>{1, 3, 5, 2, 4, 6});
  CHECK(Var<double>(xt::adapt(memory, shape)).to_vector() == memory);
}

TEST_CASE("arrays without elements keep their shapes") {
  check_conversion(xt::zeros<double>({0}));
  check_conversion(Array(std::vector<std::size_t>{2, 0, 3}));
  check_conversion(xt::view(numbers({4, 2}), xt::range(2, 2)));
  check_conversion(Array(std::vector<std::size_t>{0, 3}) * 2);
  CHECK(Var<double>(Array(std::vector<std::size_t>{0, 3})).value().shape(1) == 3);
}

TEST_CASE("integers and bools become numbers; float and double are converted when asked") {
  check_conversion(xt::xarray<int>{{1, -2}, {3, 4}});
  check_conversion(xt::xarray<std::uint8_t>{0, 255});
  check_conversion(xt::xarray<bool>{true, false});
  check_conversion(numbers({3}) > 1.2);
  const Var<float> narrow = xt::cast<float>(numbers({3}));
  CHECK(narrow.to_vector() == std::vector<float>{1, 1.5F, 2});
  const Var<float> counted = xt::xarray<int>{1, 2};
  CHECK(counted.to_vector() == std::vector<float>{1, 2});
  const Var<double> wide = xt::cast<double>(xt::xarray<float>{0.5F});
  CHECK(wide.to_vector() == std::vector<double>{0.5});
}

TEST_CASE("integral expressions become Indices and come back") {
  const Indices labels = xt::xarray<int>{{1, 2, 3}, {4, 5, 6}};
  CHECK(labels.shape() == Shape{2, 3});
  CHECK(labels(4) == 5);
  const Indices sum = labels.value() + xt::xarray<std::int64_t>{10, 20, 30};
  CHECK(sum(5) == 36);
  CHECK(Indices(xt::transpose(labels.value()))(1) == 4);
  CHECK(xt::sum(labels.value())() == 21);
  CHECK(take(Var<double>(numbers({4, 2})), Indices(xt::xarray<std::size_t>{3, 0})).to_vector() ==
        std::vector<double>{4, 4.5, 1, 1.5});
}

TEST_CASE("value() is an xtensor expression: arithmetic, views, sums, eval, printing") {
  const Array a = numbers({2, 3});
  const Var<double> v = a;
  CHECK(v.value() == a);
  CHECK(v.value().dimension() == 2);
  CHECK(xt::eval(v.value() * 2 + a) == 3 * a);
  CHECK(xt::sum(v.value())() == xt::sum(a)());
  CHECK(Array(xt::sum(v.value(), {0})) == Array(xt::sum(a, {0})));
  CHECK(Array(xt::view(v.value(), 1, xt::range(1, 3))) == Array(xt::view(a, 1, xt::range(1, 3))));
  CHECK(v.value()(1, 2) == a(1, 2));
  CHECK(xt::allclose(xt::exp(v.value()), xt::exp(a)));
  Array copy = v.value();
  CHECK(copy == a);
  copy(0, 0) = 99;
  CHECK(v.value()(0, 0) == 1);
  std::ostringstream printed, expected;
  printed << v.value();
  expected << a;
  CHECK(printed.str() == expected.str());
  const Var<double> again = v.value() + 1;
  CHECK(again.to_vector() == elements(a + 1));
  CHECK(Var<double>(3.5).value()() == 3.5);
}

TEST_CASE("value() shows views as they are: transposes, slices, broadcasts") {
  const Array a = numbers({2, 3});
  const Var<double> v = a;
  CHECK(transpose(v).value() == xt::transpose(a));
  CHECK(slice(v, 1, {0, 3, 2}).value() == xt::view(a, xt::all(), xt::range(0, 3, 2)));
  CHECK(flip(v, 0).value() == xt::flip(a, 0));
  CHECK(broadcast_to(index(v, 0, 1), {4, 3}).value() == xt::broadcast(xt::view(a, 1), {4, 3}));
}

TEST_CASE("value() keeps its elements alive after the Var, its tape and its transform are gone") {
  auto kept = Var<double>(numbers({100, 100})).value();
  auto scratch = Var<double>(xt::zeros<double>({100, 100})).value();
  CHECK(kept == numbers({100, 100}));
  CHECK(xt::sum(scratch)() == 0);
  kept = scratch;
  CHECK(xt::sum(kept)() == 0);

  auto seen = Var<double>(0).value();
  {
    Tape<double> tape;
    const Var<double> x = tape.leaf(numbers({5}));
    seen = (x * x).value();
  }
  CHECK(seen == numbers({5}) * numbers({5}));
  (void)value_and_grad(
      [&](const Var<double>& x) {
        seen = exp(x).value();
        return sum(exp(x));
      },
      numbers({5}));
  CHECK(xt::allclose(seen, xt::exp(numbers({5})), 1e-14));
}

TEST_CASE("a gradient flows through every operator of a Var and an expression, in both orders") {
  const Array x0 = numbers({2, 3});
  Array a = numbers({2, 3}, 0.75);
  const auto gradient = [&](auto f) {
    return value_and_grad([&](const Var<double>& x) { return sum(f(x)); }, x0).gradient.value();
  };
  const Array one = xt::ones<double>({2, 3});
  CHECK(gradient([&](const Var<double>& x) { return x + a; }) == one);
  CHECK(gradient([&](const Var<double>& x) { return a + x; }) == one);
  CHECK(gradient([&](const Var<double>& x) { return x - a; }) == one);
  CHECK(gradient([&](const Var<double>& x) { return a - x; }) == -one);
  CHECK(gradient([&](const Var<double>& x) { return x * a; }) == a);
  CHECK(gradient([&](const Var<double>& x) { return a * x; }) == a);
  CHECK(gradient([&](const Var<double>& x) { return x * (2 * a + 1); }) == 2 * a + 1);
  CHECK(gradient([&](const Var<double>& x) { return xt::view(a, 1) * x; }) == xt::view(a, 1) * one);
  CHECK(gradient([&](const Var<double>& x) { return x * Columns(a); }) == a);
  CHECK(xt::allclose(gradient([&](const Var<double>& x) { return x / a; }), 1 / a, 1e-14));
  CHECK(xt::allclose(gradient([&](const Var<double>& x) { return a / x; }), -a / (x0 * x0), 1e-14));
  CHECK(xt::allclose(gradient([&](const Var<double>& x) { return pow(x, a); }),
                     a * xt::pow(x0, a - 1), 1e-13));
  CHECK(xt::allclose(gradient([&](const Var<double>& x) { return pow(a, x); }),
                     xt::pow(a, x0) * xt::log(a), 1e-13));
  const Array limit = {{1.2, 1.2, 1.2}, {9, 9, 9}};
  const Array above = xt::cast<double>(x0 > limit);
  CHECK(gradient([&](const Var<double>& x) { return maximum(x, limit); }) == above);
  CHECK(gradient([&](const Var<double>& x) { return maximum(limit, x); }) == above);
  CHECK(gradient([&](const Var<double>& x) { return minimum(limit, x); }) == one - above);
  CHECK(gradient([&](const Var<double>& x) { return minimum(x, limit); }) == one - above);
  CHECK(gradient([&](const Var<double>& x) { return where(x0 > limit, x, a); }) == above);
  CHECK(gradient([&](const Var<double>& x) { return where(x0 > limit, 0, x); }) == one - above);
  CHECK(gradient([&](const Var<double>& x) { return where(x > limit, a, x * 2); }) ==
        2 * (one - above));
  CHECK(gradient([&](const Var<double>& x) { return clamp(x, limit, limit + 1); }) ==
        xt::cast<double>(x0 > limit && x0 < limit + 1));
}

TEST_CASE("comparisons of a Var and an expression are numbers, element by element") {
  const Array a = {1, 2, 3};
  const Var<double> x = Array{2, 2, 2};
  using Expected = std::vector<double>;
  CHECK((x < a).to_vector() == Expected{0, 0, 1});
  CHECK((a < x).to_vector() == Expected{1, 0, 0});
  CHECK((x <= a).to_vector() == Expected{0, 1, 1});
  CHECK((a > x).to_vector() == Expected{0, 0, 1});
  CHECK((x >= a).to_vector() == Expected{1, 1, 0});
  CHECK((x == a).to_vector() == Expected{0, 1, 0});
  CHECK((a == x).to_vector() == Expected{0, 1, 0});
  CHECK((x != a).to_vector() == Expected{1, 0, 1});
  CHECK((a != x).to_vector() == Expected{1, 0, 1});
}

TEST_CASE("compound assignment with an expression records") {
  const Array a = numbers({3}, 2), x0 = numbers({3});
  const auto [value, gradient] = value_and_grad(
      [&](const Var<double>& x) {
        Var<double> y = x;
        y += a;
        y *= 2 * a;
        y -= xt::view(a, 0);
        y /= a;
        return sum(y);
      },
      x0);
  CHECK(value.item() == doctest::Approx(xt::sum((2 * a * (x0 + a) - a(0)) / a)()).epsilon(1e-14));
  CHECK(xt::allclose(gradient.value(), 2 * xt::ones<double>({3}), 1e-14));
}

TEST_CASE("products and fused functions take expressions beside Vars") {
  const Array W = numbers({2, 3}), x = numbers({4, 3}), b = {0.5, -0.5};
  const Var<double> w = W;
  const Array expected = Var<double>(linear(Var<double>(x), w, Var<double>(b))).value();
  CHECK(linear(x, w, b).value() == expected);
  CHECK((linear(x, w) + b).value() == expected);
  CHECK((matmul(x, transpose(w)) + b).value() == expected);
  CHECK(matmul(xt::transpose(x), Var<double>(x)).shape() == Shape{3, 3});
  CHECK(dot(w, W).item() == doctest::Approx(xt::sum(W * W)()).epsilon(1e-14));
  CHECK(outer(Var<double>(b), b).value()(0, 1) == -0.25);
  const Var<double> f = fuse([](auto p, auto q) { return p * tanh(q); }, w, W);
  CHECK(xt::allclose(f.value(), W * xt::tanh(W), 1e-14));
  const auto g =
      value_and_grad([&](const Var<double>& v) { return sum(linear(x, v)); }, W).gradient;
  CHECK(xt::allclose(g.value(), xt::broadcast(xt::sum(x, {0}), {2, 3}), 1e-14));
}

TEST_CASE("transforms take xtensor arrays as arguments") {
  const Array x0 = numbers({3});
  const auto f = [](const Var<double>& x) { return sum(x * x * x); };
  CHECK(xt::allclose(grad(f)(x0).value(), 3 * x0 * x0, 1e-14));
  CHECK(xt::allclose(hessian(f, x0).value(), xt::diag(Array(6 * x0)), 1e-13));
  CHECK(jvp(f, x0, Array{1, 0, 0}).tangent.item() == doctest::Approx(3.0).epsilon(1e-14));
  CHECK(grad([](const Var<float>& x) { return sum(x * x); })(xt::xarray<float>{3}).item() == 6.0F);
}

TEST_CASE("an expression of a wrong shape is refused by the operation, with both shapes") {
  const Var<double> v = numbers({2, 3});
  CHECK_THROWS_WITH_AS((void)(v + numbers({4})), doctest::Contains("[2, 3] and [4]"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)(numbers({4}) * v), doctest::Contains("[4] and [2, 3]"),
                       std::invalid_argument);
  CHECK_THROWS_AS(Var<double>(Array(std::vector<std::size_t>(9, 1))), std::invalid_argument);
}
