// The translator: its generated tasks, its batches, its loss, its file.
#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <map>
#include <set>

#include "temporary_folder.hpp"
#include "unroll/models/translate/corpus.hpp"
#include "unroll/models/translate/text_translator.hpp"
#include "unroll/nn/optimizers.hpp"

using namespace unroll;
using testing::TemporaryFolder;

namespace {

const std::vector<TextPair> pairs{{{"a", "dog", "runs", "."}, {"un", "chien", "court", "."}},
                                  {{"a", "cat"}, {"un", "chat"}},
                                  {{"dog"}, {"le", "chien"}},
                                  {{"a", "cat", "runs", "."}, {"le", "chat", "court"}}};
const auto words = TranslationVocabularies::of(pairs);
const TranslatorSizes sizes{words.source.size(), words.target.size(), 6, 5};

// What the words say, by the rule of reading them: units add up, hundred and thousand multiply.
Size value_of(const Words& text) {
  static const std::map<std::string, Size> units{
      {"one", 1},      {"two", 2},        {"three", 3},     {"four", 4},      {"five", 5},
      {"six", 6},      {"seven", 7},      {"eight", 8},     {"nine", 9},      {"ten", 10},
      {"eleven", 11},  {"twelve", 12},    {"thirteen", 13}, {"fourteen", 14}, {"fifteen", 15},
      {"sixteen", 16}, {"seventeen", 17}, {"eighteen", 18}, {"nineteen", 19}, {"twenty", 20},
      {"thirty", 30},  {"forty", 40},     {"fifty", 50},    {"sixty", 60},    {"seventy", 70},
      {"eighty", 80},  {"ninety", 90},    {"and", 0}};
  Size done = 0, open = 0;
  for (const std::string& word : text) {
    if (word == "thousand") {
      done += 1000 * open;
      open = 0;
    } else {
      open = word == "hundred" ? open * 100 : open + units.at(word);
    }
  }
  return done + open;
}

Size as_number(const Words& digits) {
  std::string text;
  for (const std::string& d : digits) text += d;
  return std::stol(text);
}

double loss_of(const Translator& model, const SentenceBatch& b) {
  return double(model.loss(b, {}, Key()).mean.item());
}

}  // namespace

TEST_CASE("Numbers are written as one says them") {
  CHECK(number_in_words(1) == "one");
  CHECK(number_in_words(40) == "forty");
  CHECK(number_in_words(407) == "four hundred and seven");
  CHECK(number_in_words(900) == "nine hundred");
  CHECK(number_in_words(4070) == "four thousand and seventy");
  CHECK(number_in_words(12000) == "twelve thousand");
  CHECK(number_in_words(999999) ==
        "nine hundred and ninety nine thousand nine hundred and ninety nine");
  for (Size n = 1; n < 1000000; n += 37) CHECK(value_of(split_words(number_in_words(n))) == n);
  CHECK_THROWS_AS((void)number_in_words(0), std::invalid_argument);
  CHECK_THROWS_AS((void)number_in_words(1000000), std::invalid_argument);
}

TEST_CASE("Dates are written in five ways") {
  const Date date{.year = 1998, .month = 3, .day = 3};
  CHECK(written_date(date, 0) == "3 march 1 9 9 8");
  CHECK(written_date(date, 1) == "the 3 rd of march 1 9 9 8");
  CHECK(written_date(date, 2) == "march 3 , 1 9 9 8");
  CHECK(written_date(date, 3) == "0 3 . 0 3 . 1 9 9 8");
  CHECK(written_date(date, 4) == "3 mar ' 9 8");
  CHECK(written_date({2005, 12, 11}, 1) == "the 1 1 th of december 2 0 0 5");
  CHECK(written_date({2005, 12, 21}, 4) == "2 1 dec ' 0 5");
  CHECK_THROWS_AS((void)written_date(date, 5), std::invalid_argument);
}

