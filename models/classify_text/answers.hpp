// Part of a report: what a classifier answered to texts whose labels are known.
//
//   add_answers(report, label_probabilities(model, encoder.examples(test)), encoder, test);
//
// The confusion matrix, and some of the texts with answer, probability and truth.
#pragma once

#include "unroll/models/classify_text/text_encoder.hpp"
#include "unroll/models/training/run_report.hpp"

namespace unroll {

/// Probabilities [n, labels] of n texts.
void add_answers(Report& report, const Var<float>& probabilities, const TextEncoder& encoder,
                 std::span<const LabelledText> texts);

}  // namespace unroll
