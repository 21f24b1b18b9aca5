#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

#include "temporary_folder.hpp"
#include "unroll/models/training/falling_rate.hpp"
#include "unroll/models/training/trainer.hpp"
#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"

namespace fs = std::filesystem;
using namespace unroll;
using Folder = unroll::testing::TemporaryFolder;

namespace {

using Net = Linear<double>;

struct Batch {
  Var<double> xs;      // [B, 3]
  Var<double> labels;  // [B, 2]
};

// y = A x with a little noise, so that no loss is 0.
struct Points {
  Size count = 22;
  std::uint64_t seed = 3;

  [[nodiscard]] Size size() const { return count; }
  [[nodiscard]] Batch batch(std::span<const Size> chosen) const {
    const auto [a, b] = split(Key(seed));
    const Indices rows(std::vector<std::int64_t>(chosen.begin(), chosen.end()));
    const Var<double> xs = take(normal<double>(a, {count, 3}), rows);
    const Var<double> noise = take(normal<double>(b, {count, 2}, 0, 0.1), rows);
    const Var<double> truth({3, 2}, {1, -2, 0.5, 1, 0, 3});
    return {xs, matmul(xs, truth) + noise};
  }
};

Net start() { return Net::make(Key(1), 3, 2); }

// Dropout makes the key matter.
Var<double> noisy_loss(const Net& net, const Batch& b, const Key& key) {
  return mse(net(dropout(b.xs, 0.2, key)), b.labels);
}
Var<double> plain_loss(const Net& net, const Batch& b) { return mse(net(b.xs), b.labels); }

TrainerOptions quiet(TrainerOptions o) {
  o.log = nullptr;
  return o;
}

template <class M>
std::vector<double> numbers(const M& model) {
  std::vector<double> all;
  tree_for_each(
      [&](const auto& p) {
        for (const auto x : p.to_vector()) all.push_back(double(x));
      },
      model);
  return all;
}

void check_near(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < 1e-13);
}

// Halves the rate when a validation is no better than the best so far.
struct Plateau {
  double rate = 0.1, best = 1e300;
  double operator()(Size) const { return rate; }
  void observe(double score) {
    if (score < 0.9 * best) {
      best = score;
    } else {
      rate /= 2;
    }
  }
};

// The other interface that schedules on plateaus may have.
struct HalvingPlateau {
  Var<double> rate = 0.5;
  double add(double) {
    rate = rate.item() / 2;
    return rate.item();
  }
};

std::string file_text(const fs::path& path) { return read_whole_file(path); }

}  // namespace

