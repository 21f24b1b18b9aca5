// The names by which PyTorch's recurrent layers save their weights.
//
//   auto net = Stack<Bidirectional<Lstm<float>>>::make(Key(1), {.layers = 2}, 64, 128);
//   load("lstm.safetensors", net, {.name = pytorch_name});       // weight_ih_l0, weight_ih_l0_reverse, ...
//   save("lstm.safetensors", net, {}, pytorch_name);             // torch.nn.LSTM(64, 128, 2, bidirectional=True)
//
// Cells that correspond: Rnn and ReluRnn to torch.nn.RNN, Lstm to LSTM, ProjectedLstm to LSTM with proj_size, Gru to GRU;
// each by itself to torch.nn.RNNCell, LSTMCell, GRUCell. Inside a larger model the names stand behind its own, as
// in a PyTorch module: "encoder.layers.1.backward.bias_hh" is "encoder.bias_hh_l1_reverse".
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <string>

namespace unroll {

// The name of a parameter of Stack, Bidirectional, Residual, Variational in PyTorch; any other name is returned as it is.
[[nodiscard]] std::string pytorch_name(const std::string& name);

}  // namespace unroll
