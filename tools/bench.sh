#!/usr/bin/env bash
# Builds for this machine's processor, runs every benchmark and writes docs/performance.md; --check instead only fails when
# a bar is missed.
#   tools/bench.sh [--quick] [--check]
# A machine whose neighbours are busy gives wide intervals: run it alone.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
seconds=2 quick='' check=no
for argument in "$@"; do
  case "$argument" in
    --quick) seconds=0.3 quick='--steps 100000' ;;
    --check) check=yes ;;
    *) echo "usage: tools/bench.sh [--quick] [--check]" >&2; exit 2 ;;
  esac
done

"$root/tools/build.sh" bench -Dnative=true -Dtests=false -Dexamples=false \
  bench/rnn_step bench/tape_overhead bench/scaling bench/ops >&2
bin="$root/build/bench/bench"

if [[ "$check" == yes ]]; then
  status=0
  "$bin/rnn_step" --check --seconds "$seconds" || status=1
  "$bin/tape_overhead" --check || status=1
  # shellcheck disable=SC2086
  "$bin/scaling" --check $quick || status=1
  exit "$status"
fi

work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
# run NAME COMMAND...: keeps what the command prints; it also appears on the terminal.
run() {
  local name="$1"
  shift
  echo "== $*" >&2
  "$bin/$1" "${@:2}" | tee "$work/$name" >&2
}
small=(--case 16,1,50 --case 64,1,100 --case 128,1,200 --case 512,1,100)
large=(--case 128,16,50 --case 256,32,50)
run small rnn_step "${small[@]}" --seconds "$seconds"
run large rnn_step "${large[@]}" --seconds "$seconds"
run double rnn_step --dtype double --case 16,1,50 --case 64,1,100 --case 128,16,50 --seconds "$seconds"
run per_step rnn_step --read-out per-step --impl ops --impl fused --case 16,1,50 --case 64,1,100 --case 128,16,50 \
  --seconds "$seconds"
run tape tape_overhead
# shellcheck disable=SC2086
run scaling scaling $quick
run ops ops

# "geometric mean   16,1,50  ops    3.21 [3.10, 3.30]  bar ..." becomes a row per case.
ratios() {
  awk '/^geometric mean/ {
    if (!($3 in seen)) { seen[$3] = ++n; name[n] = $3 }
    cell[$3, $4] = $5 " " $6 " " $7
  }
  END {
    print "| H, B, T | layer | fused | ops |"
    print "|---|---|---|---|"
    for (i = 1; i <= n; ++i)
      printf "| %s | %s | %s | %s |\n", name[i], cell[name[i], "layer"], cell[name[i], "fused"], cell[name[i], "ops"]
  }' "$@"
}
block() { printf '```\n'; cat -- "$work/$1"; printf '```\n\n'; }
model="$(lscpu | sed -n 's/^Model name: *//p' | head -1)"
level="$(lscpu | grep -qw avx512f && echo AVX-512 || { lscpu | grep -qw avx2 && echo AVX2 || echo baseline; })"
caches="$(lscpu | sed -nE 's/^(L[123]d?) cache: *(.*) \(.*/\1 \2/p' | paste -sd, | sed 's/,/, /g')"
{
  cat <<END
# Performance

Written by \`tools/bench.sh\`. Machine: $model, $(nproc) cores, $level, $caches (all cores together);
$(${CXX:-c++} --version | head -1), native build, one thread. Times are process CPU time: medians over at least 30 alternations of the
implementations in one run. Ratios are taken alternation by alternation; [ ] is the 95 % interval of the median.

## A training step against the same step by hand

Forward over T steps from a zero state, projection to 64 classes at each, mean softmax cross-entropy, backward to all
weights, SGD; input size H. \`hand\` (\`bench/hand_*.hpp\`) is the limit: no tape, no allocation, one product over all T·B rows
for the input projection, the logits and each weight gradient, the recurrent weights packed once, the library's own SIMD
functions. \`layer\` is the library's cell under \`unroll\`, \`fused\` a user's cell with one \`fuse\`, \`ops\` one from plain ops, both
looped step by step. Geometric mean of the ratio over Elman, LSTM and GRU; the losses of the first three steps are checked
to agree.

float: \`rnn_step ${small[*]}\`
and \`rnn_step ${large[*]}\`

$(ratios "$work/small" "$work/large")

double: \`rnn_step --dtype double --case 16,1,50 --case 64,1,100 --case 128,16,50\`

$(ratios "$work/double")

float, the user's program projects to the classes inside the loop:
\`rnn_step --read-out per-step --impl ops --impl fused --case 16,1,50 --case 64,1,100 --case 128,16,50\`

$(ratios "$work/per_step" | sed 's/| *|/| - |/')

Each cell, with times, peak memory (weights, data and workspace; the library's pool) and calls of malloc and mmap per step:

END
  block small
  block large
  printf '## Small operations\n\n`tape_overhead`\n\n'
  block tape
  printf '## Growth\n\n`scaling%s`\n\n' "${quick:+ $quick}"
  block scaling
  printf '## Kernels\n\n`ops`. The plain loop is compiled by the same compiler with the same flags.\n\n'
  block ops
} >"$root/docs/performance.md"
echo "wrote docs/performance.md" >&2