TEST_CASE("an epoch holds every example once, in an order that its key decides") {
  const BatchLists a = batch_lists(10, 4, Order::shuffled, Key(1));
  REQUIRE(a.size() == 3);
  CHECK(a[2].size() == 2);
  std::multiset<Size> seen;
  for (const auto& batch : a) seen.insert(batch.begin(), batch.end());
  CHECK(seen == std::multiset<Size>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(a == batch_lists(10, 4, Order::shuffled, Key(1)));
  CHECK(a != batch_lists(10, 4, Order::shuffled, Key(2)));
  CHECK(batch_lists(3, 2, Order::as_given, Key(1)) == BatchLists{{0, 1}, {2}});
  CHECK(batch_lists(0, 2, Order::shuffled, Key(1)).empty());
  CHECK_THROWS_AS((void)batch_lists(3, 0, Order::as_given, Key(1)), std::invalid_argument);
}

TEST_CASE("pieces are index ranges without empty ones, or what the dataset splits") {
  const BatchLists batches{{5, 6, 7}, {8}};
  const auto ranges = detail::pieces_of(batches, 2, detail::SplitBy::index_ranges);
  REQUIRE(ranges.size() == 3);
  CHECK(std::ranges::equal(ranges[0].examples, std::vector{5}));
  CHECK(std::ranges::equal(ranges[1].examples, std::vector{6, 7}));
  CHECK(std::ranges::equal(ranges[2].examples, std::vector{8}));
  const auto split = detail::pieces_of(batches, 2, detail::SplitBy::dataset);
  REQUIRE(split.size() == 4);
  CHECK(split[3].part == 1);
  CHECK(split[3].parts == 2);
  CHECK(split[3].examples.size() == 1);
}

TEST_CASE("a step is the optimiser's step with the gradient of the mean loss") {
  const Points data{.count = 8};
  ModelTrainer trainer(start(), Sgd(start(), {.learning_rate = 0.1}),
                       quiet({.steps = 1, .batch = 8, .order = Order::as_given}));
  const TrainingResult result = trainer.fit(data, plain_loss);
  CHECK(result.steps == 1);
  CHECK(result.weight == 8);
  CHECK(result.ending == Ending::finished);
  std::vector<Size> all(8);
  for (Size i = 0; i < 8; ++i) all[std::size_t(i)] = i;
  Net expected = start();
  const auto g =
      value_and_grad([&](const Net& n) { return plain_loss(n, data.batch(all)); }, expected);
  Sgd sgd(expected, {.learning_rate = 0.1});
  sgd.step(expected, g.gradient);
  check_near(numbers(trainer.model()), numbers(expected));
}

TEST_CASE("parts, threads and accumulated batches add up to the batch as a whole") {
  const Points data;
  const auto run = [&](TrainerOptions o) {
    o.order = Order::as_given;
    o.epochs = 3;
    o.clip = 0.5;
    ModelTrainer trainer(start(), Adam(start(), {.learning_rate = 0.05}), quiet(o));
    trainer.fit(data, plain_loss);
    return numbers(trainer.model());
  };
  const auto whole = run({.batch = 8});
  check_near(whole, run({.batch = 8, .parts = 3}));
  check_near(whole, run({.batch = 8, .parts = 20}));
  check_near(whole, run({.batch = 4, .accumulate = 2}));
  check_near(whole, run({.batch = 2, .accumulate = 4, .parts = 2}));
  CHECK(run({.batch = 8, .threads = 1, .parts = 4}) == run({.batch = 8, .threads = 3, .parts = 4}));
  CHECK(run({.batch = 8, .threads = 2}) == run({.batch = 8, .threads = 2}));
}

TEST_CASE("parts with different numbers of tokens make the mean over all tokens") {
  // Sequence i has i + 1 tokens, each of the value i; the loss is the mean of (w - value)².
  struct Tokens {
    Var<double> values, mask;
  };
  const Examples data(4, [](std::span<const Size> chosen) {
    std::vector<double> values, mask;
    for (const Size i : chosen) {
      for (Size t = 0; t < 4; ++t) {
        values.push_back(double(i));
        mask.push_back(t <= i && i > 0 ? 1 : 0);  // sequence 0 is all padding
      }
    }
    const Shape shape{Size(chosen.size()), 4};
    return Tokens{Var<double>(shape, values), Var<double>(shape, mask)};
  });
  const auto loss = [](const Var<double>& w, const Tokens& t) {
    const Var<double> count = sum(t.mask);
    return Weighted<double>{sum(square(w - t.values) * t.mask) / count, count.item()};
  };
  // Tokens: 2 of 1, 3 of 2, 4 of 3. d/dw mean (w - v)² = 2 (w - mean v), mean v = 20/9; rate 0.25.
  const double expected = 1 - 0.25 * 2 * (1 - 20.0 / 9);
  for (const Size parts : {1, 2, 3, 4}) {
    const Var<double> w = 1.0;
    ModelTrainer trainer(w, Sgd(w, {.learning_rate = 0.25}),
                         quiet({.steps = 1, .batch = 4, .parts = parts, .steps_per_point = 1}));
    trainer.validate_on(data, loss);
    CHECK(trainer.evaluate().loss == doctest::Approx(19.0 / 9).epsilon(1e-14));
    const auto result = trainer.fit(data, loss);
    CHECK(result.weight == 9);
    CHECK(trainer.model().item() == doctest::Approx(expected).epsilon(1e-14));
    // (0·2 + 1·3 + 4·4) / 9
    CHECK(trainer.history().training.at(0).loss == doctest::Approx(19.0 / 9).epsilon(1e-14));
    CHECK(trainer.history().training.at(0).weight == 9);
  }
}

TEST_CASE("ready batches are taken one by one, and cut by the function that comes with them") {
  using B = std::vector<double>;
  const std::vector<B> batches{{1, 2, 3, 4}, {5, 6}};
  const auto mean_of = [](const B& b) {
    double sum = 0;
    for (const double x : b) sum += x;
    return b.empty() ? 0 : sum / double(b.size());
  };
  const auto slope = [&](const Var<double>& w, const B& b) { return w * mean_of(b); };
  const Var<double> w = 0.0;
  ModelTrainer whole(w, Sgd(w, {.learning_rate = 1}),
                     quiet({.epochs = 1, .accumulate = 2, .order = Order::as_given}));
  whole.fit(ReadyBatches(batches), slope);
  CHECK(whole.model().item() == doctest::Approx(-(2.5 + 5.5) / 2));  // each batch counts alike

  const auto cut = [](const B& b, Size part, Size parts) {
    const auto [first, count] = index_range(Size(b.size()), part, parts);
    return B(b.begin() + first, b.begin() + first + count);
  };
  const auto weighted = [&](const Var<double>& x, const B& b) {
    return Weighted<double>{slope(x, b), double(b.size())};
  };
  ModelTrainer parts(w, Sgd(w, {.learning_rate = 1}),
                     quiet({.epochs = 1, .accumulate = 2, .threads = 3}));
  CHECK(parts.fit(ReadyBatches(batches, cut), weighted).weight == 6);
  CHECK(parts.model().item() == doctest::Approx(-21.0 / 6).epsilon(1e-14));
}

TEST_CASE("a dataset's own epochs are followed") {
  struct Buckets : Points {
    [[nodiscard]] BatchLists epoch(const Key&, Size, Order) const { return {{1}, {2, 3}}; }
  };
  ModelTrainer trainer(start(), Sgd(start()), quiet({.epochs = 2}));
  const auto result = trainer.fit(Buckets{}, plain_loss);
  CHECK(result.steps == 4);
  CHECK(result.weight == 6);
}

TEST_CASE("each example of an epoch is seen once, and another epoch has another order") {
  std::vector<Size> seen;
  const Examples data(7, [&](std::span<const Size> chosen) {
    seen.insert(seen.end(), chosen.begin(), chosen.end());
    return double(chosen.size());
  });
  const Var<double> w = 0.0;
  ModelTrainer trainer(w, Sgd(w), quiet({.epochs = 2, .batch = 3}));
  trainer.fit(data, [](const Var<double>& x, double) { return x * 1.0; });
  REQUIRE(seen.size() == 14);
  const std::vector<Size> first(seen.begin(), seen.begin() + 7),
      second(seen.begin() + 7, seen.end());
  CHECK(std::set(first.begin(), first.end()).size() == 7);
  CHECK(std::set(second.begin(), second.end()).size() == 7);
  CHECK(first != second);
}

TEST_CASE("N + M steps are N steps, save, load, M steps: bit for bit") {
  const Folder folder;
  const Points data, held_out{.count = 9, .seed = 8};
  const auto options = [](Size steps, std::size_t threads) {
    return quiet({.steps = steps,
                  .batch = 4,
                  .accumulate = 2,
                  .threads = threads,
                  .parts = 2,
                  .seed = 11,
                  .clip = 1,
                  .schedule = Plateau{},
                  .validate_every = 5,
                  .steps_per_point = 4});
  };
  const auto make = [&](Size steps, std::size_t threads) {
    ModelTrainer trainer(start(), AdamW(start()), options(steps, threads));
    trainer.validate_on(held_out, plain_loss,
                        ValidationMetric("error", Aim::lower, [](const Net& n, const Batch& b) {
                          return sqrt(mse(n(b.xs), b.labels));
                        }));
    return trainer;
  };
  constexpr Size total = 61;
  auto whole = make(total, 1);
  whole.fit(data, noisy_loss);
  REQUIRE(whole.history().epoch > 2);
  REQUIRE(whole.history().training.back().learning_rate < 0.1);  // the plateau was seen
  REQUIRE(whole.history().open.step > 0);
  whole.save(folder / "whole");
  for (const Size n : {1, 2, 3, 10, 30, 60}) {
    CAPTURE(n);
    auto first = make(n, 2);
    first.fit(data, noisy_loss);
    first.save(folder / "part");
    auto second = make(total, 3);
    second.options().resume = folder / "part";
    second.fit(data, noisy_loss);
    CHECK(numbers(second.model()) == numbers(whole.model()));
    CHECK(numbers(second.best()) == numbers(whole.best()));
    second.save(folder / "second");
    CHECK(file_text(folder / "second") == file_text(folder / "whole"));
    // The same trainer may also go on.
    first.options().steps = total;
    first.fit(data, noisy_loss);
    first.save(folder / "first");
    CHECK(file_text(folder / "first") == file_text(folder / "whole"));
  }
  auto other = make(total, 1);
  other.options().seed = 12;
  other.fit(data, noisy_loss);
  CHECK(numbers(other.model()) != numbers(whole.model()));
}

TEST_CASE("the best model is kept, and a run without progress ends") {
  const Folder folder;
  // The loss on held-out data falls to a minimum at w = 2 and rises again.
  const Var<double> w = 0.0;
  const Examples data(1, [](std::span<const Size>) { return 0; });
  const auto loss = [](const Var<double>& x, int) {
    return square(x - 5.0) * 0.0 - x;
  };  // slope -1
  ModelTrainer trainer(w, Sgd(w, {.learning_rate = 0.5}),
                       quiet({.epochs = 100, .patience = 3, .save = folder / "run.safetensors"}));
  const auto valley = [](const Var<double>& x, int) { return square(x - 2.0); };
  trainer.validate_on(data, valley);
  const TrainingResult result = trainer.fit(data, loss);
  CHECK(result.ending == Ending::out_of_patience);
  CHECK(result.steps == 4 + 3);
  CHECK(trainer.best().item() == 2.0);
  CHECK(trainer.best_scores()->loss == 0);
  CHECK(trainer.model().item() == 3.5);
  REQUIRE(result.validation.has_value());
  CHECK(result.validation->loss == 2.25);
  Var<double> best = 0.0;
  load(folder / "run.best.safetensors", best);
  CHECK(best.item() == 2.0);
  // A resumed run has lost its patience already.
  ModelTrainer again(w, Sgd(w, {.learning_rate = 0.5}),
                     quiet({.epochs = 100, .patience = 3, .resume = folder / "run.safetensors"}));
  again.validate_on(data, valley);
  CHECK(again.fit(data, loss).steps == 0);
  CHECK(again.best().item() == 2.0);
}

TEST_CASE("a metric with an aim decides about the best, a metric may be of the whole set") {
  const Var<double> w = 0.0;
  const Examples data(4, [](std::span<const Size> chosen) { return double(chosen.size()); });
  const auto down = [](const Var<double>& x, double) { return -1.0 * x; };
  const auto run = [&](Aim aim) {
    ModelTrainer trainer(w, Sgd(w, {.learning_rate = 1}), quiet({.steps = 4, .batch = 4}));
    trainer.validate_on(data, down, ValidationMetric("hill", aim, [](const Var<double>& x) {
                          return 10 - (x.item() - 2) * (x.item() - 2);
                        }));
    trainer.fit(data, down);
    CHECK(trainer.history().validation.at(0).metric == 9);
    return trainer.best().item();
  };
  CHECK(run(Aim::higher) == 2);
  CHECK(run(Aim::lower) == 4);
  CHECK(run(Aim::none) == 4);  // the loss decides
  // An average by weight: batches of 3 and 1 examples.
  ModelTrainer trainer(w, Sgd(w), quiet({.steps = 1, .batch = 3}));
  trainer.validate_on(
      data, down,
      ValidationMetric("size", Aim::none, [](const Var<double>&, double size) { return size; }));
  CHECK(trainer.evaluate().metric == (3.0 * 3 + 1) / 4);
}

TEST_CASE("a loss with two forms trains with the key and is validated without") {
  struct Loss {
    Var<double> operator()(const Var<double>& x, int, const Key&) const { return 3.0 * x; }
    Var<double> operator()(const Var<double>& x, int) const { return x - 1.0; }
  };
  const Var<double> w = 0.0;
  const Examples data(2, [](std::span<const Size>) { return 0; });
  ModelTrainer trainer(w, Sgd(w, {.learning_rate = 1}), quiet({.steps = 1}));
  trainer.validate_on(data, Loss{});
  CHECK(trainer.fit(data, Loss{}).validation->loss == -3 - 1);
}

TEST_CASE("losses of parts draw from different keys, the same at each run") {
  std::vector<Key> keys;
  const Examples data(6, [](std::span<const Size>) { return 0; });
  const auto loss = [&](const Var<double>& x, int, const Key& key) {
    keys.push_back(key);
    return 1.0 * x;
  };
  const Var<double> w = 0.0;
  for (int run = 0; run < 2; ++run) {
    ModelTrainer trainer(w, Sgd(w), quiet({.steps = 3, .batch = 2, .parts = 2}));
    trainer.fit(data, loss);
  }
  REQUIRE(keys.size() == 12);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(keys[i] == keys[i + 6]);
    for (std::size_t j = 0; j < i; ++j) CHECK_FALSE(keys[i] == keys[j]);
  }
}

