#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "temporary_folder.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/models/classify_images/generator.hpp"
#include "unroll/models/classify_images/report.hpp"
#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/optimizers.hpp"
#include "unroll/nn/serialization.hpp"

using namespace unroll;

namespace {

const ClassifierSizes small{.rows = 4, .columns = 3, .classes = 5, .hidden = 6, .row_hidden = 7};

Var<float> random_images(Size count) { return uniform<float>(Key(3), {count, 4, 3}); }

double difference(const Var<float>& a, const Var<float>& b) {
  return double(max(abs(a - b)).item());
}

}  // namespace

TEST_CASE("pixels between pixels are weighted means, and 0 outside") {
  const std::vector<double> image{1, 2, 3, 5};
  CHECK(pixel_between(image, 2, 2, 0, 1) == 2);
  CHECK(pixel_between(image, 2, 2, 0.5, 0) == 2);
  CHECK(pixel_between(image, 2, 2, 0.5, 0.25) == doctest::Approx(0.75 * 2 + 0.25 * 3.5));
  CHECK(pixel_between(image, 2, 2, -0.5, 0) == 0.5);
  CHECK(pixel_between(image, 2, 2, 1, 2) == 0);
  CHECK(pixel_between(image, 2, 2, 1e300, -1e300) == 0);
}

TEST_CASE("a warp moves, turns and resizes about the centre") {
  const auto place = [](const Warp& warp, double row, double column) {
    const auto [r, c] = warp.source({row, column});
    return std::vector<double>{std::round(r * 1e9) / 1e9, std::round(c * 1e9) / 1e9};
  };
  CHECK(place({.down = 2, .right = -1}, 3, 4) == std::vector<double>{1, 5});
  CHECK(place({.scale = 2}, 3, 4) == std::vector<double>{1.5, 2});
  // A quarter clockwise: what is at the right now was at the top.
  CHECK(place({.angle = std::acos(0.0)}, 0, 1) == std::vector<double>{-1, 0});
}

TEST_CASE("random warps: none leaves images alone, a key decides, ranges are kept") {
  const Var<float> images = random_images(3);
  CHECK(difference(random_warp(images, {}, Key(1)), images) == 0);
  const WarpRange range{.shift = 1, .rotation = 20, .scale = 0.2};
  const Var<float> a = random_warp(images, range, Key(1));
  CHECK(difference(a, random_warp(images, range, Key(1))) == 0);
  CHECK(difference(a, random_warp(images, range, Key(2))) > 0.01);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const Warp warp = range.draw(Key(i));
    CHECK(std::abs(warp.down) <= 1);
    CHECK(std::abs(warp.angle) <= 20 * 3.1416 / 180);
    CHECK(std::abs(warp.scale - 1) <= 0.2);
  }
  CHECK_THROWS_WITH((void)random_warp(zeros<float>({2, 3}), range, Key()),
                    "[random_warp] the images have shape [2, 3]; they are [batch, rows, columns]");
  CHECK(random_warp(zeros<float>({0, 4, 3}), range, Key()).size() == 0);
}

TEST_CASE("generated digits are a function of key and number") {
  const ImageSet digits = generate_digits(Key(5), 40);
  CHECK(digits.size() == 40);
  CHECK(digits.pixels.size() == 40 * 28 * 28);
  CHECK(generate_digits(Key(5), 10).pixels == digits.part(0, 10).pixels);
  CHECK(generate_digits(Key(6), 40).labels != digits.labels);
  for (std::int64_t digit = 0; digit < 10; ++digit) {
    CHECK(std::count(digits.labels.begin(), digits.labels.end(), digit) > 0);
  }
  CHECK_THROWS_WITH((void)draw_digit(10, {}), "[draw_digit] 10 is no digit");
}

// What the generator's page says about its best possible score: a classifier that knows the font and
// tries places, angles and sizes on a coarse grid is always right.
TEST_CASE("the generated digits can be told apart without error") {
  const ImageSet digits = generate_digits(Key(8), 60);
  std::vector<double> nearest(60, 1e300);
  std::vector<std::int64_t> found(60, -1);
  const double degree = std::acos(-1.0) / 180;
  for (std::int64_t digit = 0; digit < 10; ++digit) {
    for (double down = -3; down <= 3; down += 1) {
      for (double right = -3; right <= 3; right += 1) {
        for (const double angle : {-10.0, 0.0, 10.0}) {
          for (const double scale : {0.92, 1.08}) {
            const auto drawn = draw_digit(
                digit, {.down = down, .right = right, .angle = angle * degree, .scale = scale});
            for (std::size_t i = 0; i < 60; ++i) {
              double distance = 0;
              for (std::size_t k = 0; k < drawn.size(); ++k) {
                const double d = digits.pixels[i * drawn.size() + k] / 255.0 - drawn[k];
                distance += d * d;
              }
              if (distance < nearest[i]) {
                nearest[i] = distance;
                found[i] = digit;
              }
            }
          }
        }
      }
    }
  }
  CHECK(found == digits.labels);
}

TEST_CASE("the row reader's steps are the rows from the top") {
  const RowReader net = ImageClassifiers::make(Key(2), small).row_by_row;
  const Var<float> images = random_images(2);
  LstmState<float> state = net.cell.initial_state(2);
  for (Size row = 0; row < 4; ++row) state = net.cell(index(images, 1, row), state);
  CHECK(difference(net.out(state.h), net(images)) < 1e-6);
}

