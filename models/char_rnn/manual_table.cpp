#include "unroll/models/char_rnn/manual_table.hpp"

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/probe.hpp"

namespace unroll {
namespace {

template <class Cell>
struct Network {
  Cell cell;
  Var<double> V, c;
  static constexpr auto fields() {
    return std::tuple{field("cell", &Network::cell), field("V", &Network::V),
                      field("c", &Network::c)};
  }
};

struct Batch {
  Var<double> xs, ys;  // [T, 1, E], [T, 1, K]
};

// The gradients by parameters, inputs, initial state and pre-activations.
template <class Cell>
auto by_tape(const Network<Cell>& net, const Batch& batch) {
  const auto state = net.cell.initial_state(1);
  return grad([&](const Network<Cell>& n, const Var<double>& xs, const auto& s, const auto& probe) {
    const auto run = unroll_probed(n.cell, xs, s, probe);
    return squared_error(softmax(linear(run.outputs, n.V, n.c)), batch.ys);
  })(net, batch.xs, state, zero_probe(net.cell, batch.xs, state));
}

template <class Cell>
std::vector<std::string> gates() {
  return {Cell::gates.begin(), Cell::gates.end()};
}

GradientComparison compare(const Network<Elman<double>>& net, const Batch& batch) {
  const auto [g, xs, a0, z] = by_tape(net, batch);
  GradientSet tape = gradient_set(g);
  tape.parameters.push_back({"xs", double_array(xs)});
  tape.parameters.push_back({"a0", double_array(a0)});
  tape.steps = {{"z", double_array(z), gates<Elman<double>>()}};
  const manual::RnnParameters<double> p{net.cell.U.value(), net.cell.W.value(), net.cell.b.value(),
                                        net.V.value(), net.c.value()};
  return compare_gradients(
      gradient_set(manual::rnn_backward<double>(p, batch.xs.value(), batch.ys.value(),
                                                net.cell.initial_state(1).value())),
      tape);
}

GradientComparison compare(const Network<Lstm<double>>& net, const Batch& batch) {
  const auto [g, xs, state, z] = by_tape(net, batch);
  GradientSet tape = gradient_set(g);
  tape.parameters.push_back({"xs", double_array(xs)});
  tape.parameters.push_back({"h0", double_array(state.h)});
  tape.parameters.push_back({"c0", double_array(state.c)});
  tape.steps = {{"z", double_array(z), gates<Lstm<double>>()}};
  const auto& cell = net.cell;
  const manual::LstmParameters<double> p{cell.weight_ih.value(), cell.weight_hh.value(),
                                         cell.bias_ih.value(),   cell.bias_hh.value(),
                                         net.V.value(),          net.c.value()};
  const auto zero = cell.initial_state(1);
  return compare_gradients(
      gradient_set(manual::lstm_backward<double>(p, batch.xs.value(), batch.ys.value(),
                                                 zero.h.value(), zero.c.value())),
      tape);
}

GradientComparison compare(const Network<Gru<double>>& net, const Batch& batch) {
  const auto [g, xs, h0, z] = by_tape(net, batch);
  GradientSet tape = gradient_set(g);
  tape.parameters.push_back({"xs", double_array(xs)});
  tape.parameters.push_back({"h0", double_array(h0)});
  tape.steps = {{"z", double_array(z.input), gates<Gru<double>>()},
                {"z_hidden", double_array(z.hidden), gates<Gru<double>>()}};
  const auto& cell = net.cell;
  const manual::GruParameters<double> p{cell.weight_ih.value(), cell.weight_hh.value(),
                                        cell.bias_ih.value(),   cell.bias_hh.value(),
                                        net.V.value(),          net.c.value()};
  return compare_gradients(
      gradient_set(manual::gru_backward<double>(p, batch.xs.value(), batch.ys.value(),
                                                cell.initial_state(1).value())),
      tape);
}

Var<double> in_double(const Var<float>& x) { return cast<double>(x); }

}  // namespace

std::vector<std::pair<std::string, GradientComparison>> compare_with_manual(
    const CharRnn<float>& net, std::span<const std::int64_t> ids) {
  if (ids.size() < 2) fail("compare_with_manual", "a text of at least two characters is needed");
  const auto steps = static_cast<Size>(ids.size()) - 1;
  const Size features = net.embedding.weight.size(1);
  const Size hidden = net.cell.weight_hh.size(1);
  const Shape shape{steps, 1};
  const Batch batch{
      in_double(net.embedding(Indices(shape, ids.first(std::size_t(steps))))),
      one_hot<double>(Indices(shape, ids.last(std::size_t(steps))), net.read_out.bias.size())};
  const Var<double> V = in_double(net.read_out.weight);
  const Var<double> c = in_double(net.read_out.bias);
  const Lstm<double> lstm{in_double(net.cell.weight_ih), in_double(net.cell.weight_hh),
                          in_double(net.cell.bias_ih), in_double(net.cell.bias_hh)};
  return {{"RNN", compare({Elman<double>::make(Key(1), features, hidden), V, c}, batch)},
          {"LSTM", compare({lstm, V, c}, batch)},
          {"GRU", compare({Gru<double>::make(Key(1), features, hidden), V, c}, batch)}};
}

}  // namespace unroll
