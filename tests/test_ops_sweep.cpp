// Every op of the table under check_grads, to second order: as it stands, over strided values, between recorded views, and
// with one Var in several places; and in float against double.
#include <doctest/doctest.h>

#include <cmath>

#include "op_samples.hpp"
#include "unroll/autograd/check.hpp"

using namespace unroll;
using namespace unroll::testing;

namespace {

bool differentiable(const OpEntry& op) {
  return op.kind != OpKind::maker && op.kind != OpKind::not_differentiable;
}

// The same values with gaps and with the axes in another order in memory.
template <class T>
Var<T> strided(const Var<T>& x) {
  if (x.rank() == 0) return index(Var<T>(Shape{2}, {T(9), x.item()}), 0, 1);
  const Var<T> wide = repeat(flip(x, 0), 2, 0);  // each row twice, backwards
  Var<T> y = slice(wide, 0, {.step = -2});
  if (y.rank() >= 2) {  // stored by columns
    const auto values = transpose(y).to_vector();
    y = transpose(Var<T>(transpose(y).shape(), std::span<const T>(values)));
  }
  return y;
}
// A recorded view that changes nothing in the end, but through which values and cotangents pass.
template <class T>
Var<T> through_views(const Var<T>& x) {
  if (x.rank() == 0) return x;
  const Var<T> y = flip(flip(x, 0), 0);
  return y.rank() >= 2 ? transpose(transpose(y)) : y;
}
// Results seen through a transpose and a sum, so that cotangents come with strides and with steps of 0.
template <class T>
Vars<T> seen_through_views(const Vars<T>& results) {
  Vars<T> out;
  for (const Var<T>& y : results) {
    out.push_back(sum(y));
    out.push_back(y.rank() >= 2 ? transpose(y) : y.rank() == 1 ? flip(y, 0) : y);
  }
  return out;
}

void expect(const OpEntry& op, const OpSample& s, const std::string& how,
            const CheckReport& report) {
  INFO(op.name << " on " << s.label << " (" << how << "): " << report.message);
  CHECK(report.ok);
}

template <class F>
void for_each_sample(F&& f) {
  for (const OpEntry& op : op_table()) {
    if (!differentiable(op)) continue;
    for (const OpSample& s : op.samples) f(op, s);
  }
}

}  // namespace

TEST_CASE("Every op has the right derivatives, to second order") {
  for_each_sample([](const OpEntry& op, const OpSample& s) {
    expect(op, s, "as it is", gradient_report(s.f, s.inputs<double>()));
  });
}

TEST_CASE("Every op has the right derivatives over strided values") {
  for_each_sample([](const OpEntry& op, const OpSample& s) {
    Vars<double> x = s.inputs<double>();
    for (auto& v : x) v = strided(v);
    for (std::size_t i = 0; i < x.size(); ++i)
      REQUIRE(x[i].to_vector() == s.input<double>(i).to_vector());
    expect(op, s, "strided", gradient_report(s.f, x));
  });
}

TEST_CASE("Every op has the right derivatives between recorded views") {
  for_each_sample([](const OpEntry& op, const OpSample& s) {
    const auto f = [&](const Vars<double>& x) {
      Vars<double> y;
      for (const auto& v : x) y.push_back(through_views(v));
      return seen_through_views(s.f(y));
    };
    expect(op, s, "between views", gradient_report(f, s.inputs<double>()));
  });
}

TEST_CASE("Every op has the right derivatives when one Var stands in several places") {
  for_each_sample([](const OpEntry& op, const OpSample& s) {
    if (s.shapes.size() < 2) return;
    for (const Shape& shape : s.shapes) {
      if (!(shape == s.shapes[0])) return;
    }
    if (op.name == "minimum" || op.name == "maximum") return;  // all elements would tie
    const auto f = [&](const Var<double>& x) {
      Vars<double> y = s.f(Vars<double>(s.shapes.size(), x));
      y.push_back(x);  // whose cotangent is there before the op's
      return y;
    };
    // The domain of the last input is the narrowest.
    expect(op, s, "one Var",
           gradient_report(f, s.input<double>(op.name == "pow" ? 0 : s.shapes.size() - 1)));
  });
}

