// Numbers at the edges of what can be written down: offsets, zeros of probability, infinities, overflow on the way to a finite
// result, and sums of millions. Expected values are derived by hand, or follow from C's and IEEE's rules.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/elementwise.hpp"
#include "unroll/nn/attention.hpp"
#include "unroll/nn/clipping.hpp"
#include "unroll/nn/crf.hpp"
#include "unroll/nn/ctc.hpp"
#include "unroll/nn/layer_norm.hpp"
#include "unroll/nn/losses.hpp"

using namespace unroll;

namespace {

template <class T>
constexpr T inf = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();

template <class T>
Var<T> vec(std::initializer_list<double> values) {
  std::vector<T> v;
  for (double x : values) v.push_back(static_cast<T>(x));
  return Var<T>(Shape{static_cast<Size>(v.size())}, v);
}
template <class T>
double largest_error(const Var<T>& x, std::initializer_list<double> expected) {
  const std::vector<T> values = x.to_vector();
  REQUIRE(values.size() == expected.size());
  double worst = 0;
  std::size_t i = 0;
  for (const double e : expected) {
    const double v = static_cast<double>(values[i++]);
    if (v == e || (std::isnan(v) && std::isnan(e))) continue;
    const double d = std::abs(v - e) / std::max(1.0, std::abs(e));
    worst = std::isnan(d) ? inf<double> : std::max(worst, d);
  }
  return worst;
}
template <class T>
bool all_zero(const Var<T>& x) {
  for (const T v : x.to_vector()) {
    if (v != 0) return false;
  }
  return true;
}
template <class T>
bool same_bits(const Var<T>& a, const Var<T>& b) {
  return a.shape() == b.shape() && a.to_vector() == b.to_vector();
}
// Equal but for rounding, and nowhere NaN.
template <class T>
bool close(const Var<T>& a, const Var<T>& b) {
  const std::vector<T> x = a.to_vector(), y = b.to_vector();
  bool same = a.shape() == b.shape();
  for (std::size_t i = 0; same && i < x.size(); ++i) {
    same = std::abs(x[i] - y[i]) <= (std::is_same_v<T, float> ? T(1e-5) : T(1e-14));
  }
  return same;
}
template <class T>
constexpr double digits = std::is_same_v<T, float> ? 4e-7 : 1e-15;

constexpr double log_2 = 0.69314718055994531;

}  // namespace

// ---- an offset common to all logits ----------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("A number added to all logits changes no loss", T, float, double) {
  for (const double c : {0.0, 1e4, 1e6, 1e8, -1e8, std::is_same_v<T, float> ? 1e30 : 1e16}) {
    const Var<T> z(Shape{1, 2}, {static_cast<T>(c), static_cast<T>(c)});
    const Indices one(std::vector<std::int64_t>{1});
    const Var<T> halves(Shape{1, 2}, {T(0.5), T(0.5)});
    using Loss = std::function<Var<T>(const Var<T>&)>;
    const std::vector<Loss> losses{[&](const Var<T>& x) { return cross_entropy(x, one); },
                                   [&](const Var<T>& x) { return nll(log_softmax(x), one); },
                                   [&](const Var<T>& x) {
                                     return -sum(log_softmax(x, 1) * Var<T>(Shape{1, 2}, {0, 1}));
                                   }};
    for (const Loss& loss : losses) {
      CHECK(largest_error(loss(z), {log_2}) < digits<T>);
      CHECK(largest_error(grad(loss)(z), {0.5, -0.5}) < digits<T>);
    }
    const Loss smoothed = [&](const Var<T>& x) {
      return cross_entropy(x, one, {.label_smoothing = 0.5});  // targets 1/4, 3/4
    };
    CHECK(largest_error(smoothed(z), {log_2}) < digits<T>);
    CHECK(largest_error(grad(smoothed)(z), {0.25, -0.25}) < digits<T>);
    const Loss given = [&](const Var<T>& x) { return cross_entropy(x, halves); };
    CHECK(largest_error(given(z), {log_2}) < digits<T>);
    CHECK(largest_error(grad(given)(z), {0, 0}) < digits<T>);
    // One step that must put out the label 1 with the blank 0: -log 1/2.
    const Loss ctc = [&](const Var<T>& x) {
      return sum(ctc_loss(reshape(x, {1, 1, 2}), ctc_targets({{1}}), {}));
    };
    CHECK(largest_error(ctc(z), {log_2}) < digits<T>);
    CHECK(largest_error(grad(ctc)(z), {0.5, -0.5}) < digits<T>);
  }
}

