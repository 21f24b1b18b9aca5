// Stacks of recurrent layers against PyTorch's in double: outputs, final states and every gradient; its parameters loaded
// by name, and written back. The numbers were made by fixtures/make_rnn_stacks.py.
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>

#include "tree_distance.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr Size B = 3, I = 3, H = 2;
constexpr double tolerance = 1e-10;

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(UNROLL_FIXTURES) / ("rnn_stacks_" + name + ".safetensors");
}
Var<double> tensor(const SafetensorsFile& file, const std::string& name) {
  const TensorData* data = file.find(name);
  REQUIRE_MESSAGE(data, name);
  std::vector<double> values(data->bytes.size() / sizeof(double));
  std::memcpy(values.data(), data->bytes.data(), data->bytes.size());
  return {Shape(data->shape.begin(), data->shape.end()), std::span<const double>(values)};
}
std::vector<Size> lengths_of(const SafetensorsFile& file) {
  std::vector<Size> lengths;
  std::istringstream text(file.metadata.at("lengths"));
  for (std::string n; std::getline(text, n, ',');) lengths.push_back(std::stoi(n));
  return lengths;
}

// PyTorch's [layers * directions, B, ...], one array for h and one for c, as a state; and back.
template <class State>
State unstacked(const State& like, const std::vector<Var<double>>& parts) {
  Size at = 0;
  const Size n = static_cast<Size>(parts.size());
  return tree_map(
      [&](const auto&) {
        const Size leaf = at++;
        return index(parts[static_cast<std::size_t>(leaf % n)], 0, leaf / n);
      },
      like);
}
template <class State>
std::vector<Var<double>> stacked(const State& state, std::size_t n) {
  std::vector<std::vector<Var<double>>> leaves(n);
  std::size_t at = 0;
  tree_for_each([&](const auto& p) { leaves[at++ % n].push_back(p); }, state);
  std::vector<Var<double>> out;
  for (const auto& l : leaves) out.push_back(stack(l));
  return out;
}

Var<double> weighted(const Var<double>& x) {
  return sum(reshape(x, {-1}) * sin(arange<double>(x.size()) + 1));
}
template <class Net>
Var<double> flat(const Net& gradient) {
  std::vector<Var<double>> parts;
  tree_for_each([&](const auto& p) { parts.push_back(reshape(p, {-1})); }, gradient);
  return concat(parts);
}

template <class Net>
void check_against_pytorch(const std::string& name, Net net, std::size_t state_parts) {
  INFO(name);
  const SafetensorsFile file = read_safetensors(fixture(name));
  load(fixture(name), net, {.name = pytorch_name, .surplus = SurplusTensors::ignore});
  const auto own = [&](const char* what) { return tensor(file, std::string("test.") + what); };
  std::vector<Var<double>> first{own("h0")}, last{own("hn")}, d_first{own("d_h0")};
  if (state_parts == 2) {
    first.push_back(own("c0")), last.push_back(own("cn")), d_first.push_back(own("d_c0"));
  }
  UnrollOptions options;
  if (const auto lengths = lengths_of(file); !lengths.empty()) options.lengths = lengths;
  const auto s0 = unstacked(net.initial_state(B), first);
  const auto r = value_and_grad(
      [&](const Net& n, const Var<double>& xs, const auto& s) {
        const auto run = unroll::unroll(n, xs, s, options);
        Var<double> loss = weighted(run.outputs);
        const auto finals = stacked(run.state, state_parts);
        for (const auto& part : finals) loss = loss + weighted(part);
        return std::tuple{loss, run.outputs, finals};
      },
      net, own("xs"), s0);
  CHECK(distance(std::get<0>(r.auxiliary), own("outputs")) < tolerance);
  CHECK(distance(std::get<1>(r.auxiliary), last) < tolerance);
  const auto& [d_net, d_xs, d_s0] = r.gradient;
  CHECK(distance(flat(d_net), own("d_parameters")) < tolerance);
  CHECK(distance(d_xs, own("d_xs")) < tolerance);
  CHECK(distance(stacked(d_s0, state_parts), d_first) < tolerance);

  // Written back: the same names, shapes and bits.
  const auto written = std::filesystem::temp_directory_path() / ("unroll_test_" + name);
  save(written, net, {}, pytorch_name);
  const SafetensorsFile back = read_safetensors(written);
  std::filesystem::remove(written);
  std::map<std::string, TensorData> expected, saved(back.tensors.begin(), back.tensors.end());
  for (const auto& [tensor_name, data] : file.tensors) {
    if (!tensor_name.starts_with("test.")) expected.emplace(tensor_name, data);
  }
  CHECK(saved == expected);
}

