// What a user's file costs to compile with the core headers: a model with a cell of the user's own
// (fused), unrolled over a sequence, its gradient and Adam. Measured by tools/compile_time.sh; also
// a program, which checks that the loss falls.
#include <cstdio>

#include "unroll/autograd/autograd.hpp"
#include "unroll/nn/nn.hpp"

using unroll::Indices, unroll::Key, unroll::Linear, unroll::Size, unroll::Var;

namespace {

// h' = (1 - z) h + z tanh(s), z = σ(g): a gated cell with one product for input and state each.
struct GatedCell {
  Linear<float> input;
  Var<float> recurrent;  // [2H, H]
  static constexpr auto fields() {
    return std::tuple{unroll::field("input", &GatedCell::input),
                      unroll::field("recurrent", &GatedCell::recurrent)};
  }
  Var<float> operator()(const Var<float>& x, const Var<float>& h) const {
    const auto parts = split<2>(input(x) + linear(h, recurrent), -1);
    return fuse(
        [](auto g, auto s, auto h0) {
          const auto z = sigmoid(g);
          return (1 - z) * h0 + z * tanh(s);
        },
        parts[0], parts[1], h);
  }
};

struct Model {
  GatedCell cell;
  Linear<float> output;
  static constexpr auto fields() {
    return std::tuple{unroll::field("cell", &Model::cell), unroll::field("output", &Model::output)};
  }
};

}  // namespace

int main() {
  constexpr Size steps = 6, batch = 8, inputs = 3, hidden = 5, classes = 4;
  const auto keys = unroll::split<5>(Key(1));
  Model model{{Linear<float>::make(keys[0], inputs, 2 * hidden),
               unroll::glorot_uniform<float>(keys[1], {2 * hidden, hidden})},
              Linear<float>::make(keys[2], hidden, classes)};
  const auto xs = unroll::normal<float>(keys[3], {steps, batch, inputs});
  const Indices labels = unroll::randint(keys[4], {batch}, 0, classes);

  const auto loss = [&](const Model& m) {
    const auto run = unroll::unroll(m.cell, xs, unroll::zeros<float>({batch, hidden}));
    return cross_entropy(m.output(run.state), labels);
  };
  unroll::Adam adam(model, {.learning_rate = 0.02});
  const float before = loss(model).item();
  for (int i = 0; i < 100; ++i) {
    const auto result = unroll::value_and_grad(loss, model);
    adam.step(model, unroll::clip_by_norm(result.gradient, 5.0));
  }
  const float after = loss(model).item();
  std::printf("loss %.4f -> %.4f\n", before, after);
  return after < 0.5F * before ? 0 : 1;
}
