// A recurrent network learns to write: an LSTM is trained on real text, character by character, and
// measured on text it has not seen, beside what counting characters can predict.
//
//   05_char_rnn                               this project's own sources and documents, two minutes
//   05_char_rnn --text FOLDER --seconds 60    any file or folder
//   05_char_rnn --save run.safetensors        ... and later: 05_char_rnn --resume run.safetensors
//
// Everything that is learnt happens in trainer.step(), models/char_rnn/trainer.cpp.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>

#include "unroll/models/char_rnn/run_report.hpp"
#include "unroll/models/char_rnn/trainer.hpp"
#include "unroll/models/data/ngram.hpp"
#include "unroll/models/training/interrupt.hpp"
#include "unroll/models/training/options.hpp"
#include "unroll/models/training/progress.hpp"
#include "unroll/models/training/run_report.hpp"

namespace fs = std::filesystem;
using namespace unroll;

namespace {

constexpr double default_seconds = 120;

struct Arguments {
  CharRnnOptions network;
  RunOptions run{.trainer = {.seconds = default_seconds,
                             .threads = std::clamp(std::thread::hardware_concurrency(), 1u, 2u)},
                 .learning_rate = network.learning_rate,
                 .report = "report.html"};
  std::string text, save, prompt = "\n\n";
  Size sample = 600;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  CommandLine line(
      "Trains a character LSTM on text, shows what it learns, and writes a report.\n"
      "Ctrl-C stops the training cleanly and saves it.",
      a.run,
      {"--seconds", "--steps", "--learning-rate", "--seed", "--threads", "--resume", "--report"});
  std::string prompt;
  line.add("--text", a.text, "PATH",
           "file or folder to learn from, UTF-8 or latin-1\n"
           "(default: the sources and documents of this project)");
  line.add("--prompt", prompt, "TEXT", "what samples begin with (an empty line)");
  line.add("--sample", a.sample, "characters in a sample", {0, 100'000});
  line.add("--save", a.save, "FILE", "checkpoint to write at the end", "Files");
  const char* group = "Network";
  line.add("--hidden", a.network.hidden, "units of the LSTM", {1, 8192}, group);
  line.add("--embedding", a.network.embedding, "numbers for a character", {1, 8192}, group);
  line.add("--streams", a.network.streams, "places read side by side", {1, 4096}, group);
  line.add("--window", a.network.window, "steps a gradient goes back", {1, 4096}, group);
  line.add("--half-life", a.network.half_life, "steps in which the learning rate halves",
           {1e-9, 1e9}, group);
  line.add("--dropout", a.network.dropout, "share set to zero", {0, 0.95}, group);
  line.parse(argc, argv);
  a.network.learning_rate = a.run.learning_rate;
  a.network.seed = a.run.trainer.seed;

  if (line.given("--seconds") && line.given("--steps")) {
    throw UsageError("either --seconds or --steps, not both");
  }
  for (const char* name : {"--text", "--hidden", "--embedding", "--streams", "--window",
                           "--learning-rate", "--half-life", "--dropout", "--seed"}) {
    if (line.given("--resume") && line.given(name)) {
      throw UsageError(fmt::format("--resume goes with no {}: the checkpoint holds it", name));
    }
  }
  if (line.given("--prompt")) a.prompt = prompt;
  if (!from_utf8(a.prompt)) throw UsageError("--prompt is not UTF-8");
  if (line.given("--save")) check_can_be_written("--save", a.save);
  return a;
}

// The folder of this project: from the program's place upwards, else from the current folder.
fs::path project_folder() {
  std::error_code ignored;
  for (fs::path folder : {fs::read_symlink("/proc/self/exe", ignored), fs::current_path(ignored)}) {
    for (; folder.has_relative_path(); folder = folder.parent_path()) {
      if (fs::exists(folder / "autograd" / "tape.hpp", ignored)) return folder;
    }
  }
  throw UsageError("this project's sources are not where the program is: --text FILE or FOLDER");
}

// What does nothing to a terminal but show, without empty lines in front.
std::string printable(std::u32string text) {
  text.erase(0, text.find_first_not_of(U'\n'));
  for (char32_t& c : text) {
    if ((c < 0x20 && c != U'\n' && c != U'\t') || (c >= 0x7F && c < 0xA0)) c = U'\uFFFD';
  }
  return to_utf8(text);
}

void show(const char* name, const std::string& what) { fmt::print("{:<10} {}\n", name, what); }

void show_sample(const char* when, const std::string& text) {
  fmt::print("\n---- what it writes {} training {:-<40}\n{}\n{:-<72}\n\n", when, "", text, "");
  std::fflush(stdout);
}

CharRnnTrainer make_trainer(const Arguments& a) {
  const TrainerOptions& t = a.run.trainer;
  if (!t.resume.empty()) return CharRnnTrainer::load(t.resume, t.threads);
  const fs::path path = a.text.empty() ? project_folder() : fs::path(a.text);
  const Corpus corpus =
      read_corpus(path, {.skipped_names = {"report.html", a.run.report.filename().string()}});
  constexpr std::size_t least = 1000;
  if (corpus.text.size() < least) {
    throw UsageError(
        fmt::format("{}: {} characters are too few to learn from; at least {} are needed",
                    path.string(), corpus.text.size(), least));
  }
  show("text", fmt::format("{}: {}, {}", path.string(),
                           corpus.files.size() == 1 ? std::string("1 file")
                                                    : fmt::format("{} files", corpus.files.size()),
                           corpus.encoding));
  // A tenth is held out, of long texts about 100,000 characters.
  const double share = std::min(0.1, 1e5 / double(corpus.text.size()));
  const TextSplit split = split_corpus(corpus, share);
  if (split.held_out.size() < least / 20) {
    throw UsageError(path.string() + ": the files are too short to hold out the end of each");
  }
  return CharRnnTrainer(split, a.network, t.threads);
}

// Trains until the time is over, the steps are done, or Ctrl-C. Returns the seconds it took.
double train(CharRnnTrainer& trainer, const Arguments& a, const InterruptGuard& guard) {
  const Size begin = trainer.steps();
  const Size per_step = trainer.characters_per_step();
  const TrainerOptions& limits = a.run.trainer;
  Progress progress(std::cerr, progress_options(STDERR_FILENO, {.label = "training",
                                                                .unit = "characters",
                                                                .total = limits.steps * per_step,
                                                                .time_limit = limits.seconds}));
  double bits = 0;
  std::string metrics;
  while (!guard.requested() && progress.elapsed() < limits.seconds &&
         (limits.steps == 0 || trainer.steps() - begin < limits.steps)) {
    const double now = trainer.step();
    bits = bits == 0 ? now : 0.95 * bits + 0.05 * now;
    metrics = fmt::format("{:.3f} bits per character", bits);
    progress.update((trainer.steps() - begin) * per_step, metrics);
  }
  progress.finish(metrics);
  return progress.elapsed();
}

int run(const Arguments& a) {
  const TrainerOptions& t = a.run.trainer;
  CharRnnTrainer trainer = make_trainer(a);
  const auto training = trainer.vocabulary().encode(trainer.text().training);
  const auto held_out = trainer.vocabulary().encode(trainer.text().held_out);
  const Size characters = trainer.vocabulary().size();

  CharRnnRun run{.command = a.run.command, .threads = t.threads};
  run.text_name = !t.resume.empty() ? "the checkpoint " + t.resume.string()
                  : a.text.empty()  ? "this project"
                                    : a.text;
  run.text_size =
      fmt::format("{} characters ({} different)", grouped(Size(training.size())), characters - 1);
  run.unigram_bits = ngram_bits_per_character(training, held_out, 1, characters);
  run.trigram_bits = ngram_bits_per_character(training, held_out, 3, characters);
  show("training", run.text_size);
  show("held out", grouped(Size(held_out.size())) + " characters, the end of every file");
  show("network", fmt::format("LSTM of {} units, {} parameters, on {} thread{}",
                              trainer.options().hidden, grouped(parameter_count(trainer.model())),
                              t.threads, t.threads == 1 ? "" : "s"));
  if (trainer.steps() > 0) show("resumed", fmt::format("after step {}", trainer.steps()));

  const std::u32string prompt = *from_utf8(a.prompt);
  const auto sample = [&] { return printable(trainer.sample(prompt, a.sample)); };
  run.bits_before = trainer.held_out_bits();
  run.sample_before = sample();
  run.paths_before =
      path_norms(trainer.model(), trainer.vocabulary().encode(piece_of_held_out(trainer)));
  show_sample("before", run.sample_before);

  const InterruptGuard guard;
  const Size begin = trainer.steps();
  run.seconds = train(trainer, a, guard);
  run.steps = trainer.steps() - begin;
  if (const bool keep = !a.save.empty(); keep || guard.requested()) {
    const fs::path path =
        keep ? fs::path(a.save) : fs::path(a.run.report).replace_filename("char_rnn.safetensors");
    trainer.save(path);
    show("saved", fmt::format("{0}, go on with --resume {0}", path.string()));
  }

  run.bits_after = trainer.held_out_bits();
  run.sample_after = sample();
  show_sample("after", run.sample_after);
  fmt::print(
      "Bits per character of the held-out text:\n"
      "  counting, no context                       {:.3f}\n"
      "  counting, two characters of context        {:.3f}\n"
      "  the network, before                        {:.3f}\n"
      "  the network, after {:<6} steps            {:.3f}\n\n",
      run.unigram_bits, run.trigram_bits, run.bits_before, trainer.steps(), run.bits_after);
  write_run_report(a.run.report, trainer, run);
  show("report", fs::absolute(a.run.report).string());

  const bool better = run.bits_after < std::min(run.unigram_bits, run.trigram_bits);
  const bool must_be = a.text.empty() && t.resume.empty() && t.steps == 0 &&
                       t.seconds >= default_seconds && !guard.requested();
  if (better) {
    show("result", "the network beats both counts");
  } else {
    show("result", must_be ? "FAILED: the network does not beat the counts"
                           : "the network does not beat the counts yet: train longer");
  }
  return !better && must_be ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  return training_main("05_char_rnn", [&] { return run(parse(argc, argv)); });
}