TEST_CASE("a run that ends between validations is measured, which is no part of its history") {
  const Folder folder;
  const Points data;
  ModelTrainer trainer(start(), Sgd(start(), {.learning_rate = 0.1}),
                       quiet({.steps = 7, .batch = 8, .save = folder / "run"}));
  trainer.validate_on(data, plain_loss);
  const auto result = trainer.fit(data, plain_loss);
  REQUIRE(trainer.history().validation.size() == 2);  // epochs of 3 steps
  CHECK(result.validation->loss == trainer.evaluate().loss);
  CHECK(result.validation->loss < trainer.history().validation.back().loss);
  CHECK(numbers(trainer.best()) == numbers(trainer.model()));
  CHECK(trainer.best_scores()->loss == result.validation->loss);
  Net best = start();
  load(folder / "run.best", best);
  CHECK(numbers(best) == numbers(trainer.model()));
}

TEST_CASE("limits of epochs, steps and seconds: what comes first ends the run") {
  const Points data{.count = 4};
  const auto run = [&](TrainerOptions o) {
    o.batch = 2;
    ModelTrainer trainer(start(), Sgd(start()), quiet(o));
    return trainer.fit(data, plain_loss);
  };
  CHECK(run({.epochs = 3}).steps == 6);
  CHECK(run({.epochs = 3, .steps = 5}).steps == 5);
  CHECK(run({.epochs = 3, .steps = 50}).steps == 6);
  const auto timed = run({.seconds = 0});
  CHECK(timed.steps == 0);
  CHECK(timed.ending == Ending::out_of_time);
  CHECK_THROWS_WITH_AS(run({}), doctest::Contains("no end"), std::invalid_argument);
  CHECK_THROWS_AS(run({.steps = -1}), std::invalid_argument);
  CHECK_THROWS_AS(run({.steps = 1, .accumulate = 0}), std::invalid_argument);
  CHECK_THROWS_AS(run({.steps = 1, .clip = std::nan("")}), std::invalid_argument);
  CHECK_THROWS_AS(run({.steps = 1, .threads = 0}), std::invalid_argument);
  ModelTrainer trainer(start(), Sgd(start()), quiet({.steps = 1}));
  CHECK_THROWS_WITH_AS(trainer.fit(Points{.count = 0}, plain_loss),
                       doctest::Contains("no examples"), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)trainer.evaluate(), doctest::Contains("validate_on"),
                       std::invalid_argument);
}

