#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "temporary_folder.hpp"
#include "unroll/models/tag_sequence/generator.hpp"
#include "unroll/models/tag_sequence/tagging.hpp"

using namespace unroll;

namespace {

using Strings = std::vector<std::string>;
const std::vector<TaggedSentence> sentences{
    {{"Ann", "saw", "Bob", "Lee", "in", "Rome"}, {"B-PER", "O", "B-PER", "I-PER", "O", "B-LOC"}},
    {{"Ann", "saw", "3"}, {"I-PER", "O", "O"}},  // IOB1
    {{"in"}, {"O"}},
};

Tagger small(const TagEncoder& encoder, bool crf, bool letters = true, bool shapes = true) {
  const TaggerOptions sizes{.word_size = 5,
                            .letter_size = 3,
                            .shape_size = 2,
                            .letter_hidden = 3,
                            .hidden = 4,
                            .crf = crf};
  return Tagger::make(Key(1), encoder.sizes(sizes, letters, shapes), encoder.tags.tokens());
}
TaggingBatch batch_of(const TagEncoder& encoder, const std::vector<Size>& chosen) {
  return encoder.examples(sentences).batch(chosen);
}

}  // namespace

TEST_CASE("a sentence's scores do not depend on the sentences beside it") {
  const auto encoder = TagEncoder::of(sentences);
  const Tagger tagger = small(encoder, true);
  const Var<float> together = unpack(tagger.emissions(batch_of(encoder, {0, 1, 2})));
  for (Size i = 0; i < 3; ++i) {
    const auto alone = tagger.emissions(batch_of(encoder, {i})).data;
    for (Size t = 0; t < alone.size(0); ++t) {
      const auto a = index(alone, 0, t).to_vector();
      const auto b = index(index(together, 0, t), 0, i).to_vector();
      for (std::size_t k = 0; k < a.size(); ++k) CHECK(a[k] == doctest::Approx(b[k]).epsilon(1e-5));
    }
  }
}

TEST_CASE("without a field the loss is that of each word by itself, added up over a sentence") {
  const auto encoder = TagEncoder::of(sentences);
  const Tagger tagger = small(encoder, false);
  const Var<float> e = tagger.emissions(batch_of(encoder, {1})).data;  // [3, 5]
  const auto scores = e.to_vector();
  const std::vector<std::size_t> truth{std::size_t(encoder.tags.id("B-PER")), 0,
                                       0};  // I-PER begins a span
  double expected = 0;
  for (std::size_t t = 0; t < 3; ++t) {
    double all = 0;
    for (std::size_t k = 0; k < 5; ++k) all += std::exp(double(scores[t * 5 + k]));
    expected += std::log(all) - double(scores[t * 5 + truth[t]]);
  }
  CHECK(tagger.loss(batch_of(encoder, {1})).item() == doctest::Approx(expected).epsilon(1e-5));
  const double other = tagger.loss(batch_of(encoder, {2})).item();
  CHECK(tagger.loss(batch_of(encoder, {1, 2})).item() ==
        doctest::Approx((expected + other) / 2).epsilon(1e-5));
}

TEST_CASE(
    "with a field the loss is -log of the share of a sentence's tags among all that are allowed") {
  const auto encoder = TagEncoder::of(sentences);
  const Tagger tagger = small(encoder, true);
  const auto e = tagger.emissions(batch_of(encoder, {1})).data.to_vector();
  const auto start = tagger.crf->start.to_vector(), end = tagger.crf->end.to_vector(),
             from_to = tagger.crf->transitions.to_vector();
  const auto& names = encoder.tags.tokens();
  const auto allowed = [&](const std::string& before, const std::string& after) {
    return !after.starts_with("I-") || (before != "O" && before.substr(2) == after.substr(2));
  };
  double total = 0, right = 0;
  for (std::size_t y = 0; y < 125; ++y) {
    const std::size_t tags[] = {y / 25, y / 5 % 5, y % 5};
    if (!allowed("O", names[tags[0]]) || !allowed(names[tags[0]], names[tags[1]]) ||
        !allowed(names[tags[1]], names[tags[2]])) {
      continue;
    }
    double score = double(start[tags[0]]) + double(end[tags[2]]);
    for (std::size_t t = 0; t < 3; ++t) score += double(e[t * 5 + tags[t]]);
    for (std::size_t t = 0; t < 2; ++t) score += double(from_to[tags[t] * 5 + tags[t + 1]]);
    total += std::exp(score);
    if (names[tags[0]] == "B-PER" && tags[1] == 0 && tags[2] == 0) right = std::exp(score);
  }
  CHECK(tagger.loss(batch_of(encoder, {1})).item() ==
        doctest::Approx(-std::log(right / total)).epsilon(1e-4));
}

TEST_CASE("words are hidden in training only") {
  const auto encoder = TagEncoder::of(sentences);
  Tagger tagger = small(encoder, true);
  const Indices ids({4}, {1, 2, 3, 4});
  tagger.unknown_rate = 0;
  CHECK(tagger.some_unknown(ids, Key(1)).values()[2] == 3);
  tagger.unknown_rate = 0.5;
  const Indices many(Shape{2000}, std::vector<std::int64_t>(2000, 1));
  Size left = 0;
  const Indices after = tagger.some_unknown(many, Key(2));
  for (const auto id : after.values()) left += id;
  CHECK(left > 900);
  CHECK(left < 1100);
  const auto b = batch_of(encoder, {0});
  CHECK(tagger.loss(b).item() == tagger.loss(b).item());
  CHECK(tagger.loss(b, Key(1)).item() != tagger.loss(b).item());
}

