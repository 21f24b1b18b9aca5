// What the gates of the hand-derived LSTM and GRU share.
//
//   const Dense<T> i = sigmoid<T>(gate<4>(z, 0));     // the first of four gates that lie side by side
//
// Invariant: as in all of models/*_manual, nothing of the engine is included.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

#include <cstddef>

namespace unroll::manual {

template <class T>
Dense<T> sigmoid(const Dense<T>& z) {
  return T(1) / (T(1) + xt::exp(-z));
}

// Block k of the `Count` that lie side by side in the rows of z, [B, Count H] -> [B, H].
template <std::size_t Count, class T>
Dense<T> gate(const Dense<T>& z, std::size_t k) {
  const std::size_t H = z.shape(1) / Count;
  return xt::view(z, xt::all(), xt::range(k * H, (k + 1) * H));
}

}  // namespace unroll::manual
