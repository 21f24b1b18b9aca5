#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "temporary_folder.hpp"
#include "unroll/models/compose_music/generator.hpp"
#include "unroll/models/compose_music/music_data.hpp"
#include "unroll/models/compose_music/writer.hpp"
#include "unroll/models/training/trainer.hpp"
#include "unroll/nn/atomic_file.hpp"

using namespace unroll;

namespace {

using Texts = std::vector<std::string>;

const Texts three{"X:1\nK:C\nCDE|\n", "X:2\nM:3/4\nK:G\nGAB cde|G3|\n", "X:3\nK:D\nD\n"};

SavedComposer small(const Texts& texts, Size layers = 2) {
  const Vocabulary vocabulary = tune_vocabulary(texts);
  return {Composer::make(
              Key(4),
              {.characters = vocabulary.size(), .embedding = 8, .hidden = 24, .layers = layers}),
          vocabulary};
}

SavedComposer trained(const Texts& texts, Size steps) {
  const SavedComposer start = small(texts, 1);
  TrainerOptions options{.steps = steps, .batch = Size(texts.size()), .clip = 1};
  options.log = nullptr;
  ModelTrainer trainer(start.model, Adam(start.model, {.learning_rate = 2e-2}), options);
  trainer.fit(TuneTexts(texts, start.vocabulary),
              [](const Composer& m, const TuneBatch& b) { return m.loss(b); });
  return {trainer.model(), start.vocabulary};
}

std::string fits_of(const std::string& text) {
  BadData bad(OnBadData::stop);
  std::string out;
  for (const BarFit fit : check_bars(parse_abc(text, "t", bad).at(0))) {
    out += "eps!"[std::size_t(fit)];
  }
  return out;
}

}  // namespace

TEST_CASE("a batch holds whole tunes: first the line end, last the line end") {
  const Vocabulary vocabulary = tune_vocabulary(three);
  const TuneTexts data(three, vocabulary);
  const TuneBatch one = data.batch(std::vector<Size>{0});
  const auto text = [&](const Indices& ids) { return to_utf8(vocabulary.decode(ids.values())); };
  CHECK(text(one.inputs) == "\n" + three[0]);
  CHECK(text(one.targets) == three[0] + "\n");
  const TuneBatch all = data.batch(std::vector<Size>{2, 1, 0});
  CHECK(all.targets.size() == Size(three[0].size() + three[1].size() + three[2].size() + 3));
  CHECK(all.layout->lengths[1] == Size(three[1].size() + 1));
  CHECK(Size(data.joined().size()) == all.targets.size());
  Size seen = 0;
  for (const auto& batch : data.epoch(Key(3), 2, Order::shuffled)) seen += Size(batch.size());
  CHECK(seen == 3);
}

TEST_CASE("the loss is bits per character, and a tune's does not depend on its batch") {
  const SavedComposer composer = small(three);
  const TuneTexts data(three, composer.vocabulary);
  double bits = 0, characters = 0;
  for (Size i = 0; i < 3; ++i) {
    const auto alone = composer.model.loss(data.batch(std::vector<Size>{i}));
    bits += double(alone.mean.item()) * alone.weight;
    characters += alone.weight;
  }
  const auto together = composer.model.loss(data.batch(std::vector<Size>{1, 0, 2}));
  CHECK(together.weight == characters);
  CHECK(double(together.mean.item()) == doctest::Approx(bits / characters).epsilon(1e-5));

  // Step by step, as it composes, the same tune costs the same.
  const TuneBatch tune = data.batch(std::vector<Size>{1});
  auto state = composer.model.initial_state(1);
  double by_steps = 0;
  for (Size t = 0; t < tune.inputs.size(); ++t) {
    auto [logits, next] = composer.model.step(Indices({1}, {tune.inputs(t)}), state);
    const auto z = logits.to_vector();
    double sum = 0;
    for (const float x : z) sum += std::exp(double(x));
    by_steps += std::log2(sum) - double(z[std::size_t(tune.targets(t))]) / std::log(2.0);
    state = std::move(next);
  }
  const auto whole = composer.model.loss(tune);
  CHECK(by_steps / whole.weight == doctest::Approx(double(whole.mean.item())).epsilon(1e-5));
}

