#include "unroll/models/training/dataset.hpp"

#include <algorithm>
#include <numeric>

namespace unroll {

BatchLists batch_lists(Size examples, Size batch_size, Order order, const Key& key) {
  if (batch_size < 1) {
    fail("batch_lists",
         "the batch size is " + std::to_string(batch_size) + "; at least 1 is needed");
  }
  std::vector<Size> numbers(static_cast<std::size_t>(examples));
  if (order == Order::shuffled) {
    std::ranges::copy(permutation(key, examples).values(), numbers.begin());
  } else {
    std::iota(numbers.begin(), numbers.end(), Size{0});
  }
  BatchLists batches;
  for (Size first = 0; first < examples; first += batch_size) {
    batches.emplace_back(numbers.begin() + first,
                         numbers.begin() + std::min(first + batch_size, examples));
  }
  return batches;
}

namespace detail {

std::vector<Piece> pieces_of(std::span<const std::vector<Size>> batches, Size parts, SplitBy how) {
  std::vector<Piece> pieces;
  for (const std::vector<Size>& batch : batches) {
    const std::span<const Size> examples(batch);
    for (Size i = 0; i < parts; ++i) {
      if (how == SplitBy::dataset) {
        pieces.push_back({examples, i, parts});
      } else if (const auto [first, count] = index_range(Size(batch.size()), i, parts); count > 0) {
        pieces.push_back({examples.subspan(std::size_t(first), std::size_t(count))});
      }
    }
  }
  return pieces;
}

void check_epoch(const BatchLists& batches) {
  if (batches.empty()) fail("ModelTrainer", "the dataset has no examples");
  if (std::ranges::any_of(batches, [](const auto& batch) { return batch.empty(); })) {
    fail("ModelTrainer", "the dataset's epoch() gave a batch without examples");
  }
}

}  // namespace detail
}  // namespace unroll
