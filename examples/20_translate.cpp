// Many-to-many, of unequal lengths: an encoder-decoder with attention translates sentences.
//
//   20_translate                                    numbers to words and dates to ISO, generated: a minute
//   20_translate --data multi30k --save run.safetensors --report report.html
//   echo "a dog runs ." | 20_translate --predict run.best.safetensors --beam 4
//
// --data is a folder with train.en, train.fr, val.en, ... (--from, --to, --test name them), or a TSV file
// of pairs, of which every tenth is for the test and every tenth for validation.
#include <fmt/format.h>

#include <unroll/examples/check.hpp>
#include <unroll/models/training/answer_lines.hpp>
#include <unroll/models/training/falling_rate.hpp>
#include <unroll/models/training/trainer.hpp>
#include <unroll/models/translate/corpus.hpp>
#include <unroll/models/translate/text_translator.hpp>
#include <unroll/nn/schedules.hpp>

using namespace unroll;

int predict(const std::string& file, const BeamOptions& beam, OnBadData bad_data) {
  const TextTranslator translator = TextTranslator::load(file);
  return answer_standard_input(bad_data, [&](const std::string& line, std::int64_t) {
    const std::vector<Words> sentence{split_words(line)};
    return join_words(translator.translate(sentence, beam)[0]);
  });
}

// Up, then down to 0 by the end where that is known; without one the rate stays.
RateSchedule schedule_for(const RunOptions& run, Size examples) {
  const Size updates = known_updates(run.trainer, examples);
  if (updates == 0) return Warmup(100, ConstantRate{run.learning_rate}, 0.01);
  return Warmup(updates / 20, Cosine{run.learning_rate, updates}, 0.01);
}

int main(int argc, char** argv) {
  return training_main("20_translate", [&] {
    RunOptions run{.trainer = {.epochs = 12, .batch = 64, .threads = 2, .clip = 1, .unit = "words"},
                   .learning_rate = 2e-3};
    CorpusFiles files;
    std::string model_file, task = "both";
    Size hidden = 0;
    TranslatorRegularization regular{.dropout = 0.3, .label_smoothing = 0.1};
    BeamOptions beam{.beam = 4, .length_penalty = 1};
    CommandLine line("Translates sentences by an encoder-decoder with attention.", run);
    line.add("--data", files.path, "PATH", "folder of parallel files, or a TSV file of pairs",
             "Data");
    line.add("--from", files.from, "NAME", "ending of the source's files", "Data");
    line.add("--to", files.to, "NAME", "ending of the target's files", "Data");
    line.add("--test", files.test, "NAME", "the test files, without ending", "Data");
    line.add("--task", task, "NAME", "without --data: numbers, dates or both", "Data");
    line.add("--hidden", hidden, "units and size of embeddings; 0: 256, generated 128", {0, 8192},
             "Network");
    line.add("--dropout", regular.dropout, "of embeddings and read-out", {0, 0.9}, "Network");
    line.add("--label-smoothing", regular.label_smoothing, "share given to all words", {0, 0.9},
             "Network");
    line.add("--beam", beam.beam, "beams of the search; 1: greedy", {1, 64}, "Translating");
    line.add("--predict", model_file, "MODEL", "translate standard input by this model",
             "Translating");
    line.parse(argc, argv);
    if (!model_file.empty()) return predict(model_file, beam, run.bad_data);

    const bool generated = files.path.empty();
    const bool quick = run.quick == Quick::yes;
    if (hidden == 0) hidden = generated ? 128 : 256;
    if (generated && !line.given("--dropout")) regular.dropout = 0.1;
    if (quick) {
      run.trainer.epochs = 0;
      run.trainer.steps = 50;
    }
    BadData bad(run.bad_data);
    const ParallelCorpus corpus = generated
                                      ? generated_corpus(quick ? 2000 : 20000, task_named(task))
                                      : read_parallel_corpus(files, bad);
    if (bad.skipped() > 0) fmt::print(stderr, "{}\n", bad.summary());

    const auto words =
        TranslationVocabularies::of(corpus.training, {.least_count = generated ? 1u : 2u});
    const TranslatorSizes sizes{words.source.size(), words.target.size(), hidden, hidden};
    run.trainer.metadata = metadata_of(words, sizes);
    const SentencePairs training(corpus.training, words);
    run.trainer.schedule = schedule_for(run, training.size());

    const auto model = Translator::make(Key(run.trainer.seed), sizes);
    ModelTrainer trainer(model, Adam(model, {.learning_rate = run.learning_rate}), run.trainer);
    const char* metric = generated ? "exact match" : "BLEU";
    trainer.validate_on(
        SentencePairs(corpus.validation, words), TranslationLoss{regular},
        ValidationMetric(metric, Aim::higher, [&](const Translator& m) {
          const auto s = TextTranslator{m, words}.score(corpus.validation, {.beam = 1});
          return generated ? s.exact_match : s.bleu;
        }));
    const TrainingResult result = trainer.fit(training, TranslationLoss{regular});

    const TextTranslator translator{trainer.best(), words};
    const TranslationScores scores = translator.score(corpus.test, beam);
    fmt::print("{} test sentences, beam {}: BLEU {:.2f}, exact match {:.4f}\n", corpus.test.size(),
               beam.beam, scores.bleu, scores.exact_match);
    if (!run.report.empty()) {
      Report page("Translation", "An encoder-decoder with attention on pairs of sentences.");
      add_learning(page, trainer.history(), {"nats per word", metric, "words"});
      add_translations(page, translator, corpus.test, scores);
      add_facts(page, run.command);
      page.write(run.report);
    }
    // What an earlier end, other sizes or other rates reach is not this program's to judge.
    if (argc > 1 || result.ending == Ending::interrupted) return 0;
    examples::Checks checks;
    checks.at_least("exact match on pairs that it has not seen (the best possible is 1)",
                    scores.exact_match, 0.99);
    return checks.exit_code();
  });
}
