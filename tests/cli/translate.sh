#!/usr/bin/env bash
# The translator's program: a quick run, its files, data of one's own, and a saved model in a pipe.
#   tests/cli/translate.sh PROGRAM
set -uo pipefail
(($# == 1)) || { echo "usage: $0 PROGRAM" >&2; exit 2; }
name=20_translate
program="$(readlink -f -- "$1")"
source "$(dirname -- "$(readlink -f -- "$0")")/common.sh"

refuses 'no such file' --predict missing.safetensors
echo text >text.txt
refuses 'safetensors' --predict text.txt
refuses 'no task "poems"' --task poems
refuses 'no such file' --data missing
refuses 'line 1: expected source TAB target' --data text.txt
refuses 'beam' --beam 0

run --quick --save run.safetensors --report report.html
check 'a quick run ends with 0' test $? -eq 0
check 'it says its score' grep -q 'BLEU .* exact match' out
check 'the report shows what it looks at' grep -q 'What it looks at' report.html
check 'the model is saved' test -s run.best.safetensors
printf '4 0 7\n\n  the 3 rd of march 1 9 9 8\nwords never seen\n' >in
"$program" --predict run.best.safetensors <in >out 2>err
check 'predicting ends with 0' test $? -eq 0
check 'a line comes out for each that goes in' test "$(wc -l <out)" -eq 4
check 'and an empty one for an empty one' test -z "$(sed -n 2p out)"
refuses 'was another model saved' --predict run.safetensors

# Data of one's own, bad lines in it.
for i in {1..40}; do printf 'a%d b\tB A%d\n' $((i % 4)) $((i % 4)); done >pairs.tsv
echo 'no tab' >>pairs.tsv
refuses 'pairs.tsv: line 41' --data pairs.tsv --quick
run --data pairs.tsv --skip-bad --quick --hidden 16
check 'bad lines can be skipped' test $? -eq 0
check 'and are counted' grep -q '1 bad example skipped' err

finish
