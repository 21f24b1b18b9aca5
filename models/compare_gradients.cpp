#include "unroll/models/compare_gradients.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>

#include <fmt/ranges.h>

namespace unroll {

namespace {

template <class T>
Dense<double> to_double(const Dense<T>& x) {
  return xt::cast<double>(x);
}

std::vector<std::size_t> position(const Dense<double>& array, std::size_t flat) {
  std::vector<std::size_t> index(array.dimension());
  for (std::size_t axis = index.size(); axis-- > 0;) {
    index[axis] = flat % array.shape(axis);
    flat /= array.shape(axis);
  }
  return index;
}

std::string text_of(const std::vector<std::size_t>& index) {
  return fmt::format("[{}]", fmt::join(index, ", "));
}
std::string shape_of(const Dense<double>& array) {
  return fmt::format("[{}]", fmt::join(array.shape(), ", "));
}

// A number that is not finite is the worst of all differences, unless both sides agree on it.
double distance(double a, double b) {
  if (a == b) return 0;
  const double d = std::abs(a - b);
  return std::isfinite(d) ? d : std::numeric_limits<double>::infinity();
}
double relative(double difference, double size) {
  if (difference == 0) return 0;
  return size > 0 && std::isfinite(size) ? difference / size : difference;
}

LargestDifference largest_difference(const Dense<double>& manual, const Dense<double>& automatic) {
  LargestDifference out;
  double worst = -1, size = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < manual.size(); ++i) {
    const double d = distance(automatic.data()[i], manual.data()[i]);
    size = std::max(size, std::abs(manual.data()[i]));
    if (d > worst) {
      worst = d;
      at = i;
    }
  }
  if (manual.size() == 0) return out;
  out.relative = relative(worst, size);
  out.index = position(manual, at);
  out.manual = manual.data()[at];
  out.automatic = automatic.data()[at];
  return out;
}

template <class Part>
const Part& matching(const std::vector<Part>& parts, const Part& wanted) {
  for (const Part& part : parts) {
    if (part.name != wanted.name) continue;
    if (part.values.shape() != wanted.values.shape()) {
      fail("compare_gradients", "\"" + wanted.name + "\" is " + shape_of(wanted.values) +
                                    " in the first set and " + shape_of(part.values) +
                                    " in the second");
    }
    return part;
  }
  std::string names;
  for (const Part& part : parts) names += (names.empty() ? "" : ", ") + part.name;
  fail("compare_gradients", "the second set has no \"" + wanted.name + "\"; it has " + names);
}

// One step, one gate: the columns of a block.
StepDifference block_difference(const StepGradients& manual, const StepGradients& automatic,
                                std::size_t step, std::size_t gate) {
  const std::size_t B = manual.values.shape(1), width = manual.values.shape(2);
  const std::size_t H = width / manual.gates.size();
  const double* a = automatic.values.data() + step * B * width;
  const double* b = manual.values.data() + step * B * width;
  double worst = -1, size = 0;
  StepDifference out{manual.name, manual.gates[gate], step, {}};
  for (std::size_t i = 0; i < B * width; ++i) size = std::max(size, std::abs(b[i]));
  for (std::size_t row = 0; row < B; ++row) {
    for (std::size_t unit = 0; unit < H; ++unit) {
      const std::size_t i = row * width + gate * H + unit;
      const double d = distance(a[i], b[i]);
      if (d <= worst) continue;
      worst = d;
      out.difference = {relative(d, size), {row, unit}, b[i], a[i]};
    }
  }
  return out;
}

void compare_steps(const StepGradients& manual, const StepGradients& automatic,
                   std::vector<StepDifference>& out) {
  if (manual.gates.empty() || manual.gates != automatic.gates || manual.values.dimension() != 3 ||
      manual.values.shape(2) % manual.gates.size() != 0) {
    fail("compare_gradients",
         "\"" + manual.name + "\" must be [T, B, G·H] with the same G gates on both sides; it is " +
             shape_of(manual.values) + " with gates {" +
             fmt::format("{}", fmt::join(manual.gates, ", ")) + "} and {" +
             fmt::format("{}", fmt::join(automatic.gates, ", ")) + "}");
  }
  for (std::size_t step = 0; step < manual.values.shape(0); ++step) {
    for (std::size_t gate = 0; gate < manual.gates.size(); ++gate) {
      out.push_back(block_difference(manual, automatic, step, gate));
    }
  }
}

// The latest step that differs, and there what differs most.
std::optional<StepDifference> find_culprit(const std::vector<StepDifference>& steps,
                                           double tolerance) {
  std::optional<StepDifference> culprit;
  for (const StepDifference& s : steps) {
    if (s.difference.relative <= tolerance) continue;
    if (!culprit || s.step > culprit->step ||
        (s.step == culprit->step && s.difference.relative > culprit->difference.relative)) {
      culprit = s;
    }
  }
  return culprit;
}

void print_steps(std::ostream& out, const GradientComparison& comparison, const std::string& name,
                 std::size_t most) {
  std::vector<std::string> gates;
  std::size_t steps = 0;
  for (const StepDifference& s : comparison.steps) {
    if (s.name != name) continue;
    steps = std::max(steps, s.step + 1);
    if (s.step == 0) gates.push_back(s.gate);
  }
  std::vector<std::vector<double>> table(steps);
  for (const StepDifference& s : comparison.steps) {
    if (s.name == name) table[s.step].push_back(s.difference.relative);
  }
  // The worst steps, in the order of time.
  std::vector<std::size_t> shown(steps);
  std::iota(shown.begin(), shown.end(), 0);
  const auto worst_of = [&](std::size_t t) {
    return *std::max_element(table[t].begin(), table[t].end());
  };
  std::stable_sort(shown.begin(), shown.end(),
                   [&](std::size_t s, std::size_t t) { return worst_of(s) > worst_of(t); });
  shown.resize(std::min(most, steps));
  std::sort(shown.begin(), shown.end());

  out << fmt::format("\nby step and gate, pre-activation {}", name);
  if (shown.size() < steps) out << fmt::format(" (the worst {} of {} steps)", shown.size(), steps);
  out << "\n      t";
  for (const std::string& gate : gates) out << fmt::format("{:>11}", gate);
  for (const std::size_t t : shown) {
    out << fmt::format("\n{:>7}", t + 1);
    for (const double d : table[t]) out << fmt::format("{:>11.1e}", d);
  }
  out << '\n';
}

}  // namespace