TEST_CASE("the two networks share no parameter, and their losses add up") {
  const ImageClassifiers net = ImageClassifiers::make(Key(2), small);
  const Var<float> images = random_images(3);
  const Indices labels({3}, {0, 4, 2});
  const auto gradient = grad(
      [&](const ImageClassifiers& n) { return cross_entropy(n(images).all_at_once, labels); })(net);
  for_each_named(gradient, [](const std::string& name, const auto& g) {
    CAPTURE(name);
    CHECK((max(abs(g)).item() > 0) == name.starts_with("all_at_once"));
  });
  const ClassLogits logits = net(images);
  CHECK(logits.all_at_once.shape() == Shape{3, 5});
  CHECK(net.loss(images, labels).item() ==
        doctest::Approx(cross_entropy(logits.all_at_once, labels).item() +
                        cross_entropy(logits.row_by_row, labels).item()));
}

TEST_CASE("standardised images have mean 0 and deviation 1") {
  ImageSet set{.rows = 1, .columns = 2, .pixels = {0, 255, 255, 255}, .labels = {0, 1}};
  const auto net = standardised(ImageClassifiers::make(Key(), {.rows = 1, .columns = 2}), set);
  CHECK(net.mean.item() == doctest::Approx(0.75));
  CHECK(net.deviation.item() == doctest::Approx(std::sqrt(3.0) / 4));
  CHECK_THROWS_AS((void)standardised(net, {}), std::invalid_argument);
}

TEST_CASE("a model's file says how to make it, and gives the same answers") {
  testing::TemporaryFolder folder;
  const std::string path = (folder / "m.safetensors").string();
  const ImageClassifiers net = ImageClassifiers::make(Key(2), small);
  save(path, net, small.metadata());
  const auto sizes = ClassifierSizes::of(read_safetensors(path).metadata, path);
  ImageClassifiers again = ImageClassifiers::make(Key(9), sizes);
  load(path, again);
  const Var<float> images = random_images(3);
  CHECK(difference(net(images).row_by_row, again(images).row_by_row) == 0);
  CHECK(difference(net(images).all_at_once, again(images).all_at_once) == 0);
  CHECK_THROWS_WITH((void)ClassifierSizes::of({}, "m"),
                    doctest::Contains("m: it does not say \"rows\""));
  CHECK_THROWS_WITH((void)ClassifierSizes::of({{"rows", "-3"}}, "m"),
                    "m: \"rows\" is \"-3\", not a number from 1 to 1000000");
}

TEST_CASE("testing counts each image once for each network, and the report shows it") {
  testing::TemporaryFolder folder;
  const ImageSet digits = generate_digits(Key(1), 260);  // more than one batch
  ImageClassifiers net = ImageClassifiers::make(Key(2), {.hidden = 8, .row_hidden = 4});
  const TestResult test = test_classifiers(net, digits);
  const ClassAnswers answers = classify(net, digits.all().images);
  double all = 0, rows = 0;
  std::size_t wrong = 0;
  for (Size i = 0; i < 260; ++i) {
    const std::int64_t truth = digits.labels[std::size_t(i)];
    all += answers.all_at_once.classes(i) == truth;
    rows += answers.row_by_row.classes(i) == truth;
    wrong += answers.all_at_once.classes(i) != truth || answers.row_by_row.classes(i) != truth;
  }
  CHECK(test.all_at_once.accuracy == doctest::Approx(all / 260));
  CHECK(test.row_by_row.accuracy == doctest::Approx(rows / 260));
  CHECK(mean_accuracy(net, digits.all()) == doctest::Approx((all + rows) / 520));
  CHECK(test.wrong.size() == wrong);
  double counted = 0;
  for (const double n : test.row_by_row.confusion) counted += n;
  CHECK(counted == 260);

  write_report(folder / "r.html", "the command", {}, net, net, digits, test);
  const std::string page = read_whole_file(folder / "r.html");
  CHECK(page.find("the command") != page.npos);
  CHECK(page.find("Where a network is wrong") != page.npos);
  CHECK(page.find("How far back it learns") != page.npos);
}

TEST_CASE("the gradient by row ends with that of the LSTM's answer") {
  const ImageBatch digits = generate_digits(Key(1), 3).all();
  ImageClassifiers net = ImageClassifiers::make(Key(2), {.hidden = 8, .row_hidden = 4});
  net.mean = 0.2f;
  net.deviation = 0.5f;
  const auto norms = net.gradient_by_row(digits.images, digits.labels);
  REQUIRE(norms.size() == 28);
  const Var<float> d_scores =
      (softmax(net(digits.images).row_by_row) - one_hot<float>(digits.labels, 10)) / 3.0f;
  const Var<float> d_h = matmul(d_scores, net.row_by_row.out.weight);
  CHECK(norms.back() == doctest::Approx(global_norm(d_h)).epsilon(1e-5));
}

TEST_CASE("lines are answered one by one, bad ones by empty lines where they are skipped") {
  const auto answer = [](const std::string& line, std::int64_t number) {
    if (line == "bad") throw DataError("in", number, "something good", line);
    return line + "!";
  };
  std::istringstream in("a\nbad\n\nc");
  std::ostringstream out;
  CHECK(answer_lines(in, out, OnBadData::skip, answer) ==
        "1 bad example skipped: in: line 2: expected something good, found bad");
  CHECK(out.str() == "a!\n\n!\nc!\n");
  std::istringstream again("a\nbad\nc");
  std::ostringstream stopped;
  CHECK_THROWS_WITH(answer_lines(again, stopped, OnBadData::stop, answer),
                    "in: line 2: expected something good, found bad");
  CHECK(stopped.str() == "a!\n");
}