template <class Cell>
void check_kind(const std::string& kind, std::size_t state_parts) {
  for (const Size layers : {1, 2, 3}) {
    const auto name = kind + "_" + std::to_string(layers);
    check_against_pytorch(name, Stack<Cell>::make(Key(1), {.layers = layers}, I, H), state_parts);
    check_against_pytorch(name + "_bi",
                          Stack<Bidirectional<Cell>>::make(Key(1), {.layers = layers}, I, H),
                          state_parts);
  }
}

}  // namespace

TEST_CASE("RNN stacks of 1 to 3 layers, both directions, ragged too, are PyTorch's") {
  check_kind<Rnn<double>>("rnn", 1);
  check_against_pytorch(
      "relu_1_bi", Stack<Bidirectional<ReluRnn<double>>>::make(Key(1), {.layers = 1}, I, H), 1);
}
TEST_CASE("GRU stacks of 1 to 3 layers, both directions, ragged too, are PyTorch's") {
  check_kind<Gru<double>>("gru", 1);
}
TEST_CASE("LSTM stacks of 1 to 3 layers, both directions, ragged too, are PyTorch's") {
  check_kind<Lstm<double>>("lstm", 2);
}
TEST_CASE("An LSTM with a projection is PyTorch's with proj_size") {
  check_against_pytorch(
      "lstm_proj_2_bi",
      Stack<Bidirectional<ProjectedLstm<double>>>::make(Key(1), {.layers = 2}, I, H, Size{1}), 2);
}

TEST_CASE("Names in PyTorch") {
  CHECK(pytorch_name("layers.0.weight_ih") == "weight_ih_l0");
  CHECK(pytorch_name("layers.12.backward.bias_hh") == "bias_hh_l12_reverse");
  CHECK(pytorch_name("encoder.layers.1.forward.weight_hr") == "encoder.weight_hr_l1");
  CHECK(pytorch_name("layers.1.backward.cell.bias_ih") == "bias_ih_l1_reverse");
  CHECK(pytorch_name("layers.1.layer.weight_hh") == "weight_hh_l1");
  CHECK(pytorch_name("tagger.forward.weight_ih") == "tagger.weight_ih_l0");
  // What PyTorch calls as we do.
  for (const std::string name : {"layers.0.weight", "weight_ih", "out.bias", "embedding.weight",
                                 "decoder.bias_hh", "forward.weight", "weight", ""}) {
    CHECK(pytorch_name(name) == name);
  }
}

TEST_CASE("A file of another network is refused by name or shape") {
  auto net = Stack<Gru<double>>::make(Key(1), {.layers = 2}, I, H);
  const auto before = net;
  CHECK_THROWS_WITH_AS(
      load(fixture("gru_1"), net, {.name = pytorch_name, .surplus = SurplusTensors::ignore}),
      doctest::Contains("there is no tensor \"weight_ih_l1\""), FormatError);
  CHECK_THROWS_WITH_AS(load(fixture("gru_2"), net, {.name = pytorch_name}),
                       doctest::Contains("the model has nothing for these tensors of the file: "
                                         "\"test.xs\""),
                       FormatError);
  CHECK_THROWS_WITH_AS(
      load(fixture("lstm_2"), net, {.name = pytorch_name, .surplus = SurplusTensors::ignore}),
      doctest::Contains("tensor \"weight_ih_l0\" has shape [8, 3]"), FormatError);
  CHECK(distance(net, before) == 0);
}