TEST_CASE("Every op agrees in float with itself in double, values and gradients") {
  for_each_sample([](const OpEntry& op, const OpSample& s) {
    const Vars<float> x = s.inputs<float>();
    Vars<double> wide;
    for (const auto& v : x) wide.push_back(cast<double>(v));
    const auto narrow_vjp = vjp(s.single, x);
    const auto wide_vjp = vjp(s.f, wide);
    Vars<float> u;
    Vars<double> wide_u;
    for (std::size_t i = 0; i < narrow_vjp.value.size(); ++i) {
      const Shape shape = wide_vjp.value[i].shape();
      REQUIRE(narrow_vjp.value[i].shape() == shape);
      std::vector<float> values;
      for (double d : detail::check_direction(3, i, shape.size()))
        values.push_back(static_cast<float>(d));
      u.emplace_back(shape, std::span<const float>(values));
      wide_u.push_back(cast<double>(u.back()));
    }
    const auto compare = [&](const std::string& what, const Vars<float>& a, const Vars<double>& b) {
      for (std::size_t i = 0; i < a.size(); ++i) {
        REQUIRE(a[i].shape() == b[i].shape());
        const auto p = a[i].to_vector();
        const auto q = b[i].to_vector();
        for (std::size_t k = 0; k < p.size(); ++k) {
          INFO(op.name << " on " << s.label << ", " << what << " " << i << ", element " << k << ": "
                       << p[k] << " and " << q[k]);
          CHECK(std::abs(p[k] - q[k]) <= 1e-5 * std::max(1.0, std::abs(q[k])));
        }
      }
    };
    compare("result", narrow_vjp.value, wide_vjp.value);
    compare("gradient", narrow_vjp.pullback(u), wide_vjp.pullback(wide_u));
  });
}

TEST_CASE("Every op passes check_grads in float") {
  for_each_sample([](const OpEntry& op, const OpSample& s) {
    // Steps this wide would walk from one side of a kink to the other.
    const bool kinks = op.group == "Choices" || s.label.rfind("one result", 0) == 0;
    if (kinks && s.shapes[0].size() > 12) return;
    expect(op, s, "float",
           gradient_report(s.single, s.inputs<float>(),
                           {.order = 1, .tolerance = 2e-2, .step = 0x1p-7}));
  });
}

TEST_CASE("What is declared non-differentiable, and what makes constants, is never tracked") {
  for (const OpEntry& op : op_table()) {
    if (differentiable(op)) continue;
    for (const OpSample& s : op.samples) {
      INFO(op.name << " on " << s.label);
      const auto [value, gradient] = value_and_grad(
          [&](const Vars<double>& x) {
            const Vars<double> y = s.f(x);
            for (const auto& v : y) CHECK_FALSE(v.is_tracked());
            return sum(x[0]) + sum(y[0]);
          },
          s.inputs<double>());
      for (double g : gradient[0].to_vector()) CHECK(g == 1);
    }
  }
}

TEST_CASE("cast is differentiable in both directions, to second order") {
  const auto f = [](const Var<float>& x) { return cast<float>(square(cast<double>(x)) * 3); };
  CHECK(grad([&](const Var<float>& x) { return sum(f(x)); })(Var<float>(0.5F)).item() == 3.0F);
  const auto g = [](const Var<double>& x) {
    return cast<double>(cast<float>(x) * cast<float>(x) * cast<float>(x));
  };
  CHECK(grad(g)(2.0).item() == 12);
  CHECK(grad(grad(g))(2.0).item() == 12);
  CHECK(jvp(grad(g), 2.0, 0.5).tangent.item() == 6);
}
