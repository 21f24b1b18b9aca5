#include "unroll/models/path_contributions.hpp"

#include "unroll/autograd/error.hpp"
#include "unroll/autograd/xtensor_blas_headers.hpp"
#include "unroll/models/readout_manual.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

namespace unroll::manual {

using xt::linalg::dot;

namespace {

// What the walk from every t starts from.
template <class T>
struct Walk {
  const RnnParameters<T>& p;
  const Dense<T>& xs;
  const Dense<T>& a0;
  SharedWeight weight;
  Dense<T> states;    // [T, B, H]
  Dense<T> d_states;  // Vᵀ ∂L_t/∂o_t [T, B, H]

  Walk(const RnnParameters<T>& parameters, const Dense<T>& inputs, const Dense<T>& ys,
       const Dense<T>& first, SharedWeight shared)
      : p(parameters),
        xs(inputs),
        a0(first),
        weight(shared),
        states(rnn_states(p, xs, a0)),
        d_states(readout_backward(p.V, p.c, states, ys).d_states) {}

  // All k <= t, falling, for one t. The visitor answers whether to go on.
  template <class Visit>
  void from(std::size_t t, const Visit& visit) const {
    // L_t sees a_t through ŷ_t alone: no other step's read-out enters, which is what tells the
    // paths apart.
    Dense<T> d_a = xt::view(d_states, t);  // ∂L_t/∂a_k, here k = t [B, H]
    for (std::size_t k = t + 1; k-- > 0;) {
      // forward: a_k = tanh(z_k);  so: δ(t, k) = diag(1 - a_k²) ∂L_t/∂a_k
      const Dense<T> a = xt::view(states, k);
      const Dense<T> delta = (T(1) - a * a) * d_a;
      // forward: z_k = U x_k + W a_{k-1} + b;
      // so: the use of W at step k gets δ a_{k-1}ᵀ, that of U gets δ x_kᵀ
      const Dense<T> factor = weight == SharedWeight::U ? Dense<T>(xt::view(xs, k))
                              : k > 0                   ? Dense<T>(xt::view(states, k - 1))
                                                        : a0;
      if (!visit(k, Dense<T>(dot(xt::transpose(delta), factor)))) return;
      // forward: the path goes on through W a_{k-1};  so: ∂L_t/∂a_{k-1} = Wᵀ δ(t, k)
      d_a = dot(delta, p.W);
    }
  }
};

double frobenius(const auto& matrix) {
  double squares = 0;
  for (const double x : matrix) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

template <class T>
void visit_path_contributions(
    const RnnParameters<T>& parameters, const Dense<T>& xs, const Dense<T>& ys, const Dense<T>& a0,
    SharedWeight weight,
    const std::function<void(std::size_t, std::size_t, const Dense<T>&)>& visit) {
  const Walk<T> walk(parameters, xs, ys, a0, weight);
  for (std::size_t t = 0; t < xs.shape(0); ++t) {
    walk.from(t, [&](std::size_t k, const Dense<T>& contribution) {
      visit(t, k, contribution);
      return true;
    });
  }
}

template <class T>
Dense<T> path_contribution(const RnnParameters<T>& parameters, const Dense<T>& xs,
                           const Dense<T>& ys, const Dense<T>& a0, SharedWeight weight,
                           std::size_t t, std::size_t k) {
  const Walk<T> walk(parameters, xs, ys, a0, weight);
  if (t >= xs.shape(0) || k > t) {
    fail("path_contribution", "needs k <= t < T, got k = " + std::to_string(k) + ", t = " +
                                  std::to_string(t) + ", T = " + std::to_string(xs.shape(0)));
  }
  Dense<T> result;
  walk.from(t, [&](std::size_t step, const Dense<T>& contribution) {
    if (step == k) result = contribution;
    return step > k;
  });
  return result;
}

template <class T>
PathContributions<T> path_contributions(const RnnParameters<T>& parameters, const Dense<T>& xs,
                                        const Dense<T>& ys, const Dense<T>& a0,
                                        SharedWeight weight) {
  PathContributions<T> result;
  visit_path_contributions<T>(parameters, xs, ys, a0, weight,
                              [&](std::size_t t, std::size_t k, const Dense<T>& contribution) {
                                if (t == 0 && k == 0) {
                                  result.norms = xt::zeros<double>({xs.shape(0), xs.shape(0)});
                                  result.total = xt::zeros_like(contribution);
                                }
                                result.norms(t, k) = frobenius(contribution);
                                result.total += contribution;
                              });
  return result;
}

std::ostream& print_norms(std::ostream& out, const Dense<double>& norms, std::size_t most) {
  if (norms.dimension() != 2 || norms.shape(0) != norms.shape(1) || norms.size() == 0 || most < 2) {
    fail("print_norms", "needs a square table [T, T] and at least two steps to show");
  }
  const std::size_t steps = norms.shape(0);
  const std::size_t shown = std::min(steps, most);
  std::vector<std::size_t> at(shown, 0);
  for (std::size_t i = 1; i < shown; ++i) at[i] = i * (steps - 1) / (shown - 1);

  std::ostringstream text;  // so that the caller's stream keeps its own format
  text << std::scientific << std::setprecision(1);
  text << std::setw(6) << "t \\ k";
  for (const std::size_t k : at) text << std::setw(9) << k + 1;
  text << '\n';
  for (const std::size_t t : at) {
    text << std::setw(6) << t + 1;
    for (const std::size_t k : at)
      if (k <= t) text << std::setw(9) << norms(t, k);
    text << '\n';
  }
  return out << text.str();
}

template void visit_path_contributions(
    const RnnParameters<float>&, const Dense<float>&, const Dense<float>&, const Dense<float>&,
    SharedWeight, const std::function<void(std::size_t, std::size_t, const Dense<float>&)>&);
template void visit_path_contributions(
    const RnnParameters<double>&, const Dense<double>&, const Dense<double>&, const Dense<double>&,
    SharedWeight, const std::function<void(std::size_t, std::size_t, const Dense<double>&)>&);
template Dense<float> path_contribution(const RnnParameters<float>&, const Dense<float>&,
                                        const Dense<float>&, const Dense<float>&, SharedWeight,
                                        std::size_t, std::size_t);
template Dense<double> path_contribution(const RnnParameters<double>&, const Dense<double>&,
                                         const Dense<double>&, const Dense<double>&, SharedWeight,
                                         std::size_t, std::size_t);
template PathContributions<float> path_contributions(const RnnParameters<float>&,
                                                     const Dense<float>&, const Dense<float>&,
                                                     const Dense<float>&, SharedWeight);
template PathContributions<double> path_contributions(const RnnParameters<double>&,
                                                      const Dense<double>&, const Dense<double>&,
                                                      const Dense<double>&, SharedWeight);

}  // namespace unroll::manual
