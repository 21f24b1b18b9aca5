#!/usr/bin/env bash
# Builds for this machine's processor, runs every benchmark and writes docs/performance.md; --check instead only fails when
# a bar is missed.
#   tools/bench.sh [--quick] [--check]      --quick: smaller sizes, fewer alternations
# libtorch is measured beside where Meson found it (Debian: apt-get install libtorch-dev); tape_overhead and ops need Google
# Benchmark (libbenchmark-dev, which tools/setup.sh installs).
# A machine whose neighbours are busy gives wide intervals: run it alone.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
export OPENBLAS_NUM_THREADS=1
cases=(--case 16,1,50 --case 64,1,100 --case 128,1,200 --case 128,16,50 --case 256,32,50 --case 512,1,100
  --case 512,32,100 --case 1024,64,30)
few=(--case 16,1,50 --case 64,1,100 --case 128,16,50)
shared=(--case 64,16,50 --case 128,16,50 --case 256,32,50 --case 512,32,100)
alternations=30 pace=(--seconds 2) inference=() scaling=() exactly=() check=no
for argument in "$@"; do
  case "$argument" in
    --quick)
      cases=("${cases[@]:0:10}") few=("${few[@]:0:2}") shared=("${shared[@]:0:4}") alternations=9
      pace=(--seconds 0.2 --alternations 9) inference=(--case 16,1 --case 128,1 --stream 5000) scaling=(--steps 100000)
      exactly=(--stride 101) ;;
    --check) check=yes ;;
    *) echo "usage: tools/bench.sh [--quick] [--check]" >&2; exit 2 ;;
  esac
done

programs=(rnn_step inference gradbench_lstm parallel ragged scaling)
build() { "$root/tools/build.sh" bench -Dbenchmarks=true -Dnative=true -Dtests=false -Dexamples=false "${@/#/bench/}" >&2; }
build "${programs[@]}"
bin="$root/build/bench/bench"
# What needs more than the library itself is there only where Meson found that.
have() { grep -q "^build bench/$1:" "$root/build/bench/build.ninja"; }
for program in libtorch_step tape_overhead ops accuracy; do
  if have "$program"; then build "$program"; fi
done
torch=no
if have libtorch_step; then torch=yes; fi

if [[ "$check" == yes ]]; then
  status=0
  "$bin/rnn_step" --check "${pace[@]}" "${cases[@]}" || status=1
  "$bin/inference" --check "${pace[@]}" "${inference[@]}" || status=1
  if have tape_overhead; then "$bin/tape_overhead" --check || status=1; fi
  "$bin/parallel" --check "${pace[@]}" || status=1
  "$bin/ragged" --check || status=1
  "$bin/gradbench_lstm" --check || status=1
  "$bin/scaling" --check "${scaling[@]}" || status=1
  if have accuracy; then "$bin/accuracy" --check "${exactly[@]}" || status=1; fi
  exit "$status"
fi

work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
# run NAME COMMAND...: keeps the command and what it prints; both also appear on the terminal.
run() {
  local name="$1"
  shift
  echo "== $*" | tee "$work/$name.command" >&2
  "$bin/$1" "${@:2}" | tee "$work/$name" >&2
}
load="$(cut -d' ' -f1 /proc/loadavg)"
run float rnn_step "${cases[@]}" "${pace[@]}"
run double rnn_step --dtype double "${few[@]}" "${pace[@]}"
run per_step rnn_step --read-out per-step --impl ops --impl fused --impl libtorch-ops "${few[@]}" "${pace[@]}"
run threads rnn_step --threads 2 --impl own "${shared[@]}" "${pace[@]}"
run parallel parallel "${pace[@]}"
run ragged ragged "${pace[@]}"
run inference inference "${inference[@]}" "${pace[@]}"
if have tape_overhead; then run tape tape_overhead; fi
run gradbench gradbench_lstm
run scaling scaling "${scaling[@]}"
if have ops; then run ops ops; fi
if have accuracy; then run accuracy accuracy "${exactly[@]}"; fi

