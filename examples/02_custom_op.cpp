// Operations of one's own, each declared once. From the rule the library makes gradients, tangents
// and every higher order.
#include <unroll/autograd/autograd.hpp>
#include <unroll/autograd/check.hpp>
#include <unroll/examples/check.hpp>

using namespace unroll;

// Elementwise: the function, and its derivative in terms of the result y and the argument x. One
// source for SIMD lanes and for recording.
struct Gaussian {
  static constexpr auto name = "gaussian";
  static auto f(const auto& x) { return exp(-0.5 * x * x); }
  static auto d(wrt<0>, const auto& y, const auto& x) { return -x * y; }
};

// Linear in its argument: the function and its adjoint. Here x_t + decay x_{t-1} + decay² x_{t-2} +
// ... along the first axis, whose adjoint is the same sum from the other end.
struct DecayingSum {
  static constexpr auto name = "decaying_sum";
  double decay;

  auto f(const auto& x) const {
    auto row = index(x, 0, 0);
    std::vector rows{row};
    for (Size t = 1; t < x.size(0); ++t) rows.push_back(row = decay * row + index(x, 0, t));
    return stack(rows);
  }
  auto adjoint(wrt<0>, const auto& g, const auto&) const {
    return flip(apply(DecayingSum{decay}, flip(g, 0)), 0);
  }
};

int main() {
  examples::Checks checks;
  const Var<double> x({5, 2}, {0.3, -1.2, 0.8, 0.1, -0.4, 0.9, 1.5, -0.7, 0.2, 0.6});

  fmt::print("gaussian(x) = exp(-x²/2), elementwise:\n");
  const auto gaussian = [](const Var<double>& v) { return sum(apply<Gaussian>(v)); };
  const double p = std::exp(-0.5 * 0.7 * 0.7);
  checks.near("first derivative at 0.7", grad(gaussian)(0.7).item(), -0.7 * p, 1e-15);
  checks.near("second", grad(grad(gaussian))(0.7).item(), (0.49 - 1) * p, 1e-15);
  checks.near("third", grad(grad(grad(gaussian)))(0.7).item(), (3 * 0.7 - 0.343) * p, 1e-15);

  fmt::print("decaying_sum(x), linear:\n");
  const auto weights = grad([](const Var<double>& v) {
                         return index(apply(DecayingSum{0.5}, v), 0, 2);  // x_2 + x_1 / 2 + x_0 / 4
                       })(Var<double>({3}, {1, 2, 3}))
                           .to_vector();
  checks.near("weight of x_0", weights[0], 0.25, 1e-15);
  checks.near("weight of x_1", weights[1], 0.5, 1e-15);
  checks.near("weight of x_2", weights[2], 1, 1e-15);

  fmt::print(
      "both in one formula, against differences and the adjoint identity, to second order:\n");
  const auto both = [](const Var<double>& v) {
    return sum(square(apply<Gaussian>(apply(DecayingSum{0.5}, v))));
  };
  const CheckReport report = gradient_report(both, x);
  checks.at_most("gradient against differences", report.difference_error[0], 1e-8);
  checks.at_most("<u, J t> - <Jᵀu, t>", report.adjoint_error[0], 1e-12);
  checks.at_most("second derivatives against differences", report.difference_error[1], 1e-6);
  checks.at_most("<u, J t> - <Jᵀu, t> of the gradient", report.adjoint_error[1], 1e-12);
  return checks.exit_code();
}
