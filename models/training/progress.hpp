// The progress of long work: one line that is rewritten on a terminal, now and then a plain line
// elsewhere (a log file, a CI job).
//
//   Progress progress(std::cerr, progress_options(STDERR_FILENO, {.label = "training",
//                                                                 .unit = "characters",
//                                                                 .total = steps * batch}));
//   for (...) progress.update(done, "1.934 bits per character");
//   progress.finish("1.871 bits per character");
//   // training  42% [##########--------------] 1.934 bits per character | 48.2k characters/s | ...
//
// It draws at most every redraw_interval seconds, so update() may be called at every step; what it
// writes depends only on the calls and the clock.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <string>
#include <string_view>

namespace unroll {

struct ProgressOptions {
  std::string label = {};
  std::string unit = "steps";
  std::int64_t total = 0;  // units when all is done; 0 where only the time limit is known
  std::int64_t begin = 0;  // units done before (a resumed run): no part of the rate
  double time_limit = std::numeric_limits<double>::infinity();  // seconds, where time ends the work
  bool is_terminal = false;
  bool is_unicode = false;             // block characters in the bar
  std::size_t width = 100;             // columns of the terminal
  double redraw_interval = 0.1;        // seconds, on a terminal
  double plain_interval = 10;          // seconds, elsewhere
  std::function<double()> clock = {};  // seconds; the steady clock where none is given
};

/// The options with is_terminal, is_unicode and width as the file descriptor and the environment
/// have them.
[[nodiscard]] ProgressOptions progress_options(int file_descriptor, ProgressOptions options = {});

/// 0:07, 12:34, 1:02:03. Negative and not finite durations are "?".
[[nodiscard]] std::string duration_text(double seconds);

/// Three digits: 0.12, 4.56, 78.9, 123, 4560 and 78.9k, 1.23M.
[[nodiscard]] std::string rate_text(double per_second);

class Progress {
 public:
  /// The time starts here.
  Progress(std::ostream& out, ProgressOptions options);
  /// Ends the line on a terminal where finish() was not called.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` units, those before `begin` included; `metrics` is shown as it is.
  void update(std::int64_t done, std::string_view metrics = {});

  /// A line of its own, above the bar on a terminal.
  void note(std::string_view line);

  /// The last line: what was done, the time it took, and the line's end. Nothing is drawn after it.
  void finish(std::string_view metrics = {});

  /// Seconds since the start.
  [[nodiscard]] double elapsed() const;
  /// Between 0 and 1: of the total or of the time limit, whichever is nearer to its end.
  [[nodiscard]] double fraction() const;

 private:
  [[nodiscard]] std::string details(std::string_view metrics, std::string_view separator,
                                    bool is_last) const;
  [[nodiscard]] double seconds_left() const;
  void draw(std::string_view metrics, bool is_last);

  std::ostream& out_;
  ProgressOptions options_;
  double start_ = 0;
  double last_draw_ = -std::numeric_limits<double>::infinity();
  std::int64_t done_ = 0;
  std::string metrics_;
  bool line_open_ = false;
  bool finished_ = false;
};

}  // namespace unroll
