// Draws the figures of the pages from the project's own tape: draw_figures docs/figures
//
// unrolled_rnn.svg is the notes' network over three steps as the tape recorded it: time runs down, a
// box for each step. The heat maps beside it are drawn by the example 06_vanishing_gradients --svg.
#include <unroll/autograd/inspect.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/models/rnn.hpp>
#include <unroll/models/training/pictures.hpp>

#include <fmt/format.h>

#include <fstream>

using namespace unroll;

namespace {

std::string unrolled_rnn() {
  const auto k = split<4>(Key(1));
  const Size steps = 3, batch = 2, inputs = 3, hidden = 4, classes = 2;
  Tape<double> tape;
  const auto xs = tape.leaf(normal<double>(k[3], {steps, batch, inputs}));
  const NotesRnn<double> net = lift(
      tape, NotesRnn<double>{normal<double>(k[0], {hidden, inputs}),
                             normal<double>(k[1], {hidden, hidden}), zeros<double>({hidden}),
                             normal<double>(k[2], {classes, hidden}), zeros<double>({classes})});
  const auto ys = one_hot<double>(Indices({steps, batch}, {0, 1, 1, 0, 0, 1}), classes);

  Names<double> names = names_of<double>(net);
  names.emplace_back(xs, "xs");
  const auto states = net.states(xs, zeros<double>({batch, hidden}));
  std::vector<Var<double>> losses;
  for (Size t = 0; t < steps; ++t) {
    const auto& a = states[static_cast<std::size_t>(t)];
    const auto y = read_out(a, net.V, net.c);
    losses.push_back(sum(square(y - index(ys, 0, t))));
    names.emplace_back(a, fmt::format("a_{}", t + 1));
    names.emplace_back(y, fmt::format("ŷ_{}", t + 1));
    names.emplace_back(losses.back(), fmt::format("L_{}", t + 1));
  }
  const auto loss = sum(stack(losses)) / static_cast<double>(steps * batch);
  names.emplace_back(loss, "L");
  return to_dot(tape, {.steps = states, .names = names, .time = TimeAxis::down});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: draw_figures FOLDER\n");
    return 2;
  }
  const Picture picture = graph_svg(unrolled_rnn());
  if (!picture.ok()) {
    fmt::print(stderr, "draw_figures: {}\n", picture.problem);
    return 1;
  }
  const std::string path = std::string(argv[1]) + "/unrolled_rnn.svg";
  std::ofstream file(path);
  if (!(file << picture.svg).flush()) {
    fmt::print(stderr, "draw_figures: {} cannot be written\n", path);
    return 1;
  }
  fmt::print("{}\n", path);
}
