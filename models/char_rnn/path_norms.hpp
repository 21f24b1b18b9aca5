// How far a trained network looks back: the notes' table of path contributions, for its LSTM.
//
//   PathNorms paths = path_norms(trainer.model(), ids);       // 42 ids: 40 steps
//   paths.norms[t * steps + k];                          // |C(t, k)|, Frobenius; NaN for k > t
//
// C(t, k) is what the use of W_hh at step k contributes to the gradient of the loss at step t. Here
// nobody derives it: the network is unrolled with a copy of W_hh for every step, and the tape is
// asked for the derivative of every step's loss by every copy. Invariant: their sum over all pairs
// is the gradient that the shared weight has.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "unroll/models/char_rnn/char_rnn.hpp"

namespace unroll {

struct PathNorms {
  std::size_t steps = 0;
  std::vector<double> norms;  // [steps, steps], row t, column k
  double sum_difference = 0;  // |Σ C - gradient|∞ / |gradient|∞
};

/// Of the text ids[0], ids[1], ...: step t reads ids[t + 1] and predicts the next. Throws
/// std::invalid_argument for fewer than three.
[[nodiscard]] PathNorms path_norms(const CharRnn<float>& net, std::span<const std::int64_t> ids);

/// What the tape records of three characters in training, by time step, for Graphviz. Throws
/// std::invalid_argument for fewer than four.
[[nodiscard]] std::string unrolled_graph(const CharRnn<float>& net,
                                         std::span<const std::int64_t> ids);

}  // namespace unroll
