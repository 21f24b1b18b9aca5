// A recurrent network learns to write: an LSTM is trained on real text, character by character, and
// measured on text it has not seen, beside what counting characters can predict.
//
//   05_char_rnn                               this project's own sources and documents, two minutes
//   05_char_rnn --text FOLDER --seconds 60    any file or folder
//   05_char_rnn --save run.safetensors        ... and later: 05_char_rnn --resume run.safetensors
//
// Everything that is learnt happens in trainer.step(), models/char_rnn/trainer.cpp.
#include <cblas.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
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
#include "unroll/models/training/progress.hpp"

namespace fs = std::filesystem;
using namespace unroll;

namespace {

constexpr double default_seconds = 120;

struct Arguments {
  std::string text, save, resume, report = "report.html", prompt = "\n\n";
  double seconds = default_seconds;
  Size steps = 0;  // 0: as many as the time allows
  std::size_t threads = std::clamp(std::thread::hardware_concurrency(), 1u, 2u);
  Size sample = 600;
  CharRnnOptions network;
  std::string command;
};

// Wrong arguments, files and texts: one line, exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// CLI::Range lets nan pass, and -1 become a large unsigned number.
CLI::Validator between(double low, double high) {
  return CLI::Validator(
      [=](const std::string& text) {
        double value = 0;
        const bool ok = CLI::detail::lexical_cast(text, value) && value >= low && value <= high;
        return ok ? std::string() : fmt::format("{} is not between {} and {}", text, low, high);
      },
      "");
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Trains a character LSTM on text, shows what it learns, and writes a report.\n"
      "Ctrl-C stops the training cleanly and saves it."};
  app.get_formatter()->column_width(28);
  const auto add = [&](const char* name, auto& value, const char* type, const std::string& what,
                       const char* group = "Options") {
    return app.add_option(name, value, what)->option_text(type)->group(group);
  };
  const auto network = [&](const char* name, auto& value, const char* what) {
    return add(name, value, "N", fmt::format("{} ({})", what, value), "Network and optimiser");
  };
  const auto at_most = [](double most) { return between(1, most); };
  const auto positive = between(1e-9, 1e9);

