// A program in a pipe: a line in, a line out.
//
//   return answer_standard_input(run.bad_data, [&](const std::string& line, std::int64_t number) {
//     return label(model(parse(line, "standard input", number)));        // may throw DataError
//   });
//
// Invariant: there is one line of output for each line of input, written out before the next is read; a
// line that was bad and is to be skipped is answered by an empty one.
#pragma once

#include <functional>
#include <istream>
#include <map>
#include <ostream>
#include <string>

#include "unroll/autograd/shape.hpp"
#include "unroll/models/training/data_error.hpp"

namespace unroll {

/// Lines count from 1. Returns what BadData says about those that were skipped; throws the DataError of
/// the first bad one where it is to stop.
std::string answer_lines(
    std::istream& in, std::ostream& out, OnBadData policy,
    const std::function<std::string(const std::string& line, std::int64_t number)>& answer);

/// The same between standard input and output: what a program does with a saved model. What was skipped is
/// told on standard error. Returns 0, for main.
int answer_standard_input(
    OnBadData policy,
    const std::function<std::string(const std::string& line, std::int64_t number)>& answer);

/// A whole number from 1 to `most` that a model's file carries. Throws FormatError, with the file's name.
[[nodiscard]] Size size_in(const std::map<std::string, std::string>& metadata,
                           const std::string& key, const std::string& file, Size most = 1'000'000);

}  // namespace unroll
