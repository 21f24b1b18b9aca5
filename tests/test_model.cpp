#include "unroll/autograd/model.hpp"

#include <doctest/doctest.h>

#include <functional>

#include "unroll/autograd/autograd.hpp"

using namespace unroll;

namespace {

using Numbers = std::vector<double>;

template <class T>
Var<T> vec(std::initializer_list<T> values) {
  return Var<T>({static_cast<Size>(values.size())}, values);
}

struct Affine {
  Var<double> weight, bias;
  static constexpr auto fields() {
    return std::tuple{field("weight", &Affine::weight), field("bias", &Affine::bias)};
  }
  Var<double> operator()(const Var<double>& x) const { return weight * x + bias; }
};

struct Net {
  Affine first;
  std::vector<Affine> layers;
  std::array<Var<double>, 2> pair;
  std::optional<Affine> maybe;
  std::vector<std::optional<std::array<Var<double>, 1>>> nested;
  Var<double> frozen;
  static constexpr auto fields() {
    return std::tuple{field("first", &Net::first),   field("layers", &Net::layers),
                      field("pair", &Net::pair),     field("maybe", &Net::maybe),
                      field("nested", &Net::nested), constant("frozen", &Net::frozen)};
  }
};

// Structs whose members can be counted, or not.
struct Counted {
  Var<double> a;
  double epsilon = 1e-5;
  const char* name;
  std::function<void(Var<float>)> f;
  std::optional<Var<double>> b;
  unsigned bit : 3;
  std::vector<Counted> children;
  static constexpr auto fields() {
    return std::tuple{field("a", &Counted::a), constant("b", &Counted::b),
                      field("children", &Counted::children)};
  }
};
struct WithBase : Affine {
  Var<double> more;
};
struct WithArray {
  Var<double> a, b[3];
};
struct WithReference {
  Var<double> a;
  Var<double>& b;
};
class WithPrivate {
  Var<double> a;
};
struct WithConstructor {
  explicit WithConstructor(int) {}
  Var<double> a;
};

Affine affine(double w, double b) { return {vec<double>({w, w + 1}), vec<double>({b})}; }

Net sample(bool with_optional = true) {
  Net net;
  net.first = affine(1, 2);
  net.layers = {affine(3, 4), affine(5, 6)};
  net.pair = {Var<double>(7), vec<double>({8})};
  if (with_optional) net.maybe = affine(9, 10);
  net.nested.resize(2);
  net.nested[1] = std::array<Var<double>, 1>{Var<double>(11)};
  net.frozen = vec<double>({0.5, 2});
  return net;
}

template <class X>
std::vector<std::string> names(const X& tree) {
  std::vector<std::string> out;
  for_each_named(tree, [&](const std::string& name, const auto&) { out.push_back(name); });
  return out;
}
template <class X>
Numbers flat(const X& tree) {
  Numbers out;
  tree_for_each(
      [&](const auto& p) {
        for (const auto x : p.to_vector()) out.push_back(static_cast<double>(x));
      },
      tree);
  return out;
}

Var<double> loss_of(const Net& net) {
  Var<double> y = net.first(net.frozen);
  for (const Affine& layer : net.layers) y = layer(y);
  if (net.maybe) y = (*net.maybe)(y);
  return sum(y) * net.pair[0];  // pair[1] and nested are not used
}

struct WithConstants {
  Affine trained, statistics;
  static constexpr auto fields() {
    return std::tuple{field("trained", &WithConstants::trained),
                      constant("statistics", &WithConstants::statistics)};
  }
};

struct Mixed {
  Var<float> narrow;
  Var<double> wide;
  static constexpr auto fields() {
    return std::tuple{field("narrow", &Mixed::narrow), field("wide", &Mixed::wide)};
  }
};

// An output layer that shares its weight with the input: one field, two uses.
struct Tied {
  Var<double> embedding, bias;
  static constexpr auto fields() {
    return std::tuple{field("embedding", &Tied::embedding), field("bias", &Tied::bias)};
  }
  Var<double> operator()(const Indices& words) const {
    return linear(take(embedding, words), embedding) + bias;
  }
};

}  // namespace

