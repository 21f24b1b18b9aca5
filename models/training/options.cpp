#include "unroll/models/training/options.hpp"

#include <cblas.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace unroll {

namespace fs = std::filesystem;

struct CommandLine::Implementation {
  CLI::App app;
  RunOptions& run;
  std::map<std::string, CLI::Option*> options = {};
  std::vector<std::pair<std::string, fs::path*>> written = {};  // the files of common options

  template <class T>
  CLI::Option* add(const std::string& name, T& value, const std::string& type,
                   const std::string& help, const std::string& group) {
    return options[name] = app.add_option(name, value, help)->option_text(type)->group(group);
  }
  [[nodiscard]] bool given(const std::string& name) const {
    const auto found = options.find(name);
    return found != options.end() && found->second->count() > 0;
  }
};

namespace {

// CLI::Range lets nan pass, and -1 become a large unsigned number.
CLI::Validator within(NumberRange range) {
  return CLI::Validator(
      [=](const std::string& text) {
        double value = 0;
        const bool ok =
            CLI::detail::lexical_cast(text, value) && value >= range.low && value <= range.high;
        return ok ? std::string()
                  : fmt::format("{} is not between {} and {}", text, range.low, range.high);
      },
      "");
}

std::string with_default(const std::string& help, const std::string& value) {
  return value.empty() ? help : fmt::format("{} ({})", help, value);
}

constexpr double most = 1e9;

}  // namespace

template <class T>
void CommandLine::add(const std::string& name, T& value, const std::string& help, NumberRange range,
                      const std::string& group) {
  implementation_
      ->add(name, value, std::is_floating_point_v<T> ? "X" : "N",
            with_default(help, fmt::format("{}", value)), group)
      ->check(within(range));
}
template void CommandLine::add(const std::string&, Size&, const std::string&, NumberRange,
                               const std::string&);
template void CommandLine::add(const std::string&, std::uint64_t&, const std::string&, NumberRange,
                               const std::string&);
template void CommandLine::add(const std::string&, double&, const std::string&, NumberRange,
                               const std::string&);

void CommandLine::add(const std::string& name, std::string& value, const std::string& type,
                      const std::string& help, const std::string& group) {
  implementation_->add(name, value, type, with_default(help, value), group);
}

void CommandLine::add_flag(const std::string& name, bool& value, const std::string& help,
                           const std::string& group) {
  implementation_->options[name] = implementation_->app.add_flag(name, value, help)->group(group);
}

CommandLine::CommandLine(const std::string& description, RunOptions& run,
                         const std::set<std::string>& only)
    : implementation_(new Implementation{.app = CLI::App(description), .run = run}) {
  Implementation& own = *implementation_;
  own.app.get_formatter()->column_width(30);
  TrainerOptions& t = run.trainer;
  const auto wanted = [&](const std::string& name) { return only.empty() || only.contains(name); };
  const char* group = "Training";
  // A limit of 0 or infinity is none: then no default is shown.
  const auto number = [&](const std::string& name, auto& value, const std::string& help,
                          NumberRange range, const char* type = "N") {
    if (!wanted(name)) return;
    const auto shown = double(value);
    const bool has_default = shown != 0 && std::isfinite(shown);
    own.add(name, value, type, with_default(help, has_default ? fmt::format("{}", value) : ""),
            group)
        ->check(within(range));
  };
  number("--epochs", t.epochs, "train for N passes over the data", {1, most});
  number("--steps", t.steps, "train for N updates", {1, most});
  number("--seconds", t.seconds, "train for S seconds", {0, most}, "S");
  number("--batch", t.batch, "examples in a batch", {1, 1e6});
  number("--accumulate", t.accumulate, "batches that make one update", {1, 1e6});
  number("--learning-rate", run.learning_rate, "of the optimiser", {1e-9, most}, "X");
  number("--clip", t.clip, "largest norm of a gradient", {1e-9, most}, "X");
  number("--patience", t.patience, "end after N validations without a new best", {1, most});
  number("--validate-every", t.validate_every,
         "updates from one validation to the next; else "
         "after each epoch",
         {1, most});
  number("--threads", t.threads, "threads, with a tape each", {1, 256});
  number("--seed", t.seed, "of all random numbers", {0, 1e18});
  const auto flag = [&](const std::string& name, auto apply, const std::string& help) {
    if (!wanted(name)) return;
    own.options[name] = own.app.add_flag_callback(name, apply, help)->group(group);
  };
  flag(
      "--quick", [&run] { run.quick = Quick::yes; }, "a small run of a few seconds");
  flag(
      "--skip-bad", [&run] { run.bad_data = OnBadData::skip; },
      "count and skip bad data instead of stopping at them");
  group = "Files";
  const auto file = [&](const std::string& name, fs::path& value, const char* type,
                        const std::string& help) {
    if (wanted(name)) own.add(name, value, type, with_default(help, value.string()), group);
  };
  if (wanted("--save")) own.written.emplace_back("--save", &t.save);
  if (wanted("--report")) own.written.emplace_back("--report", &run.report);
  file("--save", t.save, "FILE", "checkpoint to write; the best model goes beside it");
  number("--save-every", t.save_every,
         "updates from one checkpoint to the next; else after each "
         "epoch",
         {1, most});
  file("--resume", t.resume, "FILE", "go on from a checkpoint");
  file("--report", run.report, "FILE", "page to write about the run");
  file("--logdir", t.logdir, "FOLDER", "curves for TensorBoard");
}

CommandLine::~CommandLine() = default;

void CommandLine::parse(int argc, char** argv) {
  Implementation& own = *implementation_;
  TrainerOptions& t = own.run.trainer;
  try {
    own.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::string help = own.app.help();
    for (auto i = help.find("\n\n\n"); i != help.npos; i = help.find("\n\n\n")) help.erase(i, 1);
    fmt::print("{}", help);
    std::exit(0);
  } catch (const CLI::ParseError& e) {
    throw UsageError(fmt::format("{} (--help shows the options)", e.what()));
  }
  if (given("--epochs") || given("--steps") || given("--seconds")) {
    const TrainerOptions no_end;
    if (!given("--epochs")) t.epochs = no_end.epochs;
    if (!given("--steps")) t.steps = no_end.steps;
    if (!given("--seconds")) t.seconds = no_end.seconds;
  }
  for (const auto& [name, path] : own.written) {
    if (given(name) || !path->empty()) check_can_be_written(name, *path);
  }
  for (int i = 0; i < argc; ++i) own.run.command += (i > 0 ? " " : "") + std::string(argv[i]);
}

bool CommandLine::given(const std::string& name) const { return implementation_->given(name); }

int training_main(std::string_view name, const std::function<int()>& program) {
  openblas_set_num_threads(1);
  try {
    return program();
  } catch (const std::invalid_argument& e) {
    fmt::print(stderr, "{}: {}\n", name, e.what());
  } catch (const std::runtime_error& e) {  // arguments, files, formats
    fmt::print(stderr, "{}: {}\n", name, e.what());
  }
  return 2;
}

void check_can_be_written(const std::string& option, const fs::path& path) {
  if (path.empty()) throw UsageError(fmt::format("{} needs the name of a file", option));
  if (fs::is_directory(path)) {
    throw UsageError(fmt::format("{}: {} is a folder", option, path.string()));
  }
  const fs::path folder = fs::absolute(path).parent_path();
  if (!fs::is_directory(folder) || ::access(folder.c_str(), W_OK) != 0) {
    throw UsageError(fmt::format("{}: cannot write into {}", option, folder.string()));
  }
}

}  // namespace unroll
