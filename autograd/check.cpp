#include "unroll/autograd/check.hpp"

#include <cmath>
#include <cstdio>
#include <limits>

namespace unroll::detail {
namespace {

// A well-mixed function of a counter (splitmix64).
std::uint64_t mix(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::string number(double x, int digits = 12) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, x);
  return text;
}

// NaN agrees with nothing; equal infinities agree.
double scaled_error(double a, double b) {
  if (a == b) return 0;
  const double error = std::abs(a - b) / std::max({1.0, std::abs(a), std::abs(b)});
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0, lost = 0;  // compensated: the identity is checked to 1e-12
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double term = a[i] * b[i] - lost, next = sum + term;
    lost = (next - sum) - term;
    sum = next;
  }
  return sum;
}
double dot_of_sizes(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] * b[i]);
  return sum;
}

struct Place {
  std::size_t input;
  Size element;
};
std::string describe(const FlatFunction& f, const Place& p, std::size_t order) {
  std::string name = f.inputs[p.input].name;
  if (order == 2) {  // the inputs are (x, u)
    const bool cotangent = name[0] == '1';
    name = name.size() > 2 ? name.substr(2) : std::string();
    if (cotangent) name = "the cotangent" + (name.empty() ? name : " of " + name);
  }
  const Shape& shape = f.inputs[p.input].shape;
  std::string at;
  Size rest = p.element;
  for (std::size_t i = shape.rank(); i-- > 0;) {
    at = std::to_string(rest % shape[i]) + (at.empty() ? "" : ", ") + at;
    rest /= shape[i];
  }
  return "input " + (name.empty() ? std::string("0") : name) + " of shape " + to_string(shape) +
         ", element [" + at + "]";
}

class Checker {
 public:
  Checker(const FlatFunction& f, const CheckOptions& o, std::size_t order, CheckReport& report)
      : f_(f), options_(o), order_(order), report_(report) {
    const auto choose = [&](double given, double in_double, double in_float) {
      return given > 0 ? given : f.single ? in_float : in_double;
    };
    tolerance_ =
        order == 1 ? choose(o.tolerance, 1e-8, 5e-3) : choose(o.second_tolerance, 1e-6, 2e-2);
    adjoint_tolerance_ = choose(o.adjoint_tolerance, 1e-12, 1e-4);
    step_ = choose(o.step, 0x1p-10, 0x1p-5);
    u_ = check_direction(o.seed, 2 * order, f.outputs);
    gradient_ = f.vjp(u_);
  }

  void run() {
    differences();
    if (report_.ok) adjoint();
  }

 private:
  // Calls check(place, number of the element in x) for the elements to be looked at.
  template <class Check>
  void for_each_element(Check&& check) {
    Size first = 0;
    for (std::size_t i = 0; i < f_.inputs.size() && report_.ok; ++i) {
      const Size n = f_.inputs[i].shape.size(),
                 count = std::min(n, options_.elements_of_each_input);
      for (Size k = 0; k < count && report_.ok; ++k) {
        const Size e = count == n ? k
                                  : static_cast<Size>(mix(options_.seed + mix(i * 7919 + k)) %
                                                      static_cast<std::uint64_t>(n));
        check(Place{i, e}, static_cast<std::size_t>(first + e));
      }
      first += n;
    }
  }

  // <u, ∂f/∂x_j> by five points that are h apart.
  double difference(std::size_t j, double h) const {
    constexpr std::array<double, 4> steps{-2, -1, 1, 2}, weights{1, -8, 8, -1};
    std::array<std::vector<double>, 4> y;
    std::vector<double> x = f_.x;
    for (std::size_t k = 0; k < 4; ++k) {
      x[j] = f_.x[j] + steps[k] * h;
      y[k] = f_.value(x);
    }
    double derivative = 0;
    for (std::size_t i = 0; i < u_.size(); ++i) {
      double d = 0;
      for (std::size_t k = 0; k < 4; ++k) d += weights[k] * y[k][i];
      derivative += u_[i] * d / (12 * h);
    }
    return derivative;
  }

