// Runs another program without a shell, gives it text and collects what it writes.
//
//   const ProgramResult result = run_program({"dot", "-Tsvg"}, "digraph { a -> b }");
//
// The program is looked for in PATH, gets exactly these arguments, and is ended after the time
// limit. Text passes through nameless temporary files, so neither side can wait for the other.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace unroll {

enum class ProgramStatus { succeeded, failed, missing };

struct ProgramResult {
  ProgramStatus status = ProgramStatus::failed;
  std::string output;
  std::string problem;  // its error output, or why it could not run; also warnings after success
};

[[nodiscard]] ProgramResult run_program(const std::vector<std::string>& command,
                                        std::string_view input, double seconds = 60);

}  // namespace unroll
