// What a model learns from: a number of examples, and batches made of some of them.
//
//   const Examples data(Size(texts.size()), [&](std::span<const Size> chosen) {
//     return padded(texts, chosen);                                   // a batch of any type
//   });
//   const ReadyBatches windows(std::move(batches));                   // made before, kept as they are
//
// Any type with size() and batch(chosen) is a BatchSource. Two more members are used where they exist:
//   epoch(key, batch_size, order)   which examples each batch of an epoch holds (buckets by length)
//   split(batch, part, parts)       a part of a batch, where index ranges would be the wrong parts
// Both batch() and split() are called by several threads at once. Invariant: what an epoch consists of
// is a function of its key alone, so that a resumed run sees the same data in the same order.
#pragma once

#include <concepts>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "unroll/autograd/random.hpp"

namespace unroll {

enum class Order { shuffled, as_given };

/// The examples of each batch.
using BatchLists = std::vector<std::vector<Size>>;

template <class D>
concept BatchSource = requires(const D& data, std::span<const Size> chosen) {
  { data.size() } -> std::convertible_to<Size>;
  data.batch(chosen);
};
template <class D>
using BatchOf = std::remove_cvref_t<decltype(std::declval<const D&>().batch(
    std::declval<std::span<const Size>>()))>;
/// Says itself how a batch is cut into parts.
template <class D>
concept SplittingBatchSource = BatchSource<D> && requires(const D& data, const BatchOf<D>& batch) {
  { data.split(batch, Size{}, Size{}) } -> std::convertible_to<BatchOf<D>>;
};

/// `batch` makes a batch of the examples whose numbers it gets.
template <class F>
class Examples {
 public:
  Examples(Size size, F batch) : size_(size), batch_(std::move(batch)) {}

  [[nodiscard]] Size size() const { return size_; }
  [[nodiscard]] auto batch(std::span<const Size> chosen) const { return batch_(chosen); }

 private:
  Size size_;
  F batch_;
};

struct NoSplit {};

/// Batches that exist. Each is a step's batch as it is; `split`, where it is given, cuts one for the
/// threads. A loss that does not say its weight counts every batch alike.
template <class B, class Split = NoSplit>
class ReadyBatches {
 public:
  explicit ReadyBatches(std::vector<B> batches, Split split = {})
      : batches_(std::move(batches)), split_(std::move(split)) {}

  [[nodiscard]] Size size() const { return static_cast<Size>(batches_.size()); }
  [[nodiscard]] const B& batch(std::span<const Size> chosen) const {
    return batches_[static_cast<std::size_t>(chosen.front())];
  }
  [[nodiscard]] BatchLists epoch(const Key& key, Size, Order order) const;
  [[nodiscard]] B split(const B& batch, Size part, Size parts) const
      requires(!std::same_as<Split, NoSplit>) {
    return split_(batch, part, parts);
  }

 private:
  std::vector<B> batches_;
  Split split_;
};

/// Part i of n of `count` things: sizes differ by one at most.
struct IndexRange {
  Size first = 0, count = 0;
};
[[nodiscard]] constexpr IndexRange index_range(Size count, Size i, Size n) {
  const Size first = count * i / n;
  return {first, count * (i + 1) / n - first};
}

/// 0, ..., examples - 1 in the order asked for, cut into batches; the last may be smaller.
[[nodiscard]] BatchLists batch_lists(Size examples, Size batch_size, Order order, const Key& key);

/// The batches of an epoch, as the dataset says or else by batch_lists. Throws std::invalid_argument
/// where there are no examples, and for empty batches.
template <BatchSource D>
[[nodiscard]] BatchLists epoch_of(const D& data, Size batch_size, Order order, const Key& key);

namespace detail {

// What one tape handles: all of a batch, an index range of it, or a part that the dataset cuts.
struct Piece {
  std::span<const Size> examples;
  Size part = 0, parts = 1;
};
enum class SplitBy { index_ranges, dataset };
// In the order of the batches; index ranges that would be empty are left out.
[[nodiscard]] std::vector<Piece> pieces_of(std::span<const std::vector<Size>> batches, Size parts,
                                           SplitBy how);
void check_epoch(const BatchLists& batches);

template <BatchSource D>
inline constexpr SplitBy split_by =
    SplittingBatchSource<D> ? SplitBy::dataset : SplitBy::index_ranges;

template <BatchSource D>
decltype(auto) batch_of(const D& data, const Piece& piece) {
  if constexpr (SplittingBatchSource<D>) {
    return data.split(data.batch(piece.examples), piece.part, piece.parts);
  } else {
    return data.batch(piece.examples);
  }
}

}  // namespace detail

template <class B, class Split>
BatchLists ReadyBatches<B, Split>::epoch(const Key& key, Size, Order order) const {
  return batch_lists(size(), 1, order, key);
}

template <BatchSource D>
BatchLists epoch_of(const D& data, Size batch_size, Order order, const Key& key) {
  BatchLists batches;
  if constexpr (requires { data.epoch(key, batch_size, order); }) {
    batches = data.epoch(key, batch_size, order);
  } else {
    batches = batch_lists(data.size(), batch_size, order, key);
  }
  detail::check_epoch(batches);
  return batches;
}

}  // namespace unroll