static_assert(HasFields<Net> && HasFields<Affine> && !HasFields<Var<double>>);
static_assert(Tree<Net> && Tree<std::vector<Net>> && Tree<std::tuple<Net, Var<float>>>);
static_assert(Tree<std::pair<Var<double>, std::optional<Affine>>> && !Tree<int> &&
              !Tree<std::vector<int>>);

TEST_CASE("names are dotted paths; parts of sequences are numbers; constants are no parameters") {
  const Net net = sample();
  CHECK(names(net) == std::vector<std::string>{"first.weight", "first.bias", "layers.0.weight",
                                               "layers.0.bias", "layers.1.weight", "layers.1.bias",
                                               "pair.0", "pair.1", "maybe.weight", "maybe.bias",
                                               "nested.1.0"});
  CHECK(names(sample(false)).size() == 9);
  std::vector<std::string> state;
  for_each_state(net, [&](const std::string& name, const auto&) { state.push_back(name); });
  REQUIRE(state.size() == 12);
  CHECK(state.back() == "frozen");
  CHECK(names(std::tuple{affine(1, 2), Var<double>(3)}) ==
        std::vector<std::string>{"0.weight", "0.bias", "1"});
  CHECK(parameter_count(net) == 2 + 1 + 2 * 3 + 1 + 1 + 3 + 1);
}

TEST_CASE("a constant sub-model is all constant, and is saved with the model") {
  WithConstants model{affine(1, 2), affine(3, 4)};
  CHECK(names(model) == std::vector<std::string>{"trained.weight", "trained.bias"});
  std::vector<std::string> state;
  for_each_state(model, [&](const std::string& name, const auto&) { state.push_back(name); });
  CHECK(state == std::vector<std::string>{"trained.weight", "trained.bias", "statistics.weight",
                                          "statistics.bias"});
}

TEST_CASE(
    "trees are mapped, added, scaled and multiplied parameter by parameter; constants stay the "
    "first's") {
  const Net a = sample();
  const Net twice = tree_scale(a, 2);
  CHECK(flat(twice) == flat(tree_add(a, a)));
  CHECK(flat(twice)[0] == 2);
  CHECK(twice.frozen.to_vector() == a.frozen.to_vector());
  CHECK(twice.layers.size() == 2);
  CHECK(!twice.nested[0].has_value());
  const Net difference =
      tree_map([](const auto& p, const auto& q, const auto& r) { return p - q * r; }, twice, a,
               zeros_like(a));
  CHECK(flat(difference) == flat(twice));
  double square_sum = 0;
  for (const double x : flat(a)) square_sum += x * x;
  CHECK(tree_dot<double>(a, a).item() == doctest::Approx(square_sum).epsilon(1e-15));
  CHECK(tree_dot<double>(a, zeros_like(a)).item() == 0);
  for (const double x : flat(zeros_like(a))) CHECK(x == 0);
}

TEST_CASE("parameters are changed in place by a walk over the model and its gradient") {
  Net net = sample();
  const Net before = net;
  Net gradient = zeros_like(net);
  gradient.first.bias = vec<double>({1});
  tree_for_each([](auto& p, const auto& g) { p = p - 0.5 * g; }, net, gradient);
  CHECK(net.first.bias.item() == before.first.bias.item() - 0.5);
  CHECK(net.first.weight.to_vector() == before.first.weight.to_vector());
}

