// The input of GradBench's `lstm`: a stack of LSTM layers with diagonal weights that reads a sequence of characters, each a
// vector of bits. Rows stand one after the other, as the suite sends them.
//
//   LstmInput input = lstm_input(json);             // throws std::invalid_argument, naming what is wrong
//   LstmInput other = random_lstm_input(2, 1024, 14);
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "unroll/autograd/random.hpp"

namespace unroll::gradbench {

struct LstmInput {
  Size layers = 0, chars = 0, bits = 0;
  std::vector<double> main;   // [layers, 2, 4, bits]: weights, biases; of forget, in, out, change
  std::vector<double> extra;  // [3, bits]: in_weight, out_weight, out_bias
  std::vector<double> state;  // [layers, 2, bits]: hidden, cell
  std::vector<double> sequence;  // [chars, bits]
};

namespace detail {
// The rows of a matrix [rows, columns], one after the other.
inline std::vector<double> flat(const nlohmann::json& input, const char* name, Size rows,
                                Size columns) {
  const auto& matrix = input.at(name);
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(rows * columns));
  for (const auto& row : matrix) {
    if (static_cast<Size>(row.size()) != columns) break;
    for (const auto& x : row) out.push_back(x.get<double>());
  }
  if (static_cast<Size>(matrix.size()) != rows || static_cast<Size>(out.size()) != rows * columns) {
    throw std::invalid_argument(std::string("lstm: ") + name + " is not of shape [" +
                                std::to_string(rows) + ", " + std::to_string(columns) + "]");
  }
  return out;
}
}  // namespace detail

inline LstmInput lstm_input(const nlohmann::json& json) {
  try {
    LstmInput in;
    in.layers = static_cast<Size>(json.at("main_params").size()) / 2;
    in.chars = static_cast<Size>(json.at("sequence").size());
    in.bits = static_cast<Size>(json.at("extra_params").at(0).size());
    if (in.layers < 1 || in.chars < 2 || in.bits < 1) {
      throw std::invalid_argument("lstm: a layer, two characters and one bit are the least");
    }
    in.main = detail::flat(json, "main_params", 2 * in.layers, 4 * in.bits);
    in.extra = detail::flat(json, "extra_params", 3, in.bits);
    in.state = detail::flat(json, "state", 2 * in.layers, in.bits);
    in.sequence = detail::flat(json, "sequence", in.chars, in.bits);
    return in;
  } catch (const nlohmann::json::exception& e) {
    throw std::invalid_argument(std::string("lstm: ") + e.what());
  }
}

// Parameters and state evenly over [0, 1), bits 0 or 1; always the same for the same sizes.
inline LstmInput random_lstm_input(Size layers, Size chars, Size bits) {
  const auto key = split<4>(Key(14));
  const auto numbers = [&](std::size_t k, const Shape& shape) {
    return uniform<double>(key[k], shape).to_vector();
  };
  return {layers,
          chars,
          bits,
          numbers(0, {layers, 8, bits}),
          numbers(1, {3, bits}),
          numbers(2, {layers, 2, bits}),
          bernoulli<double>(key[3], {chars, bits}, 0.5).to_vector()};
}

}  // namespace unroll::gradbench
