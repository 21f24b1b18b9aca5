// Reviews whose words alone do not tell: a task for classify_text whose best possible score is 1.
//
//   const std::vector<LabelledText> reviews = generated_reviews(Key(1), 5000);
//   // "the plot was not dull , but i found the music rather weak ." -> neg
//
// A review is a clause, or two with "but" between them; then the last decides. A clause praises or
// blames, and "not" turns that round. Invariant: the label follows from the text, so the optimum is 1;
// who counts words without their order reaches about 0.61.
#pragma once

#include "unroll/autograd/random.hpp"
#include "unroll/models/data/labelled_text.hpp"

namespace unroll {

/// Labels "pos" and "neg". Review i is a function of the key and i.
[[nodiscard]] std::vector<LabelledText> generated_reviews(const Key& key, Size count);

}  // namespace unroll
