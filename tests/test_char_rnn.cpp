#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "temporary_folder.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/models/char_rnn/manual_table.hpp"
#include "unroll/models/char_rnn/run_report.hpp"
#include "unroll/models/char_rnn/trainer.hpp"
#include "unroll/nn/atomic_file.hpp"
#include "unroll/nn/safetensors.hpp"

using namespace unroll;
using Folder = unroll::testing::TemporaryFolder;

namespace {

// Lines that a small network soon writes by heart.
TextSplit rhyme(int lines = 200) {
  std::u32string text;
  for (int i = 0; i < lines; ++i) {
    text += U"the cat sat on the m\u00e4t ";
    text += static_cast<char32_t>(U'0' + i % 10);
    text += U'\n';
  }
  return {text, U"the cat sat on the m\u00e4t 3\nthe cat sat on the m\u00e4t 4\n"};
}

CharRnnOptions small() {
  return {.hidden = 16, .embedding = 8, .streams = 6, .window = 10, .shards = 3, .seed = 5};
}

void check_same(const CharRnnTrainer& a, const CharRnnTrainer& b) {
  tree_for_each(
      [](const auto& p, const auto& q) {
        CHECK(p.shape() == q.shape());
        CHECK(p.to_vector() == q.to_vector());
      },
      a.model(), b.model());
  CHECK(a.steps() == b.steps());
  const TrainingHistory &x = a.history(), &y = b.history();
  REQUIRE(x.validation.size() == y.validation.size());
  REQUIRE(x.training.size() == y.training.size());
  for (std::size_t i = 0; i < x.validation.size(); ++i) {
    CHECK(x.training[i].loss == y.training[i].loss);
    CHECK(x.validation[i].loss == y.validation[i].loss);
    CHECK(x.validation[i].step == y.validation[i].step);
  }
}

}  // namespace

TEST_CASE("streams cut a text into parallel parts whose windows follow each other") {
  std::vector<std::int64_t> ids(26);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = std::int64_t(i);
  const TextStreams text(ids, {.streams = 3, .window = 3});
  CHECK(text.streams() == 3);
  CHECK(text.windows() == 3);      // 8 predictions a stream: 3 + 3 + 2
  CHECK(text.characters() == 24);  // 25, without a rest of 1
  const TextWindow first = text.window(0);
  CHECK(first.inputs.shape() == Shape{3, 3});
  CHECK(std::ranges::equal(first.inputs.values(), std::vector{0, 8, 16, 1, 9, 17, 2, 10, 18}));
  CHECK(std::ranges::equal(first.targets.values(), std::vector{1, 9, 17, 2, 10, 18, 3, 11, 19}));
  const TextWindow last = text.window(2, 1, 2);
  CHECK(last.inputs.shape() == Shape{2, 2});
  CHECK(std::ranges::equal(last.inputs.values(), std::vector{14, 22, 15, 23}));
  CHECK_THROWS_AS((void)text.window(3), std::invalid_argument);
  CHECK_THROWS_AS((void)text.window(0, 2, 2), std::invalid_argument);
  CHECK_THROWS_AS(TextStreams({1}, {}), std::invalid_argument);
  CHECK_THROWS_AS(TextStreams({1, 2, 3}, {.streams = 0}), std::invalid_argument);
}

TEST_CASE("a text shorter than the streams gets fewer of them") {
  const TextStreams text(std::vector<std::int64_t>(21, 4), {.streams = 64, .window = 10});
  CHECK(text.streams() == 2);
  CHECK(text.windows() == 1);
  CHECK(TextStreams({1, 2}, {}).characters() == 1);
}

TEST_CASE("workers do each part once, whatever their number, and pass on what is thrown") {
  for (const std::size_t threads : {1u, 2u, 5u}) {
    Workers workers(threads);
    CHECK(workers.threads() == threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> done(7);
      workers.run(done.size(), [&](std::size_t i) { ++done[i]; });
      for (const auto& d : done) CHECK(d == 1);
    }
    CHECK_THROWS_AS(workers.run(4,
                                [](std::size_t i) {
                                  if (i == 2) throw std::runtime_error("part 2");
                                }),
                    std::runtime_error);
    int parts = 0;
    workers.run(1, [&](std::size_t) { ++parts; });
    CHECK(parts == 1);
    workers.run(0, [&](std::size_t) { ++parts; });
    CHECK(parts == 1);
  }
}