double GradientComparison::worst() const {
  double worst = 0;
  for (const auto& p : parameters) worst = std::max(worst, p.difference.relative);
  for (const auto& s : steps) worst = std::max(worst, s.difference.relative);
  return worst;
}

GradientComparison compare_gradients(const GradientSet& manual, const GradientSet& automatic,
                                     double tolerance) {
  if (manual.parameters.size() != automatic.parameters.size()) {
    fail("compare_gradients", fmt::format("the first set has {} arrays, the second {}",
                                          manual.parameters.size(), automatic.parameters.size()));
  }
  GradientComparison out;
  out.tolerance = tolerance;
  for (const NamedArray& p : manual.parameters) {
    const NamedArray& other = matching(automatic.parameters, p);
    out.parameters.push_back({p.name, largest_difference(p.values, other.values)});
  }
  if (!manual.steps.empty() && !automatic.steps.empty()) {
    for (const StepGradients& s : manual.steps) {
      compare_steps(s, matching(automatic.steps, s), out.steps);
    }
  }
  out.culprit = find_culprit(out.steps, tolerance);
  return out;
}

void print(std::ostream& out, const GradientComparison& comparison, std::size_t most) {
  std::size_t width = 9;
  for (const auto& p : comparison.parameters) width = std::max(width, p.name.size());
  out << fmt::format("{:<{}}  |a-b|/|b|  {:<14}{:>24}{:>24}\n", "parameter", width, "largest at",
                     "by hand (b)", "by tape (a)");
  for (const auto& [name, d] : comparison.parameters) {
    out << fmt::format("{:<{}}  {:>9.1e}  {:<14}{:>24.16g}{:>24.16g}{}\n", name, width, d.relative,
                       text_of(d.index), d.manual, d.automatic,
                       d.relative <= comparison.tolerance ? "" : "   <- differs");
  }
  std::string last;
  for (const StepDifference& s : comparison.steps) {
    if (s.name != last) print_steps(out, comparison, s.name, most);
    last = s.name;
  }
  if (comparison.ok()) {
    out << fmt::format("they agree: the largest difference is {:.1e}, the tolerance {:.1e}\n",
                       comparison.worst(), comparison.tolerance);
    return;
  }
  out << fmt::format("they differ: the largest difference is {:.1e}, the tolerance {:.1e}\n",
                     comparison.worst(), comparison.tolerance);
  if (comparison.culprit) {
    const StepDifference& c = *comparison.culprit;
    out << fmt::format(
        "read backwards, they part at step t = {}, gate {} of {}: element {} is {:.16g} by hand, "
        "{:.16g} by tape\n",
        c.step + 1, c.gate, c.name, text_of(c.difference.index), c.difference.manual,
        c.difference.automatic);
  }
}

