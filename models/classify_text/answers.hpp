// Parts of a report: what a classifier answered to texts whose labels are known, and how far back it learns.
//
//   add_reach(report, untrained, model, encoder, test);
//   add_answers(report, label_probabilities(model, encoder.examples(test)), encoder, test);
//
// The gradient by step; the confusion matrix, and some of the texts with answer, probability and truth.
#pragma once

#include "unroll/models/classify_text/text_encoder.hpp"
#include "unroll/models/training/run_report.hpp"

namespace unroll {

/// The gradient by step before and after training, of 32 texts of one length at most: the longest length
/// that 16 of the texts have, or else the commonest.
void add_reach(Report& report, const TextClassifier& before, const TextClassifier& after,
               const TextEncoder& encoder, std::span<const LabelledText> texts);

/// Probabilities [n, labels] of n texts.
void add_answers(Report& report, const Var<float>& probabilities, const TextEncoder& encoder,
                 std::span<const LabelledText> texts);

}  // namespace unroll
