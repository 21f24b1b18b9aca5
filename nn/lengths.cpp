#include "unroll/nn/lengths.hpp"

#include <algorithm>
#include <cmath>

namespace unroll {
namespace detail {

void check_lengths(const char* op, const Indices& lengths, Size batch, Size low, Size high) {
  if (!(lengths.shape() == Shape{batch})) {
    fail(op, "lengths have shape " + to_string(lengths.shape()) + "; a batch of " +
                 std::to_string(batch) + " needs [" + std::to_string(batch) + "]");
  }
  for (Size i = 0; i < batch; ++i) {
    if (lengths(i) < low || lengths(i) > high) {
      fail(op, "the length of sequence " + std::to_string(i) + " is " + std::to_string(lengths(i)) +
                   "; it can be " + std::to_string(low) + " to " + std::to_string(high));
    }
  }
}

template <FloatOrDouble T>
std::vector<T> comparable_values(const char* op, const Var<T>& x) {
  std::vector<T> values = x.to_vector();
  const auto nan = std::ranges::find_if(values, [](T v) { return std::isnan(v); });
  if (nan == values.end()) return values;
  fail(op, "element " + std::to_string(nan - values.begin()) + " of " + to_string(x.shape()) +
               " is NaN");
}

template <FloatOrDouble T>
Var<T> without_padding(const Var<T>& x, const Indices& lengths) {
  const Size steps = x.size(0);
  if (std::ranges::all_of(lengths.values(), [&](Size n) { return n >= steps; })) return x;
  Var<T> mask = transpose(length_mask<T>(lengths, steps));
  while (mask.rank() < x.rank()) mask = expand(mask, -1);
  return where(mask, x, 0);
}

template <FloatOrDouble T>
std::vector<Var<T>> running_masks(const Indices& lengths, Size steps) {
  std::vector<Var<T>> masks(static_cast<std::size_t>(steps));
  const auto values = lengths.values();
  const Size shortest = values.empty() ? steps : *std::min_element(values.begin(), values.end());
  if (shortest >= steps) return masks;
  const std::vector<Var<T>> all = unbind(length_mask<T>(lengths, steps), 1);
  for (std::size_t t = static_cast<std::size_t>(shortest); t < masks.size(); ++t) {
    masks[t] = expand(all[t], -1);
  }
  return masks;
}

template std::vector<float> comparable_values(const char*, const Var<float>&);
template std::vector<double> comparable_values(const char*, const Var<double>&);
template Var<float> without_padding(const Var<float>&, const Indices&);
template Var<double> without_padding(const Var<double>&, const Indices&);
template std::vector<Var<float>> running_masks(const Indices&, Size);
template std::vector<Var<double>> running_masks(const Indices&, Size);

}  // namespace detail

template <FloatOrDouble T>
Var<T> length_mask(const Indices& lengths, Size steps) {
  const Size batch = lengths.size();
  detail::check_lengths("length_mask", lengths, batch, 0, steps);
  std::vector<T> mask;
  mask.reserve(static_cast<std::size_t>(batch * steps));
  for (const std::int64_t length : lengths.values()) {
    for (Size t = 0; t < steps; ++t) mask.push_back(t < length ? T(1) : T(0));
  }
  return Var<T>({batch, steps}, mask);
}

template Var<float> length_mask(const Indices&, Size);
template Var<double> length_mask(const Indices&, Size);

}  // namespace unroll
