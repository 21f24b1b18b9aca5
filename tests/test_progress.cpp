#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <sstream>
#include <string>

#include "unroll/models/training/interrupt.hpp"
#include "unroll/models/training/progress.hpp"

using namespace unroll;

namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto i = text.find(part); i != text.npos; i = text.find(part, i + 1)) ++found;
  return found;
}

// What the last rewrite of the line shows.
std::string last_line(const std::string& text) {
  const auto begin = text.rfind('\r') + 1;
  return text.substr(begin, text.find("\x1b[K", begin) - begin);
}

}  // namespace

TEST_CASE("a terminal shows one line with bar, metrics, rate and the time left") {
  double now = 100;
  std::ostringstream out;
  Progress progress(
      out,
      {.label = "training", .unit = "characters", .total = 4000, .is_terminal = true, .clock = [&] {
         return now;
       }});
  now += 10;
  progress.update(1000, "2.5 bits");
  CHECK(last_line(out.str()) ==
        "training  25% [######------------------] 2.5 bits | 100 characters/s | 0:30 left");
  now += 10;
  progress.update(2000, "2.0 bits");
  CHECK(last_line(out.str()) ==
        "training  50% [############------------] 2.0 bits | 100 characters/s | 0:20 left");
  CHECK(count(out.str(), "\n") == 0);
  CHECK(progress.fraction() == 0.5);
  now += 20;
  progress.update(4000, "1.9 bits");
  progress.finish("1.8 bits");
  CHECK(last_line(out.str()) ==
        "training 100% [########################] 1.8 bits | 100 characters/s | took 0:40");
  CHECK(count(out.str(), "\n") == 1);
  progress.update(4001);
  progress.finish();
  CHECK(count(out.str(), "\n") == 1);
}

TEST_CASE("a terminal is redrawn no more often than asked") {
  double now = 0;
  std::ostringstream out;
  {
    Progress progress(out, {.total = 1000, .is_terminal = true, .clock = [&] { return now; }});
    for (int i = 0; i < 1000; ++i) {
      progress.update(i);
      now += 0.001;
    }
  }
  CHECK(count(out.str(), "\r") >= 9);
  CHECK(count(out.str(), "\r") <= 11);
  CHECK(out.str().back() == '\n');  // the line is ended even without finish()
}

TEST_CASE("elsewhere plain lines come at most every so many seconds") {
  double now = 0;
  std::ostringstream out;
  Progress progress(
      out, {.label = "training", .total = 100, .plain_interval = 10, .clock = [&] { return now; }});
  for (int i = 1; i <= 50; ++i) {
    now += 0.5;
    progress.update(i, "loss 1");
  }
  CHECK(out.str() ==
        "training   1%: loss 1, 2.00 steps/s, 0:50 left\n"
        "training  21%: loss 1, 2.00 steps/s, 0:40 left\n"
        "training  41%: loss 1, 2.00 steps/s, 0:30 left\n");
  progress.note("saved");
  progress.finish("loss 0.5");
  CHECK(out.str().ends_with("saved\ntraining  50%: loss 0.5, 2.00 steps/s, took 0:25\n"));
  CHECK(count(out.str(), "\r") + count(out.str(), "\x1b") == 0);
}

TEST_CASE("a time limit ends the bar where it is nearer than the total") {
  double now = 0;
  std::ostringstream out;
  Progress progress(out, {.total = 1'000'000, .time_limit = 120, .is_terminal = true, .clock = [&] {
                            return now;
                          }});
  now = 30;
  progress.update(1000);
  CHECK(progress.fraction() == 0.25);
  CHECK(last_line(out.str()).ends_with("1:30 left"));
  now = 150;
  progress.update(2000);
  CHECK(progress.fraction() == 1);
  CHECK(last_line(out.str()).ends_with("0:00 left"));
}

TEST_CASE("units done in an earlier run are progress but no part of the rate") {
  double now = 0;
  std::ostringstream out;
  Progress progress(out, {.total = 1000, .begin = 500, .clock = [&] { return now; }});
  now = 10;
  progress.update(600);
  CHECK(out.str() == " 60%: 10.0 steps/s, 0:40 left\n");
}

TEST_CASE("a note stands above the bar, which is drawn again") {
  std::ostringstream out;
  Progress progress(out, {.total = 2, .is_terminal = true, .clock = [] { return 0.0; }});
  progress.update(1, "m");
  const std::string before = out.str();
  progress.note("saved model");
  CHECK(out.str() == before + "\r\x1b[Ksaved model\n" + before);
}

TEST_CASE("a line never reaches the last column and characters are not cut in half") {
  std::ostringstream out;
  Progress progress(out,
                    {.total = 2, .is_terminal = true, .is_unicode = true, .width = 36, .clock = [] {
                       return 0.0;
                     }});
  progress.update(1, "ab\ncd\xc3\xa9\xc3\xa9\xc3\xa9");
  std::string bar;
  for (int i = 0; i < 24; ++i) bar += i < 12 ? "\u2588" : "\u2591";
  CHECK(last_line(out.str()) == " 50% " + bar + " ab cd");
}

TEST_CASE("durations and rates are short and clear") {
  CHECK(duration_text(0) == "0:00");
  CHECK(duration_text(59.6) == "1:00");
  CHECK(duration_text(754) == "12:34");
  CHECK(duration_text(3723) == "1:02:03");
  CHECK(duration_text(-1) == "?");
  CHECK(duration_text(std::numeric_limits<double>::infinity()) == "?");
  CHECK(rate_text(0.123) == "0.12");
  CHECK(rate_text(9.999) == "10.0");
  CHECK(rate_text(1234.4) == "1234");
  CHECK(rate_text(48'210) == "48.2k");
  CHECK(rate_text(1.5e6) == "1.50M");
}

TEST_CASE("the first Ctrl-C is noted and the handlers of before come back") {
  void (*const mine)(int) = [](int) {};
  void (*const before)(int) = std::signal(SIGINT, mine);
  {
    const InterruptGuard guard;
    CHECK_FALSE(guard.requested());
    std::raise(SIGINT);
    CHECK(guard.requested());
    CHECK(guard.signal() == SIGINT);
    const InterruptGuard inner;
    CHECK(inner.requested());
  }
  const bool restored = std::signal(SIGINT, before) == mine;
  CHECK(restored);
  const InterruptGuard fresh;
  CHECK_FALSE(fresh.requested());
  std::raise(SIGTERM);
  CHECK(fresh.signal() == SIGTERM);
}

TEST_CASE("a signal that was ignored stays ignored") {
  void (*const before)(int) = std::signal(SIGINT, SIG_IGN);
  {
    const InterruptGuard guard;
    std::raise(SIGINT);
    CHECK_FALSE(guard.requested());
  }
  const bool restored = std::signal(SIGINT, before) == SIG_IGN;
  CHECK(restored);
}

TEST_CASE("a second Ctrl-C ends the program at once") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    const InterruptGuard guard;
    std::raise(SIGINT);
    if (!guard.requested()) ::_exit(1);
    std::raise(SIGTERM);
    ::_exit(2);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}
