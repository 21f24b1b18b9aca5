// A task that needs memory: say at the end which symbol came first.
//
//   auto batch = recall_task<float>(Key(1), {.steps = 12, .batch = 64, .symbols = 4});
//   batch.xs;                                            // [T, B, symbols], one-hot and random
//   batch.labels;                                        // [B]: the symbols of step 1
//   accuracy(logits, batch.labels);                      // 1/symbols is guessing
//
// All symbols are independent, so whoever does not see step 1 cannot do better than guess.
#pragma once

#include "unroll/autograd/random.hpp"

namespace unroll {

struct RecallOptions {
  Size steps = 12;
  Size batch = 64;
  Size symbols = 4;
};
template <FloatOrDouble T>
struct RecallBatch {
  Var<T> xs;
  Indices labels;
};

template <FloatOrDouble T>
[[nodiscard]] RecallBatch<T> recall_task(const Key& key, const RecallOptions& options = {}) {
  const Indices symbols = randint(key, {options.steps, options.batch}, 0, options.symbols);
  return {one_hot<T>(symbols, options.symbols), symbols[0]};
}

// The share of rows of logits [B, K] whose largest element stands at the label.
template <FloatOrDouble T>
[[nodiscard]] double accuracy(const Var<T>& logits, const Indices& labels) {
  const Indices best = argmax(logits, -1);
  if (!(best.shape() == labels.shape())) {
    fail("accuracy",
         "logits " + to_string(logits.shape()) + " do not fit labels " + to_string(labels.shape()));
  }
  Size right = 0;
  for (Size i = 0; i < best.size(); ++i) right += best(i) == labels(i);
  return best.size() > 0 ? static_cast<double>(right) / static_cast<double>(best.size()) : 0;
}

}  // namespace unroll
