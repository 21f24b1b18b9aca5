#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "temporary_folder.hpp"
#include "unroll/models/training/options.hpp"

using namespace unroll;

namespace {

struct Parsed {
  RunOptions run{.trainer = {.epochs = 10, .batch = 16}, .learning_rate = 0.01};
  Size hidden = 64;
  double dropout = 0.1;
  std::string text;
  bool pretty = false;
  bool clip_given = false;

  explicit Parsed(std::vector<std::string> arguments, const std::set<std::string>& only = {}) {
    CommandLine line("A test.", run, only);
    line.add("--hidden", hidden, "units", {1, 100}, "Network");
    line.add("--dropout", dropout, "share set to zero", {0, 0.9}, "Network");
    line.add("text", text, "FILE", "to learn from");
    line.add_flag("--pretty", pretty, "with colours");
    arguments.insert(arguments.begin(), "test");
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    line.parse(int(argv.size()), argv.data());
    clip_given = line.given("--clip");
  }
};

std::string error_of(const std::vector<std::string>& arguments,
                     const std::set<std::string>& only = {}) {
  try {
    (void)Parsed(arguments, only);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("options that are not given keep the program's defaults") {
  const Parsed p({});
  CHECK(p.run.trainer.epochs == 10);
  CHECK(p.run.trainer.batch == 16);
  CHECK(p.run.learning_rate == 0.01);
  CHECK(p.run.quick == Quick::no);
  CHECK(p.run.bad_data == OnBadData::stop);
  CHECK(p.run.command == "test");
  CHECK(p.hidden == 64);
  CHECK_FALSE(p.clip_given);
}

TEST_CASE("common options and the program's own are read") {
  const Parsed p(
      {"--batch",         "8",      "--accumulate",     "4",      "--clip",       "0.5",
       "--patience",      "3",      "--threads",        "2",      "--seed",       "18",
       "--learning-rate", "1e-4",   "--validate-every", "50",     "--save-every", "25",
       "--resume",        "a b.st", "--logdir",         "runs/a", "--quick",      "--skip-bad",
       "--hidden",        "32",     "--dropout",        "0",      "--pretty",     "my text.txt"});
  const TrainerOptions& t = p.run.trainer;
  CHECK(t.batch == 8);
  CHECK(t.accumulate == 4);
  CHECK(t.clip == 0.5);
  CHECK(t.patience == 3);
  CHECK(t.threads == 2);
  CHECK(t.seed == 18);
  CHECK(t.validate_every == 50);
  CHECK(t.save_every == 25);
  CHECK(t.resume == "a b.st");
  CHECK(t.logdir == "runs/a");
  CHECK(p.run.learning_rate == 1e-4);
  CHECK(p.run.quick == Quick::yes);
  CHECK(p.run.bad_data == OnBadData::skip);
  CHECK(p.hidden == 32);
  CHECK(p.dropout == 0);
  CHECK(p.pretty);
  CHECK(p.text == "my text.txt");
  CHECK(p.clip_given);
  CHECK(contains(p.run.command, "--hidden 32"));
}

TEST_CASE("an end that is given replaces the program's own") {
  CHECK(Parsed({"--epochs", "3"}).run.trainer.epochs == 3);
  const Parsed steps({"--steps", "7"});
  CHECK(steps.run.trainer.steps == 7);
  CHECK(steps.run.trainer.epochs == 0);
  const Parsed both({"--seconds", "7", "--steps", "9"});
  CHECK(both.run.trainer.seconds == 7);
  CHECK(both.run.trainer.steps == 9);
  CHECK(both.run.trainer.epochs == 0);
  CHECK(std::isinf(steps.run.trainer.seconds));
}

TEST_CASE("values out of range and unknown options are errors that name the option") {
  for (const auto& wrong : {std::pair{"--hidden", "0"},
                            {"--hidden", "101"},
                            {"--hidden", "3.5"},
                            {"--hidden", "x"},
                            {"--dropout", "nan"},
                            {"--dropout", "-0.1"},
                            {"--seed", "-1"},
                            {"--threads", "0"},
                            {"--steps", "0"},
                            {"--seconds", "-1"},
                            {"--learning-rate", "0"},
                            {"--batch", "99999999999999999999"},
                            {"--batch", ""}}) {
    INFO(wrong.first, " ", wrong.second);
    const std::string error = error_of({wrong.first, wrong.second});
    CHECK(contains(error, wrong.first));
    CHECK_FALSE(contains(error, "\n"));
  }
  CHECK(contains(error_of({"--no-such"}), "--no-such"));
  CHECK(contains(error_of({"--hidden"}), "--hidden"));
  CHECK(contains(error_of({"a", "b"}), "b"));
  CHECK(contains(error_of({"--hidden", "0"}), "0 is not between 1 and 100"));
  CHECK(contains(error_of({"--clip", "1"}, {"--steps"}), "--clip"));
  CHECK(error_of({"--steps", "1"}, {"--steps"}) == "no error");
}

TEST_CASE("files that could not be written are refused before anything is trained") {
  const unroll::testing::TemporaryFolder temporary;
  const std::string folder = temporary.path().string();
  CHECK(contains(error_of({"--report", folder}), "is a folder"));
  CHECK(
      contains(error_of({"--save", folder + "/none/a"}), "cannot write into " + folder + "/none"));
  CHECK(error_of({"--save", folder + "/a"}) == "no error");
  CHECK_THROWS_WITH_AS(check_can_be_written("--report", ""), doctest::Contains("name of a file"),
                       UsageError);
}

TEST_CASE("a program ends with 2 after an error, else with its own code") {
  CHECK(training_main("test", [] { return 7; }) == 7);
  CHECK(training_main("test", []() -> int { throw UsageError("an expected line"); }) == 2);
  CHECK(training_main("test", []() -> int { fail("test", "an expected line"); }) == 2);
  CHECK(training_main("test", []() -> int { throw FileError("f", "an expected line"); }) == 2);
}

TEST_CASE("bad data name file, line and what was expected") {
  CHECK(std::string(DataError("a.conll", 12, "4 columns", "3").what()) ==
        "a.conll: line 12: expected 4 columns, found 3");
  CHECK(std::string(DataError("a.conll", 1, "a tag").what()) == "a.conll: line 1: expected a tag");
  const DataError binary("a.idx", {.offset = 4}, "a count above 0", "-1");
  CHECK(std::string(binary.what()) == "a.idx: byte 4: expected a count above 0, found -1");
  CHECK(binary.file() == "a.idx");
  CHECK(binary.position().offset == 4);
}

TEST_CASE("bad data stop a reader, or are counted and skipped") {
  const auto bad_line = [](int line) { return [line] { throw DataError("f", line, "sense"); }; };
  BadData stop(OnBadData::stop);
  CHECK(stop.attempt([] {}));
  CHECK_THROWS_AS(stop.attempt(bad_line(3)), DataError);
  CHECK(stop.summary().empty());
  BadData skip(OnBadData::skip);
  CHECK(skip.attempt([] {}));
  CHECK_FALSE(skip.attempt(bad_line(3)));
  CHECK(skip.summary() == "1 bad example skipped: f: line 3: expected sense");
  CHECK_FALSE(skip.attempt(bad_line(5)));
  CHECK(skip.skipped() == 2);
  CHECK(skip.summary() == "2 bad examples skipped; the first: f: line 3: expected sense");
  CHECK_THROWS_AS(skip.attempt([] { throw FileError("f", "gone"); }), FileError);
}
