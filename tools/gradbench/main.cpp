// Unroll as a tool of GradBench: messages as JSON lines on standard input, an answer to each on standard output.
//
//   {"id": 0, "kind": "start", "eval": "hello"}                        -> {"id": 0, "tool": "unroll"}
//   {"id": 1, "kind": "define", "module": "hello"}                     -> {"id": 1, "success": true}
//   {"id": 2, "kind": "evaluate", "module": "hello", "function": "square", "input": 3}
//                                                 -> {"id": 2, "success": true, "output": 9.0, "timings": [...]}
//
// Any other kind is answered with its id alone. What cannot be done gives "success": false and an "error".
#include <cblas.h>

#include <chrono>
#include <iostream>

#include "unroll/tools/gradbench/lstm.hpp"

namespace {

using nlohmann::json;
using namespace unroll;
using namespace unroll::gradbench;

struct Evaluation {
  json output;
  json timings = json::array();
};

// Runs `f` at least min_runs times and until it has taken min_seconds: once if the input asks for neither.
template <class F>
void time_runs(Evaluation& e, const json& input, F&& f) {
  const bool object = input.is_object();
  const std::int64_t runs = object ? input.value("min_runs", std::int64_t{1}) : 1;
  const double least = object ? input.value("min_seconds", 0.0) : 0;
  double seconds = 0;
  decltype(f()) result{};
  for (std::int64_t i = 0; i < std::max<std::int64_t>(runs, 1) || seconds < least; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    result = f();
    const std::chrono::nanoseconds taken = std::chrono::steady_clock::now() - begin;
    e.timings.push_back({{"name", "evaluate"}, {"nanoseconds", taken.count()}});
    seconds += std::chrono::duration<double>(taken).count();
  }
  e.output = result;
}

Evaluation hello(const std::string& function, const json& input) {
  const auto square = [](const Var<double>& x) { return x * x; };
  const Var<double> x = input.get<double>();
  Evaluation e;
  if (function == "square") {
    time_runs(e, input, [&] { return square(x).item(); });
  } else if (function == "double") {
    time_runs(e, input, [&] { return grad(square)(x).item(); });
  } else {
    throw std::invalid_argument("hello has no function " + function);
  }
  return e;
}

Evaluation lstm(const std::string& function, const json& input) {
  const Lstm lstm(lstm_input(input));
  Evaluation e;
  if (function == "objective") {
    time_runs(e, input, [&] { return lstm.objective(); });
  } else if (function == "jacobian") {
    time_runs(e, input, [&] { return lstm.gradient(); });
  } else {
    throw std::invalid_argument("lstm has no function " + function);
  }
  return e;
}

using Module = Evaluation (*)(const std::string& function, const json& input);
Module module_named(const std::string& name) {
  if (name == "hello") return hello;
  if (name == "lstm") return lstm;
  throw std::invalid_argument("no module " + name);
}

json answer(const json& message) {
  json out{{"id", message.at("id")}};
  const std::string kind = message.at("kind");
  if (kind == "start") out["tool"] = "unroll";
  if (kind != "define" && kind != "evaluate") return out;
  try {
    const Module module = module_named(message.at("module"));
    if (kind == "evaluate") {
      Evaluation e = module(message.at("function"), message.at("input"));
      out["output"] = std::move(e.output);
      out["timings"] = std::move(e.timings);
    }
    out["success"] = true;
  } catch (const std::exception& e) {
    out["success"] = false;
    out["error"] = e.what();
  }
  return out;
}

}  // namespace

int main() {
  openblas_set_num_threads(1);
  std::ios::sync_with_stdio(false);
  std::string line;
  try {
    while (std::getline(std::cin, line)) std::cout << answer(json::parse(line)) << std::endl;
  } catch (const json::exception& e) {  // not a message, so there is no id to answer to
    std::cerr << "gradbench: " << e.what() << "\n";
    return 2;
  }
}
