// Connectionist temporal classification: the probability of a labelling when nobody says which step
// belongs to which label (Graves et al., 2006).
//
//   CtcTargets targets = ctc_targets({{3, 1, 1}, {}, {2}});            // one list for each sequence
//   Var<float> loss = mean(ctc_loss(logits, targets, {.lengths = lengths}));    // logits [T, B, K]
//   auto labels = ctc_greedy(logits, {.lengths = lengths});            // the likeliest step by step
//
// A path chooses one of K symbols at each step; it stands for the labelling that is left when
// repetitions are merged and then blanks dropped. The loss is -log of the sum of all paths that
// stand for the target, by the forward recursion in logarithms, out of recorded ops: any order of
// derivative. `logits` may be log-probabilities: log_softmax, which all functions here apply over
// the last axis, leaves those as they are.
// Invariant: what lies behind a sequence's length has no influence and no gradient.
#pragma once

#include <optional>
#include <vector>

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

// Labels in rows, padded with anything, and how many of each row count.
struct CtcTargets {
  Indices labels;   // [B, S]
  Indices lengths;  // [B]
};
[[nodiscard]] CtcTargets ctc_targets(const std::vector<std::vector<std::int64_t>>& labels);

// What a target is worth that no path stands for: a step is needed for each label, and one more
// between two equal ones.
enum class CtcImpossible { infinity, zero };

struct CtcOptions {
  std::optional<Indices> lengths = std::nullopt;  // steps of each sequence, [B], 0..T; without: T
  std::int64_t blank = 0;
  CtcImpossible impossible = CtcImpossible::infinity;
};

// -log p(target) for each sequence, [B], in nats. The loss of an impossible target is infinite (or
// 0 if so asked), its gradient zero, and the others' as if it were not there. Throws for a label
// that is the blank or not in [0, K).
template <FloatOrDouble T>
[[nodiscard]] Var<T> ctc_loss(const Var<T>& logits, const CtcTargets& targets,
                              const CtcOptions& options = {});

// The labelling of the likeliest path, for each sequence.
template <FloatOrDouble T>
[[nodiscard]] std::vector<std::vector<std::int64_t>> ctc_greedy(const Var<T>& logits,
                                                                const CtcOptions& options = {});

struct CtcHypothesis {
  std::vector<std::int64_t> labels;
  double log_probability = 0;  // of the paths found that stand for these labels
};
// The likeliest labellings of each sequence, best first, at most `beam` of them: prefix beam search
// (Hannun et al., 2014, without a language model), which adds up the paths of a labelling. With a
// beam of at least the number of all prefixes the probabilities are exact.
template <FloatOrDouble T>
[[nodiscard]] std::vector<std::vector<CtcHypothesis>> ctc_beam_search(
    const Var<T>& logits, std::size_t beam, const CtcOptions& options = {});

}  // namespace unroll
