// Trains a CharRnn on a text, step by step, and can stop and go on at any step.
//
//   CharRnnTrainer trainer(split_corpus(corpus), {.hidden = 128});
//   while (trainer.steps() < 1000) trainer.step();
//   trainer.held_out_bits();                            // bits per character of unseen text
//   trainer.sample(U"// ", 200);
//   trainer.save("char_rnn.safetensors");               // ... CharRnnTrainer::load(...).step()
//
// A step reads the next window of all streams, takes the gradient in `shards` parts (one tape each,
// several at once where there are threads), adds them in their order and lets Adam make an update.
// Invariant: everything is a function of text, options and the number of steps. So N + M steps, and
// N steps, save, load, M steps, give the same bits, whatever the number of threads. (Why this is not
// the generic ModelTrainer: docs/decisions/0014.)
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/models/char_rnn/char_rnn.hpp"
#include "unroll/models/char_rnn/text_streams.hpp"
#include "unroll/models/data/text.hpp"
#include "unroll/models/training/history.hpp"
#include "unroll/models/training/workers.hpp"
#include "unroll/nn/optimizers.hpp"

namespace unroll {

struct CharRnnOptions {
  Size hidden = 256;
  Size embedding = 64;
  Size streams = 32;  // B
  Size window = 48;   // T, the steps of truncated BPTT
  double learning_rate = 4e-3;
  double half_life = 2000;  // steps in which the learning rate halves
  double dropout = 0.1;
  double clip = 1;  // the largest norm of a gradient
  Size shards = 2;
  std::uint64_t seed = 1;
};

class CharRnnTrainer {
 public:
  /// Throws std::invalid_argument for options that make no sense and for texts that are too short.
  CharRnnTrainer(TextSplit text, const CharRnnOptions& options, std::size_t threads = 1);

  /// One update; returns the bits per character of its window before the update.
  double step();

  /// Of the whole held-out text, with what went before as context.
  [[nodiscard]] double held_out_bits();

  /// The prompt and what the network writes after it. The same seed gives the same text.
  [[nodiscard]] std::u32string sample(std::u32string_view prompt, Size count,
                                      std::uint64_t seed = 0, double temperature = 0.7) const;

  /// All that going on needs: network, moments, states, steps, options, text, curves. Atomically.
  void save(const std::filesystem::path& path) const;
  /// Throws FileError, and FormatError where the file is no such checkpoint.
  [[nodiscard]] static CharRnnTrainer load(const std::filesystem::path& path,
                                           std::size_t threads = 1);

  [[nodiscard]] Size steps() const { return history_.steps; }
  [[nodiscard]] Size characters_per_step() const { return streams_.streams() * options_.window; }
  /// Passes over the training text so far.
  [[nodiscard]] double passes() const { return double(steps()) / double(streams_.windows()); }
  [[nodiscard]] double learning_rate() const;

  [[nodiscard]] const CharRnn<float>& model() const { return model_; }
  [[nodiscard]] const CharRnnOptions& options() const { return options_; }
  [[nodiscard]] const TextSplit& text() const { return text_; }
  [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }
  /// The curves, with losses in bits per character: of the windows, and of the held-out text.
  [[nodiscard]] const TrainingHistory& history() const { return history_; }

  /// A point of each curve is made after every so many steps.
  static constexpr Size steps_per_point = 100;

 private:
  TextSplit text_;
  CharRnnOptions options_;
  Vocabulary vocabulary_;
  TextStreams streams_, held_out_;
  CharRnn<float> model_;
  Adam<CharRnn<float>> adam_;
  std::vector<LstmState<float>> states_;  // of each shard
  TrainingHistory history_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace unroll
