// Composes tunes: an LSTM learns ABC notation by character and writes from key, metre and a few notes.
//   16_compose_music                                    a generated task, held against its known optimum
//   16_compose_music --data nottingham --skip-bad --save tunes.safetensors --report tunes.html
//   echo "K:G M:6/8 | GABc" | 16_compose_music --generate tunes.best.safetensors --midi tune.mid
#include <fmt/format.h>
#include <iostream>
#include <unroll/examples/check.hpp>
#include <unroll/models/compose_music/music_data.hpp>
#include <unroll/models/compose_music/score.hpp>
#include <unroll/models/compose_music/writer.hpp>
#include <unroll/models/training/answer_lines.hpp>
#include <unroll/models/training/falling_rate.hpp>
#include <unroll/models/training/run_report.hpp>
#include <unroll/models/training/trainer.hpp>
#include <unroll/nn/schedules.hpp>

using namespace unroll;

// A tune for each line of the standard input; the first is tune.mid, the second tune.2.mid.
int generate(const std::string& file, const std::filesystem::path& midi, const RunOptions& run,
             const ComposeOptions& how) {
  const SavedComposer composer = load_composer(file);
  return answer_standard_input(run.bad_data, [&](const std::string& line, std::int64_t n) {
    const auto request = parse_request(line, "standard input", n, &composer.vocabulary);
    const Key key = fold_in(Key(run.trainer.seed), std::uint64_t(n));
    const std::string abc = compose(composer, request, key, how);
    BadData bad(OnBadData::skip);
    const auto tunes = parse_abc(abc, "the tune", bad);
    if (bad.skipped() > 0) std::cerr << bad.summary() << '\n';
    if (midi.empty() || tunes.empty()) return abc;
    const std::string number = n == 1 ? "" : "." + std::to_string(n);
    std::filesystem::path own = midi;
    write_midi(own.replace_extension(number + midi.extension().string()), midi_of(tunes.front()));
    return abc;  // and an empty line, which ends a tune
  });
}

int main(int argc, char** argv) {
  return training_main("16_compose_music", [&] {
    RunOptions run{
        .trainer = {.batch = 8, .threads = 2, .clip = 1, .patience = 6, .unit = "characters"},
        .learning_rate = 4e-3};
    ComposerSizes sizes;
    ComposeOptions how;
    ComposerDropout drop{.outputs = 0.4};
    std::string data_path, model_file, midi;
    CommandLine line("Learns to write tunes in ABC notation, and writes them.", run);
    line.add("--data", data_path, "PATH", "ABC files; without it, generated tunes", "Data");
    line.add("--generate", model_file, "MODEL", "a tune for each line \"K:G M:6/8 | GABc\"", "Use");
    line.add("--midi", midi, "FILE", "of the tunes: tune.mid, tune.2.mid, ...", "Use");
    line.add("--temperature", how.temperature, "of what is drawn", {0.01, 10}, "Use");
    line.add("--redraws", how.redraws, "of a bar of the wrong length", {0, 1000}, "Use");
    line.add("--hidden", sizes.hidden, "units of each layer", {1, 4096}, "Network");
    line.add("--layers", sizes.layers, "LSTM layers", {1, 8}, "Network");
    line.add("--dropout", drop.outputs, "of what a layer puts out", {0, 0.9}, "Network");
    line.add("--drop-weights", drop.weights, "of recurrent weights", {0, 0.9}, "Network");
    line.parse(argc, argv);
    if (!model_file.empty()) return generate(model_file, midi, run, how);
    const bool generated = data_path.empty(), quick = run.quick == Quick::yes;
    BadData bad(run.bad_data);
    const MusicData data = !generated ? read_music(data_path, bad)
                           : quick    ? generated_music({.training = 1000, .test = 200})
                                      : generated_music({});
    if (bad.skipped() > 0) std::cerr << bad.summary() << '\n';
    if (generated) {  // small, and without dropout: there is always more to see
      if (!line.given("--hidden")) sizes.hidden = 96;
      if (!line.given("--dropout")) drop.outputs = 0;
      if (!line.given("--batch")) run.trainer.batch = 16;
    }
    if (run.trainer.epochs + run.trainer.steps == 0)
      run.trainer.epochs = quick ? 1 : generated ? 3 : 26;
    sizes.characters = data.vocabulary.size();
    run.trainer.metadata = composer_metadata(sizes, data.vocabulary);
    const TuneTexts training(data.training, data.vocabulary);
    const Size steps = known_updates(run.trainer, training.size());
    run.trainer.schedule =
        Warmup(steps / 50, Cosine{run.learning_rate, steps, run.learning_rate / 50});

    const auto loss = [&](const Composer& m, const TuneBatch& b, const Key& key) {
      return m.loss(b, {drop.outputs, drop.weights, key});
    };
    const auto bits = [](const Composer& m, const TuneBatch& b) { return m.loss(b); };
    const Composer model = Composer::make(Key(run.trainer.seed), sizes);
    ModelTrainer trainer(model, Adam(model, {.learning_rate = run.learning_rate}), run.trainer);
    trainer.validate_on(TuneTexts(data.validation, data.vocabulary), bits);
    const TrainingResult result = trainer.fit(training, loss);
    if (result.ending == Ending::interrupted) return 0;
    ModelTrainer tester(trainer.best(), Adam(trainer.best(), {}), {.epochs = 1, .threads = 2});
    tester.validate_on(TuneTexts(data.test, data.vocabulary), bits);
    const double reached = tester.evaluate().loss;
    fmt::print("test: {:.4f} bits per character; {}: {:.4f}\n", reached, data.baseline.first,
               data.baseline.second);
    const auto tunes = compose_many({trainer.best(), data.vocabulary}, quick ? 5 : 100,
                                    Key(run.trainer.seed), how);
    const BarShares drawn = bar_shares(tunes), own = bar_shares(data.test);
    fmt::print("no bar too long: {:.3f} of {} tunes that it wrote, {:.3f} of the test tunes\n",
               drawn.readable, tunes.size(), own.readable);
    fmt::print("every bar exact: {:.3f} and {:.3f}\n", drawn.exact, own.exact);
    if (!run.report.empty()) {
      Report page("A recurrent network composes", "An LSTM that writes tunes in ABC notation.");
      page.figures({{fmt::format("{:.3f}", reached), "bits per character"},
                    {fmt::format("{:.3f}", data.baseline.second), data.baseline.first},
                    {fmt::format("{:.2f}", drawn.exact), "of its tunes with every bar exact"}});
      add_learning(page, trainer.history(),
                   {.loss = "bits per character", .levels = {data.baseline}});
      add_tunes(page, std::span(tunes).first(3));
      add_facts(page, run.command);
      page.write(run.report);
    }
    if (argc > 1) return 0;
    examples::Checks checks;
    checks.at_most("bits per character", reached, 1.02 * data.baseline.second);
    checks.at_least("share of tunes with every bar exact", drawn.exact, 0.9);
    return checks.exit_code();
  });
}
