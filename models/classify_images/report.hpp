// What the two networks answer, how often they are right, and the page about it.
//
//   const ClassAnswers answers = classify(net, images);               // images [B, rows, columns]
//   const TestResult test = test_classifiers(trainer.best(), sets.test);
//   write_report(run.report, run.command, trainer.history(), net, trainer.best(), sets.test, test);
//
// Invariant: an answer does not depend on the other images of its batch.
#pragma once

#include "unroll/models/classify_images/classify_images.hpp"
#include "unroll/models/data/images.hpp"
#include "unroll/models/training/history.hpp"

namespace unroll {

/// The likeliest class of each image, and its probability.
struct Answers {
  Indices classes;
  std::vector<float> probabilities;
};
struct ClassAnswers {
  Answers all_at_once, row_by_row;
};
[[nodiscard]] ClassAnswers classify(const ImageClassifiers& net, const Var<float>& images);

/// With the mean and deviation of these images' pixels.
[[nodiscard]] ImageClassifiers standardised(ImageClassifiers net, const ImageSet& images);

/// The mean of both networks' accuracies.
[[nodiscard]] double mean_accuracy(const ImageClassifiers& net, const ImageBatch& batch);

struct TestResult {
  struct Network {
    double accuracy = 0;
    std::vector<double> confusion =
        {};  // [classes, classes]: how often a class was taken for which
  };
  Network all_at_once, row_by_row;
  std::vector<Size> wrong = {};  // images about which at least one network is wrong
};
[[nodiscard]] TestResult test_classifiers(const ImageClassifiers& net, const ImageSet& images);

/// Curves, gradients by row before and after training, a confusion matrix for each network, images with
/// their answers. Throws FileError.
void write_report(const std::filesystem::path& path, const std::string& command,
                  const TrainingHistory& history, const ImageClassifiers& untrained,
                  const ImageClassifiers& net, const ImageSet& images, const TestResult& test);

}  // namespace unroll
