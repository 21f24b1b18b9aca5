#include "unroll/nn/ragged.hpp"

#include <algorithm>
#include <numeric>

#include "unroll/autograd/op.hpp"

namespace unroll {
namespace {

using Numbers = std::vector<Size>;

void sort_longest_first(Numbers& sequences, const Lengths& lengths) {
  std::stable_sort(sequences.begin(), sequences.end(),
                   [&](Size a, Size b) { return lengths[a] > lengths[b]; });
}

// The rows of the padded batch [T, B, ...] that are real.
void check_padded(const Shape& shape, const Lengths& lengths) {
  if (shape.rank() < 2 || shape[1] != lengths.batch()) {
    fail("pack",
         "there are " + std::to_string(lengths.batch()) + " lengths for a batch of shape " +
             to_string(shape) +
             "; it needs steps and batch as its first axes, and a length for each sequence");
  }
  if (lengths.longest() > shape[0]) {
    fail("pack", "a sequence has length " + std::to_string(lengths.longest()) +
                     ", but the batch of shape " + to_string(shape) + " has " +
                     std::to_string(shape[0]) + " steps");
  }
}

// Rows in another order, which taken twice is the old one: its own adjoint. (That of `take` adds into
// zeros, since rows may be taken more than once.)
struct Involution {
  static constexpr auto name = "reverse_sequences";
  Indices rows;
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return take(x, rows);
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&) const {
    return apply(*this, g);
  }
};

// The first two axes as one.
Shape with_rows(const Shape& shape) {
  Shape rows(shape.begin() + 1, shape.end());
  rows[0] *= shape[0];
  return rows;
}

}  // namespace

Lengths::Lengths(const Indices& lengths) : lengths_(lengths) {
  if (lengths.rank() != 1) {
    fail("lengths", "one length for each sequence is needed, [B]; these have shape " +
                        to_string(lengths.shape()));
  }
  for (const Size n : values()) {
    if (n < 0) fail("lengths", "a length is " + std::to_string(n));
  }
}
Size Lengths::longest() const {
  const auto v = values();
  return v.empty() ? 0 : *std::max_element(v.begin(), v.end());
}
Size Lengths::total() const {
  const auto v = values();
  return std::accumulate(v.begin(), v.end(), Size{0});
}

PackedLayout::PackedLayout(const Lengths& of) : lengths(of) {
  const Size B = lengths.batch(), N = lengths.total(), steps = lengths.longest();
  const auto at = [](Numbers& v, Size i) -> Size& { return v[static_cast<std::size_t>(i)]; };
  Numbers longest_first(static_cast<std::size_t>(B)), places(longest_first), ends(longest_first);
  std::iota(longest_first.begin(), longest_first.end(), Size{0});
  sort_longest_first(longest_first, lengths);
  for (Size j = 0; j < B; ++j) at(places, at(longest_first, j)) = j;

  Numbers first_row(static_cast<std::size_t>(steps)), padded, sequences, back;
  for (Numbers* v : {&padded, &sequences, &back}) v->reserve(static_cast<std::size_t>(N));
  Size running = B;
  for (Size t = 0; t < steps; ++t) {
    while (lengths[at(longest_first, running - 1)] <= t) --running;
    const Size row = static_cast<Size>(padded.size());
    at(first_row, t) = row;
    if (stretches.empty() || stretches.back().batch != running) {
      stretches.push_back({row, 0, running});
    }
    ++stretches.back().steps;
    for (Size j = 0; j < running; ++j) {
      padded.push_back(t * B + at(longest_first, j));
      sequences.push_back(at(longest_first, j));
    }
  }
  for (Size t = 0; t < steps; ++t) {
    const Size next = t + 1 < steps ? at(first_row, t + 1) : N;
    for (Size row = at(first_row, t); row < next; ++row) {
      const Size b = at(sequences, row);
      back.push_back(at(first_row, lengths[b] - 1 - t) + at(places, b));
    }
  }
  for (Size b = 0; b < B; ++b) {
    at(ends, b) = lengths[b] > 0 ? at(first_row, lengths[b] - 1) + at(places, b) : N + b;
  }
  order = Indices(longest_first);
  place = Indices(places);
  step_rows = Indices(padded);
  sequence = Indices(sequences);
  reversed = Indices(back);
  last = Indices(ends);
}

