#include <doctest/doctest.h>

#include <set>

#include "temporary_folder.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/models/classify_text/answers.hpp"
#include "unroll/models/classify_text/generator.hpp"
#include "unroll/models/classify_text/text_encoder.hpp"

using namespace unroll;

namespace {

using Strings = std::vector<std::string>;
const std::vector<LabelledText> texts{{"a b b c", "x"}, {"a", "y"}, {"c a", "x"}};

TextClassifier small(const TextEncoder& encoder) {
  return TextClassifier::make(Key(1), {.vocabulary = encoder.vocabulary.size(),
                                       .labels = encoder.labels.size(),
                                       .embedding = 5,
                                       .hidden = 4,
                                       .unit_dropout = 0.3});
}

}  // namespace

TEST_CASE("a text's scores do not depend on the texts beside it") {
  const auto encoder = TextEncoder::of(texts, Units::words);
  const auto model = small(encoder);
  const auto data = encoder.examples(texts);
  const Var<float> together = model(data.batch(std::vector<Size>{0, 1, 2}));
  CHECK(together.shape() == Shape{3, 2});
  for (Size i = 0; i < 3; ++i) {
    const auto alone = model(data.batch(std::vector<Size>{i})).to_vector();
    const auto beside = index(together, 0, i).to_vector();
    for (std::size_t k = 0; k < 2; ++k) CHECK(alone[k] == doctest::Approx(beside[k]).epsilon(1e-5));
  }
}

TEST_CASE("pooling takes the largest and the mean of the real steps") {
  // Two texts of 3 and 1 steps; what stands behind the end must not count, not even where all is below 0.
  const Var<float> ys(Shape{3, 2, 1}, {-1, -7, -5, 0, -3, 0});
  const auto pooled = TextClassifier::pooled(ys, Lengths(std::vector<Size>{3, 1})).to_vector();
  CHECK(pooled == std::vector<float>{-1, -3, -7, -7});
}

TEST_CASE("a key drops, the same key drops the same, and without one nothing is dropped") {
  const auto encoder = TextEncoder::of(texts, Units::words);
  const auto model = small(encoder);
  const TextBatch batch = encoder.examples(texts).batch(std::vector<Size>{0, 2});
  const auto plain = model(batch).to_vector();
  CHECK(model(batch).to_vector() == plain);
  CHECK(model(batch, Key(3)).to_vector() == model(batch, Key(3)).to_vector());
  CHECK(model(batch, Key(3)).to_vector() != plain);
  CHECK(model(batch, Key(3)).to_vector() != model(batch, Key(4)).to_vector());
}

TEST_CASE("of texts of one unit the state enters as the last, the largest and the mean") {
  const auto encoder = TextEncoder::of(texts, Units::words);
  const auto model = small(encoder);
  const std::vector<LabelledText> words{{"a", "x"}, {"b", "y"}, {"c", "x"}};
  const TextBatch batch = encoder.examples(words).batch(std::vector<Size>{0, 1, 2});
  const Var<float> d_scores = (softmax(model(batch)) - one_hot<float>(batch.labels, 2)) / 3.0f;
  const auto block = [&](Size first) {  // of 4 units, in [forward h, backward h, max, mean]
    return slice(model.answer.weight, 1, SliceRange{first, first + 4});
  };
  const Var<float> d_h = matmul(d_scores, block(0) + block(8) + block(16));
  const auto norms = model.gradient_by_unit(batch);
  REQUIRE(norms.size() == 1);
  CHECK(norms[0] == doctest::Approx(global_norm(d_h)).epsilon(1e-5));
}

TEST_CASE("gradients by unit need texts of one length; a report takes the longest of many") {
  const auto encoder = TextEncoder::of(texts, Units::words);
  const auto model = small(encoder);
  CHECK_THROWS_WITH_AS(
      (void)model.gradient_by_unit(encoder.examples(texts).batch(std::vector<Size>{0, 1})),
      doctest::Contains("different lengths"), std::invalid_argument);
  std::vector<LabelledText> many(40, {"a b c", "x"});
  many.insert(many.end(), 50, {"a b", "y"});
  many.insert(many.end(), 15, {"a b a b", "y"});
  const auto page_of = [&](std::span<const LabelledText> some) {
    Report page("T");
    add_reach(page, model, model, encoder, some);
    return page.html();
  };
  CHECK(page_of(many).find("Of 32 test texts of 3 words") != std::string::npos);
  CHECK(page_of(std::span(many).last(17)).find("Of 15 test texts of 4 words") != std::string::npos);
  CHECK(page_of({}) == Report("T").html());
}

TEST_CASE("a small step against the gradient lowers the loss by its length squared") {
  const auto encoder = TextEncoder::of(texts, Units::words);
  const auto model = small(encoder);
  const TextBatch batch = encoder.examples(texts).batch(std::vector<Size>{0, 1, 2});
  const auto loss = [&](const TextClassifier& m) { return TextLoss()(m, batch); };
  const auto [value, gradient] = value_and_grad(loss, model);
  double squares = 0;
  tree_for_each([&](const auto& g) { squares += double(sum(square(g)).item()); }, gradient);
  REQUIRE(squares > 0.01);
  const double step = 1e-2;
  const auto moved =
      tree_map([&](const auto& p, const auto& g) { return p - float(step) * g; }, model, gradient);
  CHECK(value.item() - loss(moved).item() == doctest::Approx(step * squares).epsilon(0.05));
}