// ---- what a mask hides ------------------------------------------------------------------------------------------------

namespace {

// Context, weights and the gradients of a function of both, for a memory whose hidden steps hold `hidden`.
template <class T, class Attend>
void check_hidden(Attend attend, const Shape& shape, Size hidden_step) {
  const Var<T> clean = normal<T>(Key(5), shape);
  const auto spoilt = [&](T value) {
    const Var<T> step = expand(arange<T>(shape[0]), -1) == static_cast<T>(hidden_step);
    return where(reshape(step, {shape[0], 1, 1}), value, clean);
  };
  const auto loss = [&](const Var<T>& memory) {
    const Attended<T> a = attend(memory);
    return sum(square(a.context)) + sum(a.weights * a.weights * 3);
  };
  const auto [value, gradient] = value_and_grad(loss, spoilt(0));
  const Var<T> curved = hvp(loss, spoilt(0), clean);
  REQUIRE(std::isfinite(value.item()));
  for (const T bad : {nan_of<T>, inf<T>, -inf<T>, T(1e35)}) {
    const auto [v, g] = value_and_grad(loss, spoilt(bad));
    CHECK(close(v, value));
    CHECK(close(g, gradient));
    CHECK(all_zero(index(g, 0, hidden_step)));
    CHECK(close(hvp(loss, spoilt(bad), clean), curved));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("Nothing behind a mask reaches context, weights or gradients of attention", T,
                   float, double) {
  const Shape shape{4, 2, 3};  // [S, B, size]
  const Var<T> mask(Shape{2, 4}, {1, 1, 0, 1, 1, 1, 0, 1});
  const Var<T> query = normal<T>(Key(1), {2, 3});
  const auto with = [&](const auto& attention) {
    check_hidden<T>(
        [&](const Var<T>& memory) { return attention(query, attention.prepare(memory, mask)); },
        shape, 2);
  };
  with(AdditiveAttention<T>::make(Key(2), 3, 3, 5));
  with(DotAttention<T>{});
  with(GeneralAttention<T>::make(Key(3), 3, 3));
  with(MultiHeadAttention<T>::make(Key(4), 3, 3, 4, 2));
  check_hidden<T>(
      [&](const Var<T>& memory) {
        const Var<T> m = permute(memory, {1, 0, 2});
        return scaled_dot_product_attention(reshape(query, {2, 1, 3}), m, m,
                                            reshape(mask, {2, 1, 4}));
      },
      shape, 2);
  // The weights of the attention itself: what is hidden reaches them neither.
  const auto attention = AdditiveAttention<T>::make(Key(2), 3, 3, 5);
  const Var<T> clean = normal<T>(Key(5), shape);
  const Var<T> bad = where(reshape(arange<T>(4) == 2, {4, 1, 1}), nan_of<T>, clean);
  const auto loss = [&](const Var<T>& memory) {
    return [&](const AdditiveAttention<T>& a) {
      return sum(square(a(query, a.prepare(memory, mask)).context));
    };
  };
  CHECK(same_bits(grad(loss(bad))(attention).U, grad(loss(clean))(attention).U));
}

TEST_CASE_TEMPLATE("A query that does not see a step is as if it were not there", T, float,
                   double) {
  const Var<T> x = normal<T>(Key(8), {4, 3});
  const Var<T> last = expand(arange<T>(4) == 3, -1), mask = causal_mask<T>(4);
  const auto attend = [&](const Var<T>& q, const Var<T>& memory) {
    return scaled_dot_product_attention(q, memory, memory, mask);
  };
  const auto first = [](const Var<T>& v) { return slice(v, 0, {0, 3}); };
  const Attended<T> expected = attend(x, x);
  const auto loss = [&](const Var<T>& memory) {
    return [&](const Var<T>& q) { return sum(square(first(attend(q, memory).context))); };
  };
  for (const T bad : {nan_of<T>, inf<T>, T(1e35)}) {
    const Var<T> y = where(last, bad, x);
    const Attended<T> a = attend(x, y);
    CHECK(close(first(a.context), first(expected.context)));
    CHECK(close(first(a.weights), first(expected.weights)));
    CHECK(close(first(grad(loss(y))(x)), first(grad(loss(x))(x))));
  }
}

TEST_CASE_TEMPLATE("Padding and what has weight 0 may hold anything", T, float, double) {
  const Var<T> hidden(Shape{3, 1}, {0, 1, 0}), weights(Shape{3}, {1, 0, 1});
  const Var<T> p = uniform<T>(Key(1), {3, 2}, T(0.1), T(0.9)),
               y = softmax(normal<T>(Key(2), {3, 2}));
  const Indices labels(std::vector<std::int64_t>{1, 0, 1});
  using Loss = std::function<Var<T>(const Var<T>&)>;
  const std::vector<Loss> losses{
      [&](const Var<T>& x) { return mse(x, y, {.weights = weights}); },
      [&](const Var<T>& x) { return mae(x, y, {.weights = weights}); },
      [&](const Var<T>& x) { return squared_error(x, y, {.weights = weights}); },
      [&](const Var<T>& x) { return huber(x, y, {.delta = 0.2, .weights = weights}); },
      [&](const Var<T>& x) { return kl_divergence(x, y, {.weights = weights}); },
      [&](const Var<T>& x) {
        return hinge(x, ones<T>({3, 2}), {.weights = weights});
      },
      [&](const Var<T>& x) { return binary_cross_entropy_with_logits(x, y, {.weights = weights}); },
      [&](const Var<T>& x) { return cross_entropy(x, y, {.weights = weights}); },
      [&](const Var<T>& x) { return cross_entropy(x, labels, {.weights = weights}); },
      [&](const Var<T>& x) {
        return cross_entropy(x, labels, {.label_smoothing = 0.1, .weights = weights});
      },
      [&](const Var<T>& x) { return multi_margin(x, labels, {.weights = weights}); },
      [&](const Var<T>& x) { return cosine_embedding(x, y, ones<T>({3}), {.weights = weights}); }};
  for (std::size_t i = 0; i < losses.size(); ++i) {
    CAPTURE(i);
    const auto [value, gradient] = value_and_grad(losses[i], p);
    for (const T bad : {nan_of<T>, inf<T>, -inf<T>}) {
      const auto [v, g] = value_and_grad(losses[i], where(hidden, bad, p));
      CHECK(v.item() == value.item());
      CHECK(same_bits(where(hidden, 0, g), where(hidden, 0, gradient)));
      CHECK(all_zero(index(g, 0, 1)));
    }
  }

  // The second sequence of two has two steps of three.
  const Indices lengths(std::vector<std::int64_t>{3, 2});
  const Var<T> e = normal<T>(Key(3), {3, 2, 4});
  const Var<T> padding = reshape(Var<T>(Shape{3, 2}, {0, 0, 0, 0, 0, 1}), {3, 2, 1});
  const Indices tags({3, 2}, std::vector<std::int64_t>{0, 1, 2, 3, 1, 0});
  Crf<T> crf;
  crf.transitions = normal<T>(Key(4), {4, 4});
  crf.start = normal<T>(Key(5), {4}), crf.end = normal<T>(Key(6), {4});
  const auto likelihood = [&](const Var<T>& x) {
    return [&](const Crf<T>& c) { return sum(c.log_likelihood(x, tags, lengths)); };
  };
  const auto ctc = [&](const Var<T>& x) {
    return sum(ctc_loss(x, ctc_targets({{1, 2}, {3}}), {.lengths = lengths}));
  };
  const Var<T> bad = where(padding, nan_of<T>, e);
  CHECK(same_bits(grad(likelihood(bad))(crf).transitions, grad(likelihood(e))(crf).transitions));
  CHECK(same_bits(grad(ctc)(bad), grad(ctc)(e)));
}

// ---- 0 · log 0 ------------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("0 log 0 is 0 in every loss over probabilities, and its gradient finite", T,
                   float, double) {
  // log(e + e²) - 1 = log(1 + e)
  const Var<T> z = reshape(vec<T>({1, -inf<double>, 2}), {1, 3});
  const Var<T> first = reshape(vec<T>({1, 0, 0}), {1, 3});
  const auto loss = [](const Var<T>& x, const Var<T>& t) { return cross_entropy(x, t); };
  CHECK(largest_error(loss(z, first), {std::log1p(std::exp(1.0))}) < digits<T>);
  const double p = 1 / (1 + std::exp(1.0));  // softmax of the first
  const auto [gz, gt] = grad(loss)(z, first);
  CHECK(largest_error(gz, {p - 1, 0, 1 - p}) < digits<T>);
  for (const T v : gt.to_vector()) CHECK(std::isfinite(v));
  CHECK(all_zero(
      index(hvp([&](const Var<T>& x) { return loss(x, first); }, z, ones<T>({1, 3})), 1, 1)));

  const Var<T> half = vec<T>({0.5, 0.5, 0});
  const auto kl = [&](const Var<T>& log_q, const Var<T>& t) { return kl_divergence(log_q, t); };
  CHECK(kl(log(half), half).item() == 0);
  const auto [gq, gp] = grad(kl)(log(half), half);
  CHECK(largest_error(gq, {-0.5, -0.5, 0}) < digits<T>);
  for (const T v : gp.to_vector()) CHECK(std::isfinite(v));

  // Smoothed, with a class of weight 0 at -inf: (1 - s) log 3/2-type terms of the other two only.
  const Indices label(std::vector<std::int64_t>{0});
  const auto smoothed = [&](const Var<T>& x) {
    return cross_entropy(
        x, label,
        {.label_smoothing = 0.3, .class_weights = vec<T>({1, 0, 1}), .reduction = Reduction::sum});
  };
  const double l0 = std::log1p(std::exp(1.0)), l2 = std::log1p(std::exp(-1.0));
  CHECK(largest_error(smoothed(z), {0.7 * l0 + 0.1 * (l0 + l2)}) < digits<T>);
  for (const T v : grad(smoothed)(z).to_vector()) CHECK(std::isfinite(v));
}

TEST_CASE_TEMPLATE("A row of nothing but -inf has logsumexp -inf and no gradient, in any order", T,
                   float, double) {
  const Var<T> x(Shape{2, 2}, {-inf<T>, -inf<T>, T(1), T(1)});
  for (const Size axis : {0, 1}) {
    const Var<T> rows = axis == 1 ? x : transpose(x);
    CHECK(largest_error(logsumexp(rows, axis), {-inf<double>, 1 + log_2}) < digits<T>);
    const auto used = [&](const Var<T>& v) { return index(logsumexp(v, axis), 0, 1); };
    const Var<T> g = grad(used)(rows);
    CHECK(largest_error(axis == 1 ? g : transpose(g), {0, 0, 0.5, 0.5}) < digits<T>);
    const auto all = [&](const Var<T>& v) { return sum(logsumexp(v, axis)); };
    CHECK(largest_error(axis == 1 ? grad(all)(rows) : transpose(grad(all)(rows)),
                        {0, 0, 0.5, 0.5}) < digits<T>);
    const Var<T> direction(Shape{2, 2}, {1, 2, 3, 4});
    const Var<T> d = axis == 1 ? direction : transpose(direction);
    CHECK(largest_error(jvp(used, rows, d).tangent, {3.5}) < digits<T>);
    // diag(p) - p pᵀ at p = (1/2, 1/2), applied to (3, 4).
    const Var<T> h = hvp(used, rows, d);
    CHECK(largest_error(axis == 1 ? h : transpose(h), {0, 0, -0.25, 0.25}) < digits<T>);
  }
  const Var<T> whole = full<T>({2, 3}, -inf<T>);
  CHECK(logsumexp(whole).item() == -inf<T>);
  CHECK(all_zero(grad([](const Var<T>& v) { return logsumexp(v); })(whole)));
}

// ---- binary cross-entropy ---------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("Binary cross-entropy keeps its digits for certain predictions", T, float,
                   double) {
  const auto loss = [](const Var<T>& z, const Var<T>& y) {
    return binary_cross_entropy_with_logits(z, y, {.reduction = Reduction::sum});
  };
  for (const double z : {12.0, 16.0, 36.0, 60.0}) {
    const double exact = std::log1p(std::exp(-z));
    CHECK(std::abs(static_cast<double>(loss(vec<T>({z}), vec<T>({1})).item()) / exact - 1) <
          digits<T>);
    CHECK(std::abs(static_cast<double>(loss(vec<T>({-z}), vec<T>({0})).item()) / exact - 1) <
          digits<T>);
  }
  CHECK(largest_error(loss(vec<T>({2}), vec<T>({0.25})), {2 - 0.5 + std::log1p(std::exp(-2.0))}) <
        digits<T>);
  const Var<T> z = vec<T>({-inf<double>, inf<double>, 0}), y = vec<T>({0, 1, 1});
  CHECK(largest_error(loss(z, y), {log_2}) < digits<T>);
  CHECK(largest_error(grad([&](const Var<T>& v) { return loss(v, y); })(z), {0, 0, -0.5}) <
        digits<T>);
  CHECK(loss(vec<T>({inf<double>}), vec<T>({0})).item() == inf<T>);
  const auto weighted = [](const Var<T>& v) {
    return binary_cross_entropy_with_logits(
        v, vec<T>({1, 0}), {.positive_weight = Var<T>(3), .reduction = Reduction::sum});
  };
  CHECK(largest_error(weighted(vec<T>({0, 0})), {4 * log_2}) < digits<T>);
  CHECK(largest_error(grad(weighted)(vec<T>({0, 0})), {-1.5, 0.5}) < digits<T>);
}

// ---- means --------------------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("Equal numbers have their value as mean, no variance, and are normalised to 0",
                   T, float, double) {
  for (const double c : {1.0, 0.1, 12345.678, 1e6 + 1.0 / 3, -1e30}) {
    for (const Size n : {2, 3, 7, 49, 100, 1000, 5000}) {
      const T value = static_cast<T>(c);
      const Var<T> x = full<T>({n, 2}, value);
      CHECK(mean(x).item() == value);
      CHECK(index(mean(x, 0), 0, 1).item() == value);
      CHECK(all_zero(var(x, 0)));
      CHECK(all_zero(centre(x)));
      const Var<T> row = full<T>({n}, value);
      CHECK(all_zero(layer_norm(row, ones<T>({n}), zeros<T>({n}))));
    }
  }
  const T most = std::numeric_limits<T>::max();
  CHECK(mean(full<T>({7}, most)).item() == most);
  CHECK(mean(Var<T>(Shape{3}, {most, most, -most})).item() == doctest::Approx(double(most / 3)));
  CHECK(mean(Var<T>(Shape{2}, {inf<T>, T(1)})).item() == inf<T>);
  // c - 1, c, c + 1 around a large c: variance 2/3, and the ends at ±√(3/2).
  const double c = std::is_same_v<T, float> ? 1e6 : 1e14;
  const Var<T> near = vec<T>({c - 1, c, c + 1});
  CHECK(largest_error(var(near), {2.0 / 3}) < digits<T>);
  CHECK(largest_error(layer_norm(near, ones<T>({3}), zeros<T>({3}), 0),
                      {-std::sqrt(1.5), 0, std::sqrt(1.5)}) < digits<T>);
}