TEST_CASE("the loss of a window in two halves, the state carried, is the loss of the whole") {
  const auto net = CharRnn<double>::make(Key(3), {.characters = 7, .embedding = 4, .hidden = 5});
  std::vector<std::int64_t> ids(2 * 12 + 1);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = std::int64_t(i * i % 7);
  const TextStreams whole(ids, {.streams = 2, .window = 12});
  const TextStreams halves(ids, {.streams = 2, .window = 6});
  const auto w = whole.window(0);
  const auto a = halves.window(0);
  const auto b = halves.window(1);
  const auto [loss, state] = net.loss(w.inputs, w.targets, net.initial_state(2));
  const auto [loss_a, state_a] = net.loss(a.inputs, a.targets, net.initial_state(2));
  const auto [loss_b, state_b] = net.loss(b.inputs, b.targets, state_a);
  CHECK(loss.item() == doctest::Approx((loss_a.item() + loss_b.item()) / 2).epsilon(1e-14));
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(state.h.to_vector()[i] == doctest::Approx(state_b.h.to_vector()[i]).epsilon(1e-12));
  }
}

TEST_CASE("a fresh network knows nothing, a trained one has learnt the text") {
  CharRnnTrainer trainer(rhyme(), {.hidden = 32,
                                   .embedding = 16,
                                   .streams = 8,
                                   .window = 26,
                                   .learning_rate = 1e-2,
                                   .dropout = 0});
  const double before = trainer.held_out_bits();
  CHECK(before == doctest::Approx(std::log2(double(trainer.vocabulary().size()))).epsilon(0.1));
  while (trainer.steps() < 200) trainer.step();
  CHECK(trainer.held_out_bits() < 0.4);  // the digits alone are 3.3 bits in 25 characters
  const std::string text = to_utf8(trainer.sample(U"the", 50, 1, 0.2));
  CHECK(text.starts_with("the cat sat on the m\u00e4t "));
  CHECK(trainer.history().validation.size() == 2);
  CHECK(trainer.history().validation.back().step == 200);
}

TEST_CASE("N + M steps are N steps, save, load, M steps: bit for bit, with any number of threads") {
  const Folder folder;
  CharRnnTrainer whole(rhyme(), small(), 1);
  CharRnnTrainer parts(rhyme(), small(), 2);
  const Size n = 130;  // past the first point of the curves and in the second pass over the text
  const Size m = 90;
  REQUIRE(whole.passes() == 0);
  for (Size i = 0; i < n; ++i) CHECK(whole.step() == parts.step());
  REQUIRE(whole.passes() > 1);
  parts.save(folder / "a.safetensors");
  CharRnnTrainer resumed = CharRnnTrainer::load(folder / "a.safetensors", 3);
  check_same(whole, resumed);
  CHECK(resumed.text().held_out == parts.text().held_out);
  CHECK(resumed.vocabulary() == parts.vocabulary());
  for (Size i = 0; i < m; ++i) CHECK(whole.step() == resumed.step());
  check_same(whole, resumed);
  CHECK(whole.held_out_bits() == resumed.held_out_bits());
  CHECK(whole.sample(U"the", 80, 7) == resumed.sample(U"the", 80, 7));
  whole.save(folder / "b.safetensors");
  resumed.save(folder / "c.safetensors");
  CHECK(read_whole_file(folder / "b.safetensors") == read_whole_file(folder / "c.safetensors"));
}

TEST_CASE("the same seed gives the same sample and another seed another") {
  const CharRnnTrainer trainer(rhyme(), small());
  CHECK(trainer.sample(U"cat", 60, 1) == trainer.sample(U"cat", 60, 1));
  CHECK(trainer.sample(U"cat", 60, 1) != trainer.sample(U"cat", 60, 2));
  CHECK(trainer.sample(U"", 60, 1).size() == 60);
  CHECK(trainer.sample(U"\u6f22", 5, 1).size() == 6);  // a character it does not know
  CHECK_THROWS_AS((void)trainer.sample(U"a", 5, 1, 0), std::invalid_argument);
}

