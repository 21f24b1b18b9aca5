// The table of examples/04 for a trained network: its gradient on a piece of its text, by the tape
// and by the derivation by hand, and the same for an RNN and a GRU of its size.
//
//   for (const auto& [name, comparison] : compare_with_manual(trainer.model(), ids)) ...
//
// All in double, with the notes' loss (softmax and squared error).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "unroll/models/char_rnn/char_rnn.hpp"
#include "unroll/models/compare_gradients.hpp"

namespace unroll {

/// Each ids[t + 1] is predicted from those before it. Names: "RNN", "LSTM", "GRU".
[[nodiscard]] std::vector<std::pair<std::string, GradientComparison>> compare_with_manual(
    const CharRnn<float>& net, std::span<const std::int64_t> ids);

}  // namespace unroll
