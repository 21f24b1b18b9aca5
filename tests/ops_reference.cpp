// Prints docs/ops.md from the table of ops, and checks that it is current and that no op of the headers lacks an entry.
//
//   ops_reference > docs/ops.md
//   ops_reference --check docs/ops.md autograd/ops/ops.hpp autograd/ops/elementwise.hpp ...
#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "op_samples.hpp"

using namespace unroll::testing;

namespace {

const char* kind_text(OpKind kind) {
  switch (kind) {
    case OpKind::elementwise:
      return "elementwise";
    case OpKind::linear:
      return "linear";
    case OpKind::general:
      return "own vjp";
    case OpKind::composite:
      return "of other ops";
    case OpKind::maker:
      return "constant";
    case OpKind::not_differentiable:
      return "not differentiable";
  }
  return "";
}

std::string cell(std::string text) {  // a | would end the column
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\\|");
  return text;
}

std::string reference() {
  std::string out =
      "# The ops\n\n"
      "Printed by `tools/ops_reference.sh` from the table in `tests/op_samples_*.cpp`; do not "
      "edit. Every op that is\n"
      "differentiable passes `check_grads` to second order on the number of samples in the last "
      "column, each as it stands,\n"
      "over strided values, between recorded views and in float (`tests/test_ops_sweep.cpp`).\n\n"
      "Operands broadcast as in numpy; negative axes count from the end; arrays with axes of size "
      "0 work where numpy's do.\n"
      "*Elementwise* ops are declared by their function and its partial derivatives, *linear* ones "
      "by their adjoint, the\n"
      "others by a vjp or by being made of other ops. A constant is never tracked, nor is what is "
      "not differentiable.\n";
  std::string group;
  for (const OpEntry& op : op_table()) {
    if (op.group != group) {
      group = op.group;
      out +=
          "\n## " + group + "\n\n| op | is | kind | remarks | samples |\n|---|---|---|---|---|\n";
    }
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", cell(op.call), cell(op.formula),
                       kind_text(op.kind), cell(op.notes), op.samples.size());
  }
  return out;
}

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The names of the functions that a header declares for users: outside `namespace detail`, at the start of a line or
// behind a requires clause.
std::set<std::string> declared(const std::string& header) {
  const std::map<std::string, std::string> operators{
      {"+", "add"},    {"-", "sub"},         {"*", "mul"},     {"/", "div"},
      {"<", "less"},   {"<=", "less_equal"}, {">", "greater"}, {">=", "greater_equal"},
      {"==", "equal"}, {"!=", "not_equal"}};
  const std::regex function(
      R"(^(?:\[\[nodiscard\]\] |.*\) (?=auto ))?(?:[A-Za-z_:0-9]+(?:<[^()]*>)?) (operator ?[^\s(]+|[a-z_0-9]+)\()");
  std::set<std::string> names;
  std::istringstream lines(read(header));
  bool inside_detail = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("namespace detail", 0) == 0) inside_detail = true;
    if (line.rfind("}  // namespace detail", 0) == 0) inside_detail = false;
    std::smatch match;
    if (inside_detail || !std::regex_search(line, match, function)) continue;
    std::string name = match[1];
    if (name.rfind("operator", 0) == 0) {
      const std::string symbol = name.substr(8);
      const auto known = operators.find(symbol);
      if (known == operators.end()) continue;  // += and the like
      const bool unary = line.find(',') == std::string::npos;
      name = symbol == "-" && unary ? "neg" : known->second;
    }
    names.insert(name);
  }
  return names;
}

int check(const std::string& page, const std::vector<std::string>& headers) {
  int problems = 0;
  if (read(page) != reference()) {
    std::cerr << page << " is not current: run tools/ops_reference.sh\n";
    ++problems;
  }
  std::set<std::string> known, in_headers;
  for (const OpEntry& op : op_table()) {
    known.insert(op.name);
    if (op.samples.empty()) {
      std::cerr << op.name << " has no sample\n";
      ++problems;
    }
  }
  const std::set<std::string> not_ops{"row_product", "fold_in"};  // for rules; of keys
  for (const std::string& header : headers) {
    for (const std::string& name : declared(header)) {
      in_headers.insert(name);
      if (known.count(name) || not_ops.count(name)) continue;
      std::cerr << header << " declares " << name
                << ", but tests/op_samples_*.cpp has no entry for it\n";
      ++problems;
    }
  }
  for (const std::string& name : known) {
    if (in_headers.count(name)) continue;
    std::cerr << "tests/op_samples_*.cpp has " << name << ", but no header declares it\n";
    ++problems;
  }
  if (problems == 0) std::cout << known.size() << " ops, all declared, sampled and described\n";
  return problems == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 1) {
      std::cout << reference();
      return 0;
    }
    if (argc >= 4 && std::string(argv[1]) == "--check")
      return check(argv[2], {argv + 3, argv + argc});
    std::cerr << "usage: ops_reference | ops_reference --check docs/ops.md header...\n";
    return 2;
  } catch (const std::exception& e) {
    std::cerr << "ops_reference: " << e.what() << "\n";
    return 1;
  }
}
