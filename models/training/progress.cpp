#include "unroll/models/training/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <utility>

namespace unroll {
namespace {

constexpr std::size_t bar_width = 24;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool locale_is_utf_8() {
  std::string name = environment("LC_ALL");
  if (name.empty()) name = environment("LC_CTYPE");
  if (name.empty()) name = environment("LANG");
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.find("utf-8") != name.npos || name.find("utf8") != name.npos;
}

std::string formatted(const char* format, double value, const char* suffix) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return std::string(text.data()) + suffix;
}

std::string percent(double fraction) { return formatted("%3.0f", std::floor(100 * fraction), "%"); }

std::string bar(double fraction, bool is_unicode) {
  const auto filled = static_cast<std::size_t>(fraction * bar_width);
  std::string text = is_unicode ? "" : "[";
  for (std::size_t i = 0; i < bar_width; ++i) {
    if (is_unicode) {
      text += i < filled ? "\u2588" : "\u2591";
    } else {
      text += i < filled ? '#' : '-';
    }
  }
  return is_unicode ? text : text + ']';
}

// At most `columns` characters of UTF-8, none cut in its middle; no control characters.
std::string clipped(std::string_view text, std::size_t columns) {
  std::string shown;
  std::size_t used = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool begins_character = byte >> 6 != 0x02;
    if (begins_character && used++ == columns) break;
    shown += byte < 32 ? ' ' : c;
  }
  return shown;
}

}  // namespace

ProgressOptions progress_options(int file_descriptor, ProgressOptions options) {
  options.is_terminal = ::isatty(file_descriptor) == 1 && environment("TERM") != "dumb";
  options.is_unicode = locale_is_utf_8();
  winsize size = {};
  if (::ioctl(file_descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    options.width = size.ws_col;
  }
  return options;
}

std::string duration_text(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) return "?";
  const auto total = static_cast<std::int64_t>(std::llround(seconds));
  const auto two_digits = [](std::int64_t value) {
    return (value < 10 ? "0" : "") + std::to_string(value);
  };
  const std::string minutes =
      total < 3600 ? std::to_string(total / 60)
                   : std::to_string(total / 3600) + ":" + two_digits(total / 60 % 60);
  return minutes + ":" + two_digits(total % 60);
}

std::string rate_text(double per_second) {
  const auto three_digits = [](double value, const char* suffix) {
    const char* format = value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f";
    return formatted(format, value, suffix);
  };
  if (per_second < 9999.5) return three_digits(per_second, "");
  if (per_second < 999.5e3) return three_digits(per_second / 1e3, "k");
  if (per_second < 999.5e6) return three_digits(per_second / 1e6, "M");
  return three_digits(per_second / 1e9, "G");
}

Progress::Progress(std::ostream& out, ProgressOptions options)
    : out_(out), options_(std::move(options)), done_(options_.begin) {
  if (!options_.clock) options_.clock = steady_seconds;
  start_ = options_.clock();
}

Progress::~Progress() {
  if (line_open_) out_ << '\n' << std::flush;
}

void Progress::update(std::int64_t done, std::string_view metrics) {
  if (finished_) return;
  done_ = done;
  metrics_ = metrics;
  const double interval = options_.is_terminal ? options_.redraw_interval : options_.plain_interval;
  const double now = options_.clock();
  if (now - last_draw_ < interval) return;
  last_draw_ = now;
  draw(metrics, false);
}

void Progress::note(std::string_view line) {
  if (line_open_) out_ << "\r\x1b[K";
  out_ << line << '\n';
  if (line_open_) {
    draw(metrics_, false);
  } else {
    out_ << std::flush;
  }
}

void Progress::finish(std::string_view metrics) {
  if (finished_) return;
  draw(metrics, true);
  finished_ = true;
  line_open_ = false;
}

double Progress::elapsed() const { return options_.clock() - start_; }

double Progress::fraction() const {
  double part = elapsed() / options_.time_limit;
  if (options_.total > 0) {
    part = std::max(part, static_cast<double>(done_) / static_cast<double>(options_.total));
  }
  return std::clamp(part, 0.0, 1.0);
}

double Progress::seconds_left() const {
  const double seconds = elapsed();
  double left = options_.time_limit - seconds;
  const auto units = static_cast<double>(done_ - options_.begin);
  if (options_.total > 0 && units > 0) {
    left = std::min(left, seconds / units * static_cast<double>(options_.total - done_));
  }
  return std::max(left, 0.0);
}

std::string Progress::details(std::string_view metrics, std::string_view separator,
                              bool is_last) const {
  std::string text(metrics);
  const auto add = [&](const std::string& part) {
    if (!text.empty()) text += separator;
    text += part;
  };
  const double seconds = elapsed();
  const auto units = static_cast<double>(done_ - options_.begin);
  if (seconds > 0 && units > 0) add(rate_text(units / seconds) + " " + options_.unit + "/s");
  if (is_last) {
    add("took " + duration_text(seconds));
  } else if (const double left = seconds_left(); std::isfinite(left)) {
    add(duration_text(left) + " left");
  }
  return text;
}

void Progress::draw(std::string_view metrics, bool is_last) {
  const std::string label = options_.label.empty() ? "" : options_.label + " ";
  if (!options_.is_terminal) {
    out_ << label << percent(fraction()) << ": " << details(metrics, ", ", is_last) << '\n';
  } else {
    const std::string line = label + percent(fraction()) + " " +
                             bar(fraction(), options_.is_unicode) + " " +
                             details(metrics, " | ", is_last);
    // One column stays free: a full line would wrap, and could not be rewritten.
    out_ << '\r' << clipped(line, std::max<std::size_t>(options_.width, 2) - 1) << "\x1b[K";
    if (is_last) out_ << '\n';
    line_open_ = true;
  }
  out_ << std::flush;
}

}  // namespace unroll
