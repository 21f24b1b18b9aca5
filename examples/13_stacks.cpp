// Parts for sequence models: a stack that reads sequences of different lengths from both ends, trained on a task that needs
// both; a stream learned in windows (truncated BPTT); weights under PyTorch's names.
#include <filesystem>

#include <unroll/examples/check.hpp>
#include <unroll/examples/options.hpp>
#include <unroll/nn/nn.hpp>

using namespace unroll;

using Layers = Stack<Bidirectional<Gru<float>>>;
struct Tagger {
  Layers layers;
  Linear<float> out;
  static constexpr auto fields() {
    return std::tuple{field("layers", &Tagger::layers), field("out", &Tagger::out)};
  }
  // Packed in, packed out: no padding is computed, and none has to be masked.
  Var<float> operator()(const Packed<float>& xs, const std::optional<Key>& key = {}) const {
    const auto state = layers.initial_state(xs.layout->lengths.batch());
    return out(unroll::unroll(layers, xs, state, {.key = key}).outputs.data);
  }
};

// Each step's label names the first and the last symbol of its sequence: one is known from the left, one from the right.
struct Batch {
  Packed<float> xs;
  Indices labels;
};
constexpr Size symbols = 3;
Batch draw(const Key& key) {
  constexpr Size steps = 12, B = 32;
  const auto [a, b] = split(key);
  const Indices x = randint(a, {steps, B}, 0, symbols), n = randint(b, {B}, 2, steps + 1);
  std::vector<std::int64_t> ends;
  for (Size i = 0; i < steps * B; ++i) {
    ends.push_back(symbols * x(i % B) + x((n(i % B) - 1) * B + i % B));
  }
  return {pack(one_hot<float>(x, symbols), n), pack(Indices({steps, B}, ends), n)};
}
double accuracy(const Tagger& net, const Batch& batch) {
  const Indices best = argmax(net(batch.xs));
  Size right = 0;
  for (Size i = 0; i < best.size(); ++i) right += best(i) == batch.labels(i);
  return static_cast<double>(right) / static_cast<double>(best.size());
}

// A square wave as a stream, each value to be told from those before: one layer, windows of 10 steps that reach back 20.
struct Forecast {
  Stack<LayerNormLstm<float>> layers;
  Linear<float> out;
  static constexpr auto fields() {
    return std::tuple{field("layers", &Forecast::layers), field("out", &Forecast::out)};
  }
};
double learn_stream() {
  constexpr Size T = 200;
  std::vector<float> wave;
  for (Size t = 0; t <= T; ++t) wave.push_back(t / 4 % 2 ? 1.0F : -1.0F);
  const Var<float> ys({T + 1, 1, 1}, wave);
  const auto [a, b] = split(Key(5));
  Forecast net{Stack<LayerNormLstm<float>>::make(a, {.layers = 1}, 1, 16),
               Linear<float>::make(b, 16, 1)};
  Adam adam(net, {.learning_rate = 0.01});
  double last = 0;
  for (int epoch = 0; epoch < 3; ++epoch) {
    TruncatedBptt bptt(net.layers.initial_state(1), T, {.k1 = 10, .k2 = 20});
    while (!bptt.done()) {
      const auto [loss, gradient] =
          bptt.next(net, [&](const Forecast& n, const auto& s, BpttSteps part) {
            const auto run =
                unroll::unroll(n.layers, slice(ys, 0, SliceRange{part.begin, part.end}), s);
            const auto target = slice(ys, 0, SliceRange{part.begin + 1, part.end + 1});
            return std::pair{sum(square(n.out(run.outputs) - target)), run.state};
          });
      adam.step(net, clip_by_norm(gradient, 1.0));
      last = loss.item() / 10;
    }
  }
  return last;
}

int main(int argc, char** argv) {
  Size hidden = 24;
  int updates = 150;
  CLI::App app("Stacks of layers, ragged batches, truncated BPTT, PyTorch's names");
  app.option_defaults()->always_capture_default();
  app.add_option("--hidden", hidden, "hidden units of a layer and direction")
      ->check(CLI::Range(1, 256));
  app.add_option("--updates", updates, "updates of the tagger")->check(CLI::Range(1, 10000));
  if (const auto code = examples::parse(app, argc, argv)) return *code;

  const auto [a, b] = split(Key(1));
  Tagger net{Layers::make(a, {.layers = 2, .dropout = 0.1}, symbols, hidden),
             Linear<float>::make(b, 2 * hidden, symbols * symbols)};
  Adam adam(net, {.learning_rate = 0.01});
  for (int i = 0; i < updates; ++i) {
    const Key key = fold_in(Key(2), static_cast<std::uint64_t>(i));
    const Batch batch = draw(key);
    const auto step = value_and_grad(
        [&](const Tagger& n) { return cross_entropy(n(batch.xs, fold_in(key, 1)), batch.labels); },
        net);
    adam.step(net, clip_by_norm(step.gradient, 1.0));
  }
  const Batch test = draw(Key(3));

  // torch.nn.GRU(3, hidden, 2, bidirectional=True).load_state_dict(...) takes what is written here.
  const auto file = std::filesystem::temp_directory_path() / "unroll_13_stacks.safetensors";
  save(file, net.layers, {}, pytorch_name);
  Tagger loaded = net;
  loaded.layers = zeros_like(net.layers);
  load(file, loaded.layers, {.name = pytorch_name});
  std::filesystem::remove(file);

  examples::Checks checks;
  checks.at_least("steps tagged right", accuracy(net, test), 0.95);
  checks.near("the same from PyTorch's names", accuracy(loaded, test), accuracy(net, test), 0);
  checks.at_most("squared error on the stream", learn_stream(), 0.1);
  return checks.exit_code();
}