// ---- pow ------------------------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("pow has C's special values, and its digits everywhere", T, float, double) {
  const auto p = [](double x, double y) {
    const Var<T> many = pow(full<T>({19}, static_cast<T>(x)), full<T>({19}, static_cast<T>(y)));
    const auto values = many.to_vector();
    for (const T v : values) CHECK((v == values[0] || (std::isnan(v) && std::isnan(values[0]))));
    return static_cast<double>(values[0]);
  };
  const double i = inf<double>, n = nan_of<double>;
  CHECK(p(1, i) == 1);
  CHECK(p(1, -i) == 1);
  CHECK(p(1, n) == 1);
  CHECK(p(n, 0) == 1);
  CHECK(p(-1, i) == 1);
  CHECK(p(-1, -i) == 1);
  CHECK(p(-0.0, -1) == -i);
  CHECK(p(-0.0, -2) == i);
  CHECK(std::signbit(p(-0.0, 3)));
  CHECK(p(-i, 3) == -i);
  CHECK(p(0.5, i) == 0);
  CHECK(p(0.5, -i) == i);
  CHECK(std::isnan(p(-2, 0.5)));
  CHECK(p(-1, 1e16) == 1);
  CHECK(p(-2, std::is_same_v<T, float> ? 1e30 : 1e300) == i);
  CHECK(p(2, std::is_same_v<T, float> ? -149 : -1074) ==
        double(std::numeric_limits<T>::denorm_min()));
  const Var<T> x = exp(normal<T>(Key(1), {1000}) * 20);
  CHECK(same_bits(pow(x, 1), x));
  for (const T extreme :
       {std::numeric_limits<T>::max(), std::numeric_limits<T>::denorm_min() * 5}) {
    CHECK(pow(Var<T>(extreme), 1).item() == extreme);
  }
  CHECK(p(3, 5) == 243);
  CHECK(p(10, -2) == static_cast<double>(T(0.01)));
}

