// A task that needs memory: at the end, name the symbol that came first. A recurrent network learns
// it. A feed-forward one can only guess unless it sees all steps, and then for this length only.
#include <unroll/autograd/transforms.hpp>
#include <unroll/examples/check.hpp>
#include <unroll/examples/options.hpp>
#include <unroll/models/feed_forward.hpp>
#include <unroll/models/memory_task.hpp>
#include <unroll/nn/nn.hpp>

using namespace unroll;

struct Options {
  RecallOptions task{.steps = 12, .batch = 64, .symbols = 4};
  Size hidden = 32;
  int updates = 600;
};

struct Recurrent {
  Gru<float> cell;
  Linear<float> out;
  static constexpr auto fields() {
    return std::tuple{field("cell", &Recurrent::cell), field("out", &Recurrent::out)};
  }
  Var<float> operator()(const Var<float>& xs) const {
    return out(unroll_steps(cell, xs, cell.initial_state(xs.size(1))).state);
  }
};

struct Windowed {
  FeedForward<float> net;
  Size window = 1;
  static constexpr auto fields() { return std::tuple{field("net", &Windowed::net)}; }
  Var<float> operator()(const Var<float>& xs) const { return net(last_steps(xs, window)); }
};

// Trains on new batches each time; the share of right answers on sequences not seen before.
template <class Net>
double learn(const std::string& name, Net net, const Options& o) {
  Adam adam(net, {.learning_rate = 0.01});
  double last = 0;
  for (int i = 0; i < o.updates; ++i) {
    const auto batch = recall_task<float>(fold_in(Key(1), i), o.task);
    const auto step =
        value_and_grad([&](const Net& n) { return cross_entropy(n(batch.xs), batch.labels); }, net);
    adam.step(net, clip_by_norm(step.gradient, 1.0));
    last = step.value.item();
  }
  const auto test = recall_task<float>(Key(2), {o.task.steps, 2000, o.task.symbols});
  const double share = accuracy(net(test.xs), test.labels);
  fmt::print("{:<36}{:>11}{:>8.3f}{:>10.3f}\n", name, parameter_count(net), last, share);
  return share;
}

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Recalling the first symbol of a sequence, with and without memory");
  app.option_defaults()->always_capture_default();
  app.add_option("--steps", o.task.steps, "length of the sequences")->check(CLI::Range(2, 200));
  app.add_option("--hidden", o.hidden, "hidden units")->check(CLI::Range(1, 512));
  app.add_option("--updates", o.updates, "updates of Adam")->check(CLI::Range(1, 100000));
  if (const auto code = examples::parse(app, argc, argv)) return *code;

  const Size K = o.task.symbols, T = o.task.steps;
  const auto k = split<4>(Key(3));
  const Recurrent gru{Gru<float>::make(k[0], K, o.hidden), Linear<float>::make(k[1], o.hidden, K)};
  const auto forward = [&](const Key& key, Size window) {
    return Windowed{FeedForward<float>::make(key, {window * K, o.hidden, K}), window};
  };
  const double guess = 1.0 / static_cast<double>(K);
  fmt::print("Which of {} symbols came first in {}? Guessing: {:.3f} right.\n", K, T, guess);
  fmt::print("{:<36}{:>11}{:>8}{:>10}\n", "network", "parameters", "loss", "right");
  const double memory = learn("recurrent (GRU)", gru, o);
  const double blind = learn("feed-forward, all but step 1", forward(k[2], T - 1), o);
  const double all = learn("feed-forward, all steps", forward(k[3], T), o);
  examples::Checks checks;
  checks.at_least("the recurrent network remembers", memory, 0.98);
  checks.at_most("without memory it is guesswork", blind, guess + 0.05);
  checks.at_least("with everything in view it is not", all, 0.98);
  return checks.exit_code();
}
