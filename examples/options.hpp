// Reads an example's command line: --help ends with 0, anything that it does not understand with 2.
//
//   if (const auto code = examples::parse(app, argc, argv)) return *code;
#pragma once

#include <optional>

#include <CLI/CLI.hpp>

namespace unroll::examples {

inline std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

}  // namespace unroll::examples