TEST_CASE("Derivatives of pow at 0, mixed ones too, are those of y x^(y-1)") {
  using V = Var<double>;
  // f = x^y at (2, 0): f_x = 0, f_xy = x^(y-1) (1 + y log x) = 1/2, f_xx = 0, f_yy = log² 2.
  const auto f = [](const V& x, const V& y) { return sum(pow(x, y)); };
  const auto by_x = [&](const V& x, const V& y) { return std::get<0>(grad(f)(x, y)); };
  const auto by_y = [&](const V& x, const V& y) { return std::get<1>(grad(f)(x, y)); };
  for (const Size n : {1, 13}) {
    const V x = full<double>({n}, 2), y = full<double>({n}, 0);
    const auto first = [&](const V& v, Size i) { return index(v, 0, i).item(); };
    const V xy = std::get<1>(grad([&](const V& a, const V& b) { return sum(by_x(a, b)); })(x, y));
    const V yx = std::get<0>(grad([&](const V& a, const V& b) { return sum(by_y(a, b)); })(x, y));
    const V xx = std::get<0>(grad([&](const V& a, const V& b) { return sum(by_x(a, b)); })(x, y));
    CHECK(first(by_x(x, y), n - 1) == 0);
    CHECK(first(xy, n - 1) == doctest::Approx(0.5).epsilon(1e-15));
    CHECK(first(yx, n - 1) == doctest::Approx(0.5).epsilon(1e-15));
    CHECK(first(xx, n - 1) == 0);
    const auto product = hvp([&](const V& a) { return f(a, a * 0); }, x, ones<double>({n}));
    CHECK(first(product, 0) == 0);
  }
  CHECK(by_y(V(0.0), V(-1.0)).item() == 0);
  CHECK(by_x(V(0.0), V(0.0)).item() == 0);
  CHECK(by_x(V(0.0), V(1.0)).item() == 1);
}

