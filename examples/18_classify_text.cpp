// Many-to-one: learns to label texts, by words or by characters, and labels what it is given.
//
//   18_classify_text                                        the task that it makes itself, seconds
//   18_classify_text --data names --save names.safetensors  surnames: which language?
//   echo "a fine film" | 18_classify_text --predict run.best.safetensors      pos<TAB>0.98
// Data: label TSV or CSV, folders pos/ and neg/, files x.pos and x.neg, or one file of lines for each
// label (models/data/labelled_text.hpp). docs/classify_text.md has scores.
#include <fmt/format.h>

#include <unroll/examples/check.hpp>
#include <unroll/models/classify_text/answers.hpp>
#include <unroll/models/classify_text/generator.hpp>
#include <unroll/models/data/split_of.hpp>
#include <unroll/models/training/answer_lines.hpp>
#include <unroll/models/training/falling_rate.hpp>
#include <unroll/models/training/trainer.hpp>

using namespace unroll;

int predict(const std::string& file, OnBadData bad_data) {
  const auto encoder = TextEncoder::from_metadata(saved_metadata(file), file);
  TextClassifier model;
  (void)load(file, model);
  return answer_standard_input(bad_data, [&](const std::string& line, std::int64_t) {
    const auto data = encoder.examples(std::vector{LabelledText{line, encoder.labels.token(0)}});
    const Var<float> p = label_probabilities(model, data);
    return fmt::format("{}\t{:.4f}", encoder.labels.token(argmax(p)(0)), max(p).item());
  });
}

void write_report(const RunOptions& run, const TextClassifier& untrained, const auto& trainer,
                  const TextEncoder& encoder, std::span<const LabelledText> texts, double score,
                  double baseline) {
  Report page("Labels for texts", fmt::format("{} texts to test on", grouped(Size(texts.size()))));
  page.figures({{fmt::format("{:.3f}", score), "right, of the test texts"},
                {fmt::format("{:.3f}", baseline), "by counting words without their order"}});
  add_learning(page, trainer.history(), {.loss = "cross-entropy", .metric = "accuracy"});
  add_reach(page, untrained, trainer.best(), encoder, texts);
  add_answers(page, label_probabilities(trainer.best(), encoder.examples(texts)), encoder, texts);
  add_facts(page, run.command);
  page.write(run.report);
}

int main(int argc, char** argv) {
  return training_main("18_classify_text", [&] {
    RunOptions run{.trainer = {.epochs = 6, .batch = 32, .threads = 2, .clip = 1, .unit = "texts"},
                   .learning_rate = 2e-3};
    std::string source, model_file, units_name = "usual";
    TextClassifierOptions sizes;
    TextLoss loss;
    CommandLine line("Learns to label texts, and labels texts.", run);
    line.add("--data", source, "PATH", "labelled texts; else generated reviews", "Files");
    line.add("--predict", model_file, "MODEL", "label standard input, line by line", "Files");
    line.add("--units", units_name, "words|characters", "what is read", "Network");
    line.add("--embedding", sizes.embedding, "numbers for each unit", {1, 4096}, "Network");
    line.add("--hidden", sizes.hidden, "units of each direction", {1, 4096}, "Network");
    line.add("--dropout", sizes.dropout, "share dropped", {0, 0.99}, "Network");
    line.add("--input-dropout", sizes.input_dropout, "of embeddings", {0, 0.99}, "Network");
    line.add("--unit-dropout", sizes.unit_dropout, "share of unseen words", {0, 0.99}, "Network");
    line.add("--smoothing", loss.smoothing, "of labels", {0, 0.99}, "Network");
    line.parse(argc, argv);
    if (!model_file.empty()) return predict(model_file, run.bad_data);

    BadData bad(run.bad_data);
    const bool quick = run.quick == Quick::yes;
    auto texts = source.empty() ? generated_reviews(Key(7), quick ? 2000 : 8000)
                                : read_labelled_text(source, bad);
    if (bad.skipped() > 0) fmt::print(stderr, "{}\n", bad.summary());
    const bool has_end = line.given("--epochs") || line.given("--steps") || line.given("--seconds");
    if (quick && !has_end) run.trainer.epochs = 2;
    const auto parts =
        split_examples(std::move(texts), [](const auto& t, Size) { return t.number; });
    check_parts(parts);
    const auto& training = parts[Split::training];
    const auto& test = parts[Split::test];
    const Units units = units_name == "usual" ? usual_units(training) : units_named(units_name);
    if (units == Units::characters) {  // short texts of few symbols: larger, and longer
      const auto usual = [&](const char* name, auto& value, auto it) {
        if (!line.given(name)) value = it;
      };
      usual("--embedding", sizes.embedding, 128), usual("--hidden", sizes.hidden, 192);
      usual("--dropout", sizes.dropout, 0.6), usual("--input-dropout", sizes.input_dropout, 0.3);
      usual("--smoothing", loss.smoothing, 0.1), usual("--batch", run.trainer.batch, 64);
      usual("--learning-rate", run.learning_rate, 3e-3);
      if (!has_end && !quick) run.trainer.epochs = 16;
    }
    const auto encoder = TextEncoder::of(training, units);
    sizes.vocabulary = encoder.vocabulary.size(), sizes.labels = encoder.labels.size();
    run.trainer.metadata = encoder.metadata();
    run.trainer.schedule = falling_rate(run, Size(training.size()));

    const auto train = [&](auto model, const TrainerOptions& options) {
      ModelTrainer trainer(model, Adam(model, {.learning_rate = run.learning_rate}), options);
      trainer.validate_on(
          encoder.examples(parts[Split::validation]), TextLoss(),
          ValidationMetric("accuracy", Aim::higher, [](const auto& m, const TextBatch& b) {
            return share_right(m(b), b.labels);
          }));
      const auto result = trainer.fit(encoder.examples(training), loss);
      return std::pair{std::move(trainer), result.ending};
    };
    const auto score = [&, data = encoder.examples(test)](const auto& model) {
      return share_right(label_probabilities(model, data), encoder.labels_of(test));
    };
    const auto model = TextClassifier::make(Key(run.trainer.seed), sizes);
    const auto [trainer, ending] = train(model, run.trainer);
    const TrainerOptions plain{.epochs = 8, .threads = run.trainer.threads, .log = nullptr};
    const double found = score(trainer.best());
    const double bag =
        score(train(BagOfUnits::make(sizes.vocabulary, sizes.labels), plain).first.best());
    fmt::print("test accuracy {:.4f}; counting without order {:.4f}; {} texts\n", found, bag,
               test.size());
    if (!run.report.empty()) write_report(run, model, trainer, encoder, test, found, bag);
    if (argc > 1 || ending == Ending::interrupted) return 0;
    examples::Checks checks;
    checks.at_least("accuracy on unseen reviews; the best possible is 1", found, 0.98);
    return checks.exit_code();
  });
}
