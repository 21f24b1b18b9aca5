// Many-to-many of equal length: learns to tag the words of sentences, and tags what it is given.
//
//   19_tag_sequence                                     the task that it makes itself, seconds
//   19_tag_sequence --data wikigold.conll.txt           names of people, places, ...; or --data snips
//   echo "play the song nude" | 19_tag_sequence --predict run.best.safetensors
// Data: a file in columns, or a folder with train, valid and test (models/tag_sequence/tagging.hpp).
// --no-crf, --no-letters and --no-shapes leave parts of the network out. Scores: docs/tag_sequence.md.
#include <fmt/format.h>

#include <unroll/examples/check.hpp>
#include <unroll/models/tag_sequence/generator.hpp>
#include <unroll/models/tag_sequence/tagging.hpp>
#include <unroll/models/training/answer_lines.hpp>
#include <unroll/models/training/falling_rate.hpp>
#include <unroll/models/training/run_report.hpp>
#include <unroll/models/training/trainer.hpp>

using namespace unroll;

int predict(const std::string& file, OnBadData bad_data) {
  const LoadedTagger model = load_tagger(file);
  return answer_standard_input(bad_data, [&](const std::string& line, std::int64_t) {
    const std::vector<TaggedSentence> sentence{{split_words(line), {}}};
    if (sentence[0].words.empty()) return std::string();
    return join_words(tags_of(model.tagger, model.encoder, sentence)[0]);
  });
}

SplitExamples<TaggedSentence> generated(Size training) {
  SplitExamples<TaggedSentence> parts;
  parts[Split::training] = generated_sentences(Key(1), training, Gazetteer::training);
  parts[Split::validation] = generated_sentences(Key(2), 300, Gazetteer::test);
  parts[Split::test] = generated_sentences(Key(3), 500, Gazetteer::test);
  return parts;
}

void write_report(const RunOptions& run, const auto& trainer, const TagEncoder& encoder,
                  const std::vector<TaggedSentence>& test, double baseline) {
  const TagLists tags = tags_of(trainer.best(), encoder, test);
  const TaggingScores scores = tagging_scores(tags, test);
  Report page("Tags for words", fmt::format("{} sentences to test on", grouped(Size(test.size()))));
  page.figures({{fmt::format("{:.3f}", scores.f1), "F1 of spans"},
                {fmt::format("{:.3f}", scores.precision), "precision"},
                {fmt::format("{:.3f}", scores.recall), "recall"},
                {fmt::format("{:.3f}", baseline), "F1 of each word's most frequent tag"}});
  add_learning(page, trainer.history(), {.loss = "loss of a sentence", .metric = "F1"});
  add_tagged_text(page, tagged_words(tags, test));
  const auto types = types_of(encoder);
  add_confusion_matrix(page, type_confusions(tags, test, types), types);
  add_facts(page, run.command);
  page.write(run.report);
}

int main(int argc, char** argv) {
  return training_main("19_tag_sequence", [&] {
    RunOptions run{.trainer = {.batch = 16, .threads = 2, .clip = 5, .unit = "sentences"},
                   .learning_rate = 2e-3};
    std::string source, model_file;
    TaggerOptions sizes;
    bool no_letters = false, no_shapes = false;
    CommandLine line("Learns to tag words, and tags words.", run);
    line.add("--data", source, "PATH", "tagged sentences; else generated ones", "Files");
    line.add("--predict", model_file, "MODEL", "tag standard input, line by line", "Files");
    line.add_flag("--crf,!--no-crf", sizes.crf, "weigh whole sequences of tags", "Network");
    line.add_flag("--no-letters", no_letters, "words without their letters", "Network");
    line.add_flag("--no-shapes", no_shapes, "words without their shapes", "Network");
    line.add("--hidden", sizes.hidden, "units of each direction", {1, 4096}, "Network");
    line.add("--word-size", sizes.word_size, "numbers for each word", {1, 4096}, "Network");
    line.add("--input-dropout", sizes.input_dropout, "of words' vectors", {0, 0.99}, "Network");
    line.add("--dropout", sizes.dropout, "of what the LSTM puts out", {0, 0.99}, "Network");
    line.add("--unknown", sizes.unknown, "share of words hidden", {0, 0.99}, "Network");
    line.parse(argc, argv);
    if (!model_file.empty()) return predict(model_file, run.bad_data);

    BadData bad(run.bad_data);
    const bool quick = run.quick == Quick::yes;
    const auto parts =
        source.empty() ? generated(quick ? 500 : 3000) : read_tagging_data(source, bad);
    if (bad.skipped() > 0) fmt::print(stderr, "{}\n", bad.summary());
    check_parts(parts);
    const auto& training = parts[Split::training];
    const auto& validation = parts[Split::validation];
    const auto& test = parts[Split::test];
    if (!line.given("--epochs") && !line.given("--steps") && !line.given("--seconds")) {
      run.trainer.epochs = quick ? 2 : std::clamp<Size>(60'000 / Size(training.size()), 8, 30);
    }

    const auto encoder = TagEncoder::of(training);
    const auto tagger =
        Tagger::make(Key(run.trainer.seed), encoder.sizes(sizes, !no_letters, !no_shapes),
                     encoder.tags.tokens());
    run.trainer.metadata = encoder.metadata(tagger);
    run.trainer.schedule = falling_rate(run, Size(training.size()));
    ModelTrainer trainer(tagger, Adam(tagger, {.learning_rate = run.learning_rate}), run.trainer);
    const auto f1 = [&](const Tagger& t) {
      return tagging_scores(tags_of(t, encoder, validation), validation).f1;
    };
    trainer.validate_on(
        encoder.examples(validation),
        [](const Tagger& t, const TaggingBatch& b) { return t.loss(b); },
        ValidationMetric("F1", Aim::higher, f1));
    const auto result = trainer.fit(
        encoder.examples(training),
        [](const Tagger& t, const TaggingBatch& b, const Key& key) { return t.loss(b, key); });

    const TaggingScores found = tagging_scores(tags_of(trainer.best(), encoder, test), test);
    const double baseline = tagging_scores(most_frequent_tags(training, test), test).f1;
    fmt::print(
        "test F1 {:.4f} (precision {:.4f}, recall {:.4f}), tags right {:.4f}; most frequent tags: "
        "F1 {:.4f}\n",
        found.f1, found.precision, found.recall, found.right_tags, baseline);
    if (!run.report.empty()) write_report(run, trainer, encoder, test, baseline);
    if (argc > 1 || result.ending == Ending::interrupted) return 0;
    examples::Checks checks;
    checks.at_least("F1 on names that it has not seen; the best possible is 1", found.f1, 0.98);
    return checks.exit_code();
  });
}
