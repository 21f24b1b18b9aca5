// Draws the figures of docs/compose_music.md: draw_music_figures docs/figures [MODEL]
//
// compose_music.svg is the composer's unrolled graph over three characters, from a tape of the project;
// compose_music_roll.svg the piano roll of a tune that MODEL writes, which goes to the standard output.
#include <unroll/autograd/inspect.hpp>
#include <unroll/models/compose_music/score.hpp>
#include <unroll/models/compose_music/writer.hpp>
#include <unroll/nn/atomic_file.hpp>

#include <fmt/format.h>

using namespace unroll;

namespace {

std::string unrolled() {
  const auto [a, b, c] = split<3>(Key(1));
  Tape<double> tape;
  const auto [table, cell, next] =
      lift(tape, std::tuple{Embedding<double>::make(a, 5, 3), Lstm<double>::make(b, 3, 4),
                            Linear<double>::make(c, 4, 5)});
  Names<double> names{{table.weight, "E"}, {next.weight, "V"}, {next.bias, "b"}};
  for (const auto& name : names_of<double>(cell)) names.push_back(name);
  std::vector<Var<double>> losses;
  auto state = cell.initial_state(1);
  for (Size t = 0; t < 3; ++t) {
    state = cell(table(Indices({1}, {t})), state);
    const Var<double> logits = next(state.h);
    losses.push_back(cross_entropy(logits, Indices({1}, {t + 1})));
    names.emplace_back(state.h, fmt::format("h_{}", t + 1));
    names.emplace_back(state.c, fmt::format("c_{}", t + 1));
    names.emplace_back(logits, fmt::format("character_{}", t + 2));
  }
  names.emplace_back(sum(stack(losses)), "L");
  return to_dot(tape, {.steps = losses, .names = names, .time = TimeAxis::down});
}

int draw(const std::string& path, const Picture& picture) {
  if (!picture.ok()) {
    fmt::print(stderr, "draw_music_figures: {}\n", picture.problem);
    return 1;
  }
  write_file_atomically(path, picture.svg);
  fmt::print(stderr, "{}\n", path);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fmt::print(stderr, "usage: draw_music_figures FOLDER [MODEL]\n");
    return 2;
  }
  const std::string name = std::string(argv[1]) + "/compose_music";
  if (draw(name + ".svg", graph_svg(unrolled())) != 0) return 1;
  if (argc == 2) return 0;
  const TuneRequest request = parse_request("K:G M:6/8 | GABc", "request", 1);
  const std::string abc = compose(load_composer(argv[2]), request, Key(1));
  fmt::print("{}", abc);
  BadData bad(OnBadData::stop);
  return draw(name + "_roll.svg", piano_roll(parse_abc(abc, "tune", bad).at(0), 72));
}