TEST_CASE("the bag of units adds up a weight for each") {
  const auto encoder = TextEncoder::of(texts, Units::words);
  BagOfUnits bag = BagOfUnits::make(encoder.vocabulary.size(), 2);
  CHECK(encoder.vocabulary.tokens() == Strings{"<unk>", "a", "b", "c"});
  bag.weight.weight = Var<float>(Shape{4, 2}, {100, 100, 1, 0, 10, 0, 0, 1});
  bag.bias = Var<float>(Shape{2}, {0.5, 0});
  const auto batch = encoder.examples(texts).batch(std::vector<Size>{0, 1, 2});
  CHECK(bag(batch).to_vector() == std::vector<float>{21.5, 1, 1.5, 0, 1.5, 1});
}

TEST_CASE("words are in lower case with their punctuation apart, characters are code points") {
  CHECK(units_of("(Fine!) it's  \"A-1\".", Units::words) ==
        Strings{"(", "fine", "!", ")", "it's", "\"", "a-1", "\"", "."});
  CHECK(units_of("...", Units::words) == Strings{".", ".", "."});
  CHECK(units_of("Zoë ", Units::characters) == Strings{"Z", "o", "ë", " "});
  CHECK(units_named("characters") == Units::characters);
  CHECK_THROWS_WITH_AS((void)units_named("word"),
                       "[units] there are words and characters, no \"word\"",
                       std::invalid_argument);
  CHECK(usual_units(std::vector<LabelledText>{{"Maria", "x"}, {"De La Cruz", "x"}}) ==
        Units::characters);
  CHECK(usual_units(std::vector<LabelledText>{{"a fine film", "x"}}) == Units::words);
}

TEST_CASE("every text has a unit, and none has too many") {
  auto encoder = TextEncoder::of(texts, Units::words);
  CHECK(encoder.encode(" ") == std::vector<std::int64_t>{0});
  CHECK(encoder.encode("never a") == std::vector<std::int64_t>{0, 1});
  encoder.longest = 2;
  CHECK(encoder.encode("a b c").size() == 2);
  CHECK_THROWS_AS((void)encoder.labels_of(std::vector<LabelledText>{{"a", "z"}}),
                  std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)TextEncoder::of(std::span(texts).first(1), Units::words),
                       "[TextEncoder] the texts have fewer than two labels", std::invalid_argument);
}

TEST_CASE("a model's file holds all that it needs") {
  const unroll::testing::TemporaryFolder folder;
  const auto encoder = TextEncoder::of(texts, Units::characters);
  const auto model = small(encoder);
  save(folder / "m.safetensors", model, encoder.metadata());
  TextClassifier loaded;
  const auto metadata = load(folder / "m.safetensors", loaded);
  const auto same = TextEncoder::from_metadata(metadata, "m");
  CHECK(same.vocabulary == encoder.vocabulary);
  CHECK(same.labels.tokens() == Strings{"x", "y"});
  CHECK(same.units == Units::characters);
  CHECK(label_probabilities(loaded, same.examples(texts)).to_vector() ==
        label_probabilities(model, encoder.examples(texts)).to_vector());
  CHECK_THROWS_AS((void)TextEncoder::from_metadata({{"units", "words"}}, "m"), FormatError);
}

TEST_CASE("rows of confusions are the labels") {
  const Var<float> scores(Shape{3, 2}, {1, 0, 1, 0, 0, 1});
  CHECK(confusions(scores, Indices({3}, {0, 1, 1})) == std::vector<double>{1, 0, 1, 1});
  CHECK(share_right(scores, Indices({3}, {0, 1, 1})) == doctest::Approx(2.0 / 3));
}

TEST_CASE("in generated reviews the last clause decides and not turns it round") {
  const std::set<std::string> praise{"good",  "fine",  "clever", "moving", "funny",   "bright",
                                     "witty", "fresh", "superb", "lovely", "gripping"};
  const auto reviews = generated_reviews(Key(5), 400);
  std::size_t with_but = 0, positive = 0;
  for (const auto& r : reviews) {
    const auto but = r.text.find(" but ");
    with_but += but != r.text.npos;
    const auto words = split_words(but == r.text.npos ? r.text : r.text.substr(but));
    bool praises = false;
    bool turned = false;
    for (const auto& w : words) {
      praises = praises || praise.contains(w);
      turned = turned || w == "not";
    }
    CHECK(r.label == (praises != turned ? "pos" : "neg"));
    positive += r.label == "pos";
  }
  CHECK(with_but > 150);
  CHECK(with_but < 250);
  CHECK(positive > 160);
  CHECK(positive < 240);
  CHECK(generated_reviews(Key(5), 3)[2].text == reviews[2].text);
}
