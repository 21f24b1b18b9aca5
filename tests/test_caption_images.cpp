#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "temporary_folder.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/models/caption_images/captions.hpp"
#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/optimizers.hpp"
#include "unroll/nn/serialization.hpp"

using namespace unroll;

namespace {

CaptionModel small_model(const CaptionedImages& set) {
  const TokenVocabulary words = caption_vocabulary(set);
  const CaptionerSizes sizes{.memory = 12, .hidden = 10, .vocabulary = words.size()};
  return {Captioner::make(Key(4), sizes), words};
}

double difference(const Var<float>& a, const Var<float>& b) {
  return double(max(abs(a - b)).item());
}

using Combination = std::tuple<std::int64_t, std::int64_t, Place>;
Combination combination_of(const Thing& thing) { return {thing.shape, thing.colour, thing.place}; }

}  // namespace

TEST_CASE("windows hold the pixels from their corner on") {
  std::vector<double> pixels(2 * 4 * 5 * 2);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = double(i);
  const Var<double> images({2, 4, 5, 2}, pixels);
  const Var<double> all = windows(images, 3, 1);
  CHECK(all.shape() == Shape{6, 2, 18});
  const std::vector<double> values = all.to_vector();
  // Window (1, 2) of image 1, its pixel (2, 0), channel 1.
  const std::size_t at = ((1 * 3 + 2) * 2 + 1) * 18 + (2 * 3 + 0) * 2 + 1;
  CHECK(values[at] == double(((1 * 4 + 3) * 5 + 2) * 2 + 1));
  CHECK(windows(images, 2, 2).shape() == Shape{4, 2, 8});  // what is left over is not read
  CHECK(windows(images, 4, 9).shape() == Shape{1, 2, 32});
  CHECK_THROWS_WITH((void)windows(images, 6, 1),
                    "[windows] windows of 6 pixels, 1 apart, on a side of 4");
  CHECK_THROWS_AS((void)windows(zeros<double>({4, 4, 3}), 2, 1), std::invalid_argument);
  const auto square_of = [](const Var<double>& x) { return sum(square(windows(x, 2, 1))); };
  check_grads(square_of, uniform<double>(Key(1), {1, 3, 4, 1}));
}

TEST_CASE("16 of 80 things are held out, of which any two properties do occur together") {
  std::set<Combination> seen, held_out;
  std::set<std::pair<std::int64_t, std::int64_t>> pairs[3];
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const Scene known = random_scene(Key(i), Combinations::seen);
    for (const Thing& thing : {known.first, known.second}) {
      seen.insert(combination_of(thing));
      const auto place = static_cast<std::int64_t>(thing.place);
      pairs[0].insert({thing.shape, thing.colour});
      pairs[1].insert({thing.shape, place});
      pairs[2].insert({thing.colour, place});
    }
    const Scene unknown = random_scene(Key(i), Combinations::held_out);
    for (const Thing& thing : {unknown.first, unknown.second}) {
      held_out.insert(combination_of(thing));
    }
    CHECK((unknown.first.held_out() || unknown.second.held_out()));
  }
  CHECK(seen.size() == 64);
  CHECK(held_out.size() == 80);
  CHECK(pairs[0].size() == 20);
  CHECK(pairs[1].size() == 16);
  CHECK(pairs[2].size() == 20);
  for (const Combination& c : seen) {
    CHECK_FALSE(Thing{std::get<0>(c), std::get<1>(c), std::get<2>(c)}.held_out());
  }
}

TEST_CASE("a scene is said with the shape at the left or above first") {
  CHECK(Scene{{0, 0, Place::left}, {1, 2, Place::right}}.caption() ==
        "a red ring left of a blue square");
  CHECK(Scene{{2, 4, Place::top}, {3, 3, Place::bottom}}.caption() ==
        "a white triangle above a yellow cross");
}

TEST_CASE("a scene's colours lie where its caption says") {
  // The mean place of the pixels in which one channel stands out.
  const auto middle_of = [](const ColourImage& image, std::size_t channel) {
    double row = 0, column = 0, count = 0;
    for (Size r = 0; r < image.rows; ++r) {
      for (Size c = 0; c < image.columns; ++c) {
        const auto* pixel = &image.pixels[std::size_t(3 * (r * image.columns + c))];
        const int rest = pixel[0] + pixel[1] + pixel[2] - pixel[channel];
        if (2 * pixel[channel] < 3 * rest / 2 + 150) continue;
        row += double(r);
        column += double(c);
        count += 1;
      }
    }
    REQUIRE(count > 10);
    return std::pair{row / count, column / count};
  };
  for (std::uint64_t i = 0; i < 20; ++i) {
    const auto beside = draw_scene({{1, 0, Place::left}, {0, 2, Place::right}}, Key(i));
    CHECK(middle_of(beside, 0).second + 6 < middle_of(beside, 2).second);
    const auto above = draw_scene({{3, 2, Place::top}, {2, 0, Place::bottom}}, Key(i));
    CHECK(middle_of(above, 2).first + 6 < middle_of(above, 0).first);
  }
}

