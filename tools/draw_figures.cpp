// Draws the figures of the pages from the project's own tape: draw_figures docs/figures [MODEL]
//
// unrolled_rnn.svg is the notes' network over three steps as the tape recorded it: time runs down, a
// box for each step. encoder_decoder.svg is the translator's: two steps of the encoder, then two of the
// decoder. classify_images.svg reads three rows of an image, caption_images.svg writes two words about one,
// classify_text.svg and tag_sequence.svg read three words, compose_music.svg three characters. With a composer's
// MODEL also compose_music_roll.svg, the piano roll of a tune that it writes, which goes to standard output.
// The heat maps beside them are drawn by 06_vanishing_gradients --svg.
#include <unroll/autograd/inspect.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/models/caption_images/caption_images.hpp>
#include <unroll/models/compose_music/score.hpp>
#include <unroll/models/compose_music/writer.hpp>
#include <unroll/models/rnn.hpp>
#include <unroll/models/training/pictures.hpp>
#include <unroll/nn/atomic_file.hpp>
#include <unroll/nn/encoder_decoder.hpp>
#include <unroll/nn/losses.hpp>

#include <fmt/format.h>

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

// With an encoder of one direction: the other one is the same from the other end.
std::string encoder_decoder() {
  const auto k = split<4>(Key(1));
  const Size steps = 2, batch = 2, size = 3, words = 5;
  Tape<double> tape;
  const auto encoder = lift(tape, Gru<double>::make(k[0], size, size));
  const auto decoder = lift(
      tape, PlainLuongDecoder<double>::make(k[1], GeneralAttention<double>::make(k[2], size, size),
                                            {words, size, size, size}));
  const auto xs = tape.leaf(normal<double>(k[3], {steps, batch, size}));
  Names<double> names = names_of<double>(encoder, "encoder");
  for (const auto& name : names_of<double>(decoder, "decoder")) names.push_back(name);
  names.emplace_back(xs, "source");
  const auto add = [&](const Var<double>& x, const char* name, Size t) {
    names.emplace_back(x, fmt::format("{}_{}", name, t + 1));
  };
  std::vector<Var<double>> read, ends;
  Var<double> state = zeros<double>({batch, size});
  for (Size t = 0; t < steps; ++t) {
    state = encoder(index(xs, 0, t), state);
    add(state, "m", t);
    read.push_back(state);
  }
  ends = read;
  const auto step = attending(decoder, stack(read));
  for (Size t = 0; t < steps; ++t) {
    const auto next = step.advance(Indices({batch}, {0, 1}), state);
    state = next.state;
    ends.push_back(step.readout(next.features));
    add(state, "s", t);
    add(next.weights, "weights", t);
    add(ends.back(), "logits", t);
  }
  return to_dot(tape, {.steps = ends, .names = names, .time = TimeAxis::down});
}

// The network by rows, of three rows of four pixels.
std::string classify_images() {
  const auto k = split<3>(Key(1));
  Tape<double> tape;
  const auto image = tape.leaf(uniform<double>(k[0], {1, 3, 4}));
  const auto cell = lift(tape, Lstm<double>::make(k[1], 4, 4));
  const auto out = lift(tape, Linear<double>::make(k[2], 4, 2));
  Names<double> names = names_of<double>(cell);
  for (const auto& name : names_of<double>(out, "out")) names.push_back(name);
  names.emplace_back(image, "image");
  std::vector<Var<double>> ends;
  auto state = cell.initial_state(1);
  for (Size t = 0; t < 3; ++t) {
    state = cell(index(image, 1, t), state);
    names.emplace_back(state.h, fmt::format("h_{}", t + 1));
    names.emplace_back(state.c, fmt::format("c_{}", t + 1));
    ends.push_back(state.h);
  }
  names.emplace_back(out(state.h), "digit");
  return to_dot(tape, {.steps = ends, .names = names, .time = TimeAxis::down});
}

// The decoder over what it sees, which stands for the windows of the image.
std::string caption_images() {
  Tape<float> tape;
  const auto decoder = lift(
      tape,
      CaptionDecoder::make(Key(1), {.memory = 3, .hidden = 3, .embedding = 2, .vocabulary = 5}));
  const auto windows = tape.leaf(uniform<float>(Key(2), {4, 1, 3}));
  Names<float> names = names_of<float>(decoder);
  names.emplace_back(windows, "windows");
  const auto step = attending(decoder, windows);
  std::vector<Var<float>> ends;
  Var<float> state = decoder.cell.initial_state(1);
  for (Size t = 0; t < 2; ++t) {
    const auto next = step.advance(Indices({1}, {t}), state);
    state = next.state;
    ends.push_back(step.readout(next.features));
    names.emplace_back(state, fmt::format("s_{}", t + 1));
    names.emplace_back(next.weights, fmt::format("weights_{}", t + 1));
    names.emplace_back(ends.back(), fmt::format("word_{}", t + 2));
  }
  return to_dot(tape, {.steps = ends, .names = names, .time = TimeAxis::down});
}

// The composer over three characters.
std::string compose_music() {
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

enum class Answers { one, each_step };

// One direction of reading, over three words, with the simplest cell; the other reads the same words from
// their end.
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

void draw(const std::string& path, const Picture& picture) {
  if (!picture.ok()) throw std::runtime_error(picture.problem);
  write_file_atomically(path, picture.svg);
  fmt::print(stderr, "{}\n", path);
}

void draw_all(const std::string& folder, const char* model) {
  const auto path = [&](const char* name) { return fmt::format("{}/{}.svg", folder, name); };
  for (const auto& [name, graph] :
       {std::pair{"unrolled_rnn", unrolled_rnn()}, std::pair{"encoder_decoder", encoder_decoder()},
        std::pair{"classify_images", classify_images()},
        std::pair{"caption_images", caption_images()}, std::pair{"compose_music", compose_music()},
        std::pair{"classify_text", reading(Answers::one)},
        std::pair{"tag_sequence", reading(Answers::each_step)}}) {
    draw(path(name), graph_svg(graph));
  }
  if (!model) return;
  const TuneRequest request = parse_request("K:G M:6/8 | GABc", "request", 1);
  const std::string abc = compose(load_composer(model), request, Key(1));
  fmt::print("{}", abc);
  BadData bad(OnBadData::stop);
  draw(path("compose_music_roll"), piano_roll(parse_abc(abc, "tune", bad).at(0), 72));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fmt::print(stderr, "usage: draw_figures FOLDER [MODEL]\n");
    return 2;
  }
  try {
    draw_all(argv[1], argc == 3 ? argv[2] : nullptr);
  } catch (const std::exception& e) {
    fmt::print(stderr, "draw_figures: {}\n", e.what());
    return 1;
  }
  return 0;
}
