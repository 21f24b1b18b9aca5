// Reading from both ends: against runs of the two layers over the sequence and its mirror image.
#include <doctest/doctest.h>

#include <string>

#include "tree_distance.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

constexpr Size T = 5, B = 2, I = 3, H = 4;
const Var<double> xs = normal<double>(Key(1), {T, B, I});

Var<double> mirrored(const Var<double>& v) {
  std::vector<Var<double>> steps = unbind(v);
  std::reverse(steps.begin(), steps.end());
  return stack(steps);
}

}  // namespace

TEST_CASE("Outputs of both directions stand side by side, each at its step") {
  const auto check = [](const auto& layer) {
    const auto s0 = random_like(layer.initial_state(B), 3);
    const auto run = unroll::unroll(layer, xs, s0);
    const auto there = unroll::unroll(layer.forward, xs, s0.forward);
    const auto back = unroll::unroll(layer.backward, mirrored(xs), s0.backward);
    CHECK(run.outputs.shape() == Shape{T, B, 2 * H});
    CHECK(layer.output_size() == 2 * H);
    CHECK(distance(slice(run.outputs, -1, SliceRange{0, H}), there.outputs) == 0);
    CHECK(distance(slice(run.outputs, -1, SliceRange{H}), mirrored(back.outputs)) < 1e-14);
    CHECK(distance(run.state.forward, there.state) == 0);
    CHECK(distance(run.state.backward, back.state) < 1e-14);
    check_grads(
        [&](const auto& m, const Var<double>& v, const auto& s) {
          const auto r = unroll::unroll(m, v, s);
          return weighted_squares<double>(std::tuple{r.outputs, r.state}, 9);
        },
        std::tuple{layer, xs, s0});
  };
  check(Bidirectional<Rnn<double>>::make(Key(2), I, H));
  check(Bidirectional<Lstm<double>>::make(Key(2), I, H));
  check(Bidirectional<PeepholeLstm<double>>::make(Key(2), I, H));
}

TEST_CASE("Layers above read both directions; stacks may stand inside") {
  const auto tagger = Stack<Bidirectional<Gru<double>>>::make(Key(2), {.layers = 3}, I, H);
  CHECK(tagger.layers[1].forward.weight_ih.shape() == Shape{3 * H, 2 * H});
  CHECK(tagger.output_size() == 2 * H);
  const auto run = unroll::unroll(tagger, xs, tagger.initial_state(B));
  CHECK(run.outputs.shape() == Shape{T, B, 2 * H});

  using Tower = Stack<Gru<double>>;
  const Bidirectional<Tower> towers{Tower::make(Key(3), {.layers = 2}, I, H),
                                    Tower::make(Key(4), {.layers = 2}, I, 3)};
  CHECK(towers.output_size() == H + 3);
  const auto both = unroll::unroll(towers, xs, towers.initial_state(B));
  CHECK(distance(slice(both.outputs, -1, SliceRange{0, H}),
                 unroll::unroll(towers.forward, xs, towers.forward.initial_state(B)).outputs) == 0);
}

TEST_CASE("What is at a step depends on all steps: the Jacobian has no zero blocks") {
  const auto layer = Bidirectional<Rnn<double>>::make(Key(2), I, H);
  const auto s0 = layer.initial_state(B);
  const auto at = [&](Size t) {
    return grad([&, t](const Var<double>& v) {
      return sum(index(unroll::unroll(layer, v, s0).outputs, 0, t));
    })(xs);
  };
  for (const Size t : {Size{0}, Size{2}, T - 1}) {
    const auto g = at(t);
    for (Size s = 0; s < T; ++s) CHECK(max(abs(index(g, 0, s))).item() > 1e-6);
  }
}

TEST_CASE("Names of a bidirectional stack's parameters") {
  const auto net = Stack<Bidirectional<Lstm<float>>>::make(Key(2), {.layers = 2}, I, H);
  std::string names;
  for_each_named(net, [&](const std::string& name, const auto&) { names += name + " "; });
  CHECK(names.starts_with("layers.0.forward.weight_ih layers.0.forward.weight_hh "));
  CHECK(names.find("layers.1.backward.bias_hh") != names.npos);
  const auto again = Stack<Bidirectional<Lstm<float>>>::make(Key(2), {.layers = 2}, I, H);
  CHECK(distance(net, again) == 0);
  CHECK(max(abs(net.layers[0].forward.weight_hh - net.layers[0].backward.weight_hh)).item() > 0.01);
}