TEST_CASE("a folder of images and captions is read as it was written") {
  testing::TemporaryFolder folder;
  const CaptionedImages set = generate_scenes(Key(1), 5, Combinations::held_out);
  CHECK(generate_scenes(Key(1), 3, Combinations::held_out).images[2] == set.images[2]);
  write_captions(folder.path(), set);
  write_captions(folder / "new" / "folder", set);
  CHECK(std::filesystem::exists(folder / "new" / "folder" / "captions.tsv"));
  BadData bad(OnBadData::stop);
  const CaptionedImages again = read_captions(folder.path(), bad);
  CHECK(again.images == set.images);
  CHECK(again.captions == set.captions);

  write_ppm(folder / "small.ppm", {1, 1, {1, 2, 3}});
  write_file_atomically(folder / "captions.tsv",
                        "00001.ppm\tone  two\nno tab\nsmall.ppm\tx\n00002.ppm\tthree\n");
  CHECK_THROWS_WITH((void)read_captions(folder.path(), bad),
                    doctest::Contains("captions.tsv: line 2: expected a file, a tab and a caption, "
                                      "found \"no tab\""));
  BadData skip(OnBadData::skip);
  CHECK(read_captions(folder.path(), skip).captions ==
        std::vector<std::string>{"one two", "three"});
  CHECK(skip.skipped() == 2);
  CHECK_THROWS_AS((void)split_by_number(set), Error);
  const CaptionedImages twelve = generate_scenes(Key(1), 12, Combinations::seen);
  CHECK(split_by_number(twelve).test.images == std::vector{twelve.images[9]});
  CHECK(split_by_number(twelve).validation.images == std::vector{twelve.images[8]});
  CHECK(split_by_number(twelve).training.size() == 10);
}

TEST_CASE("a batch feeds each word and asks for the next; padding does not count") {
  CaptionedImages set = generate_scenes(Key(1), 2, Combinations::seen);
  set.captions = {"b a", "b"};
  const TokenVocabulary words = caption_vocabulary(set);
  const std::int64_t a = words.id("a"), b = words.id("b");
  const CaptionBatch batch = caption_batch(set, words, std::vector<Size>{1, 0});
  CHECK(batch.words == 5);
  CHECK(batch.inputs.shape() == Shape{3, 2});
  const auto listed = [](const Indices& x) {
    return std::vector<std::int64_t>(x.values().begin(), x.values().end());
  };
  CHECK(listed(batch.inputs) == std::vector<std::int64_t>{0, 0, b, b, 1, a});
  CHECK(listed(batch.targets) == std::vector<std::int64_t>{b, b, 1, a, -1, 1});
  CHECK(words.id("never seen") == 2);

  // The loss of both is the mean over words of the losses of each.
  const CaptionModel model = small_model(set);
  const auto loss_of = [&](const std::vector<Size>& chosen) {
    const CaptionBatch x = caption_batch(set, words, chosen);
    return double(model.net.loss(x.images, x.inputs, x.targets).item());
  };
  CHECK(loss_of({1, 0}) ==
        doctest::Approx((3 * loss_of({0}) + 2 * loss_of({1})) / 5).epsilon(1e-5));
}

TEST_CASE("the memory is what each window shows, plus where it lies") {
  const CaptionedImages set = generate_scenes(Key(1), 2, Combinations::seen);
  const CaptionModel model = small_model(set);
  const Captioner& net = model.net;
  const Var<float> images = colour_values(set.images);
  // Window (2, 1) of image 1 by hand: 6 x 6 patches of 4 x 4 pixels from pixel (8, 4) on, 2 apart.
  std::vector<Var<float>> patches;
  for (Size r = 0; r < 6; ++r) {
    for (Size c = 0; c < 6; ++c) {
      const Size top = 8 + 2 * r, left = 4 + 2 * c;
      const Var<float> patch = slice(images, {{1, 2}, {top, top + 4}, {left, left + 4}}) - 0.4F;
      patches.push_back(relu(net.look(reshape(patch, {48}))));
    }
  }
  const Size window = 2 * 5 + 1;
  const Var<float> expected =
      relu(net.see(concat(patches))) + index(index(net.places, 0, window), 0, 0);
  const Var<float> memory = net.read(images).memory.values;  // [B, S, M]
  CHECK(memory.shape() == Shape{2, 25, 12});
  CHECK(difference(index(index(memory, 0, 1), 0, window), expected) < 1e-5);
}

TEST_CASE(
    "a captioner learns a few scenes by heart, says them, and looks somewhere for each word") {
  const CaptionedImages set = generate_scenes(Key(3), 6, Combinations::seen);
  CaptionModel model = small_model(set);
  const CaptionBatch batch = caption_batch(set, model.words, std::vector<Size>{0, 1, 2, 3, 4, 5});
  CHECK(exact_match(model.net, model.words, set, 1) < 0.5);
  Adam adam(model.net, {.learning_rate = 0.01});
  for (int step = 0; step < 300; ++step) {
    adam.step(model.net, grad([&](const Captioner& net) {
                return net.loss(batch.images, batch.inputs, batch.targets);
              })(model.net));
  }
  CHECK(exact_match(model.net, model.words, set, 1) == 1);
  CHECK(exact_match(model.net, model.words, set, 3) == 1);
  const Var<float> weights = model.net.attention(batch.images, batch.inputs);
  CHECK(weights.shape() == Shape{batch.inputs.shape()[0], 6, 25});
  CHECK(difference(sum(weights, {-1}), ones<float>({1})) < 1e-5);

  testing::TemporaryFolder folder;
  save(folder / "m.safetensors", model.net, caption_metadata(model.net.sizes, model.words));
  const CaptionModel again = load_captioner(folder / "m.safetensors");
  CHECK(again.words == model.words);
  CHECK(write_captions_for(again.net, again.words, set.images, 3) == set.captions);
  save(folder / "other.safetensors", model.net);
  CHECK_THROWS_WITH((void)load_captioner(folder / "other.safetensors"),
                    doctest::Contains("it does not say \"rows\""));

  write_caption_report(folder / "r.html", "the command", {}, model, set, 1);
  const std::string page = read_whole_file(folder / "r.html");
  CHECK(page.find(set.captions[0]) != page.npos);
  CHECK(page.find("What it looks at") != page.npos);
}