// ---- overflow where the result is finite ----------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("Lengths and angles of vectors of any size", T, float, double) {
  const T big = std::is_same_v<T, float> ? T(1e30) : T(1e200), small = 1 / big;
  for (const T s : {big, small, T(1)}) {
    CAPTURE(s);
    const Var<T> x(Shape{2, 2}, {3 * s, 4 * s, 0, 0});
    CHECK(largest_error(norm(x, 1) / s, {5, 0}) < digits<T>);
    CHECK(largest_error(norm(x, 0) / s, {3, 4}) < digits<T>);
    CHECK(largest_error(grad([](const Var<T>& v) { return sum(norm(v, 1)); })(x),
                        {0.6, 0.8, 0, 0}) < digits<T>);
    const std::tuple<Var<T>> tree{Var<T>(Shape{2}, {3 * s, 4 * s})};
    CHECK(std::abs(global_norm(tree) / static_cast<double>(s) - 5) < digits<T> * 5);
    const auto clipped = std::get<0>(clip_by_norm(tree, static_cast<double>(s)));
    CHECK(largest_error(clipped / s, {0.6, 0.8}) < digits<T>);
  }
  const Var<T> a(Shape{2}, {big, -big});
  CHECK(largest_error(cosine_similarity(a, a), {1}) < digits<T>);
  CHECK(largest_error(cosine_similarity(a, -a), {-1}) < digits<T>);
  const Var<T> many = normal<T>(Key(3), {500, 7});
  for (const T c : cosine_similarity(many, many * T(0.3)).to_vector()) CHECK(c <= 1);
  CHECK(largest_error(layer_norm(a, ones<T>({2}), zeros<T>({2})), {1, -1}) < digits<T>);
  const auto first = [&](const Var<T>& v) {
    return index(layer_norm(v, ones<T>({2}), zeros<T>({2})), 0, 0);
  };
  for (const T g : grad(first)(a).to_vector()) CHECK(std::abs(g) < T(1e-20));
}

