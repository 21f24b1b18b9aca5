// Metrics: small cases counted by hand, and sentences that seqeval and sacreBLEU have judged
// (fixtures/text_metrics.py).
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "fixtures/text_metrics.hpp"
#include "unroll/nn/bleu.hpp"
#include "unroll/nn/metrics.hpp"
#include "unroll/nn/span_f1.hpp"

using namespace unroll;

namespace {

void check_scores(const Scores& s, double precision, double recall, double f1) {
  CHECK(s.precision == doctest::Approx(precision).epsilon(1e-14));
  CHECK(s.recall == doctest::Approx(recall).epsilon(1e-14));
  CHECK(s.f1 == doctest::Approx(f1).epsilon(1e-14));
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

void check_counts(const SpanCounts& c, const text_metrics::Counts& expected) {
  CHECK(c.right == expected.right);
  CHECK(c.predicted == expected.predicted);
  CHECK(c.truth == expected.truth);
}

}  // namespace

TEST_CASE_TEMPLATE("Accuracy is the share of labels among the highest scores", T, float, double) {
  const Var<T> scores({2, 2, 3}, {1, 2, 3, /**/ 3, 2, 1, /**/ 0, 5, 4, /**/ 2, 1, 3});
  const Indices labels({2, 2}, {1, 0, 0, 7});
  Accuracy first{.ignored = 7}, second{.k = 2, .ignored = 7}, third{.k = 3, .ignored = 7};
  first.add(scores, labels);
  second.add(scores, labels);
  third.add(scores, labels);
  CHECK(first.total == 3);
  CHECK(first.right == 1);
  CHECK(second.right == 2);
  CHECK(third.value() == 1);
  first += second;
  CHECK(first.value() == 0.5);
  Accuracy of_decisions;
  of_decisions.add(argmax(scores), Indices({2, 2}, {2, 0, 2, 2}));
  CHECK(of_decisions.value() == 0.75);
}

TEST_CASE("Of equal scores the first counts as the highest, as in argmax") {
  const Var<double> equal = zeros<double>({4, 4});
  const Indices labels({4}, {0, 1, 2, 3});
  for (Size k : {1, 2, 3, 4}) {
    Accuracy a{.k = k};
    a.add(equal, labels);
    CHECK(a.right == k);
  }
}

TEST_CASE("A model that gives NaN is never right") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Accuracy a{.k = 2};
  a.add(Var<double>({3, 3}, {nan, nan, nan, /**/ 1, nan, 0, /**/ nan, 1, nan}),
        Indices({3}, {0, 1, 1}));
  CHECK(a.total == 3);
  CHECK(a.right == 0);
  CHECK(std::isnan(Accuracy{}.value()));
}

TEST_CASE("Labels that are out of range change nothing") {
  Accuracy a;
  CHECK_THROWS_WITH_AS(a.add(zeros<double>({2, 3}), Indices({2}, {0, 3})),
                       "[Accuracy] label 3 is out of range for 3 classes", std::invalid_argument);
  CHECK(a.total == 0);
  CHECK_THROWS_AS(a.add(zeros<double>({2, 3}), Indices({3}, {0, 0, 0})), std::invalid_argument);
  CHECK_THROWS_AS(a.add(Var<double>(1), Indices(0)), std::invalid_argument);
  ConfusionMatrix m(2);
  CHECK_THROWS_WITH_AS(m.add(Indices({2}, {0, 2}), Indices({2}, {0, 0})),
                       "[ConfusionMatrix] prediction 2 is out of range for 2 classes",
                       std::invalid_argument);
  CHECK(m.total() == 0);
  CHECK_THROWS_AS(m.add(Indices({2}, {0, 1}), Indices({1}, {0})), std::invalid_argument);
  CHECK_THROWS_AS(m += ConfusionMatrix(3), std::invalid_argument);
  CHECK_THROWS_AS((void)m.count(0, 2), std::invalid_argument);
  CHECK_THROWS_AS(ConfusionMatrix(0), std::invalid_argument);
}