TEST_CASE("dropout needs a rate, and is decided by its key") {
  const SavedComposer composer = small(three);
  const TuneBatch batch = TuneTexts(three, composer.vocabulary).batch(std::vector<Size>{0, 1});
  const auto loss = [&](double outputs, std::uint64_t key, double weights = 0) {
    return composer.model.loss(batch, {outputs, weights, Key(key)}).mean.item();
  };
  CHECK(loss(0, 1) == composer.model.loss(batch).mean.item());
  CHECK(loss(0.5, 1) == loss(0.5, 1));
  CHECK(loss(0.5, 1) != loss(0.5, 2));
  CHECK(loss(0.5, 1) != loss(0, 1));
  CHECK(loss(0, 1, 0.5) == loss(0, 1, 0.5));
  CHECK(loss(0, 1, 0.5) != loss(0, 2, 0.5));
}

TEST_CASE("generated melodies are ABC with full bars, of the entropy that is said") {
  constexpr int count = 4000;
  double bits = 0, squares = 0, characters = 0;
  std::map<std::string, double> headers, pairs, triples;
  for (int i = 0; i < count; ++i) {
    const MarkovTune tune = markov_tune(fold_in(Key(5), std::uint64_t(i)));
    if (i < 100) CHECK(fits_of(tune.text).find_first_not_of('e') == std::string::npos);
    bits += tune.bits;
    squares += tune.bits * tune.bits;
    characters += double(tune.text.size()) + 1;
    const auto body = tune.text.find('\n', tune.text.find("K:")) + 1;
    headers[tune.text.substr(0, body)] += 1;
    if (tune.text[body - 2] != 'G') continue;
    std::string notes;
    for (const char c : tune.text.substr(body)) {
      if (c >= 'A' && c <= 'G') notes += c;
    }
    for (std::size_t k = 2; k < notes.size(); ++k) {
      pairs[notes.substr(k - 2, 2)] += 1;
      triples[notes.substr(k - 2, 3)] += 1;
    }
  }
  const double mean = bits / count;
  const double error = std::sqrt((squares / count - mean * mean) / count);
  const MarkovEntropy expected = markov_entropy();
  CHECK(std::abs(mean - expected.bits) < 4 * error);
  // Bars end a tune with probability 1/8: 8 bars of 23/3 notes and their bar lines.
  CHECK(expected.characters == doctest::Approx(14 + 8 * 23.0 / 3 + 7 + 4).epsilon(1e-12));
  CHECK(characters / count == doctest::Approx(expected.characters).epsilon(0.05));
  CHECK(headers.size() == 12);
  // What was drawn, against what is said of the chain.
  const std::string letters = "CDEFGAB";
  for (const auto& [pair, times] : pairs) {
    for (std::size_t n = 0; n < 7; ++n) {
      const double p =
          markov_note_probabilities(4, letters.find(pair[0]), letters.find(pair[1]))[n];
      const double share = triples[pair + letters[n]] / times;
      CHECK(std::abs(share - p) < 5 * std::sqrt(p * (1 - p) / times) + 1 / times);
    }
  }
}

TEST_CASE("generated data say what their source needs, real data what counting reaches") {
  const MusicData generated = generated_music({.training = 300, .validation = 10, .test = 400});
  CHECK(generated.training.size() == 300);
  CHECK(generated.baseline.second ==
        doctest::Approx(markov_entropy().bits_per_character()).epsilon(0.03));

  const testing::TemporaryFolder folder;
  std::string file;
  for (int i = 0; i < 20; ++i) {
    file += "X:" + std::to_string(i) + "\nK:C\n" + (i == 3 ? "?" : "CDEF|") + "\n\n";
  }
  write_file_atomically(folder / "t.abc", file);
  BadData bad(OnBadData::skip);
  const MusicData read = read_music(folder / "t.abc", bad);
  CHECK(bad.skipped() == 1);
  CHECK(read.training.size() == 15);  // tune 3 keeps its number
  CHECK(read.validation == Texts{"X:8\nK:C\nCDEF|\n", "X:18\nK:C\nCDEF|\n"});
  CHECK(read.test == Texts{"X:9\nK:C\nCDEF|\n", "X:19\nK:C\nCDEF|\n"});
  CHECK(read.baseline.first.ends_with("-grams"));
  write_file_atomically(folder / "few.abc", "X:1\nK:C\nC\n");
  CHECK_THROWS_AS((void)read_music(folder / "few.abc", bad), FormatError);
}

