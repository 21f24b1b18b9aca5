// One-to-one: digits are recognised by a feed-forward network and by an LSTM that reads an image row by
// row, trained side by side.
//
//   15_classify_images                                     digits of its own; a minute
//   15_classify_images --data mnist --save run.safetensors --report report.html
//   15_classify_images --predict run.best.safetensors      one image per line, as 784 numbers from 0 to 255;
//                                                          out: class by LSTM, its probability, class by
//                                                          feed-forward network, its probability
//   15_classify_images --write-idx FOLDER                  its own digits as IDX files
#include <unroll/examples/check.hpp>
#include <unroll/models/classify_images/classify_images.hpp>
#include <unroll/models/classify_images/generator.hpp>
#include <unroll/models/classify_images/report.hpp>
#include <unroll/models/training/falling_rate.hpp>
#include <unroll/models/training/trainer.hpp>
#include <unroll/nn/optimizers.hpp>
#include <unroll/nn/schedules.hpp>

using namespace unroll;

// Images are warped at random in training, and left as they are in validation.
struct Loss {
  WarpRange range;
  Var<float> operator()(const ImageClassifiers& net, const ImageBatch& b, const Key& key) const {
    return net.loss(random_warp(b.images, range, key), b.labels);
  }
  Var<float> operator()(const ImageClassifiers& net, const ImageBatch& b) const {
    return net.loss(b.images, b.labels);
  }
};

int predict(const std::string& file, OnBadData bad_data) {
  const auto sizes = ClassifierSizes::of(saved_metadata(file), file);
  ImageClassifiers net = ImageClassifiers::make(Key(), sizes);
  load(file, net);
  return answer_standard_input(bad_data, [&](const std::string& line, std::int64_t number) {
    const auto image = parse_pixels(line, sizes.rows, sizes.columns, "standard input", number);
    const auto [all, rows] = classify(net, image);
    return fmt::format("{} {:.4f} {} {:.4f}", rows.classes(0), rows.probabilities[0],
                       all.classes(0), all.probabilities[0]);
  });
}

int main(int argc, char** argv) {
  return training_main("15_classify_images", [&] {
    RunOptions run{
        .trainer = {.epochs = 60, .batch = 64, .threads = 2, .clip = 5, .unit = "images"},
        .learning_rate = 2e-3};
    std::string data, model, written;
    ClassifierSizes sizes;
    WarpRange warp{.shift = 2, .rotation = 10, .scale = 0.1};
    CommandLine line("Recognises digits, all pixels at once and row by row.", run);
    line.add("--data", data, "FOLDER", "images and labels in IDX files, .gz or not, as MNIST's");
    line.add("--predict", model, "FILE", "classify the images on standard input, one per line");
    line.add("--write-idx", written, "FOLDER", "write the generated digits as IDX files");
    line.add("--hidden", sizes.hidden, "units of the feed-forward network's first layer",
             {2, 8192});
    line.add("--row-hidden", sizes.row_hidden, "units of the LSTM", {1, 8192});
    line.add("--shift", warp.shift, "pixels by which real images are moved in training", {0, 100});
    line.add("--rotation", warp.rotation, "degrees by which they are turned", {0, 180});
    line.add("--scale", warp.scale, "share by which they are resized", {0, 0.9});
    line.parse(argc, argv);
    if (!model.empty()) return predict(model, run.bad_data);

    const bool quick = run.quick == Quick::yes, real = !data.empty();
    BadData bad(run.bad_data);
    const auto k = split<3>(Key(1));
    ImageSplits sets = real ? read_image_folder(data, bad)
                            : ImageSplits{generate_digits(k[0], quick ? 500 : 4000),
                                          generate_digits(k[1], 400), generate_digits(k[2], 1000)};
    if (bad.skipped() > 0) fmt::print(stderr, "{}\n", bad.summary());
    if (!written.empty()) {
      write_images(written, "train", sets.training);
      write_images(written, "t10k", sets.test);
      return 0;
    }
    if (!line.given("--epochs") && run.trainer.epochs > 0)
      run.trainer.epochs = quick ? 2 : real ? 60 : 8;
    if (quick && real)
      sets.training = sets.training.part(0, std::min<Size>(1000, sets.training.size()));

    sizes.rows = sets.training.rows;
    sizes.columns = sets.training.columns;
    sizes.classes = std::max(sets.training.classes(), sets.test.classes());
    run.trainer.metadata = sizes.metadata();
    const Size steps = known_updates(run.trainer, sets.training.size());
    if (steps > 0) run.trainer.schedule = Warmup(100, Cosine{run.learning_rate, steps, 1e-5});

    const auto net =
        standardised(ImageClassifiers::make(Key(run.trainer.seed), sizes), sets.training);
    ModelTrainer trainer(net, Adam(net, {.learning_rate = run.learning_rate}), run.trainer);
    const Loss loss{real ? warp : WarpRange{}};
    trainer.validate_on(sets.validation, loss,
                        ValidationMetric("accuracy", Aim::higher, mean_accuracy));
    const TrainingResult result = trainer.fit(sets.training, loss);

    const TestResult test = test_classifiers(trainer.best(), sets.test);
    fmt::print("test accuracy on {} images: feed-forward {:.4f}, row by row {:.4f}\n",
               sets.test.size(), test.all_at_once.accuracy, test.row_by_row.accuracy);
    if (!run.report.empty())
      write_report(run.report, run.command, trainer.history(), net, trainer.best(), sets.test,
                   test);

    if (argc > 1 || result.ending == Ending::interrupted) return 0;
    examples::Checks checks;  // the best possible is 1
    checks.at_least("accuracy of the feed-forward network", test.all_at_once.accuracy, 0.98);
    checks.at_least("accuracy of the LSTM, row by row", test.row_by_row.accuracy, 0.98);
    return checks.exit_code();
  });
}