TEST_CASE("options without sense and files that are no checkpoints are refused") {
  const auto with = [](auto change) {
    CharRnnOptions options = small();
    change(options);
    return options;
  };
  for (const CharRnnOptions& bad :
       {with([](auto& o) { o.hidden = 0; }), with([](auto& o) { o.streams = -1; }),
        with([](auto& o) { o.window = 0; }), with([](auto& o) { o.learning_rate = -1; }),
        with([](auto& o) { o.learning_rate = std::nan(""); }), with([](auto& o) { o.dropout = 1; }),
        with([](auto& o) { o.clip = 0; })}) {
    CHECK_THROWS_AS(CharRnnTrainer(rhyme(), bad), std::invalid_argument);
  }
  CHECK_THROWS_AS(CharRnnTrainer({U"a", U"b"}, small()), std::invalid_argument);

  const Folder folder;
  const auto load = [&](const char* name) { (void)CharRnnTrainer::load(folder / name); };
  CHECK_THROWS_AS(load("none"), FileError);
  write_file_atomically(folder / "text", "some text");
  CHECK_THROWS_AS(load("text"), FormatError);

  const CharRnnTrainer trainer(rhyme(), small());
  trainer.save(folder / "good");
  CHECK_NOTHROW(load("good"));
  const auto damaged = [&](auto change) {
    SafetensorsFile file = read_safetensors(folder / "good");
    change(file);
    write_safetensors(folder / "bad", file);
    CHECK_THROWS_AS(load("bad"), FormatError);
  };
  damaged([](auto& file) { file.metadata.clear(); });
  damaged([](auto& file) { file.metadata["options"] = "{}"; });
  damaged([](auto& file) { file.metadata["options"] = "nonsense"; });
  damaged([](auto& file) { file.tensors.pop_back(); });
  damaged([](auto& file) {
    for (auto& [name, tensor] : file.tensors) {
      if (name == "training_text") tensor.bytes[3] = std::byte{0xFF};
    }
  });
}

TEST_CASE("the contributions of all steps add up to the gradient, and none comes from the future") {
  CharRnnTrainer trainer(rhyme(), small());
  for (int i = 0; i < 30; ++i) trainer.step();
  const auto ids = trainer.vocabulary().encode(U"the cat sat on");
  const PathNorms paths = path_norms(trainer.model(), ids);
  REQUIRE(paths.steps == 12);
  REQUIRE(paths.norms.size() == 144);
  CHECK(paths.sum_difference < 1e-5);
  for (std::size_t t = 0; t < 12; ++t) {
    for (std::size_t k = 0; k < 12; ++k) {
      const double norm = paths.norms[t * 12 + k];
      CHECK((k <= t ? norm > 0 : std::isnan(norm)));
    }
  }
  CHECK_THROWS_AS((void)path_norms(trainer.model(), std::span(ids).first(2)),
                  std::invalid_argument);
}

TEST_CASE("the gradient of a trained network agrees with the derivation by hand") {
  CharRnnTrainer trainer(rhyme(), small());
  for (int i = 0; i < 30; ++i) trainer.step();
  const auto table =
      compare_with_manual(trainer.model(), trainer.vocabulary().encode(U"the cat sat on the mat"));
  REQUIRE(table.size() == 3);
  for (const auto& entry : table) {
    INFO(entry.first);
    const GradientComparison& comparison = entry.second;
    CHECK(comparison.ok());
    CHECK(comparison.worst() < 1e-12);
    CHECK(comparison.parameters.size() >= 7);
    CHECK(comparison.steps.size() >= 21);
  }
}

TEST_CASE("the report of a run stands alone and says what was measured") {
  CharRnnTrainer trainer(rhyme(), small());
  for (int i = 0; i < 5; ++i) trainer.step();
  const auto ids = trainer.vocabulary().encode(piece_of_held_out(trainer));
  const CharRnnRun run{.command = "05_char_rnn --prompt '<b>'",
                       .text_name = "rhyme",
                       .unigram_bits = 4.321,
                       .trigram_bits = 1.234,
                       .bits_after = 2.468,
                       .seconds = 1,
                       .steps = 5,
                       .sample_before = "before & after",
                       .paths_before = path_norms(trainer.model(), ids)};
  const Folder folder;
  write_run_report(folder / "report.html", trainer, run);
  const std::string page = read_whole_file(folder / "report.html");
  for (const char* part : {"4.321", "1.234", "2.468", "before &amp; after", "&lt;b&gt;", "LSTM"}) {
    INFO(part);
    CHECK(page.find(part) != page.npos);
  }
  for (const char* absent : {"<script", "href=\"http", "src="})
    CHECK(page.find(absent) == page.npos);
}
