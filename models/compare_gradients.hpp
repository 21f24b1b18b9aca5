// Where do two gradients part? The one derived by hand against the one from the tape, or any other
// two.
//
//   auto manual = gradient_set(manual::lstm_backward(p, xs, ys, h0, c0));
//   auto automatic = gradient_set(gradient);                   // a model from value_and_grad
//   automatic.steps = {{"z", double_array(d_z), {"i", "f", "g", "o"}}};   // if at hand
//   GradientComparison r = compare_gradients(manual, automatic);
//   std::cout << r;                                            // a table
//   return r.exit_code();                                      // 0 within the tolerance, else 1
//
// Parameters are compared normwise, |a-b|∞ / |b|∞ with b the first set. Where both sides supply
// pre-activation gradients [T, B, G·H] of the same name, each time step and gate is compared too,
// relative to the largest element of its step. A wrong derivative spoils its own step and all
// earlier ones, because the gradient flows backwards: the step to look at is the latest one that
// differs, and the gate is the one that differs most there. `culprit` is that.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "unroll/autograd/transforms.hpp"
#include "unroll/autograd/xtensor.hpp"
#include "unroll/models/gru_manual.hpp"
#include "unroll/models/lstm_manual.hpp"
#include "unroll/models/rnn_manual.hpp"

namespace unroll {

struct NamedArray {
  std::string name;
  Dense<double> values;
};
/// Gradients with respect to pre-activations: [T, B, G·H], in G blocks of one size, one for each
/// gate.
struct StepGradients {
  std::string name;  // of the pre-activation: a GRU has two
  Dense<double> values;
  std::vector<std::string> gates;
};
/// What is compared; both sides convert into it. `parameters` may hold any arrays: initial states,
/// inputs.
struct GradientSet {
  std::vector<NamedArray> parameters;
  std::vector<StepGradients> steps;
};

/// The largest difference of two arrays.
struct LargestDifference {
  double relative = 0;             // |a-b|∞ / |b|∞; |a|∞ where b is all zero
  std::vector<std::size_t> index;  // of the element that differs most
  double manual = 0, automatic = 0;
};
struct ParameterDifference {
  std::string name;
  LargestDifference difference;
};
struct StepDifference {
  std::string name, gate;
  std::size_t step = 0;  // counted from 0
  LargestDifference
      difference;  // its index is [batch, unit]; relative to the step's largest element
};

struct GradientComparison {
  double tolerance = 0;
  std::vector<ParameterDifference> parameters;
  std::vector<StepDifference> steps;  // by name, then step, then gate
  std::optional<StepDifference>
      culprit;  // see above; empty when all steps agree or none were given

  [[nodiscard]] double worst()
      const;  // the largest relative difference; infinite where a number is not finite
  [[nodiscard]] bool ok() const { return worst() <= tolerance; }
  [[nodiscard]] int exit_code() const { return ok() ? 0 : 1; }
};

/// Throws std::invalid_argument when the two sets do not hold the same names and shapes.
[[nodiscard]] GradientComparison compare_gradients(const GradientSet& manual,
                                                   const GradientSet& automatic,
                                                   double tolerance = 1e-12);

/// The table: a row for each parameter, one for each step (the worst `most` of them), and a
/// verdict.
void print(std::ostream& out, const GradientComparison& comparison, std::size_t most = 12);
std::ostream& operator<<(std::ostream& out, const GradientComparison& comparison);

/// From the hand-derived references: parameters under the names of their structs ("U", "weight_ih",
/// ...), the initial state ("a0", "h0", "c0") and the input ("xs"), pre-activations "z" (and
/// "z_hidden" for the GRU).
template <class T>
[[nodiscard]] GradientSet gradient_set(const manual::RnnGradients<T>& gradients);
template <class T>
[[nodiscard]] GradientSet gradient_set(const manual::LstmGradients<T>& gradients);
template <class T>
[[nodiscard]] GradientSet gradient_set(const manual::GruGradients<T>& gradients);

/// The values of a Var, in double.
template <FloatOrDouble T>
[[nodiscard]] Dense<double> double_array(const Var<T>& x) {
  return xt::cast<double>(x.value());
}
/// From a gradient that has the type of the model: its parameters under the last part of their
/// dotted names.
template <HasFields X>
[[nodiscard]] GradientSet gradient_set(const X& gradient) {
  GradientSet set;
  for_each_named(gradient, [&](const std::string& name, const auto& g) {
    set.parameters.push_back({name.substr(name.rfind('.') + 1), double_array(g)});
  });
  return set;
}

}  // namespace unroll
