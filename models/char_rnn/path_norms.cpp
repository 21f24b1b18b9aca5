#include "unroll/models/char_rnn/path_norms.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "unroll/autograd/inspect.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/optimizers.hpp"

namespace unroll {
namespace {

// -ln p of each step's target; step t uses the recurrent weight weights[t]. The first character is
// read before, so that no step begins with an empty memory.
std::vector<Var<float>> step_losses(const CharRnn<float>& net, std::span<const std::int64_t> ids,
                                    const std::vector<Var<float>>& weights) {
  Lstm<float> cell = net.cell;
  const auto read = [&](std::int64_t id, const LstmState<float>& state) {
    return cell(net.embedding(Indices({1}, {id})), state);
  };
  std::vector<Var<float>> losses;
  LstmState<float> state = read(ids[0], net.initial_state(1));
  for (std::size_t t = 0; t < weights.size(); ++t) {
    cell.weight_hh = weights[t];
    state = read(ids[t + 1], state);
    losses.push_back(cross_entropy(net.read_out(state.h), Indices({1}, {ids[t + 2]})));
  }
  return losses;
}

double largest(const Var<float>& x) { return max(abs(x)).item(); }

}  // namespace

PathNorms path_norms(const CharRnn<float>& net, std::span<const std::int64_t> ids) {
  if (ids.size() < 3) fail("path_norms", "a text of at least three characters is needed");
  const std::size_t steps = ids.size() - 2;
  const Var<float>& W = net.cell.weight_hh;
  const auto all = vjp([&](const std::vector<Var<float>>& w) { return step_losses(net, ids, w); },
                       std::vector<Var<float>>(steps, W));
  PathNorms paths{.steps = steps, .norms = std::vector<double>(steps * steps)};
  Var<float> total = zeros<float>(W.shape());
  for (std::size_t t = 0; t < steps; ++t) {
    std::vector<Var<float>> seed(steps, Var<float>(0));
    seed[t] = Var<float>(1);
    const std::vector<Var<float>> contributions = all.pullback(seed);
    for (std::size_t k = 0; k < steps; ++k) {
      paths.norms[t * steps + k] =
          k <= t ? global_norm(contributions[k]) : std::numeric_limits<double>::quiet_NaN();
      if (k <= t) total = total + contributions[k];
    }
  }
  const Var<float> gradient = grad([&](const Var<float>& w) {
    Var<float> loss(0);
    for (const auto& step : step_losses(net, ids, std::vector(steps, w))) loss = loss + step;
    return loss;
  })(W);
  paths.sum_difference = largest(total - gradient) / largest(gradient);
  return paths;
}

std::string unrolled_graph(const CharRnn<float>& net, std::span<const std::int64_t> ids) {
  if (ids.size() < 4) fail("unrolled_graph", "a text of at least four characters is needed");
  const Indices inputs({3, 1}, ids.subspan(0, 3));
  const Indices targets({3, 1}, ids.subspan(1, 3));
  Tape<float> tape;
  const CharRnn<float> n = lift(tape, net);
  const auto run = unroll_steps(n.cell, n.embedding(inputs), n.initial_state(1));
  const Var<float> loss = cross_entropy(n.read_out(stack(run.outputs)), targets);
  return to_dot(tape, {.steps = run.outputs, .names = names_of<float>(n), .time = TimeAxis::down});
}

}  // namespace unroll