TEST_CASE(
    "the gradient of a model is a model; what the loss does not use gets zeros of its shape") {
  const Net net = sample();
  const auto [value, gradient] = value_and_grad(loss_of, net);
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(gradient)>, Net>);
  CHECK(value.item() == loss_of(net).item());
  CHECK(!value.is_tracked());

  // Elementwise chains y = w3 (w2 (w1 (w0 f + b0) + b1) + b2) + b3, times pair[0].
  const double f[] = {0.5, 2}, w0[] = {1, 2}, w1[] = {3, 4}, w2[] = {5, 6}, w3[] = {9, 10};
  const double b0 = 2, b1 = 4, b2 = 6, b3 = 10, p = 7;
  double total = 0, d_b0 = 0, d_b3 = 0;
  for (int i = 0; i < 2; ++i) {
    const double y0 = w0[i] * f[i] + b0, y1 = w1[i] * y0 + b1, y2 = w2[i] * y1 + b2;
    total += w3[i] * y2 + b3;
    const auto at = static_cast<std::size_t>(i);
    CHECK(gradient.first.weight.to_vector()[at] ==
          doctest::Approx(p * w3[i] * w2[i] * w1[i] * f[i]).epsilon(1e-14));
    CHECK(gradient.layers[0].weight.to_vector()[at] ==
          doctest::Approx(p * w3[i] * w2[i] * y0).epsilon(1e-14));
    CHECK(gradient.layers[1].weight.to_vector()[at] ==
          doctest::Approx(p * w3[i] * y1).epsilon(1e-14));
    CHECK(gradient.maybe->weight.to_vector()[at] == doctest::Approx(p * y2).epsilon(1e-14));
    d_b0 += p * w3[i] * w2[i] * w1[i];
    d_b3 += p;
  }
  CHECK(gradient.first.bias.item() == doctest::Approx(d_b0).epsilon(1e-14));
  CHECK(gradient.maybe->bias.item() == doctest::Approx(d_b3).epsilon(1e-14));
  CHECK(gradient.pair[0].item() == doctest::Approx(total).epsilon(1e-14));
  CHECK(gradient.pair[1].to_vector() == Numbers{0});
  CHECK(gradient.pair[1].shape() == Shape{1});
  CHECK((*gradient.nested[1])[0].item() == 0);
  CHECK(!gradient.nested[0].has_value());
  CHECK(gradient.frozen.to_vector() == net.frozen.to_vector());  // a constant: untouched
  tree_for_each([](const auto& g) { CHECK(!g.is_tracked()); }, gradient);
}

TEST_CASE("a model without its optional part has a gradient without it") {
  const Net net = sample(false);
  const Net gradient = grad(loss_of)(net);
  CHECK(!gradient.maybe.has_value());
  CHECK(flat(gradient).size() == flat(net).size());
}

TEST_CASE("no gradient flows to constants, and optimiser steps leave them alone") {
  WithConstants model{affine(1, 2), affine(3, 4)};
  const auto loss = [](const WithConstants& m) {
    return sum(m.statistics(m.trained(Var<double>(2))));
  };
  const WithConstants gradient = grad(loss)(model);
  CHECK(gradient.statistics.weight.to_vector() == Numbers{3, 4});
  CHECK(gradient.trained.weight.to_vector() == Numbers{6, 8});
  const WithConstants moved =
      tree_map([](const auto& p, const auto& g) { return p - g; }, model, gradient);
  CHECK(moved.statistics.weight.to_vector() == Numbers{3, 4});
  CHECK(moved.trained.weight.to_vector() == Numbers{-5, -6});
}

TEST_CASE("trees of different structure are refused, and the message says where") {
  const Net a = sample();
  Net longer = a;
  longer.layers.push_back(affine(1, 1));
  CHECK_THROWS_WITH_AS((void)tree_add(a, longer), doctest::Contains("differ in structure"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)tree_add(a, sample(false)),
                       doctest::Contains("set in one of them only"), std::invalid_argument);
  Net other = a;
  other.nested[0] = std::array<Var<double>, 1>{Var<double>(1)};
  CHECK_THROWS_AS((void)tree_dot<double>(a, other), std::invalid_argument);
  Net wider = a;
  wider.first.weight = vec<double>({1, 2, 3});
  CHECK_THROWS_WITH_AS((void)tree_add(a, wider), doctest::Contains("[2] and [3]"),
                       std::invalid_argument);
}

TEST_CASE("an empty parameter is named as such when it is used") {
  const Net empty;
  CHECK_THROWS_WITH_AS((void)value_and_grad(loss_of, empty), doctest::Contains("empty Var"),
                       std::invalid_argument);
}