TEST_CASE("the updates that a schedule can be made for are those that the trainer takes") {
  const Points data;  // 22 examples
  for (const Size steps : {0, 3, 40}) {
    for (const Size epochs : {0, 1, 5}) {
      for (const Size accumulate : {1, 2, 3}) {
        const TrainerOptions o =
            quiet({.epochs = epochs, .steps = steps, .batch = 4, .accumulate = accumulate});
        if (steps == 0 && epochs == 0) {
          CHECK(known_updates(o, data.size()) == 0);
          continue;
        }
        ModelTrainer trainer(start(), Sgd(start()), o);
        CAPTURE(steps);
        CAPTURE(epochs);
        CAPTURE(accumulate);
        CHECK(trainer.fit(data, plain_loss).steps == known_updates(o, data.size()));
      }
    }
  }
}

TEST_CASE("a schedule decides about the rate of each step") {
  const Var<double> w = 0.0;
  const Examples data(1, [](std::span<const Size>) { return 0; });
  const auto slope = [](const Var<double>& x, int) { return 1.0 * x; };
  const auto end = [&](const RateSchedule& schedule) {
    ModelTrainer trainer(w, Sgd(w, {.learning_rate = 100}),
                         quiet({.steps = 3, .schedule = schedule, .steps_per_point = 1}));
    trainer.validate_on(data, slope);
    trainer.fit(data, slope);
    CHECK(trainer.optimizer().options.learning_rate ==
          trainer.history().training.back().learning_rate);
    return trainer.model().item();
  };
  CHECK(end([](Size step) { return double(step + 1); }) == -6);
  CHECK(end([](Size) { return 2; }) == -6);
  const RateSchedule plateau(HalvingPlateau{});
  CHECK(end(plateau) == -(0.5 + 0.25 + 0.125));
  CHECK(end(plateau) == -(0.5 + 0.25 + 0.125));  // each run begins with a copy
  CHECK(end({}) == -300);
}