  auto* text = add("--text", a.text, "PATH",
                   "file or folder to learn from, UTF-8 or latin-1\n"
                   "(default: the sources and documents of this project)");
  auto* seconds = add("--seconds", a.seconds, "S", fmt::format("time for training ({})", a.seconds))
                      ->check(between(0, 1e9));
  auto* steps = add("--steps", a.steps, "N", "train exactly N steps, however long they take")
                    ->check(at_most(1'000'000'000));
  add("--threads", a.threads, "N",
      fmt::format("1 or 2, which changes nothing but the time ({})", a.threads))
      ->check(at_most(double(a.network.shards)));
  add("--report", a.report, "FILE", fmt::format("the page to write ({})", a.report));
  add("--save", a.save, "FILE", "checkpoint to write at the end");
  auto* resume =
      add("--resume", a.resume, "FILE", "go on from a checkpoint, which holds text and options");
  add("--prompt", a.prompt, "TEXT", "what samples begin with (an empty line)");
  add("--sample", a.sample, "N", fmt::format("characters in a sample ({})", a.sample))
      ->check(between(0, 100'000));
  const std::vector<CLI::Option*> kept{
      text,
      network("--hidden", a.network.hidden, "units of the LSTM")->check(at_most(8192)),
      network("--embedding", a.network.embedding, "numbers for a character")->check(at_most(8192)),
      network("--streams", a.network.streams, "places read side by side")->check(at_most(4096)),
      network("--window", a.network.window, "steps a gradient goes back")->check(at_most(4096)),
      network("--learning-rate", a.network.learning_rate, "Adam's")->check(positive),
      network("--half-life", a.network.half_life, "steps in which it halves")->check(positive),
      network("--dropout", a.network.dropout, "share set to zero")->check(between(0, 0.95)),
      network("--seed", a.network.seed, "of all random numbers")->check(between(0, 1e18))};
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    std::exit(0);
  } catch (const CLI::ParseError& e) {
    throw UsageError(fmt::format("{} (--help shows the options)", e.what()));
  }
  if (seconds->count() && steps->count()) throw UsageError("either --seconds or --steps, not both");
  for (const CLI::Option* option : kept) {
    if (resume->count() && option->count()) {
      throw UsageError(
          fmt::format("--resume goes with no {}: the checkpoint holds it", option->get_name()));
    }
  }
  if (!from_utf8(a.prompt)) throw UsageError("--prompt is not UTF-8");
  for (int i = 0; i < argc; ++i) a.command += (i > 0 ? " " : "") + std::string(argv[i]);
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

void check_can_be_written(const char* option, const std::string& name) {
  if (name.empty()) throw UsageError(fmt::format("{} needs the name of a file", option));
  const fs::path path = fs::absolute(name);
  if (fs::is_directory(path)) throw UsageError(fmt::format("{}: {} is a folder", option, name));
  if (!fs::is_directory(path.parent_path()) || ::access(path.parent_path().c_str(), W_OK) != 0) {
    throw UsageError(fmt::format("{}: cannot write into {}", option, path.parent_path().string()));
  }
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
  if (!a.resume.empty()) return CharRnnTrainer::load(a.resume, a.threads);
  const fs::path path = a.text.empty() ? project_folder() : fs::path(a.text);
  const Corpus corpus =
      read_corpus(path, {.skipped_names = {"report.html", fs::path(a.report).filename().string()}});
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
  return CharRnnTrainer(split, a.network, a.threads);
}

// Trains until the time is over, the steps are done, or Ctrl-C. Returns the seconds it took.
double train(CharRnnTrainer& trainer, const Arguments& a, const InterruptGuard& guard) {
  const Size begin = trainer.steps();
  const Size per_step = trainer.characters_per_step();
  ProgressOptions options{.label = "training", .unit = "characters", .total = a.steps * per_step};
  if (a.steps == 0) options.time_limit = a.seconds;
  Progress progress(std::cerr, progress_options(STDERR_FILENO, options));
  double bits = 0;
  std::string metrics;
  while (!guard.requested() &&
         (a.steps > 0 ? trainer.steps() - begin < a.steps : progress.elapsed() < a.seconds)) {
    const double now = trainer.step();
    bits = bits == 0 ? now : 0.95 * bits + 0.05 * now;
    metrics = fmt::format("{:.3f} bits per character", bits);
    progress.update((trainer.steps() - begin) * per_step, metrics);
  }
  progress.finish(metrics);
  return progress.elapsed();
}

int run(const Arguments& a) {
  openblas_set_num_threads(1);  // the trainer has threads of its own
  check_can_be_written("--report", a.report);
  if (!a.save.empty()) check_can_be_written("--save", a.save);
  CharRnnTrainer trainer = make_trainer(a);
  const auto training = trainer.vocabulary().encode(trainer.text().training);
  const auto held_out = trainer.vocabulary().encode(trainer.text().held_out);
  const Size characters = trainer.vocabulary().size();

  CharRnnRun run{.command = a.command, .threads = a.threads};
  run.text_name = !a.resume.empty() ? "the checkpoint " + a.resume
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
                              a.threads, a.threads == 1 ? "" : "s"));
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
        keep ? fs::path(a.save) : fs::path(a.report).replace_filename("char_rnn.safetensors");
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
  write_run_report(a.report, trainer, run);
  show("report", fs::absolute(a.report).string());

  const bool better = run.bits_after < std::min(run.unigram_bits, run.trigram_bits);
  const bool must_be = a.text.empty() && a.resume.empty() && a.steps == 0 &&
                       a.seconds >= default_seconds && !guard.requested();
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
  try {
    return run(parse(argc, argv));
  } catch (const std::invalid_argument& e) {
    fmt::print(stderr, "05_char_rnn: {}\n", e.what());
  } catch (const std::runtime_error& e) {  // files, formats, arguments
    fmt::print(stderr, "05_char_rnn: {}\n", e.what());
  }
  return 2;
}