// ---- infinities in activations and losses -------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("Activations and losses have their limits at infinity", T, float, double) {
  const Var<T> ends = vec<T>({-inf<double>, inf<double>});
  const auto check = [&](auto f, std::initializer_list<double> value,
                         std::initializer_list<double> slope) {
    CHECK(largest_error(f(ends), value) == 0);
    CHECK(largest_error(fuse([f](auto x) { return f(x); }, ends), value) == 0);
    CHECK(largest_error(grad([f](const Var<T>& x) { return sum(f(x)); })(ends), slope) == 0);
    CHECK(largest_error(grad([f](const Var<T>& x) {
                          return sum(fuse([f](auto v) { return f(v); }, x));
                        })(ends),
                        slope) == 0);
  };
  const double i = inf<double>;
  check([](const auto& x) { return gelu(x); }, {0, i}, {0, 1});
  check([](const auto& x) { return normal_cdf(x); }, {0, 1}, {0, 0});
  check([](const auto& x) { return relu(x); }, {0, i}, {0, 1});
  check([](const auto& x) { return softplus(x); }, {0, i}, {0, 1});
  check([](const auto& x) { return elu(x, 1); }, {-1, i}, {0, 1});
  check([](const auto& x) { return sigmoid(x); }, {0, 1}, {0, 0});
  check([](const auto& x) { return tanh(x); }, {-1, 1}, {0, 0});
  check([](const auto& x) { return erf(x); }, {-1, 1}, {0, 0});
  const auto twice = [](const Var<T>& x) {
    return grad([](const Var<T>& v) { return sum(gelu(v)); })(x);
  };
  CHECK(all_zero(grad([&](const Var<T>& x) { return sum(twice(x)); })(ends)));
  const auto loss = [&](const Var<T>& x) {
    return huber(x, zeros<T>({2}), {.delta = 2, .reduction = Reduction::sum});
  };
  CHECK(loss(ends).item() == inf<T>);
  CHECK(largest_error(grad(loss)(ends), {-2, 2}) == 0);
  CHECK(largest_error(loss(vec<T>({1, -5})), {0.5 + 2 * (5 - 1)}) < digits<T>);
}