TEST_CASE("Generated pairs are right, no source occurs twice, and the key decides") {
  const auto both = generate_pairs(Key(1), 2000);
  CHECK(both == generate_pairs(Key(1), 2000));
  CHECK(both != generate_pairs(Key(2), 2000));
  std::set<Words> sources;
  Size dates = 0;
  std::set<Size> forms;
  for (const auto& [source, target] : both) {
    sources.insert(source);
    if (target.size() < 5 || target[4] != "-") {
      CHECK(value_of(target) == as_number(source));
      continue;
    }
    ++dates;
    const Date date{as_number({target.begin(), target.begin() + 4}),
                    as_number({target[5], target[6]}), as_number({target[8], target[9]})};
    CHECK(std::chrono::year_month_day(std::chrono::year(int(date.year)),
                                      std::chrono::month(unsigned(date.month)),
                                      std::chrono::day(unsigned(date.day)))
              .ok());
    Size form = 0;
    while (form < date_forms && split_words(written_date(date, form)) != source) ++form;
    forms.insert(form);
  }
  CHECK(sources.size() == 2000);
  CHECK(dates > 900);
  CHECK(forms == std::set<Size>{0, 1, 2, 3, 4});
  for (const auto& p : generate_pairs(Key(1), 50, TranslationTask::numbers))
    CHECK(value_of(p.target) > 0);
  for (const auto& p : generate_pairs(Key(1), 50, TranslationTask::dates))
    CHECK(p.target.size() == 10);
  CHECK(generate_pairs(Key(1), 0).empty());
  CHECK_THROWS_AS((void)generate_pairs(Key(1), -1), std::invalid_argument);
  CHECK(task_named("dates") == TranslationTask::dates);
  CHECK_THROWS_AS((void)task_named("poems"), std::invalid_argument);
}

TEST_CASE("A corpus is a folder of parallel files, or pairs of which each tenth is held out") {
  const TemporaryFolder folder;
  for (const std::string name : {"train", "val", "test"}) {
    std::ofstream(folder / (name + ".en")) << name << "\n";
    std::ofstream(folder / (name + ".de")) << name << " auch\n";
  }
  BadData bad(OnBadData::stop);
  const CorpusFiles files{.path = folder.path().string(), .from = "en", .to = "de", .test = "test"};
  const auto corpus = read_parallel_corpus(files, bad);
  CHECK(corpus.training == std::vector<TextPair>{{{"train"}, {"train", "auch"}}});
  CHECK(corpus.validation == std::vector<TextPair>{{{"val"}, {"val", "auch"}}});
  CHECK(corpus.test == std::vector<TextPair>{{{"test"}, {"test", "auch"}}});

  std::ofstream file(folder / "pairs.tsv");
  for (int i = 0; i < 12; ++i) file << i << "\tn" << i << "\n";
  file.close();
  const auto split = read_parallel_corpus({.path = (folder / "pairs.tsv").string()}, bad);
  CHECK(split.training.size() == 10);
  CHECK(split.validation == std::vector<TextPair>{{{"8"}, {"n8"}}});
  CHECK(split.test == std::vector<TextPair>{{{"9"}, {"n9"}}});
  std::ofstream(folder / "short.tsv") << "a\tb\n";
  CHECK_THROWS_AS((void)read_parallel_corpus({.path = (folder / "short.tsv").string()}, bad),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)read_parallel_corpus({.path = (folder / "none").string()}, bad), FileError);
}

TEST_CASE("A batch holds sources with their ends, and targets moved on by one step") {
  const SentencePairs data(pairs, words);
  const SentenceBatch b = data.batch(std::vector<Size>{1, 2});
  const auto id = [](const TokenVocabulary& v, const char* word) { return v.id(word); };
  const auto& s = words.source;
  const auto& t = words.target;
  CHECK(b.source.words.shape() == Shape{3, 2});
  CHECK(b.source.lengths[0] == 3);
  CHECK(b.source.lengths[1] == 2);
  CHECK(std::ranges::equal(
      b.source.words.values(),
      std::vector<std::int64_t>{id(s, "a"), id(s, "dog"), id(s, "cat"), end_token, end_token, 0}));
  CHECK(std::ranges::equal(b.inputs.values(),
                           std::vector<std::int64_t>{begin_token, begin_token, id(t, "un"),
                                                     id(t, "le"), id(t, "chat"), id(t, "chien")}));
  CHECK(std::ranges::equal(b.targets.values(),
                           std::vector<std::int64_t>{id(t, "un"), id(t, "le"), id(t, "chat"),
                                                     id(t, "chien"), end_token, end_token}));
  CHECK_THROWS_AS((void)source_batch({}), std::invalid_argument);
}

TEST_CASE("An epoch holds each pair once, neighbours in length together") {
  const auto many = generate_pairs(Key(3), 301);
  const SentencePairs data(many, TranslationVocabularies::of(many));
  for (const Order order : {Order::shuffled, Order::as_given}) {
    std::set<Size> seen;
    Size count = 0;
    for (const auto& batch : data.epoch(Key(4), 20, order)) {
      CHECK(batch.size() <= 20);
      count += Size(batch.size());
      seen.insert(batch.begin(), batch.end());
    }
    CHECK(count == 301);
    CHECK(seen.size() == 301);
  }
  CHECK(data.epoch(Key(4), 20, Order::shuffled) == data.epoch(Key(4), 20, Order::shuffled));
  CHECK(data.epoch(Key(4), 20, Order::shuffled) != data.epoch(Key(5), 20, Order::shuffled));
  double spread = 0;
  const auto batches = data.epoch(Key(4), 20, Order::shuffled);
  for (const auto& batch : batches) {
    const auto length = [&](Size i) { return many[std::size_t(i)].source.size(); };
    const auto [low, high] = std::ranges::minmax(batch, {}, length);
    spread += double(length(high) - length(low));
  }
  CHECK(spread / double(batches.size()) < 2);  // of lengths from 1 to 11
}