TEST_CASE("Perplexity and bits per character of known probabilities") {
  TextLikelihood half;
  half.add(8 * std::log(2.0), 8);  // eight characters, each with probability 1/2
  CHECK(half.perplexity() == doctest::Approx(2).epsilon(1e-15));
  CHECK(half.bits_per_character() == doctest::Approx(1).epsilon(1e-15));
  TextLikelihood words;
  words.add(2 * std::log(1024.0), 2, 5);  // two words of probability 1/1024: 20 bits, 5 characters
  CHECK(words.perplexity() == doctest::Approx(1024).epsilon(1e-14));
  CHECK(words.bits_per_character() == doctest::Approx(4).epsilon(1e-14));
  words += half;
  CHECK(words.tokens == 10);
  CHECK(words.bits_per_character() == doctest::Approx(28.0 / 13).epsilon(1e-14));
  CHECK(std::isnan(TextLikelihood{}.perplexity()));
  CHECK(std::isnan(TextLikelihood{}.bits_per_character()));
  CHECK_THROWS_AS(half.add(1, -1), std::invalid_argument);
}

TEST_CASE("A confusion matrix counts, and gives the scores of each class and of all") {
  // truth:      0 0 0 0 1 1 1 2 2, and one that does not count
  // prediction: 0 0 1 2 1 1 0 2 0
  ConfusionMatrix m(4, -100), other(4, -100);
  m.add(Indices({5}, {0, 0, 1, 2, 3}), Indices({5}, {0, 0, 0, 0, -100}));
  other.add(Indices({5, 1}, {1, 1, 0, 2, 0}), Indices({5, 1}, {1, 1, 1, 2, 2}));
  m += other;
  CHECK(m.total() == 9);
  CHECK(m.count(0, 0) == 2);
  CHECK(m.count(0, 2) == 1);
  CHECK(m.count(2, 0) == 1);
  CHECK(m.count(3, 3) == 0);
  CHECK(m.accuracy() == 5.0 / 9);
  check_scores(m.of(0), 2.0 / 4, 2.0 / 4, 2.0 / 4);
  check_scores(m.of(1), 2.0 / 3, 2.0 / 3, 2.0 / 3);
  check_scores(m.of(2), 1.0 / 2, 1.0 / 2, 1.0 / 2);
  check_scores(m.of(3), 0, 0, 0);
  check_scores(m.macro(), 5.0 / 9, 5.0 / 9, 5.0 / 9);  // class 3 does not occur
  check_scores(m.micro(), 5.0 / 9, 5.0 / 9, 5.0 / 9);
  // Without class 0: right 3; predicted as 1 or 2: 5; of class 1 or 2: 5.
  check_scores(m.micro(0), 3.0 / 5, 3.0 / 5, 3.0 / 5);
  // A class that is only ever predicted counts in the mean, with 0.
  m.add(Indices({1}, {3}), Indices({1}, {2}));
  check_scores(m.of(2), 1.0 / 2, 1.0 / 3, 2.0 / 5);
  check_scores(m.macro(), 5.0 / 12, 3.0 / 8, (0.5 + 2.0 / 3 + 0.4) / 4);
  CHECK(std::isnan(ConfusionMatrix(2).accuracy()));
  check_scores(ConfusionMatrix(2).macro(), 0, 0, 0);
}

TEST_CASE("Spans of tags, well-formed and not") {
  using Spans = std::vector<TaggedSpan>;
  const auto of = [](const char* text) { return tagged_spans(split_words(text)); };
  CHECK(of("") == Spans{});
  CHECK(of("O O") == Spans{});
  CHECK(of("B-PER I-PER O B-LOC") == Spans{{0, 2, "PER"}, {3, 4, "LOC"}});
  // IOB1: B only where a span follows one of its type.
  CHECK(of("I-PER I-PER B-PER I-LOC") == Spans{{0, 2, "PER"}, {2, 3, "PER"}, {3, 4, "LOC"}});
  CHECK(of("B-PER I-PER E-PER S-PER B-LOC E-LOC") ==
        Spans{{0, 3, "PER"}, {3, 4, "PER"}, {4, 6, "LOC"}});
  // Nothing begins these, and another type ends them.
  CHECK(of("O I-PER I-LOC E-LOC I-LOC") == Spans{{1, 2, "PER"}, {2, 4, "LOC"}, {4, 5, "LOC"}});
  CHECK(of("E-PER E-PER S-PER I-PER") ==
        Spans{{0, 1, "PER"}, {1, 2, "PER"}, {2, 3, "PER"}, {3, 4, "PER"}});
  // The type may hold dashes, or be none.
  CHECK(of("B-a-b I-a-b B I") == Spans{{0, 2, "a-b"}, {2, 4, ""}});
}

