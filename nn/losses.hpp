// What is made small: losses that end in a single number.
//
//   squared_error(softmax(logits), one_hot<double>(labels, K))    // the notes' loss
//   cross_entropy(logits, labels)                                 // logits [..., K], labels [...]
//
// Composites of recorded ops: any order of derivative. Predictions and targets must have the same
// shape (nothing is broadcast: a loss over accidentally broadcast arrays is a wrong number without
// an error); std::invalid_argument if not.
#pragma once

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

// (ŷ - y)² summed over the last axis (classes), mean over all others (steps, batch).
template <Real T>
[[nodiscard]] Var<T> squared_error(const Var<T>& predictions, const Var<T>& targets);
// (ŷ - y)², mean over everything.
template <Real T>
[[nodiscard]] Var<T> mse(const Var<T>& predictions, const Var<T>& targets);
// -log softmax(logits)[label], mean over all leading axes, in nats. Throws when a label is not in
// [0, K).
template <Real T>
[[nodiscard]] Var<T> cross_entropy(const Var<T>& logits, const Indices& labels);
// -Σ_k p_k log softmax(logits)_k, mean over all leading axes; probabilities are [..., K].
template <Real T>
[[nodiscard]] Var<T> cross_entropy(const Var<T>& logits, const Var<T>& probabilities);
// -y log σ(z) - (1 - y) log(1 - σ(z)) = softplus(z) - y z, mean over everything, without overflow.
template <Real T>
[[nodiscard]] Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets);

}  // namespace unroll
