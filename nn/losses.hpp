// What is made small: losses, a number each, or one for every element or row.
//
//   cross_entropy(logits, labels)                                 // logits [..., K], labels [...]
//   cross_entropy(logits, labels, {.label_smoothing = 0.1, .ignored = -100})
//   huber(predictions, targets, {.delta = 0.5, .weights = mask})  // [T, B, K] with a mask [T, B]
//   squared_error(softmax(logits), one_hot<double>(labels, K))    // the notes' loss
//
// Composites of recorded ops: any order of derivative. Predictions and targets must have the same
// shape (nothing is broadcast: a loss over accidentally broadcast arrays is a wrong number without
// an error); std::invalid_argument if not.
//
// Means are weighted: Σ w l / Σ w over all elements or rows, where w is 1 by default. Where nothing
// counts at all (a batch that is padding only: Σ w = 0) the mean is 0, and so is its gradient. The mean
// of an array without elements throws. What does not count (a constant weight 0, an ignored
// label) may be anything, NaN too, and gets a gradient of 0.
#pragma once

#include <optional>

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

// What becomes of the numbers for each element or row: Σ w l / Σ w, Σ w l, or w l as they are.
enum class Reduction { mean, sum, none };

// `weights` say how much each element or row counts: a mask has 0 and 1. Their shape is that of the
// losses without reduction, or of its first axes: [T, B] weighs the steps of [T, B, K]. Empty: all 1.
template <FloatOrDouble T>
struct LossOptions {
  Var<T> weights = {};
  Reduction reduction = Reduction::mean;
};

// ---- numbers against numbers: one loss for each element ------------------------------------------

// (ŷ - y)² summed over the last axis (classes): a loss for each row, mean over steps and batch.
template <FloatOrDouble T>
[[nodiscard]] Var<T> squared_error(const Var<T>& predictions, const Var<T>& targets,
                                   const LossOptions<T>& options = {});
// (ŷ - y)²
template <FloatOrDouble T>
[[nodiscard]] Var<T> mse(const Var<T>& predictions, const Var<T>& targets,
                         const LossOptions<T>& options = {});
// |ŷ - y|; its derivative at 0 is taken to be 0.
template <FloatOrDouble T>
[[nodiscard]] Var<T> mae(const Var<T>& predictions, const Var<T>& targets,
                         const LossOptions<T>& options = {});

template <FloatOrDouble T>
struct HuberOptions {
  double delta = 1;
  Var<T> weights = {};
  Reduction reduction = Reduction::mean;
};
// d²/2 where |d| <= delta, else delta (|d| - delta/2), for d = ŷ - y (Huber, 1964).
template <FloatOrDouble T>
[[nodiscard]] Var<T> huber(const Var<T>& predictions, const Var<T>& targets,
                           const HuberOptions<T>& options = {});

template <FloatOrDouble T>
struct BinaryCrossEntropyOptions {
  Var<T> positive_weight = {};  // one number, or [K] for logits [..., K]: what y = 1 counts
  Var<T> weights = {};
  Reduction reduction = Reduction::mean;
};
// -q y log σ(z) - (1 - y) log(1 - σ(z)), q the positive weight, computed without overflow.
template <FloatOrDouble T>
[[nodiscard]] Var<T> binary_cross_entropy_with_logits(
    const Var<T>& logits, const Var<T>& targets, const BinaryCrossEntropyOptions<T>& options = {});

template <FloatOrDouble T>
struct HingeOptions {
  double margin = 1;
  Var<T> weights = {};
  Reduction reduction = Reduction::mean;
};
// max(0, margin - y z) for targets y of -1 and 1.
template <FloatOrDouble T>
[[nodiscard]] Var<T> hinge(const Var<T>& scores, const Var<T>& targets,
                           const HingeOptions<T>& options = {});

// ---- distributions: one loss for each row of the last axis ---------------------------------------

// All of these are means over rows that count: Σ w l / Σ w, where the weight of a row is
// weights[row] · class_weights[its label], and 0 where the label is `ignored`.
template <FloatOrDouble T>
struct CrossEntropyOptions {
  double label_smoothing = 0;  // the target is (1 - s) one_hot + s / K; in [0, 1]
  Var<T> class_weights = {};   // [K]: c_k, empty for all 1
  std::optional<std::int64_t> ignored = std::nullopt;  // rows with this label do not count
  Var<T> weights = {};                                 // [...], as the labels
  Reduction reduction = Reduction::mean;
};
// -Σ_k c_k t_k log softmax(logits)_k in nats, with t the smoothed one-hot row of the label: -log
// softmax(logits)[label] by default. Labels [...] for logits [..., K]. The numbers are those of
// torch.nn.functional.cross_entropy. Throws when a label is neither in [0, K) nor `ignored`.
template <FloatOrDouble T>
[[nodiscard]] Var<T> cross_entropy(const Var<T>& logits, const Indices& labels,
                                   const CrossEntropyOptions<T>& options = {});
// The same for given probabilities t [..., K]. Class weights do not enter the mean's weights here
// (as in PyTorch), and there is no label to ignore: throws when `ignored` is set.
template <FloatOrDouble T>
[[nodiscard]] Var<T> cross_entropy(const Var<T>& logits, const Var<T>& probabilities,
                                   const CrossEntropyOptions<T>& options = {});
// The same from log-probabilities: nll(log_softmax(z), labels) = cross_entropy(z, labels).
template <FloatOrDouble T>
[[nodiscard]] Var<T> nll(const Var<T>& log_probabilities, const Indices& labels,
                         const CrossEntropyOptions<T>& options = {});

// Σ_k p_k (log p_k - log q_k) of rows p = targets and log q = log_predictions, with 0 log 0 = 0. (For [B, K]
// that is PyTorch's kl_div with reduction "batchmean".)
template <FloatOrDouble T>
[[nodiscard]] Var<T> kl_divergence(const Var<T>& log_predictions, const Var<T>& targets,
                                   const LossOptions<T>& options = {});

enum class HingePower { one, two };
template <FloatOrDouble T>
struct MultiMarginOptions {
  double margin = 1;
  HingePower power = HingePower::one;
  std::optional<std::int64_t> ignored = std::nullopt;
  Var<T> weights = {};
  Reduction reduction = Reduction::mean;
};
// Σ_{k != label} max(0, margin - z[label] + z[k])^power / K: the hinge of several classes (Crammer &
// Singer, 2001, summed over classes as torch.nn.functional.multi_margin_loss does).
template <FloatOrDouble T>
[[nodiscard]] Var<T> multi_margin(const Var<T>& scores, const Indices& labels,
                                  const MultiMarginOptions<T>& options = {});

// ---- directions ------------------------------------------------------------------------------------

// Σ a b / (|a| |b|) over the last axis: [..., D] and [..., D] to [...]. A length counts as at least
// 1e-8, so a vector of zeros is at 0 to any other.
template <FloatOrDouble T>
[[nodiscard]] Var<T> cosine_similarity(const Var<T>& a, const Var<T>& b);

template <FloatOrDouble T>
struct CosineEmbeddingOptions {
  double margin = 0;
  Var<T> weights = {};
  Reduction reduction = Reduction::mean;
};
// 1 - cos(a, b) where the target is 1, max(0, cos(a, b) - margin) where it is -1; targets [...].
template <FloatOrDouble T>
[[nodiscard]] Var<T> cosine_embedding(const Var<T>& a, const Var<T>& b, const Var<T>& targets,
                                      const CosineEmbeddingOptions<T>& options = {});

}  // namespace unroll