TEST_CASE("Span F1 counts as seqeval and conlleval do, whatever the tags") {
  for (const text_metrics::Tagged& group : text_metrics::tagged) {
    SpanF1 whole, first, second;
    Size number = 0;
    for (const auto& pair : group.sentences) {
      const auto predicted = split_words(pair[0]), truth = split_words(pair[1]);
      whole.add(predicted, truth);
      (number++ % 2 == 0 ? first : second).add(predicted, truth);
    }
    first += second;
    for (SpanF1* f1 : {&whole, &first}) {
      check_counts(f1->types["PER"], group.person);
      check_counts(f1->types["LOC"], group.place);
      CHECK(f1->types.size() == 2);
      CHECK(f1->counts().right == group.person.right + group.place.right);
    }
    CHECK(whole.tags.right == first.tags.right);
  }
}

TEST_CASE("Span scores of a sentence counted by hand") {
  SpanF1 f1;
  f1.add(split_words("B-PER I-PER O B-LOC O B-PER"), split_words("B-PER I-PER O B-LOC I-LOC O"));
  check_scores(f1.types["PER"].scores(), 0.5, 1, 2.0 / 3);
  check_scores(f1.types["LOC"].scores(), 0, 0, 0);  // it ends too early
  check_scores(f1.overall(), 1.0 / 3, 0.5, 0.4);
  CHECK(f1.tags.value() == 4.0 / 6);
  check_scores(SpanF1{}.overall(), 0, 0, 0);
  CHECK_THROWS_WITH_AS(f1.add(split_words("O O"), split_words("O")),
                       "[SpanF1] a sentence has 2 predicted tags and 1 true ones",
                       std::invalid_argument);
}

TEST_CASE("Text is split into tokens as sacreBLEU's 13a does") {
  for (const text_metrics::Tokens& line : text_metrics::tokenized) {
    CAPTURE(line.text);
    CHECK(tokenize_13a(line.text) == line.tokens);
  }
}

TEST_CASE("BLEU is sacreBLEU's") {
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(1.0, b); };
  for (const text_metrics::Corpus& corpus : text_metrics::corpora) {
    CAPTURE(corpus.what);
    Bleu whole, first, second;
    for (std::size_t i = 0; i < corpus.translations.size(); ++i) {
      whole.add(corpus.translations[i], corpus.references[i]);
      (i % 2 == 0 ? first : second).add(corpus.translations[i], corpus.references[i]);
    }
    first += second;
    CHECK(near(first.score(), corpus.score));
    CHECK(near(whole.score(), corpus.score));
    CHECK(near(whole.brevity_penalty(), corpus.brevity_penalty));
    CHECK(whole.length == corpus.length);
    CHECK(whole.reference_length == corpus.reference_length);
    for (std::size_t k = 0; k < Bleu::longest; ++k) {
      CHECK(near(whole.precisions()[k], corpus.precisions[k]));
      CHECK(whole.right[k] == corpus.right[k]);
      CHECK(whole.total[k] == corpus.total[k]);
    }
  }
}

TEST_CASE("BLEU takes tokens, one reference or several, and not none") {
  Bleu bleu, of_tokens;
  bleu.add("a b, c d", {"a b, c d", "x"});
  const std::vector<std::string> tokens{"a", "b", ",", "c", "d"};
  of_tokens.add_tokens(tokens, std::vector<std::vector<std::string>>{tokens});
  CHECK(bleu.score() == of_tokens.score());
  CHECK(bleu.score() == doctest::Approx(100).epsilon(1e-14));
  CHECK(Bleu{}.score() == 0);
  CHECK_THROWS_AS(bleu.add("a", std::span<const std::string>{}), std::invalid_argument);
  CHECK(bleu.length == 5);
}
