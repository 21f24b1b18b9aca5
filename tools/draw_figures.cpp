// Draws the figures of the pages from the project's own tape: draw_figures docs/figures
//
// unrolled_rnn.svg is the notes' network over three steps as the tape recorded it: time runs down, a
// box for each step. encoder_decoder.svg is the translator's: two steps of the encoder, then two of the
// decoder. classify_images.svg reads three rows of an image, caption_images.svg writes two words about one.
// The heat maps beside them are drawn by 06_vanishing_gradients --svg.
#include <unroll/autograd/inspect.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/models/caption_images/caption_images.hpp>
#include <unroll/models/rnn.hpp>
#include <unroll/models/training/pictures.hpp>
#include <unroll/nn/encoder_decoder.hpp>

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

int draw(const std::string& folder, const std::string& name, const std::string& dot) {
  const Picture picture = graph_svg(dot);
  if (!picture.ok()) {
    fmt::print(stderr, "draw_figures: {}\n", picture.problem);
    return 1;
  }
  const std::string path = folder + "/" + name + ".svg";
  std::ofstream file(path);
  if (!(file << picture.svg).flush()) {
    fmt::print(stderr, "draw_figures: {} cannot be written\n", path);
    return 1;
  }
  fmt::print("{}\n", path);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: draw_figures FOLDER\n");
    return 2;
  }
  const std::pair<const char*, std::string> graphs[] = {{"unrolled_rnn", unrolled_rnn()},
                                                        {"encoder_decoder", encoder_decoder()},
                                                        {"classify_images", classify_images()},
                                                        {"caption_images", caption_images()}};
  int result = 0;
  for (const auto& [name, graph] : graphs) result = std::max(result, draw(argv[1], name, graph));
  return result;
}
