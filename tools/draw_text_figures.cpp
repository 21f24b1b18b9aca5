// Draws the unrolled graphs of docs/classify_text.md and docs/tag_sequence.md from tapes of the
// project: draw_text_figures docs/figures
//
// One direction of reading is drawn, over three words, with the simplest cell; the other reads the
// same words from their end.
#include <unroll/autograd/inspect.hpp>
#include <unroll/models/training/pictures.hpp>
#include <unroll/nn/atomic_file.hpp>
#include <unroll/nn/cells.hpp>
#include <unroll/nn/embedding.hpp>
#include <unroll/nn/linear.hpp>
#include <unroll/nn/losses.hpp>

#include <fmt/format.h>

using namespace unroll;

namespace {

enum class Answers { one, each_step };

std::string reading(Answers answers) {
  const auto [a, b, c] = split<3>(Key(1));
  Tape<double> tape;
  const auto [table, cell, answer] =
      lift(tape, std::tuple{Embedding<double>::make(a, 5, 3), Elman<double>::make(b, 3, 4),
                            Linear<double>::make(c, 4, 2)});
  Names<double> names{{table.weight, "words"}, {cell.U, "U"},        {cell.W, "W"},
                      {cell.b, "b"},           {answer.weight, "V"}, {answer.bias, "c"}};
  std::vector<Var<double>> ends, losses;
  Var<double> state = cell.initial_state(1);
  for (Size t = 0; t < 3; ++t) {
    state = cell(table(Indices({1}, {t})), state);
    names.emplace_back(state, fmt::format("a_{}", t + 1));
    ends.push_back(state);
    if (answers == Answers::one && t < 2) continue;
    const Var<double> scores = answer(state);
    names.emplace_back(scores, answers == Answers::one ? "label" : fmt::format("tag_{}", t + 1));
    losses.push_back(cross_entropy(scores, Indices({1}, {t % 2})));
    if (answers == Answers::each_step) ends.back() = losses.back();
  }
  names.emplace_back(sum(stack(losses)), "L");
  return to_dot(tape, {.steps = ends, .names = names, .time = TimeAxis::down});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: draw_text_figures FOLDER\n");
    return 2;
  }
  for (const auto& [name, answers] :
       {std::pair{"classify_text", Answers::one}, std::pair{"tag_sequence", Answers::each_step}}) {
    const Picture picture = graph_svg(reading(answers));
    if (!picture.ok()) {
      fmt::print(stderr, "draw_text_figures: {}\n", picture.problem);
      return 1;
    }
    const std::string path = fmt::format("{}/{}.svg", argv[1], name);
    write_file_atomically(path, picture.svg);
    fmt::print("{}\n", path);
  }
  return 0;
}
