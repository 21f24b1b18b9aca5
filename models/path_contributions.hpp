// The notes' sum over paths, term by term. W is used at every step, so the loss of step t depends
// on it through its use at each step k <= t:
//
//   ∂L/∂W = Σ_t Σ_{k <= t} C(t, k),    C(t, k) = δ(t, k) a_{k-1}ᵀ,    δ(t, k) = ∂L_t/∂z_k
//   δ(t, t) = diag(1 - a_t²) Vᵀ ∂L_t/∂o_t,    δ(t, k-1) = diag(1 - a_{k-1}²) Wᵀ δ(t, k)
//
//   auto paths = manual::path_contributions(parameters, xs, ys, a0, manual::SharedWeight::W);
//   paths.norms(t, k);  // |C(t, k)|, Frobenius; 0 for k > t; steps count from 0 here
//   manual::print_norms(std::cout, paths.norms);
//
// Invariant: the sum over all pairs is the gradient of rnn_backward. The walk is O(T²) matrix
// steps. Instantiated for float and double.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"
#include "unroll/models/rnn_manual.hpp"

#include <cstddef>
#include <functional>
#include <iosfwd>

namespace unroll::manual {

/// The weight whose uses are told apart: W [H, H], which multiplies a_{k-1}, or U [H, I] and x_k.
enum class SharedWeight { W, U };

/// Calls visit(t, k, C(t, k)) for every pair k <= t, t rising and k falling. C is summed over the
/// batch and holds the loss's factor 1/(T B), so that nothing has to be scaled in the sum.
template <class T>
void visit_path_contributions(
    const RnnParameters<T>& parameters, const Dense<T>& xs, const Dense<T>& ys, const Dense<T>& a0,
    SharedWeight weight,
    const std::function<void(std::size_t, std::size_t, const Dense<T>&)>& visit);

/// C(t, k) alone. Throws std::invalid_argument unless k <= t < T.
template <class T>
[[nodiscard]] Dense<T> path_contribution(const RnnParameters<T>& parameters, const Dense<T>& xs,
                                         const Dense<T>& ys, const Dense<T>& a0,
                                         SharedWeight weight, std::size_t t, std::size_t k);

template <class T>
struct PathContributions {
  Dense<double> norms;  // [T, T]: Frobenius norm of C(t, k), row t, column k; 0 for k > t
  Dense<T> total;       // Σ C(t, k), the gradient, shaped as the weight
};

/// The norms of all pairs and their sum.
template <class T>
[[nodiscard]] PathContributions<T> path_contributions(const RnnParameters<T>& parameters,
                                                      const Dense<T>& xs, const Dense<T>& ys,
                                                      const Dense<T>& a0, SharedWeight weight);

/// The table as text: rows t, columns k, both counted from 1 as in the formulas. Longer sequences
/// show at most `most` steps, evenly spread, the first and the last among them.
std::ostream& print_norms(std::ostream& out, const Dense<double>& norms, std::size_t most = 12);

}  // namespace unroll::manual