TEST_CASE("gradients are clipped by the norm of the mean gradient") {
  const Var<double> w = 0.0;
  const Examples data(8, [](std::span<const Size>) { return 0; });
  const auto slope = [](const Var<double>& x, int) { return 6.0 * x; };
  for (const auto& [clip, step] : {std::pair{0.0, 6.0}, {2.0, 2.0}, {7.0, 6.0}}) {
    ModelTrainer trainer(w, Sgd(w, {.learning_rate = 1}),
                         quiet({.steps = 1,
                                .batch = 4,
                                .accumulate = 2,
                                .parts = 2,
                                .clip = clip,
                                .steps_per_point = 1}));
    trainer.fit(data, slope);
    CHECK(trainer.model().item() == doctest::Approx(-step).epsilon(1e-14));
    CHECK(trainer.history().training.at(0).gradient_norm == doctest::Approx(6).epsilon(1e-14));
  }
}

TEST_CASE("a loss that is not finite stops the run with the model of the step before") {
  const Var<double> w = 1.0;
  const Examples data(1, [](std::span<const Size>) { return 0; });
  ModelTrainer trainer(w, Sgd(w, {.learning_rate = 1}), quiet({.steps = 10}));
  const auto loss = [](const Var<double>& x, int) { return log(x); };  // w: 1, 0, then log 0
  CHECK_THROWS_WITH_AS(trainer.fit(data, loss), doctest::Contains("step 2: the loss is -inf"),
                       Error);
  CHECK(trainer.model().item() == 0);
  CHECK(trainer.history().steps == 1);
  ModelTrainer weightless(w, Sgd(w), quiet({.steps = 10}));
  CHECK_THROWS_WITH_AS(weightless.fit(data,
                                      [](const Var<double>& x, int) {
                                        return Weighted<double>{x / 0.0, 0};
                                      }),
                       doctest::Contains("weight 0"), Error);
}