# "geometric mean  16,1,50  ops  3.21 [3.10, 3.30]  bar 2.5 MISSED" becomes a cell of a row per case.
ratios() {
  awk '/^geometric mean/ {
    if (!($3 in seen)) { seen[$3] = ++n; name[n] = $3 }
    cell[$3, $4] = $5 " " $6 " " $7 ($8 == "bar" ? "; bar " $9 " " tolower($10) : "")
    have[$4] = 1
  }
  END {
    columns = split("layer fused ops libtorch-module libtorch-ops", column, " ")
    printf "| H, B, T |"; rule = "|---|"
    for (j = 1; j <= columns; ++j) if (column[j] in have) { printf " %s |", column[j]; rule = rule "---|" }
    print "\n" rule
    for (i = 1; i <= n; ++i) {
      printf "| %s |", name[i]
      for (j = 1; j <= columns; ++j) if (column[j] in have) printf " %s |", cell[name[i], column[j]]
      print ""
    }
  }' "$work/$1"
}
# "times faster  lstm  16,1,50  ops  than libtorch-ops  37.5 [35.4, 39.1]  bar 60 MISSED": a row per case and cell.
against_libtorch() {
  awk '/^times faster/ {
    row = $4 " | " $3
    if (!(row in seen)) { seen[row] = ++n; name[n] = row }
    cell[row, $5] = $8 " " $9 " " $10 ($11 == "bar" ? "; bar " $12 " " tolower($13) : "")
  }
  END {
    print "| H, B, T | cell | layer, than module | ops, than ops | hand, than ops |\n|---|---|---|---|---|"
    for (i = 1; i <= n; ++i)
      printf "| %s | %s | %s | %s |\n", name[i], cell[name[i], "layer"], cell[name[i], "ops"], cell[name[i], "hand"]
  }' "$work/float"
}
command_of() { printf '`%s`' "$(cut -c 4- "$work/$1.command")"; }
block() { printf '```\n'; cat -- "$work/$1"; printf '```\n\n'; }
section() { printf '## %s\n\n%s%s\n\n' "$1" "$(command_of "$2")" "${3-}"; block "$2"; }
version() { dpkg-query -W -f='${Version}' "$1" 2>/dev/null || echo '(unknown version)'; }

model="$(lscpu | sed -n 's/^Model name: *//p' | head -1)"
level="$(lscpu | grep -qw avx512f && echo AVX-512 || { lscpu | grep -qw avx2 && echo AVX2 || echo baseline; })"
caches="$(lscpu | sed -nE 's/^(L[123]d?) cache: *(.*) \(.*/\1 \2/p' | paste -sd, | sed 's/,/, /g')"
memory="$(awk '/^MemTotal/ {printf "%.0f GB", $2 / 1e6}' /proc/meminfo)"
libraries="OpenBLAS $(version libopenblas-dev)"
[[ "$torch" == no ]] || libraries+=", libtorch $(version libtorch-dev)"
{
  cat <<END
# Performance

Written by \`tools/bench.sh${1:+ $*}\`. Machine: $model, $(nproc) cores, $level, $caches (all cores together), $memory, load $load at
the beginning; $(${CXX:-c++} --version | head -1), native build; $libraries. One thread and process CPU time where
nothing else is said: medians over at least $alternations alternations of the implementations in one run. Ratios are taken
alternation by alternation; [ ] is the 95 % interval of the median. A bar is met when the interval reaches it. Alternations during which the
first implementation (the step by hand) took over 15 % longer than its least are left out where enough others remain: then a neighbour had the core.

## A training step against the same step by hand

Forward over T steps from a zero state, projection to 64 classes at each, mean softmax cross-entropy, backward to all
weights, SGD; input size H. \`hand\` (\`bench/hand_*.hpp\`) is the limit: no tape, no allocation, one product over all T·B rows
for the input projection, the logits and each weight gradient, the recurrent weights packed once, the library's own SIMD
functions. \`layer\` is the library's cell under \`unroll\`, \`fused\` a user's cell with one \`fuse\`, \`ops\` one from plain ops, both
looped step by step. Geometric mean of the ratio over Elman, LSTM and GRU; the losses of the first three steps are checked
to agree.

float: $(command_of float)

$(ratios float)

double: $(command_of double)

$(ratios double)

float, the user's program projects to the classes inside the loop: $(command_of per_step)

$(ratios per_step)

The batch split over two tapes on two threads, against the step by hand on one, wall time: $(command_of threads)

$(ratios threads)

END
  if [[ "$torch" == yes ]]; then
    cat <<END
## Times faster than libtorch

From the first of these runs: libtorch from ops and as its module (\`bench/libtorch_step.cpp\`), from the same weights, in a
process of its own that takes turns with the others.

$(against_libtorch)

END
  fi
  section 'Two threads against one' parallel '. Same total batch, wall time.'
  section 'Ragged batches' ragged '. Against a dense batch with as many real tokens.'
  section 'One step forward' inference '. On constants, nothing recorded; then a long stream of steps.'
  if have tape_overhead; then section 'Small operations' tape; fi
  section "GradBench's LSTM" gradbench '. Ratios to the objective in plain scalar C++; double; bar for the gradient 1.2.'
  section 'Growth' scaling
  if have ops; then section 'Kernels' ops '. The plain loop is compiled by the same compiler with the same flags.'; fi
  if have accuracy; then
    section 'Accuracy' accuracy '. Largest errors in ulp of the exact result, bars 4 for float and 2 for double.'
  fi
  cat <<END
## Each cell

Times, peak memory (weights, data and workspace; the library's pool; of libtorch, what its process grew by) and calls of malloc
and mmap per step, of the runs of the first section.

END
  block float
  block double
  block per_step
  block threads
} >"$root/docs/performance.md"
echo "wrote docs/performance.md" >&2