std::ostream& operator<<(std::ostream& out, const GradientComparison& comparison) {
  print(out, comparison);
  return out;
}

template <class T>
GradientSet gradient_set(const manual::RnnGradients<T>& g) {
  return {{{"U", to_double(g.dU)},
           {"W", to_double(g.dW)},
           {"b", to_double(g.db)},
           {"V", to_double(g.dV)},
           {"c", to_double(g.dc)},
           {"a0", to_double(g.d_a0)},
           {"xs", to_double(g.d_xs)}},
          {{"z", to_double(g.d_z), {"a"}}}};
}
template <class T>
GradientSet gradient_set(const manual::LstmGradients<T>& g) {
  return {{{"weight_ih", to_double(g.d_weight_ih)},
           {"weight_hh", to_double(g.d_weight_hh)},
           {"bias_ih", to_double(g.d_bias_ih)},
           {"bias_hh", to_double(g.d_bias_hh)},
           {"V", to_double(g.dV)},
           {"c", to_double(g.dc)},
           {"h0", to_double(g.d_h0)},
           {"c0", to_double(g.d_c0)},
           {"xs", to_double(g.d_xs)}},
          {{"z", to_double(g.d_z), {"i", "f", "g", "o"}}}};
}
template <class T>
GradientSet gradient_set(const manual::GruGradients<T>& g) {
  return {{{"weight_ih", to_double(g.d_weight_ih)},
           {"weight_hh", to_double(g.d_weight_hh)},
           {"bias_ih", to_double(g.d_bias_ih)},
           {"bias_hh", to_double(g.d_bias_hh)},
           {"V", to_double(g.dV)},
           {"c", to_double(g.dc)},
           {"h0", to_double(g.d_h0)},
           {"xs", to_double(g.d_xs)}},
          {{"z", to_double(g.d_z), {"r", "z", "n"}},
           {"z_hidden", to_double(g.d_z_hidden), {"r", "z", "n"}}}};
}

template GradientSet gradient_set(const manual::RnnGradients<float>&);
template GradientSet gradient_set(const manual::RnnGradients<double>&);
template GradientSet gradient_set(const manual::LstmGradients<float>&);
template GradientSet gradient_set(const manual::LstmGradients<double>&);
template GradientSet gradient_set(const manual::GruGradients<float>&);
template GradientSet gradient_set(const manual::GruGradients<double>&);

}  // namespace unroll