TEST_CASE("words are looked up by what they are, how they are spelled and their shape") {
  CHECK(word_shape("McDonald's") == "XxXx'x");
  CHECK(word_shape("1994") == "d");
  CHECK(word_shape("Zoë") == "Xx");
  CHECK(word_shape("").empty());
  const auto encoder = TagEncoder::of(sentences);
  CHECK(encoder.tags.tokens() == Strings{"O", "B-LOC", "I-LOC", "B-PER", "I-PER"});
  const auto s = encoder.encode({{"ANN", "Zed"}, {"B-ORG", "I-PER"}});
  CHECK(s.words == std::vector<std::int64_t>{encoder.words.id("ann"), 0});
  CHECK(s.tags == std::vector<std::int64_t>{0, encoder.tags.id("B-PER")});  // no such type: O
  // Two sentences with "Ann" and "saw": spelled once.
  const auto b = batch_of(encoder, {0, 1});
  CHECK(b.letters_layout->lengths.batch() == 7);
  CHECK(b.words.size() == 9);
  CHECK(b.spelling(0) == b.spelling(1));  // packed: both first words
}

TEST_CASE("a tagger's file holds all that it needs, whatever parts it has") {
  const unroll::testing::TemporaryFolder folder;
  const auto encoder = TagEncoder::of(sentences);
  for (const bool has : {false, true}) {
    CAPTURE(has);
    const Tagger tagger = small(encoder, has, has, !has);
    save(folder / "t.safetensors", tagger, encoder.metadata(tagger));
    const LoadedTagger loaded = load_tagger(folder / "t.safetensors");
    CHECK(loaded.tagger.crf.has_value() == has);
    CHECK(loaded.tagger.speller.has_value() == has);
    CHECK(loaded.tagger.shapes.has_value() == !has);
    CHECK(loaded.tagger.emissions(batch_of(loaded.encoder, {0, 1, 2})).data.to_vector() ==
          tagger.emissions(batch_of(encoder, {0, 1, 2})).data.to_vector());
    CHECK(tags_of(loaded.tagger, loaded.encoder, sentences) == tags_of(tagger, encoder, sentences));
  }
  save(folder / "other.safetensors", Linear<float>::make(Key(1), 2, 2));
  CHECK_THROWS_AS((void)load_tagger(folder / "other.safetensors"), FormatError);
}

TEST_CASE("scores are those of spans, in any scheme") {
  const TagLists predicted{{"B-PER", "O", "B-PER", "O", "O", "B-LOC"}, {"B-PER", "O", "O"}, {"O"}};
  const auto scores = tagging_scores(predicted, sentences);  // 3 of 4 found, 3 of 4 true
  CHECK(scores.precision == 0.75);
  CHECK(scores.recall == 0.75);
  CHECK(scores.f1 == 0.75);
  CHECK(scores.right_tags == doctest::Approx(0.9));
  const auto encoder = TagEncoder::of(sentences);
  const Strings types = types_of(encoder);
  CHECK(types == Strings{"O", "LOC", "PER"});
  CHECK(type_confusions(predicted, sentences, types) ==
        std::vector<double>{5, 0, 0, 0, 1, 0, 1, 0, 3});
  const std::vector<TaggedSentence> others{{{"Ann", "Rome", "Zed"}, {}}};
  CHECK(most_frequent_tags(sentences, others) == TagLists{{"B-PER", "B-LOC", "O"}});
}

TEST_CASE("in generated sentences the words around a name tell what it is, and only they") {
  const auto training = generated_sentences(Key(1), 600, Gazetteer::training);
  const auto test = generated_sentences(Key(2), 300, Gazetteer::test);
  std::set<std::string> context;  // words that are no names stand in both
  std::set<std::string> known;
  for (const auto& s : training) known.insert(s.words.begin(), s.words.end());
  for (const auto& s : test) {
    for (const auto& w : s.words) {
      if (known.contains(w)) context.insert(w);
    }
  }
  for (const auto& s : test) {
    for (std::size_t t = 0; t < s.words.size(); ++t) {
      if (s.tags[t] != "O") CHECK_FALSE(known.contains(s.words[t]));
    }
  }
  // Names as "*": the same sentence never has two readings.
  std::map<std::string, Strings> reading;
  for (const auto& s : test) {
    std::string skeleton;
    for (const auto& w : s.words) skeleton += context.contains(w) ? w + " " : "* ";
    const auto [at, is_new] = reading.emplace(skeleton, s.tags);
    CHECK(at->second == s.tags);
  }
  CHECK(reading.size() > 40);
  CHECK(generated_sentences(Key(2), 5, Gazetteer::test)[4] == test[4]);
}

TEST_CASE("data come as one file, or as a folder of parts") {
  const unroll::testing::TemporaryFolder folder;
  BadData bad(OnBadData::stop);
  {
    std::ofstream file(folder / "all.conll");
    for (int i = 0; i < 20; ++i) file << "w" << i << " O\n\n";
  }
  const auto parts = read_tagging_data(folder / "all.conll", bad);
  CHECK(parts[Split::test].at(1).words == Strings{"w19"});
  CHECK(parts[Split::training].size() == 16);
  for (const std::string part : {"train", "valid", "test"}) {
    std::filesystem::create_directories(folder / "slots" / part);
    std::ofstream(folder / "slots" / part / "seq.in") << part << "\n";
    std::ofstream(folder / "slots" / part / "seq.out") << "O\n";
    std::filesystem::create_directories(folder / "columns");
    std::ofstream(folder / "columns" / (part + ".txt")) << part << " B-x\n";
  }
  CHECK(read_tagging_data(folder / "slots", bad)[Split::validation].at(0).words ==
        Strings{"valid"});
  CHECK(read_tagging_data(folder / "columns", bad)[Split::test].at(0).tags == Strings{"B-x"});
  CHECK_THROWS_AS((void)read_tagging_data(folder / "nothing", bad), FileError);
}