TEST_CASE("several arguments have a tuple of gradients: models, Vars, numbers, vectors, pairs") {
  const Affine a = affine(1, 2);
  const std::vector<Var<double>> xs{Var<double>(3), vec<double>({4, 5})};
  const auto [value, gradient] = value_and_grad(
      [](const Affine& m, const std::vector<Var<double>>& v, const Var<double>& k,
         const std::pair<Var<double>, Affine>& p) {
        return sum(m.weight * v[0] * k) + sum(v[1]) * p.first + sum(p.second.bias);
      },
      a, xs, 2.0, std::pair{Var<double>(10), affine(6, 7)});
  const auto& [ga, gx, gk, gp] = gradient;
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(ga)>, Affine>);
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(gx)>, std::vector<Var<double>>>);
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(gk)>, Var<double>>);
  CHECK(value.item() == 3 * 3 * 2 + 9 * 10 + 7);
  CHECK(ga.weight.to_vector() == Numbers{6, 6});
  CHECK(ga.bias.to_vector() == Numbers{0});
  CHECK(gx[0].item() == 6);
  CHECK(gx[1].to_vector() == Numbers{10, 10});
  CHECK(gk.item() == 9);
  CHECK(gp.first.item() == 9);
  CHECK(gp.second.bias.to_vector() == Numbers{1});
  CHECK(gp.second.weight.to_vector() == Numbers{0, 0});
}

