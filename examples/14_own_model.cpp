// A model of one's own, trained by the library's trainer in ten lines: batches, threads, validation,
// early stopping, checkpoints and Ctrl-C come with it.
//
//   14_own_model                                  a few seconds
//   14_own_model --save run.safetensors           ... and --resume run.safetensors goes on
//   14_own_model --help                           the options that all training programs share
//
// The task: does "ab" occur an odd number of times in a word over the letters a, b, c, d? A recurrent
// network has to find out, from words that say yes or no, that order matters and how to count.
#include <unroll/autograd/elementwise.hpp>
#include <unroll/examples/check.hpp>
#include <unroll/models/memory_task.hpp>
#include <unroll/models/training/options.hpp>
#include <unroll/models/training/run_report.hpp>
#include <unroll/models/training/trainer.hpp>
#include <unroll/nn/nn.hpp>

using namespace unroll;

// ---- The model: a struct with fields(); its cell has one gate and keeps what the gate lets through.
struct OwnCell {
  Linear<float> from_input, from_state;  // to [B, 2H]: the gate, the candidate
  static constexpr auto fields() {
    return std::tuple{field("from_input", &OwnCell::from_input),
                      field("from_state", &OwnCell::from_state)};
  }
  Var<float> start(Size batch) const { return zeros<float>({batch, from_state.weight.size(1)}); }
  Var<float> operator()(const Var<float>& x, const Var<float>& a) const {
    return fuse(
        [](auto z, auto n, auto before) {
          auto keep = sigmoid(z);
          return keep * before + (1 - keep) * tanh(n);
        },
        parts<2>(from_input(x) + from_state(a)), a);
  }
};

struct OwnModel {
  Embedding<float> letters;
  OwnCell cell;
  Linear<float> answer;
  static constexpr auto fields() {
    return std::tuple{field("letters", &OwnModel::letters), field("cell", &OwnModel::cell),
                      field("answer", &OwnModel::answer)};
  }
  static OwnModel make(const Key& key, Size hidden) {
    const auto [a, b, c, d] = split<4>(key);
    return {Embedding<float>::make(a, 4, 8),
            {Linear<float>::make(b, 8, 2 * hidden), Linear<float>::make(c, hidden, 2 * hidden)},
            Linear<float>::make(d, hidden, 2)};
  }
  Var<float> operator()(const Indices& words) const {  // [T, B] -> [B, 2]
    return answer(unroll_steps(cell, letters(words), cell.start(words.shape()[1])).state);
  }
};

// ---- The data: example i is a word that the key and i decide.
struct Words {
  Indices words, labels;  // [T, B], [B]
};

auto examples_from(const Key& key, Size count) {
  constexpr Size length = 12;
  return Examples(count, [=](std::span<const Size> chosen) {
    const auto batch = Size(chosen.size());
    std::vector<std::int64_t> letters(std::size_t(length * batch)), labels;
    for (Size b = 0; b < batch; ++b) {
      const Indices word =
          randint(fold_in(key, std::uint64_t(chosen[std::size_t(b)])), {length}, 0, 4);
      bool odd = false;
      for (Size t = 0; t < length; ++t) {
        letters[std::size_t(t * batch + b)] = word(t);
        odd = odd != (t > 0 && word(t - 1) == 0 && word(t) == 1);
      }
      labels.push_back(odd);
    }
    return Words{Indices(Shape{length, batch}, letters), Indices(labels)};
  });
}

Var<float> loss(const OwnModel& model, const Words& b) {
  return cross_entropy(model(b.words), b.labels);
}
double right(const OwnModel& model, const Words& b) { return accuracy(model(b.words), b.labels); }
// The norm of the gradient by the state after each letter.
std::vector<double> by_letter(const OwnModel& m, const Words& b) {
  return state_gradient_norms(
      m.cell, m.letters(b.words), m.cell.start(b.labels.size()),
      [&](const auto& run) { return cross_entropy(m.answer(run.state), b.labels); });
}

int main(int argc, char** argv) {
  return training_main("14_own_model", [&] {
    RunOptions run{.trainer = {.epochs = 12, .batch = 50, .threads = 2}, .learning_rate = 1e-2};
    run.trainer.clip = 1, run.trainer.patience = 4, run.trainer.unit = "words";
    CommandLine("Learns whether a word has \"ab\" an odd number of times.", run).parse(argc, argv);
    if (run.quick == Quick::yes) run.trainer.epochs = 2;

    const auto model = OwnModel::make(Key(run.trainer.seed), 24);
    ModelTrainer trainer(model, Adam(model, {.learning_rate = run.learning_rate}), run.trainer);
    trainer.validate_on(examples_from(Key(2), 500), loss,
                        ValidationMetric("accuracy", Aim::higher, right));
    const TrainingResult result = trainer.fit(examples_from(Key(1), 2000), loss);

    if (!run.report.empty()) {
      Report page("A model of one's own", "A gated cell learns to count \"ab\" in words.");
      add_learning(page, trainer.history(), {.loss = "cross-entropy", .metric = "accuracy"});
      const Words some = examples_from(Key(2), 500).batch(std::vector<Size>{0, 1, 2, 3, 4, 5});
      add_gradient_by_step(page, {{"before training", by_letter(model, some)},
                                  {"after training", by_letter(trainer.best(), some)}});
      add_facts(page, run.command);
      page.write(run.report);
    }
    // What an earlier end, other sizes or other rates reach is not this program's to judge.
    if (argc > 1 || result.ending == Ending::interrupted) return 0;
    examples::Checks checks;
    checks.at_least("accuracy on words that it has not seen", trainer.best_scores()->metric, 0.98);
    return checks.exit_code();
  });
}
