#include "unroll/models/compose_music/music_data.hpp"

#include "unroll/models/compose_music/generator.hpp"
#include "unroll/models/data/ngram.hpp"
#include "unroll/models/data/split_of.hpp"

namespace unroll {

namespace {

// The texts of some tunes of the generator, and their bits.
double generate(const Key& key, Size count, std::vector<std::string>& texts) {
  double bits = 0;
  for (Size i = 0; i < count; ++i) {
    MarkovTune tune = markov_tune(fold_in(key, std::uint64_t(i)));
    texts.push_back(std::move(tune.text));
    bits += tune.bits;
  }
  return bits;
}

}  // namespace

MusicData generated_music(const GeneratedMusicSizes& sizes) {
  const auto keys = split<3>(Key(0x74756e6573));
  std::vector<std::string> training, validation, test;
  generate(keys[0], sizes.training, training);
  generate(keys[1], sizes.validation, validation);
  const double bits = generate(keys[2], sizes.test, test);
  std::size_t characters = 0;
  for (const std::string& text : test) characters += text.size() + 1;
  const Vocabulary vocabulary = tune_vocabulary(training);
  return {std::move(training),
          std::move(validation),
          std::move(test),
          vocabulary,
          {"the source itself", bits / double(characters)}};
}

MusicData read_music(const std::filesystem::path& path, BadData& bad) {
  SplitExamples<std::string> parts;
  for (AbcTune& tune : read_abc(path, bad)) {
    parts[split_of(tune.index)].push_back(std::move(tune.text));
  }
  auto &training = parts[Split::training], &validation = parts[Split::validation],
       &test = parts[Split::test];
  if (training.empty() || validation.empty() || test.empty()) {
    throw FormatError(path.string(), "at least ten tunes are needed, one in ten to test on");
  }
  const Vocabulary vocabulary = tune_vocabulary(training);
  const auto ids = TuneTexts(training, vocabulary).joined();
  const auto held_out = TuneTexts(test, vocabulary).joined();
  std::pair<std::string, double> best{"", std::numeric_limits<double>::infinity()};
  for (int n = 1; n <= 6; ++n) {
    const double bits = ngram_bits_per_character(ids, held_out, n, vocabulary.size());
    if (bits < best.second) best = {std::to_string(n) + "-grams", bits};
  }
  return {std::move(training), std::move(validation), std::move(test), vocabulary, best};
}

}  // namespace unroll