TEST_CASE("auxiliary results come back as constants that own their data") {
  struct Kept {
    Var<double> one;
    Affine model;
    std::vector<Var<double>> many;
    std::array<Var<double>, 2> two;
    std::optional<Var<double>> some, none;
    std::pair<Var<double>, double> pair;
    std::tuple<Var<float>, std::string, Indices, int> rest;
  } kept;
  const Var<double> x0 = vec<double>({1, 2});
  {
    const auto result = value_and_grad(
        [](const Var<double>& x) {
          const Var<double> y = x * x;
          return std::tuple{sum(y),
                            y,
                            Affine{x + 1, y + 1},
                            std::vector<Var<double>>{x, y, Var<double>(5)},
                            std::array<Var<double>, 2>{x, y},
                            std::optional<Var<double>>(y),
                            std::optional<Var<double>>(),
                            std::pair{y * 2, 0.5},
                            std::tuple{cast<float>(y), std::string("note"), Indices(7), 3}};
        },
        x0);
    CHECK(result.gradient.to_vector() == Numbers{2, 4});
    std::tie(kept.one, kept.model, kept.many, kept.two, kept.some, kept.none, kept.pair,
             kept.rest) = result.auxiliary;
  }
  // Something else goes over the memory that the tape gave back.
  for (int i = 0; i < 10; ++i) (void)grad([](const Var<double>& x) { return sum(x * x * x); })(x0);
  const auto check = [](const auto& v, const Numbers& expected) {
    CHECK(!v.is_tracked());
    CHECK(v.to_vector().size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(v.to_vector()[i] == expected[i]);
  };
  check(kept.one, {1, 4});
  check(kept.model.weight, {2, 3});
  check(kept.model.bias, {2, 5});
  check(kept.many[0], {1, 2});
  check(kept.many[1], {1, 4});
  check(kept.many[2], {5});
  check(kept.two[1], {1, 4});
  check(*kept.some, {1, 4});
  CHECK(!kept.none.has_value());
  check(kept.pair.first, {2, 8});
  CHECK(kept.pair.second == 0.5);
  check(std::get<0>(kept.rest), {1, 4});
  CHECK(std::get<1>(kept.rest) == "note");
  CHECK(std::get<2>(kept.rest)(0) == 7);
  CHECK(std::get<3>(kept.rest) == 3);
}

TEST_CASE("one auxiliary result is no tuple; a pair of loss and auxiliary works as well") {
  const Var<double> x0 = vec<double>({1, 2});
  const auto a = value_and_grad([](const Var<double>& x) { return std::tuple{sum(x), x * 3}; }, x0);
  static_assert(std::is_same_v<decltype(a.auxiliary), Var<double>>);
  CHECK(a.auxiliary.to_vector() == Numbers{3, 6});
  const auto b = value_and_grad([](const Var<double>& x) { return std::pair{sum(x), 42}; }, x0);
  CHECK(b.auxiliary == 42);
  CHECK(b.gradient.to_vector() == Numbers{1, 1});
}

TEST_CASE("an auxiliary result of an inner transform stays connected to the outer one") {
  const auto outer = [](const Var<double>& x) {
    const auto inner = value_and_grad(
        [&](const Var<double>& y) {
          return std::tuple{y * y, x * y};
        },
        Var<double>(3));
    return inner.auxiliary * x;  // 3 x²
  };
  CHECK(grad(outer)(2.0).item() == 12);
}

TEST_CASE("a Var kept beyond its transform says so when it is used") {
  Var<double> kept;
  (void)grad([&](const Var<double>& x) { return kept = x * x; })(2.0);
  CHECK_THROWS_WITH_AS((void)(kept + 1), doctest::Contains("no longer exists"),
                       std::invalid_argument);
  CHECK_THROWS_AS((void)kept.item(), std::invalid_argument);
}

TEST_CASE("one model may hold float and double parameters") {
  const Mixed model{vec<float>({1, 2}), vec<double>({3, 4})};
  const auto [value, gradient] = value_and_grad(
      [](const Mixed& m) { return sum(cast<double>(m.narrow * m.narrow) * m.wide); }, model);
  CHECK(value.item() == 3 + 16);
  CHECK(gradient.narrow.to_vector() == std::vector<float>{6, 16});
  CHECK(gradient.wide.to_vector() == Numbers{1, 4});
  CHECK(tree_dot<double>(gradient, model).item() == 6 + 32 + 3 + 16);
  CHECK(flat(tree_scale(model, 0.5)) == Numbers{0.5, 1, 1.5, 2});
}

TEST_CASE("a tied parameter is one field whose gradient is the sum over its uses") {
  const Tied model{Var<double>({3, 2}, {1, 2, 3, 4, 5, 6}), vec<double>({0, 0, 0})};
  const Indices words({2}, {2, 0});
  const auto loss = [&](const Tied& m) { return sum(m(words)); };
  const Tied gradient = grad(loss)(model);
  // Σ_ij E[w_i]·E[j]: row k gets Σ_i E[w_i] from the output, count(k)·Σ_j E[j] from the look-up.
  CHECK(gradient.embedding.to_vector() == Numbers{6 + 9, 8 + 12, 6, 8, 6 + 9, 8 + 12});
  CHECK(gradient.bias.to_vector() == Numbers{2, 2, 2});
  CHECK(names(model) == std::vector<std::string>{"embedding", "bias"});
}

TEST_CASE(
    "second derivatives go through models: hvp is the derivative of the gradient along a "
    "direction") {
  const Affine model = affine(1, 2), direction = affine(0.5, -1);
  const auto loss = [](const Affine& m) { return sum(exp(m(Var<double>(0.3)))); };
  const Affine exact = hvp(loss, model, direction);
  const double h = 1e-5;
  const auto shifted = [&](double s) {
    return grad(loss)(
        tree_map([&](const auto& p, const auto& d) { return p + s * d; }, model, direction));
  };
  const Numbers e = flat(exact), up = flat(shifted(h)), down = flat(shifted(-h));
  for (std::size_t i = 0; i < e.size(); ++i) {
    CHECK(e[i] == doctest::Approx((up[i] - down[i]) / (2 * h)).epsilon(1e-8));
  }
}

TEST_CASE("the members of a plain struct are known, so that none is left out of its fields") {
  using V = Var<double>;
  using detail::Members, detail::MembersOf;
  static_assert(std::is_same_v<MembersOf<Affine>, Members<V, V>>);
  static_assert(std::is_same_v<MembersOf<Counted>,
                               Members<V, double, const char*, std::function<void(Var<float>)>,
                                       std::optional<V>, unsigned, std::vector<Counted>>>);
  static_assert(detail::count_trees(MembersOf<Counted>{}) == 3);
  static_assert(detail::count_trees(MembersOf<Net>{}) == 6);
  // Passed over.
  static_assert(std::is_same_v<MembersOf<WithBase>, Members<>>);
  static_assert(std::is_same_v<MembersOf<WithArray>, Members<>>);
  static_assert(std::is_same_v<MembersOf<WithReference>, Members<>>);
  static_assert(std::is_same_v<MembersOf<WithPrivate>, Members<>>);
  static_assert(std::is_same_v<MembersOf<WithConstructor>, Members<>>);
  Counted counted{};
  counted.a = V(2);
  counted.children = {counted, counted};
  CHECK(parameter_count(counted) == 3);
}