TEST_CASE_TEMPLATE("gelu keeps its digits where it is small", T, float, double) {
  // x Φ(x), by a series for the tail: computed to 25 digits elsewhere.
  const std::vector<std::pair<double, double>> table{{-0.5, -0.154268769310},
                                                     {-1, -0.158655253931457051414767454},
                                                     {-3, -0.00404969409489031281},
                                                     {-5, -1.43325786e-6},
                                                     {-9, -1.01572808e-18}};
  for (const auto& point : table) {
    CAPTURE(point.first);
    CHECK(static_cast<double>(gelu(Var<T>(point.first)).item()) ==
          doctest::Approx(point.second).epsilon(1e-6));
  }
  CHECK(
      std::abs(static_cast<double>(normal_cdf(Var<T>(-1)).item()) / 0.158655253931457051414767454 -
               1) < digits<T>);
}

// ---- long sums --------------------------------------------------------------------------------------------------------------------------

TEST_CASE("Sums of millions of floats do not stand still") {
  const Size n = (Size{1} << 24) + (Size{1} << 22);
  const Var<float> x = ones<float>({n});
  CHECK(index(cumsum(x, 0), 0, n - 1).item() == float(n));
  const Indices same({n}, std::vector<std::int64_t>(static_cast<std::size_t>(n), 0));
  const auto looked_up = [&](const Var<float>& table) { return sum(take(table, same)); };
  CHECK(grad(looked_up)(Var<float>(Shape{1}, {2.0F})).item() == float(n));
  const auto gathered = [&](const Var<float>& v) { return sum(gather(v, same, 0)); };
  CHECK(grad(gathered)(Var<float>(Shape{1}, {2.0F})).item() == float(n));
  CHECK(scatter_add(zeros<float>({1}), same, x, 0).item() == float(n));
  const auto weighed = [&](const Var<float>& w) { return sum(linear(reshape(x, {n, 1}), w)); };
  CHECK(grad(weighed)(ones<float>({1, 1})).item() == float(n));
  CHECK(matmul(x, x).item() == float(n));
  const Var<float> tenths = full<float>({10'000'000}, 0.1F);
  CHECK(index(cumsum(tenths, 0), 0, -1).item() == doctest::Approx(1e6).epsilon(1e-6));
  CHECK(matmul(tenths, full<float>({10'000'000}, 1.0F)).item() ==
        doctest::Approx(1e6).epsilon(2e-5));
}
