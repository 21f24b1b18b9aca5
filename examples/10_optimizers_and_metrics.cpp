// What surrounds a model in training: losses, optimisers, schedules, averages of weights, metrics. A small network learns to
// tell the sign of the product of two numbers with three optimisers, from labels some of which are hidden.
//
//   10_optimizers_and_metrics --steps 600
#include <unroll/autograd/transforms.hpp>
#include <unroll/examples/check.hpp>
#include <unroll/examples/options.hpp>
#include <unroll/nn/linear.hpp>
#include <unroll/nn/losses.hpp>
#include <unroll/nn/metrics.hpp>
#include <unroll/nn/optimizers.hpp>
#include <unroll/nn/schedules.hpp>
#include <unroll/nn/span_f1.hpp>
#include <unroll/nn/weight_average.hpp>

using namespace unroll;

namespace {

struct Net {
  Linear<float> hidden, out;
  static constexpr auto fields() {
    return std::tuple{field("hidden", &Net::hidden), field("out", &Net::out)};
  }
  static Net make(const Key& key) {
    const auto [a, b] = split(key);
    return {Linear<float>::make(a, 2, 32), Linear<float>::make(b, 32, 2)};
  }
  Var<float> operator()(const Var<float>& x) const { return out(tanh(hidden(x))); }
};

constexpr std::int64_t hidden_label = -100;

// Points in a square; class 1 where the product is positive. A share of the labels is hidden.
struct Points {
  Var<float> x;
  Indices labels;
  static Points make(const Key& key, Size n, double hidden_share) {
    const auto [a, b] = split(key);
    const Var<float> x = uniform<float>(a, {n, 2}, -1, 1);
    const auto products = prod(x, -1).to_vector();
    const auto hide = bernoulli<float>(b, {n}, hidden_share).to_vector();
    std::vector<std::int64_t> labels;
    for (std::size_t i = 0; i < hide.size(); ++i)
      labels.push_back(hide[i] > 0 ? hidden_label : products[i] > 0);
    return {x, Indices(labels)};
  }
};

struct Trained {
  Net last, average;
};

// Any optimiser has options.learning_rate and step; any function of a step is a schedule.
template <class Optimizer, class Schedule>
Trained train(Net net, Optimizer optimizer, const Schedule& schedule, Size steps) {
  WeightAverage average(net, {.decay = 0.99, .warmup = AverageWarmup::yes});
  for (Size step = 0; step < steps; ++step) {
    const Points batch = Points::make(fold_in(Key(2), static_cast<std::uint64_t>(step)), 64, 0.3);
    const auto loss = [&](const Net& n) {
      return cross_entropy(n(batch.x), batch.labels,
                           {.label_smoothing = 0.05, .ignored = hidden_label});
    };
    optimizer.options.learning_rate = schedule(step);
    optimizer.step(net, clip_by_norm(value_and_grad(loss, net).gradient, 1.0));
    average.update(net);
  }
  return {net, average.model};
}

}  // namespace

int main(int argc, char** argv) {
  Size steps = 600;
  CLI::App app{"Three optimisers, a schedule for each, averages of weights, and metrics."};
  app.add_option("--steps", steps, "updates of each")->check(CLI::Range(100, 100000));
  if (const auto code = examples::parse(app, argc, argv)) return *code;

  const Net start = Net::make(Key(1));
  const Points held_out = Points::make(Key(3), 2000, 0);
  examples::Checks checks;
  const auto report = [&](const char* name, const Trained& trained) {
    TextLikelihood likelihood;  // of labels instead of letters: the same sums
    ConfusionMatrix confusion(2);
    const Var<float> logits = trained.average(held_out.x);
    likelihood.add(cross_entropy(logits, held_out.labels, {.reduction = Reduction::sum}).item(),
                   2000);
    confusion.add(argmax(logits), held_out.labels);
    Accuracy last;
    last.add(trained.last(held_out.x), held_out.labels);
    fmt::print("{}: right {:.1f} % (last weights {:.1f} %), macro F1 {:.3f}, perplexity {:.3f}\n",
               name, 100 * confusion.accuracy(), 100 * last.value(), confusion.macro().f1,
               likelihood.perplexity());
    checks.at_least("share right, held out", confusion.accuracy(), 0.95);
  };
  report("SGD with momentum, one cycle", train(start, Sgd(start, {.momentum = 0.9}),
                                               OneCycle{.highest = 0.5, .steps = steps}, steps));
  report("RMSProp, exponential",
         train(start, RmsProp(start), Exponential{.rate = 0.01, .factor = 0.998}, steps));
  report("AdamW without decay of biases, warm-up and cosine",
         train(start, AdamW(start, {.weight_decay = 0.05}, decay_matrices_only(start)),
               Warmup(50, Cosine{.rate = 0.02, .steps = steps - 50}), steps));

  SpanF1 spans;
  const std::vector<std::string> truth{"B-PER", "I-PER", "O", "B-LOC"};
  spans.add(std::vector<std::string>{"B-PER", "I-PER", "O", "O"}, truth);
  checks.near("span F1, one of two names found", spans.overall().f1, 2.0 / 3, 1e-12);
  return checks.exit_code();
}
