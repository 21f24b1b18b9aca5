// A dataset of sequences of different lengths: those of about one length come together in a batch.
//
//   const RaggedExamples data(lengths, [&](std::span<const Size> chosen) { return batch_of(chosen); });
//   trainer.fit(data, loss);
//
// The padding of a batch, and the steps of its longest sequence, then cost little. Invariant: each
// example is once in an epoch; which come together and in which order follows from the epoch's key.
#pragma once

#include <algorithm>

#include "unroll/models/training/dataset.hpp"
#include "unroll/nn/ragged.hpp"

namespace unroll {

/// Batches of about one length each, in an order drawn from the key: bucket_by_length for the trainer.
[[nodiscard]] inline BatchLists bucketed_batches(const Lengths& lengths, Size batch_size,
                                                 const Key& key) {
  BatchLists lists;
  for (const Indices& chosen : bucket_by_length(lengths, batch_size, key)) {
    lists.emplace_back(chosen.values().begin(), chosen.values().end());
  }
  return lists;
}

/// `batch` makes a batch of the examples whose numbers it gets.
template <class F>
class RaggedExamples {
 public:
  RaggedExamples(Lengths lengths, F batch)
      : lengths_(std::move(lengths)), batch_(std::move(batch)) {}

  [[nodiscard]] Size size() const { return lengths_.batch(); }
  [[nodiscard]] auto batch(std::span<const Size> chosen) const { return batch_(chosen); }
  [[nodiscard]] BatchLists epoch(const Key& key, Size batch_size, Order order) const {
    if (order == Order::as_given) return batch_lists(size(), batch_size, order, key);
    return bucketed_batches(lengths_, batch_size, key);
  }

 private:
  Lengths lengths_;
  F batch_;
};

/// Sequences of ids side by side, the shorter ones filled up: [T, B].
[[nodiscard]] inline Indices padded_ids(std::span<const std::vector<std::int64_t>> sequences,
                                        std::int64_t padding) {
  std::size_t steps = 0;
  for (const auto& s : sequences) steps = std::max(steps, s.size());
  const std::size_t batch = sequences.size();
  std::vector<std::int64_t> ids(steps * batch, padding);
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t t = 0; t < sequences[b].size(); ++t) ids[t * batch + b] = sequences[b][t];
  }
  return Indices(Shape{Size(steps), Size(batch)}, ids);
}

/// Sequences of ids one after the other as they stand when packed: [N].
[[nodiscard]] inline Indices packed_ids(std::span<const std::vector<std::int64_t>* const> sequences,
                                        const PackedLayout& layout) {
  std::vector<std::int64_t> ids;
  ids.reserve(std::size_t(layout.step_rows.size()));
  const Size batch = layout.lengths.batch();
  for (const std::int64_t row : layout.step_rows.values()) {
    ids.push_back((*sequences[std::size_t(row % batch)])[std::size_t(row / batch)]);
  }
  return Indices(ids);
}

}  // namespace unroll
