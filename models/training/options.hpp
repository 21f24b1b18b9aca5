// The command line of a training program: the options that all of them share, the program's own, a
// --help that reads well, and errors in one line.
//
//   int main(int argc, char** argv) {
//     return training_main("tagger", [&] {
//       RunOptions run{.trainer = {.epochs = 10, .batch = 32}, .learning_rate = 1e-3};
//       Size hidden = 128;
//       CommandLine line("Trains a tagger on sentences in CoNLL columns.", run);
//       line.add("--hidden", hidden, "units of the LSTM", {1, 8192}, "Network");
//       line.parse(argc, argv);
//       ModelTrainer trainer(net, Adam(net, {.learning_rate = run.learning_rate}), run.trainer);
//       ...
//       return 0;
//     });
//   }
//
// What the variables hold before parsing are the defaults, and --help shows them. Invariant: after
// parse() every value lies in its range, and files to be written can be created where they are asked.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

#include "unroll/models/training/data_error.hpp"
#include "unroll/models/training/training_loop.hpp"

namespace unroll {

/// Wrong arguments: training_main() shows one line and ends with exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Quick { no, yes };

/// The options that training programs share.
struct RunOptions {
  TrainerOptions trainer = {};
  double learning_rate = 1e-3;
  std::filesystem::path report = {};  // the page to write; none where it is empty
  Quick quick = Quick::no;            // a few seconds, to see that everything works
  OnBadData bad_data = OnBadData::stop;
  std::string command = {};  // as it was given
};

/// The numbers that an option takes, both ends included.
struct NumberRange {
  double low = 0, high = 0;
};

class CommandLine {
 public:
  /// With all common options, or only those named: {"--steps", "--save"}.
  CommandLine(const std::string& description, RunOptions& run,
              const std::set<std::string>& only = {});
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// Options of the program's own; a name without dashes is an argument by position. T is Size,
  /// std::uint64_t or double.
  template <class T>
  void add(const std::string& name, T& value, const std::string& help, NumberRange range,
           const std::string& group = "Options");
  void add(const std::string& name, std::string& value, const std::string& type,
           const std::string& help, const std::string& group = "Options");
  void add_flag(const std::string& name, bool& value, const std::string& help,
                const std::string& group = "Options");

  /// Throws UsageError; shows the help and ends the program where that is asked for. Without an end
  /// (--epochs, --steps, --seconds) the program's own holds, else only those that are given.
  void parse(int argc, char** argv);

  /// Whether an option was given.
  [[nodiscard]] bool given(const std::string& name) const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// Runs a program: BLAS with one thread (the trainer has its own), and errors of usage, files, formats
/// and values as one line "name: problem" with exit code 2.
int training_main(std::string_view name, const std::function<int()>& program);

/// Throws UsageError unless a file of that name could be written.
void check_can_be_written(const std::string& option, const std::filesystem::path& path);

}  // namespace unroll
