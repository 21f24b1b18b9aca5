#!/usr/bin/env bash
# What must not compile: each program is refused with one sentence, near its own line, at the top of what the compiler says.
#   tests/cli/compile_errors.sh INCLUDE_FOLDER COMPILER...
set -uo pipefail
(($# >= 2)) || { echo "usage: $0 INCLUDE_FOLDER COMPILER..." >&2; exit 2; }
include="$(readlink -f -- "$1")"
compiler=("${@:2}" -std=c++20 -fsyntax-only -Wno-psabi -I "$include")
source "$(dirname -- "$(readlink -f -- "$0")")/common.sh"
lines=24  # of the compiler's output, that a reader sees at once

compile() {  # the program is on standard input, its headers are arguments
  printf '#include "unroll/%s"\n' "$@" >program.cpp
  cat >>program.cpp <<'EOF'
using namespace unroll;
using V = Var<double>;
EOF
  cat >>program.cpp
  "${compiler[@]}" program.cpp >out 2>err </dev/null
}
near_the_top() { grep -qF -- "$1" <(head -n "$lines" err); }
says() {  # SENTENCE HEADER...
  local sentence="$1"
  shift
  if compile "$@"; then
    check "refuses what should say '$sentence'" false
  else
    check "says '$sentence'" near_the_top "$sentence"
    check "names the program's line beside '$sentence'" near_the_top 'program.cpp:'
  fi
}
accepts() {  # NAME HEADER...
  check "accepts $1" compile "${@:2}"
}

accepts "users' own names beside the library's" models/training/trainer.hpp <<'EOF'
#include "unroll/nn/schedules.hpp"
struct Model { V weight; };
struct Dataset {};
struct Field {};
struct Range {};
struct Metric {};
struct Trainer { Model model; Dataset data; Field field; Range range; Metric metric; };
struct Constant {};
using Real = double;
Trainer f(Real) { return {}; }
EOF
accepts 'numbers captured by value' autograd/autograd.hpp <<'EOF'
V f(const V& x, double k) { return fuse([k](auto a) { return a * k; }, x); }
EOF
says 'fuse: the lambda may capture numbers by value' autograd/autograd.hpp <<'EOF'
V f(const V& x, double k) { return fuse([&](auto a) { return a * k; }, x); }
EOF
says 'fuse: the lambda may capture numbers by value' autograd/autograd.hpp <<'EOF'
V f(const V& x, const V& y) { return fuse([y](auto a) { return a * y; }, x); }
EOF

says 'struct has more members that are Vars' autograd/autograd.hpp <<'EOF'
struct Net {
  V weight, bias;
  double epsilon;
  static constexpr auto fields() { return std::tuple{field("weight", &Net::weight)}; }
};
Net f(const Net& net) { return grad([](const Net& n) { return sum(n.weight + n.bias); })(net); }
EOF
says 'a field of this struct is no Var' autograd/autograd.hpp <<'EOF'
struct Part { V weight; };
struct Net {
  Part part;
  static constexpr auto fields() { return std::tuple{field("part", &Net::part)}; }
};
Net f(const Net& net) { return grad([](const Net& n) { return sum(n.part.weight); })(net); }
EOF
says 'leave numbers, maps and pointers out of fields()' autograd/autograd.hpp <<'EOF'
struct Net {
  V weight;
  Size width;
  static constexpr auto fields() { return std::tuple{field("weight", &Net::weight), field("width", &Net::width)}; }
};
Size f(const Net& net) { return parameter_count(net); }
EOF
says 'a field of this struct is const' autograd/autograd.hpp <<'EOF'
struct Net {
  const V weight;
  static constexpr auto fields() { return std::tuple{field("weight", &Net::weight)}; }
};
Net f(const Net& net) { return zeros_like(net); }
EOF

says 'the function returns nothing' autograd/autograd.hpp <<'EOF'
V f(const V& x) { return grad([](const V& a) { (void)sum(a); })(x); }
EOF
says 'an auxiliary result may be a Var' autograd/autograd.hpp <<'EOF'
#include <map>
auto f(const V& x) { return value_and_grad([](const V& a) { return std::tuple{sum(a), std::map<int, V>{{1, a}}}; }, x); }
EOF
says 'hvp takes models and tuples' autograd/autograd.hpp <<'EOF'
auto f(const V& x) { return hessian([](const std::pair<V, V>& p) { return sum(p.first); }, std::pair{x, x}); }
EOF

says 'the call of the cell is not const' nn/unroll.hpp <<'EOF'
struct Cell { V operator()(const V& x, const V& state) { return x + state; } };
auto f(const V& xs, const V& state) { return unroll::unroll(Cell{}, xs, state); }
EOF
says 'the cell gives another type than the state' nn/unroll.hpp <<'EOF'
auto f(const V& xs, const V& state) {
  return unroll::unroll([](const V& x, const V& s) { return std::pair{x, s}; }, xs, state);
}
EOF
says 'the cell cannot be called as cell(x, state)' nn/unroll.hpp <<'EOF'
auto f(const Var<float>& xs, const V& state) {
  return unroll_steps([](const V& x, const V& s) { return x + s; }, xs, state);
}
EOF

says 'the loss returns nothing' models/training/trainer.hpp <<'EOF'
struct Data {
  Size size() const { return 1; }
  V batch(std::span<const Size>) const { return 1; }
};
void f(ModelTrainer<V, Sgd<V>>& trainer) {
  trainer.fit(Data{}, [](const V& weight, const V& batch) { (void)(weight * batch); });
}
EOF

finish
