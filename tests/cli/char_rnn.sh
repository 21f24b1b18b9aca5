#!/usr/bin/env bash
# The command line of 05_char_rnn: exit codes, messages, what is written where.
#   tests/cli/char_rnn.sh PROGRAM
set -uo pipefail
(($# == 1)) || { echo "usage: $0 PROGRAM" >&2; exit 2; }
name=05_char_rnn
program="$(readlink -f -- "$1")"
source "$(dirname -- "$(readlink -f -- "$0")")/common.sh"

for i in {1..300}; do echo "the quick brown fox jumps over the lazy dog, time and again $((i % 7))"; done >text.txt
: >empty.txt
echo 'too short' >short.txt
head -c 5000 /dev/zero >binary.bin
mkdir -p nothing folder/with
cp text.txt folder/with/text.txt
quick=(--steps 3 --hidden 8 --embedding 4 --streams 4 --window 8 --sample 20 --threads 1)

refuses 'no-such-option' --no-such-option
refuses 'folder' folder
refuses 'no such file' --text missing.txt
refuses 'empty' --text empty.txt
refuses 'too few' --text short.txt
refuses 'binary' --text binary.bin
refuses 'no text' --text nothing
refuses 'seconds' --seconds -1 --text text.txt
refuses 'seconds' --seconds soon --text text.txt
refuses 'seconds' --seconds nan --text text.txt
refuses 'steps' --steps 0 --text text.txt
refuses 'steps' --steps 1.5 --text text.txt
refuses 'not both' --steps 5 --seconds 5 --text text.txt
refuses 'threads' --threads 0 --text text.txt
refuses 'hidden' --hidden -3 --text text.txt
refuses 'hidden' --hidden 99999999999999999999 --text text.txt
refuses 'dropout' --dropout 1 --text text.txt
refuses 'learning-rate' --learning-rate 0 --text text.txt
refuses 'seed' --seed -1 --text text.txt
refuses 'prompt' --prompt $'\xff' --text text.txt
refuses 'report' --report nowhere/report.html --text text.txt
refuses 'report' --report nothing --text text.txt
refuses 'save' --save nowhere/a.safetensors --text text.txt
refuses 'no such file' --resume missing.safetensors
refuses 'safetensors' --resume text.txt
refuses 'the checkpoint holds it' --resume a.safetensors --text text.txt

run --help
check '--help ends with 0' test $? -eq 0
check '--help names the options' grep -q -- '--resume' out
check '--help says nothing else' test ! -s err

# A run, a run resumed, and the same steps in one.
run --text text.txt "${quick[@]}" --save part.safetensors
check 'a short run ends with 0' test $? -eq 0
check 'it writes a report' grep -q '</html>' report.html
check 'the report stands alone' bash -c '! grep -Eq "<script|(src|href)=.?https?:" report.html'
check 'progress is plain lines' bash -c '! grep -q "$1" err' bash $'\r'
run --resume part.safetensors --steps 2 --threads 2 --sample 20 --save parts.safetensors
check 'a resumed run ends with 0' test $? -eq 0
run --text text.txt --hidden 8 --embedding 4 --streams 4 --window 8 --sample 20 --steps 5 \
  --save whole.safetensors
check '3 + 2 steps are 5 steps' cmp -s parts.safetensors whole.safetensors

# Reports in a folder are not read as text, and streams may be closed.
cp report.html folder/report.html
run --text folder "${quick[@]}" --report folder/mine.html
check 'a folder is read' grep -q '1 file,' out
run --text folder "${quick[@]}" --report folder/mine.html
check 'an earlier report is not' grep -q '1 file,' out
printf 'caf\xe9 ol\xe9, ma\xf1ana\n%.0s' {1..200} >latin.txt
run --text latin.txt "${quick[@]}"
check 'latin-1 is read' grep -q 'latin-1' out
"$program" --text text.txt "${quick[@]}" <&- >out 2>err
check 'standard input may be closed' test $? -eq 0
check 'with its report' test "$(find report.html -newer latin.txt)" = report.html
PATH=/nowhere run --text text.txt "${quick[@]}"
check 'gnuplot and dot may be missing' test $? -eq 0
check 'the report then says how to get them' grep -q 'apt install' report.html

# Ctrl-C ends the training, not the program; what was learnt is saved.
rm -f out err
"$program" --text text.txt --hidden 8 --seconds 60 --sample 20 >out 2>err </dev/null &
pid=$!
for _ in {1..100}; do grep -qs training err && break; sleep 0.1; done
kill -TERM "$pid"
wait "$pid"
check 'a signal ends the training cleanly' test $? -eq 0
check 'and saves it' test -s char_rnn.safetensors
check 'and says how to go on' grep -q -- '--resume' out
run --resume char_rnn.safetensors --steps 1 --sample 20
check 'from which a run resumes' test $? -eq 0

finish