template <FloatOrDouble T>
Packed<T> pack(const Var<T>& xs, std::shared_ptr<const PackedLayout> layout) {
  check_padded(xs.shape(), layout->lengths);
  Var<T> data = take(reshape(xs, with_rows(xs.shape())), layout->step_rows);
  return {std::move(data), std::move(layout)};
}
template <FloatOrDouble T>
Packed<T> pack(const Var<T>& xs, const Lengths& lengths) {
  return pack(xs, std::make_shared<const PackedLayout>(lengths));
}
Indices pack(const Indices& xs, const Lengths& lengths) {
  check_padded(xs.shape(), lengths);
  const PackedLayout layout(lengths);
  Numbers values;
  for (const Size row : layout.step_rows.values()) values.push_back(xs(row));
  return Indices(values);
}

template <FloatOrDouble T>
Var<T> unpack(const Packed<T>& xs, std::optional<Size> steps) {
  const Lengths& lengths = xs.layout->lengths;
  const Size n = steps.value_or(lengths.longest());
  if (n < lengths.longest()) {
    fail("unpack", std::to_string(n) + " steps are asked for, but the longest sequence has " +
                       std::to_string(lengths.longest()));
  }
  const Var<T> rows = detail::scatter_rows(xs.data, xs.layout->step_rows, n * lengths.batch());
  Shape shape = rows.shape();
  shape[0] = lengths.batch();
  shape.insert(0, n);
  return reshape(rows, shape);
}

template <FloatOrDouble T>
Packed<T> reverse_sequences(const Packed<T>& xs) {
  return {apply(Involution{xs.layout->reversed}, xs.data), xs.layout};
}

template <FloatOrDouble T>
Var<T> last_step(const Var<T>& xs, const Var<T>& if_empty) {
  if (xs.rank() > 0 && xs.size(0) > 0) return index(xs, 0, xs.size(0) - 1);
  if (if_empty.empty()) fail("last_step", "there are no steps");
  return if_empty;
}
template <FloatOrDouble T>
Var<T> last_step(const Packed<T>& xs, const Var<T>& if_empty) {
  const auto lengths = xs.layout->lengths.values();
  if (std::find(lengths.begin(), lengths.end(), Size{0}) == lengths.end()) {
    return take(xs.data, xs.layout->last);
  }
  if (if_empty.empty()) fail("last_step", "a sequence is empty");
  return take(concat({xs.data, if_empty}), xs.layout->last);
}

std::vector<Indices> bucket_by_length(const Lengths& lengths, Size batch_size, const Key& key) {
  if (batch_size < 1) {
    fail("bucket_by_length", "the batch size is " + std::to_string(batch_size));
  }
  const auto [ties, batch_order] = split(key);
  const Indices drawn = permutation(ties, lengths.batch());
  Numbers sequences(drawn.values().begin(), drawn.values().end());
  sort_longest_first(sequences, lengths);
  std::vector<Indices> batches;
  for (Size begin = 0; begin < lengths.batch(); begin += batch_size) {
    const Size end = std::min(begin + batch_size, lengths.batch());
    batches.emplace_back(Numbers(sequences.begin() + begin, sequences.begin() + end));
  }
  std::vector<Indices> shuffled;
  const Indices order = permutation(batch_order, static_cast<Size>(batches.size()));
  for (const Size i : order.values()) {
    shuffled.push_back(batches[static_cast<std::size_t>(i)]);
  }
  return shuffled;
}

template Packed<float> pack(const Var<float>&, std::shared_ptr<const PackedLayout>);
template Packed<double> pack(const Var<double>&, std::shared_ptr<const PackedLayout>);
template Packed<float> pack(const Var<float>&, const Lengths&);
template Packed<double> pack(const Var<double>&, const Lengths&);
template Var<float> unpack(const Packed<float>&, std::optional<Size>);
template Var<double> unpack(const Packed<double>&, std::optional<Size>);
template Packed<float> reverse_sequences(const Packed<float>&);
template Packed<double> reverse_sequences(const Packed<double>&);
template Var<float> last_step(const Var<float>&, const Var<float>&);
template Var<double> last_step(const Var<double>&, const Var<double>&);
template Var<float> last_step(const Packed<float>&, const Var<float>&);
template Var<double> last_step(const Packed<double>&, const Var<double>&);

}  // namespace unroll
