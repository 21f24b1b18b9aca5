// The few lines by which the examples check their own numbers.
//
//   Checks checks;
//   checks.near("df/dx", gradient, 5.58, 1e-12);      // prints both; remembers what is off
//   checks.at_least("accuracy", accuracy, 0.95);
//   return checks.exit_code();                        // 0 when all were right, else 1
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>

namespace unroll::examples {

class Checks {
 public:
  void near(const std::string& what, double value, double expected, double tolerance) {
    const double error = std::abs(value - expected);
    report(what, fmt::format("{:.12g}, expected {:.12g}", value, expected),
           error <= tolerance * std::max(1.0, std::abs(expected)));
  }
  void at_most(const std::string& what, double value, double bound) {
    report(what, fmt::format("{:.3g} (at most {:.3g})", value, bound), value <= bound);
  }
  void at_least(const std::string& what, double value, double bound) {
    report(what, fmt::format("{:.3g} (at least {:.3g})", value, bound), value >= bound);
  }

  [[nodiscard]] int exit_code() const { return ok_ ? 0 : 1; }

 private:
  void report(const std::string& what, const std::string& numbers, bool right) {
    fmt::print("{} {}: {}\n", right ? "  right" : "  WRONG", what, numbers);
    ok_ = ok_ && right;
  }
  bool ok_ = true;
};

}  // namespace unroll::examples