  // A step is too long for a function that bends quickly (a long loop), and too short for one that is
  // large: where the first does not agree, others are tried. Differences that agree with each other
  // and not with the vjp say that the vjp is wrong.
  void differences() {
    constexpr std::array<double, 6> trials{1, 0x1p-3, 0x1p-6, 0x1p-9, 0x1p-12, 0x1p3};
    for_each_element([&](const Place& p, std::size_t j) {
      const double h = step_ * std::max(1.0, std::abs(f_.x[j]));
      std::array<double, trials.size()> found;
      double error = std::numeric_limits<double>::infinity();
      std::size_t tried = 0;
      while (tried < trials.size() && !(error <= tolerance_)) {
        found[tried] = difference(j, h * trials[tried]);
        error = std::min(error, scaled_error(gradient_[j], found[tried]));
        ++tried;
      }
      double& largest = report_.difference_error[order_ - 1];
      largest = std::max(largest, error);
      if (error <= tolerance_) return;
      for (std::size_t k = 0; k + 2 < trials.size(); ++k) {
        if (!(scaled_error(found[k], found[k + 1]) <= tolerance_)) continue;
        report("the vjp and central differences disagree", p, "vjp " + number(gradient_[j]),
               "differences " + number(found[k]), scaled_error(gradient_[j], found[k]), tolerance_,
               "Is a derivative rule that f uses wrong, or f not smooth here?");
        return;
      }
      std::string all;
      for (std::size_t k = 0; k < trials.size(); ++k) {
        all += (k ? ", " : "") + number(found[k], 8) + " at a step of " + number(h * trials[k], 2);
      }
      report("the differences do not settle", p, "vjp " + number(gradient_[j]),
             "differences " + all, error, tolerance_,
             "Is f not smooth here, or too large or noisy for this tolerance?");
    });
  }

  void adjoint() {
    const std::vector<double> t =
        check_direction(options_.seed, 2 * order_ + 1, static_cast<Size>(f_.x.size()));
    const std::vector<double> tangent = f_.jvp(t);
    const double left = dot(u_, tangent), right = dot(gradient_, t);
    const double size =
        std::max(1.0, std::max(dot_of_sizes(u_, tangent), dot_of_sizes(gradient_, t)));
    double error = std::abs(left - right) / size;
    if (!std::isfinite(error)) error = std::numeric_limits<double>::infinity();
    double& largest = report_.adjoint_error[order_ - 1];
    largest = std::max(largest, error);
    if (error <= adjoint_tolerance_) return;
    // Where is it? One tangent at a time.
    for_each_element([&](const Place& p, std::size_t j) {
      std::vector<double> unit(f_.x.size());
      unit[j] = 1;
      const double one = dot(u_, f_.jvp(unit));
      const double e = scaled_error(one, gradient_[j]);
      if (e <= adjoint_tolerance_) return;
      report("jvp and vjp are not adjoint: <u, J t> and <Jᵀu, t> differ", p, "jvp " + number(one),
             "vjp " + number(gradient_[j]), e, adjoint_tolerance_,
             "Is a jvp rule, an adjoint or a vjp that f uses wrong?");
    });
    if (report_.ok) {
      report_.ok = false;
      report_.message = prefix() + "jvp and vjp are not adjoint: <u, J t> is " + number(left) +
                        ", <Jᵀu, t> is " + number(right) + " (scaled error " + number(error, 2) +
                        ")";
    }
  }

  std::string prefix() const {
    return order_ == 1 ? "[check_grads] " : "[check_grads] order 2, of (x, u) -> Jᵀu: ";
  }
  void report(const std::string& what, const Place& p, const std::string& a, const std::string& b,
              double error, double tolerance, const std::string& cause) {
    report_.ok = false;
    report_.message = prefix() + what + " at " + describe(f_, p, order_) + ": " + a + ", " + b +
                      " (scaled error " + number(error, 2) + ", tolerance " + number(tolerance, 2) +
                      "). " + cause;
  }

  const FlatFunction& f_;
  const CheckOptions& options_;
  std::size_t order_;
  CheckReport& report_;
  double tolerance_ = 0, adjoint_tolerance_ = 0, step_ = 0;
  std::vector<double> u_, gradient_;
};

}  // namespace

std::vector<double> check_direction(std::uint64_t seed, std::uint64_t stream, Size n) {
  std::vector<double> d(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < d.size(); ++i) {
    const std::uint64_t bits = mix(mix(seed * 0x100000001b3ULL + stream) + i);
    d[i] =
        static_cast<double>(static_cast<float>(bits >> 40) * 0x1p-23F - 1);  // exact in float too
  }
  return d;
}

void check_flat(const FlatFunction& f, const CheckOptions& options, std::size_t order,
                CheckReport& report) {
  Checker(f, options, order, report).run();
}

}  // namespace unroll::detail
