// One-to-many: what an image shows is said in a sentence, word by word, by a decoder that looks at windows
// of the image. It is tested on combinations of shapes, colours and places never seen together.
//
//   17_caption_images                                    scenes of its own; a minute
//   17_caption_images --save run.safetensors --report report.html
//   17_caption_images --generate run.best.safetensors    the path of a PPM image per line; its caption out
//   17_caption_images --write FOLDER                     test scenes as PPM images with captions.tsv
//   17_caption_images --data FOLDER                      such a folder of one's own: image i is for the test
//                                                        if i mod 10 = 9, for validation if 8
#include <unroll/examples/check.hpp>
#include <unroll/models/caption_images/captions.hpp>
#include <unroll/models/training/answer_lines.hpp>
#include <unroll/models/training/falling_rate.hpp>
#include <unroll/models/training/trainer.hpp>
#include <unroll/nn/optimizers.hpp>
#include <unroll/nn/schedules.hpp>

using namespace unroll;

// Validation sees new images of known combinations; the held-out ones are for the test alone.
CaptionSplits generated(bool quick) {
  const auto k = split<3>(Key(1));
  return {generate_scenes(k[0], quick ? 500 : 20000, Combinations::seen),
          generate_scenes(k[1], quick ? 50 : 300, Combinations::seen),
          generate_scenes(k[2], quick ? 100 : 1000, Combinations::held_out)};
}

auto batches_of(const CaptionedImages& set, const TokenVocabulary& words) {
  return Examples(set.size(),
                  [&](std::span<const Size> chosen) { return caption_batch(set, words, chosen); });
}

Weighted<float> loss(const Captioner& net, const CaptionBatch& b) {
  return {net.loss(b.images, b.inputs, b.targets), double(b.words)};
}

int generate(const std::string& file, Size beam, OnBadData bad_data) {
  const CaptionModel model = load_captioner(file);
  return answer_standard_input(bad_data, [&](const std::string& path, std::int64_t number) {
    try {
      BadData strict(OnBadData::stop);
      const ColourImage image = read_ppm(path, strict);
      const CaptionerSizes& n = model.net.sizes;
      if (image.rows == n.rows && image.columns == n.columns) {
        return write_captions_for(model.net, model.words, {image}, beam).front();
      }
      throw DataError(path, FilePosition{}, fmt::format("{} x {} pixels", n.rows, n.columns),
                      fmt::format("{} x {}", image.rows, image.columns));
    } catch (const FileError& e) {
      throw DataError("standard input", number, "the path of a PPM image", e.what());
    }
  });
}

int main(int argc, char** argv) {
  return training_main("17_caption_images", [&] {
    RunOptions run{.trainer = {.epochs = 6, .batch = 50, .threads = 2, .clip = 1, .unit = "words"},
                   .learning_rate = 3e-3};
    std::string data, model, folder;
    Size beam = 3;
    CaptionerSizes sizes;
    CommandLine line("Says in a sentence what an image shows.", run);
    line.add("--data", data, "FOLDER", "PPM images, and captions.tsv: file, tab, caption");
    line.add("--generate", model, "FILE", "write a caption for each path on standard input");
    line.add("--write", folder, "FOLDER", "write the generated test scenes as PPM images");
    line.add("--beam", beam, "hypotheses of the search; 1 is greedy", {1, 100});
    line.add("--memory", sizes.memory, "numbers for what a window shows", {1, 4096}, "Network");
    line.add("--hidden", sizes.hidden, "units of the decoder", {1, 4096}, "Network");
    line.parse(argc, argv);
    if (!model.empty()) return generate(model, beam, run.bad_data);
    if (!line.given("--epochs") && run.quick == Quick::yes) run.trainer.epochs = 1;

    BadData bad(run.bad_data);
    const CaptionSplits sets = data.empty() ? generated(run.quick == Quick::yes)
                                            : split_by_number(read_captions(data, bad));
    if (bad.skipped() > 0) fmt::print(stderr, "{}\n", bad.summary());
    if (!folder.empty()) {
      write_captions(folder, sets.test);
      return 0;
    }
    const TokenVocabulary words = caption_vocabulary(sets.training);
    sizes.rows = sets.training.images[0].rows;
    sizes.columns = sets.training.images[0].columns;
    sizes.vocabulary = words.size();
    run.trainer.metadata = caption_metadata(sizes, words);
    const Size steps = known_updates(run.trainer, sets.training.size());
    if (steps > 0) run.trainer.schedule = Warmup(100, Cosine{run.learning_rate, steps, 1e-5});

    const Captioner net = Captioner::make(Key(run.trainer.seed), sizes);
    ModelTrainer trainer(net, Adam(net, {.learning_rate = run.learning_rate}), run.trainer);
    trainer.validate_on(batches_of(sets.validation, words), loss,
                        ValidationMetric("exact match", Aim::higher, [&](const Captioner& n) {
                          return exact_match(n, words, sets.validation, 1);
                        }));
    const TrainingResult result = trainer.fit(batches_of(sets.training, words), loss);

    const double share = exact_match(trainer.best(), words, sets.test, beam);
    fmt::print("exact match on {} test images: {:.4f}\n", sets.test.size(), share);
    if (!run.report.empty()) {
      write_caption_report(run.report, run.command, trainer.history(), {trainer.best(), words},
                           sets.test, share);
    }
    if (argc > 1 || result.ending == Ending::interrupted) return 0;
    examples::Checks checks;  // the best possible is 1
    checks.at_least("exact match on combinations never seen together", share, 0.98);
    return checks.exit_code();
  });
}
