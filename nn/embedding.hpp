// A table of vectors, one for each word: what a row's index becomes.
//
//   auto embedding = Embedding<float>::make(Key(1), 5000, 64);
//   Var<float> xs = embedding(words);                    // Indices [T, B] -> [T, B, 64]
//
// The gradient reaches only the rows that were looked up.
#pragma once

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/random.hpp"

namespace unroll {

template <FloatOrDouble T>
struct Embedding {
  Var<T> weight;  // [words, size]
  static constexpr auto fields() { return std::tuple{field("weight", &Embedding::weight)}; }

  // PyTorch's initial values: standard normal.
  [[nodiscard]] static Embedding make(const Key& key, Size words, Size size) {
    return {normal<T>(key, {words, size})};
  }

  // Throws std::invalid_argument when an index is not in [0, words).
  [[nodiscard]] Var<T> operator()(const Indices& words) const { return take(weight, words); }
};

}  // namespace unroll
