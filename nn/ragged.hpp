// Sequences of different lengths in one batch, without work on the padding.
//
//   const Lengths lengths(std::vector<Size>{5, 2, 7});
//   const auto run = unroll::unroll(cell, xs, s0, {.lengths = lengths});    // xs [T, B, in]; zeros past each end
//
//   const Packed<float> packed = pack(xs, lengths);                         // the real steps alone: data [N, in]
//   const auto run = unroll::unroll(net, packed, s0);                       // run.outputs.data [N, H]
//   loss = cross_entropy(read_out(run.outputs.data), pack(labels, lengths));
//
// Packed, the steps stand one after the other, in each the sequences that still run, longest first: a
// prefix of the batch, which shrinks as sequences end. So a step is a dense product over what is real.
// Invariant: values and gradients are those of the sequences run one by one, except in rounding; padding
// is never read, and its gradient is exactly zero.
#pragma once

#include <memory>
#include <vector>

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/random.hpp"

namespace unroll {

// The number of real steps of each sequence of a batch.
class Lengths {
 public:
  // Throws std::invalid_argument unless there is one axis and no length is negative.
  Lengths(const Indices& lengths);
  Lengths(const std::vector<Size>& lengths) : Lengths(Indices(lengths)) {}

  [[nodiscard]] Size batch() const { return lengths_.size(); }
  [[nodiscard]] Size operator[](Size sequence) const { return lengths_(sequence); }
  [[nodiscard]] Size longest() const;
  [[nodiscard]] Size total() const;
  [[nodiscard]] std::span<const Size> values() const { return lengths_.values(); }
  [[nodiscard]] const Indices& indices() const { return lengths_; }

 private:
  Indices lengths_;
};

// Where each step of a ragged batch stands when packed; made once for a batch.
struct PackedLayout {
  // Rows first, ..., first + steps * batch - 1: steps of the same number of running sequences.
  struct Stretch {
    Size first, steps, batch;
  };
  explicit PackedLayout(const Lengths& of);

  Lengths lengths;
  std::vector<Stretch> stretches;
  Indices order;      // [B]: the sequences, longest first
  Indices place;      // [B]: where in that order a sequence stands
  Indices step_rows;  // [N]: t * B + b, the row's place in the padded batch
  Indices sequence;   // [N]: b
  Indices reversed;   // [N]: the row with the same sequence's step counted from its end
  Indices last;       // [B]: the row of each sequence's last step; N + b where it has none
};

// A ragged batch, packed; data [N, ...] with N the sum of the lengths. A tree: gradients are of its type.
template <FloatOrDouble T>
struct Packed {
  Var<T> data;
  std::shared_ptr<const PackedLayout> layout;
  static constexpr auto fields() { return std::tuple{field("data", &Packed::data)}; }
};

// xs [T, B, ...] -> [N, ...]. Throws when there are not B lengths, or one is larger than T.
template <FloatOrDouble T>
[[nodiscard]] Packed<T> pack(const Var<T>& xs, const Lengths& lengths);
template <FloatOrDouble T>
[[nodiscard]] Packed<T> pack(const Var<T>& xs, std::shared_ptr<const PackedLayout> layout);
// Words or labels [T, B] -> [N].
[[nodiscard]] Indices pack(const Indices& xs, const Lengths& lengths);
// [N, ...] -> [steps, B, ...] with zeros past the end of each sequence; by default as many steps as the
// longest has.
template <FloatOrDouble T>
[[nodiscard]] Var<T> unpack(const Packed<T>& xs, std::optional<Size> steps = {});

// Each sequence's steps in reverse, from its own end: xs [T, B, ...], or packed.
template <FloatOrDouble T>
[[nodiscard]] Var<T> reverse_sequences(const Var<T>& xs) {
  return flip(xs, 0);
}
template <FloatOrDouble T>
[[nodiscard]] Packed<T> reverse_sequences(const Packed<T>& xs);

// f of the steps, with whatever is beside them: for what acts on each step by itself (an affine layer, a
// sum of two sequences of one layout, dropout). The result is padded or packed as the sequence is.
template <class F, FloatOrDouble T, class... More>
[[nodiscard]] Var<T> map_steps(F&& f, const Var<T>& xs, const More&... more) {
  return f(xs, more...);
}
template <class F, FloatOrDouble T, class... More>
[[nodiscard]] Packed<T> map_steps(F&& f, const Packed<T>& xs, const More&... more) {
  return {f(xs.data, more.data...), xs.layout};
}

// The last step of each sequence: [B, ...]. An empty one has none; its row of `if_empty` stands for it, and
// without that std::invalid_argument is thrown.
template <FloatOrDouble T>
[[nodiscard]] Var<T> last_step(const Var<T>& xs, const Var<T>& if_empty = {});
template <FloatOrDouble T>
[[nodiscard]] Var<T> last_step(const Packed<T>& xs, const Var<T>& if_empty = {});

// Batches of sequences of about one length: numbers of sequences, each exactly once, in batches of
// `batch_size` (one may be smaller). Which of equal length come together, and the order of the batches,
// are drawn by the key. Throws when batch_size is not positive.
[[nodiscard]] std::vector<Indices> bucket_by_length(const Lengths& lengths, Size batch_size,
                                                    const Key& key);

}  // namespace unroll
