#!/usr/bin/env bash
# The command line that training programs share, tried on 14_own_model: exit codes, messages, what is written where, and
# that a run that was stopped goes on as if it had not been.
#   tests/cli/trainer.sh PROGRAM
set -uo pipefail
(($# == 1)) || { echo "usage: $0 PROGRAM" >&2; exit 2; }
name=14_own_model
program="$(readlink -f -- "$1")"
source "$(dirname -- "$(readlink -f -- "$0")")/common.sh"

refuses 'no-such-option' --no-such-option
refuses 'epochs' --epochs 0
refuses 'batch' --batch many
refuses 'threads' --threads 1000
refuses 'clip' --clip nan
refuses 'cannot write' --save nowhere/run.safetensors
refuses 'is a folder' --report .
refuses 'no such file' --resume missing.safetensors
echo text >text.txt
refuses 'safetensors' --resume text.txt
refuses 'folder' --logdir text.txt

run --help
check '--help ends with 0' test $? -eq 0
check '--help names the options' grep -q -- '--validate-every N' out
check '--help shows the defaults' grep -q -- 'examples in a batch (50)' out

run
check 'without options it learns the task' test $? -eq 0
check 'and says so' grep -q '  right accuracy' out
check 'progress is plain lines' bash -c '! grep -q "$1" err' bash $'\r'
check 'validations are shown' grep -q 'validation loss .* accuracy .* (best)' err

# Stopped by a limit in the middle of an epoch, and gone on with.
run --epochs 3 --save whole.safetensors
check 'a run saves its last state' test -s whole.safetensors
check 'and its best model' test -s whole.best.safetensors
run --steps 55 --save part.safetensors
check 'a part of a run ends with 0' test $? -eq 0
run --epochs 3 --resume part.safetensors --save rest.safetensors
check '55 steps and the rest are the whole' cmp -s whole.safetensors rest.safetensors
run --epochs 3 --save again.safetensors
check 'the same command gives the same bits' cmp -s whole.safetensors again.safetensors
run --epochs 3 --seed 2 --save other.safetensors
check 'another seed gives others' bash -c '! cmp -s whole.safetensors other.safetensors'
refuses 'made with batch 50' --resume whole.safetensors --batch 32 --epochs 9

run --quick --report report.html --logdir logs
check 'a quick run ends with 0' test $? -eq 0
check 'it writes a report' grep -q '</html>' report.html
check 'with its curves and command' grep -q -- '--report report.html' report.html
check 'and its gradient by step' grep -q 'after training' report.html
check 'the report stands alone' bash -c '! grep -Eq "<script|(src|href)=.?https?:" report.html'
check 'it writes event files' bash -c 'compgen -G "logs/*tfevents*" >/dev/null'

# Ctrl-C (or an end from outside) ends the training, not the program; what was learnt is saved.
rm -f out err
"$program" --seconds 60 --patience 1000000000 --save stopped.safetensors >out 2>err </dev/null &
pid=$!
for _ in {1..100}; do grep -qs training err && break; sleep 0.1; done
kill -TERM "$pid"
wait "$pid"
check 'a signal ends the training cleanly' test $? -eq 0
check 'and saves it' test -s stopped.safetensors
run --seconds 0.1 --resume stopped.safetensors
check 'from which a run goes on' test $? -eq 0

finish