TEST_CASE("files that are no checkpoints of this run are refused, and nothing changes") {
  const Folder folder;
  const Points data;
  const auto make = [](TrainerOptions o) { return ModelTrainer(start(), Adam(start()), quiet(o)); };
  auto trainer = make({.steps = 3, .batch = 4, .metadata = {{"vocabulary", "abc"}}});
  trainer.fit(data, plain_loss);
  trainer.save(folder / "good");
  CHECK(saved_metadata(folder / "good") ==
        std::map<std::string, std::string>{{"vocabulary", "abc"}});

  const auto before = numbers(trainer.model());
  CHECK_THROWS_AS(trainer.load(folder / "none"), FileError);
  save(folder / "model", trainer.model());
  CHECK_THROWS_WITH_AS(trainer.load(folder / "model"), doctest::Contains("no checkpoint"),
                       FormatError);
  CHECK_THROWS_WITH_AS(make({.steps = 3, .batch = 8}).load(folder / "good"),
                       doctest::Contains("made with batch 4, and this run has 8"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(make({.steps = 3, .batch = 4, .seed = 2}).load(folder / "good"),
                       doctest::Contains("seed"), std::invalid_argument);
  ModelTrainer other(start(), Sgd(start()), quiet({.steps = 3, .batch = 4}));
  CHECK_THROWS_AS(other.load(folder / "good"), FormatError);
  const auto damaged = [&](auto change) {
    SafetensorsFile file = read_safetensors(folder / "good");
    change(file);
    write_safetensors(folder / "bad", file);
    CHECK_THROWS_AS(trainer.load(folder / "bad"), FormatError);
  };
  damaged([](auto& file) { file.tensors.pop_back(); });
  damaged([](auto& file) { file.metadata["trainer.options"] = "nonsense"; });
  const auto tensor = [](SafetensorsFile& file, const std::string& name) -> TensorData& {
    for (auto& [n, data_of] : file.tensors) {
      if (n == name) return data_of;
    }
    throw std::runtime_error("no tensor " + name);
  };
  damaged([&](auto& file) { tensor(file, "history.position").bytes[7] = std::byte{0xFF}; });
  damaged([&](auto& file) { tensor(file, "history.training").shape = {0}; });
  CHECK(numbers(trainer.model()) == before);
  CHECK_NOTHROW(trainer.load(folder / "good"));

  // Fewer examples than before: the place in the epoch does not exist.
  trainer.options().steps = 9;
  CHECK_THROWS_WITH_AS(trainer.fit(Points{.count = 4}, plain_loss), doctest::Contains("other data"),
                       std::invalid_argument);
}

TEST_CASE("progress and event files tell of the run") {
  const Folder folder;
  std::ostringstream log;
  ModelTrainer trainer(start(), Sgd(start(), {.learning_rate = 0.1}),
                       {.epochs = 2,
                        .batch = 8,
                        .steps_per_point = 2,
                        .logdir = folder / "log",
                        .unit = "points",
                        .log = &log});
  trainer.validate_on(Points{}, plain_loss, ValidationMetric("error", Aim::lower, plain_loss));
  trainer.fit(Points{}, plain_loss);
  const std::string text = log.str();
  for (const char* part : {"step 3, epochs 1: loss", "validation loss", "error", "(best)",
                           "points/s", "training 100%", "took"}) {
    CAPTURE(part);
    CHECK(text.find(part) != text.npos);
  }
  CHECK(text.find('\r') == text.npos);
  std::string events;
  for (const auto& entry : fs::directory_iterator(folder / "log"))
    events += file_text(entry.path());
  for (const char* tag :
       {"loss/training", "loss/validation", "error/validation", "gradient norm", "learning rate"}) {
    CAPTURE(tag);
    CHECK(events.find(tag) != events.npos);
  }
}

TEST_CASE("Ctrl-C ends a run after its step, saves it, and it can be gone on with") {
  const Folder folder;
  const Points data;
  const auto make = [&](Size steps) {
    return ModelTrainer(start(), Adam(start()),
                        quiet({.steps = steps, .batch = 4, .save = folder / "run"}));
  };
  auto interrupted = make(20);
  int calls = 0;
  const auto result = interrupted.fit(data, [&](const Net& net, const Batch& b, const Key& key) {
    if (++calls == 7) ::raise(SIGINT);
    return noisy_loss(net, b, key);
  });
  CHECK(result.ending == Ending::interrupted);
  CHECK(result.steps == 7);
  auto resumed = make(20);
  resumed.load(folder / "run");
  CHECK(resumed.fit(data, noisy_loss).steps == 13);
  auto whole = make(20);
  whole.fit(data, noisy_loss);
  CHECK(numbers(resumed.model()) == numbers(whole.model()));
}

TEST_CASE("killed at any moment of saving, the checkpoint of that step or the one before remains") {
  const Folder folder;
  const fs::path path = folder / "run.safetensors";
  const Points data;
  // Of some size, so that writing takes a while.
  struct Large {
    Net net;
    Var<double> ballast;
    static constexpr auto fields() {
      return std::tuple{field("net", &Large::net), field("ballast", &Large::ballast)};
    }
  };
  const Large model{start(), zeros<double>({20'000})};
  const auto make = [&](Size steps) {
    return ModelTrainer(model, Sgd(model, {.learning_rate = 0.01, .momentum = 0.9}),
                        quiet({.steps = steps, .batch = 4, .save = path, .save_every = 1}));
  };
  const auto loss = [](const Large& m, const Batch& b) { return plain_loss(m.net, b); };
  make(1).save(path);
  // What the child is at: steps whose saving has begun, and has ended.
  void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto* at = new (shared) std::atomic<Size>[2];
  int killed_while_saving = 0;
  for (int round = 0; round < 200; ++round) {
    at[0] = -1;
    at[1] = -1;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto trainer = make(1'000'000);
      trainer.load(path);
      const auto step = [&] {
        trainer.options().steps = trainer.history().steps + 1;
        trainer.options().save.clear();
        trainer.fit(data, loss);
      };
      const auto save = [&] {
        at[0] = trainer.history().steps;
        trainer.save(path);
        at[1] = trainer.history().steps;
      };
      step();
      save();
      const auto before = std::chrono::steady_clock::now();
      save();
      const std::chrono::duration<double, std::micro> taken =
          std::chrono::steady_clock::now() - before;
      step();
      // Not by a clock of the parent's: how long a step and a save take differs from machine to
      // machine and under a sanitizer. An alarm that nothing handles ends a process as SIGKILL does.
      const double part =
          std::ldexp(double(detail::threefry(Key(5), std::uint64_t(round), 0)[0]), -64);
      const auto delay = 1 + std::int64_t(part * taken.count());  // 0 would be no alarm
      const ::itimerval alarm{.it_interval = {},
                              .it_value = {delay / 1'000'000, delay % 1'000'000}};
      ::setitimer(ITIMER_REAL, &alarm, nullptr);
      save();
      while (true) ::pause();
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGALRM);
    const Size begun = at[0], ended = at[1];
    auto trainer = make(1);
    REQUIRE_NOTHROW(trainer.load(path));
    const Size loaded = trainer.history().steps;
    CHECK(loaded >= ended);
    CHECK(loaded <= begun);
    killed_while_saving += begun != ended;
  }
  ::munmap(shared, 4096);
  MESSAGE("killed while saving: ", killed_while_saving, " of 200");
  CHECK(killed_while_saving > 20);
}

TEST_CASE("a loss that is not computed from the model it is given is refused at the first step") {
  const Net captured = start();
  const auto refused = [&](const auto& loss) {
    ModelTrainer trainer(start(), Sgd(start(), {}), quiet({.epochs = 1, .batch = 4, .threads = 2}));
    CHECK_THROWS_WITH_AS(trainer.fit(Points{}, loss),
                         doctest::Contains("the loss is not computed from the model"),
                         std::invalid_argument);
    CHECK(numbers(trainer.model()) == numbers(start()));
  };
  refused([&](const Net&, const Batch& b) { return plain_loss(captured, b); });
  refused([&](const Net& net, const Batch& b) { return Var<double>(plain_loss(net, b).item()); });
  refused([&](const Net& net, const Batch& b) {
    return Weighted<double>{stop_gradient(plain_loss(captured, b)) + 0 * net.weight.size(), 3};
  });
}