TEST_CASE(
    "The loss is the mean over all target words, padding aside, of the decoder run step by step") {
  const auto model = Translator::make(Key(1), sizes);
  const SentencePairs data(pairs, words);
  double sum = 0, count = 0;
  for (Size i = 0; i < data.size(); ++i) {
    const SentenceBatch one = data.batch(std::vector<Size>{i});
    const auto [step, start] = model.read(one.source);
    Var<float> s = start;
    for (Size t = 0; t < one.inputs.shape()[0]; ++t) {
      auto [logits, next] = step.step(one.inputs[t], s);
      sum -= double(log_softmax(logits).to_vector()[std::size_t(one.targets(t))]);
      count += 1;
      s = next;
    }
  }
  const SentenceBatch all = data.batch(std::vector<Size>{0, 1, 2, 3});
  CHECK(model.loss(all, {}, Key()).weight == count);
  CHECK(loss_of(model, all) == doctest::Approx(sum / count).epsilon(1e-5));
  const TranslationLoss loss{{.dropout = 0.5, .label_smoothing = 0.1}};
  CHECK(double(loss(model, all).mean.item()) == loss_of(model, all));
  CHECK(loss(model, all, Key(1)).mean.item() != loss(model, all, Key(2)).mean.item());
}

TEST_CASE("Attention looks at the source's words only; a picture has a row for each target word") {
  const TextTranslator translator{Translator::make(Key(1), sizes), words};
  const AttentionMap map = translator.attention({"a", "cat"}, {"un", "chat"});
  CHECK(map.rows == Words{"un", "chat", "</s>"});
  CHECK(map.columns == Words{"a", "cat", "</s>"});
  REQUIRE(map.weights.size() == 9);
  for (std::size_t t = 0; t < 3; ++t) {
    CHECK(map.weights[3 * t] + map.weights[3 * t + 1] + map.weights[3 * t + 2] ==
          doctest::Approx(1));
  }
}

TEST_CASE("A small translator learns its pairs by heart, and its file says all of it") {
  auto model = Translator::make(Key(1), {words.source.size(), words.target.size(), 16, 16});
  const SentencePairs data(pairs, words);
  const SentenceBatch all = data.batch(std::vector<Size>{0, 1, 2, 3});
  Adam adam(model, {.learning_rate = 2e-2});
  const auto gradient = grad([&](const Translator& m) { return m.loss(all, {}, Key()).mean; });
  for (int i = 0; i < 80; ++i) {
    adam.step(model, gradient(model));
  }
  const TextTranslator translator{model, words};
  CHECK_THROWS_AS((void)translator.score({}, {.beam = 1}), std::invalid_argument);
  for (const Size beam : {1, 3}) {
    const TranslationScores scores = translator.score(pairs, {.beam = beam});
    CHECK(scores.exact_match == 1);
    CHECK(scores.bleu == doctest::Approx(100));
  }
  const std::vector<Words> some{{"a", "cat"}, {}, {"dog"}, {"a", "cat", "swims"}};
  const auto together = translator.translate(some, {.beam = 2});
  CHECK(together[0] == Words{"un", "chat"});
  CHECK(together[1].empty());
  for (std::size_t i = 0; i < some.size(); ++i) {
    CHECK(translator.translate(std::span(&some[i], 1), {.beam = 2})[0] == together[i]);
  }

  const TemporaryFolder folder;
  const TranslatorSizes own{words.source.size(), words.target.size(), 16, 16};
  save(folder / "m", model, metadata_of(words, own));
  const TextTranslator loaded = TextTranslator::load(folder / "m");
  CHECK(loaded.words == words);
  CHECK(loaded.translate(some, {.beam = 2}) == together);

  save(folder / "bare", model);
  CHECK_THROWS_AS((void)TextTranslator::load(folder / "bare"), FormatError);
  Metadata wrong = metadata_of(words, own);
  for (const char* size : {"17", "0", "-1", "many", "", "99999999999999999999"}) {
    CAPTURE(size);
    wrong["hidden"] = size;
    save(folder / "wrong", model, wrong);
    CHECK_THROWS_AS((void)TextTranslator::load(folder / "wrong"), FormatError);
  }
}