TEST_CASE("a request is a key, a metre and notes, in any part") {
  const auto request = [](const std::string& line) { return parse_request(line, "stdin", 3); };
  const Vocabulary known(U"GAB");
  CHECK(parse_request("K:G | GAB", "stdin", 3, &known).notes == "GAB");
  CHECK_THROWS_WITH_AS(
      (void)parse_request("K:G | GAc", "stdin", 3, &known),
      "stdin: line 3: expected characters that the model was trained on, found \"c\"", DataError);
  const TuneRequest full = request("K:G M:6/8 | GABc \r");
  CHECK(full.key == "G");
  CHECK(full.metre == "6/8");
  CHECK(full.notes == "GABc");
  CHECK(full.number == "3");
  CHECK(request("  M:C|").metre == "C");  // the bar line ends the fields
  CHECK(request("K:A minor M:4/4").key == "A minor");
  CHECK(request("K:A minor M:4/4").metre == "4/4");
  CHECK(request("").key.empty());
  CHECK(request("| A|B").notes == "A|B");
  CHECK_THROWS_WITH_AS(
      (void)request("Q:3"),
      "stdin: line 3: expected a request such as \"K:G M:6/8 | GABc\", found \"Q:3\"", DataError);
  CHECK_THROWS_AS((void)request("K:H"), DataError);
  CHECK_THROWS_AS((void)request("M:6/7"), DataError);
  CHECK_THROWS_AS((void)request("K:G | ?"), DataError);
  CHECK_THROWS_AS((void)request("hello"), DataError);
}

TEST_CASE("what was asked for begins the tune, whatever the model would write") {
  const SavedComposer composer = small({"X:1\nT:a\nM:6/8\nK:G\nGABcdef |:2\n"});
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const std::string text =
        compose(composer, {"G", "6/8", "GABc", "12"}, Key(seed), {.max_length = 2000});
    CAPTURE(text);
    CHECK(text.find("M:6/8\n") < text.find("K:G\nGABc"));
    CHECK(text.find("K:G\nGABc") != std::string::npos);
    CHECK(text.starts_with("X:12\n"));
    CHECK(text.ends_with('\n'));
    CHECK(text == compose(composer, {"G", "6/8", "GABc", "12"}, Key(seed), {.max_length = 2000}));
    CHECK(compose(composer, {}, Key(seed), {.max_length = 30}).find("K:") != std::string::npos);
  }
  CHECK_THROWS_AS((void)compose(composer, {"F", "", "", ""}, Key(1)), std::invalid_argument);
  CHECK_THROWS_AS((void)compose(composer, {}, Key(1), {.temperature = 0}), std::invalid_argument);
}

TEST_CASE("a composer learns a tune, is saved, and writes it from its file alone") {
  const Texts one{"X:1\nM:3/4\nK:G\nG2B|d2B|G3|]\n"};
  const SavedComposer composer = trained(one, 150);
  const testing::TemporaryFolder folder;
  save(folder / "m.safetensors", composer.model,
       composer_metadata({.embedding = 8, .hidden = 24, .layers = 1}, composer.vocabulary));
  const SavedComposer back = load_composer(folder / "m.safetensors");
  CHECK(back.vocabulary == composer.vocabulary);
  CHECK(compose(back, {}, Key(2), {.temperature = 0.1, .redraws = 0}) == one[0]);
  save(folder / "other.safetensors", composer.model);
  CHECK_THROWS_AS((void)load_composer(folder / "other.safetensors"), FormatError);
}

TEST_CASE("bars of the wrong length are drawn again") {
  // Half of all bars are a beat short; a model of these tunes writes such bars too.
  Texts mixed;
  for (std::uint64_t i = 0; i < 60; ++i) {
    std::string text = "X:1\nM:4/4\nL:1/4\nK:C\n";
    const Indices full = randint(fold_in(Key(6), i), {6}, 0, 2);
    for (Size bar = 0; bar < 6; ++bar) text += full(bar) == 1 ? "CDEF|" : "CDE|";
    mixed.push_back(text + "CDEF|\n");
  }
  const SavedComposer composer = trained(mixed, 120);
  Texts freely, carefully;
  for (std::uint64_t i = 0; i < 10; ++i) {
    const auto written = [&](Size redraws) {
      return compose(composer, {}, Key(i),
                     {.temperature = 0.8, .redraws = redraws, .max_length = 200});
    };
    freely.push_back(written(0));
    carefully.push_back(written(100));
  }
  CHECK(bar_shares(freely).exact <= 0.5);
  for (const std::string& text : carefully) {
    CAPTURE(text);
    CHECK(fits_of(text).find_first_of("s!") == std::string::npos);
  }
  CHECK(bar_shares(Texts{"X:1\nM:4/4\nL:1/4\nK:C\nC4|C3|C4|\n", "X:1\nK:C\n?", "X:1\nK:C\nC"})
            .readable == doctest::Approx(2.0 / 3));
}
