#!/usr/bin/env bash
# The command line of 16_compose_music: broken ABC, a run that is stopped and gone on with, tunes as text and as MIDI files.
#   tests/cli/music.sh PROGRAM
set -uo pipefail
(($# == 1)) || { echo "usage: $0 PROGRAM" >&2; exit 2; }
name=16_compose_music
program="$(readlink -f -- "$1")"
source "$(dirname -- "$(readlink -f -- "$0")")/common.sh"

tune() { printf 'X:%d\nT:Tune %d\nM:2/4\nL:1/8\nK:G\n%s\n\n' "$1" "$1" "$2"; }  # NUMBER MUSIC
for i in {1..40}; do
  first=(GABc BAGA dBGB cAFA)
  tune "$i" "|: ${first[i % 4]} | d2 B2 | ${first[i / 4 % 4]} | G4 :|"
done >tunes.abc
{
  cat tunes.abc
  tune 41 '| G A [B'
} >broken.abc
tune 1 '| GABc |' >one.abc
echo text >text.txt
small=(--hidden 16 --batch 4 --redraws 1)

refuses 'no such file' --data missing.abc
refuses 'broken.abc: line 286: ' --data broken.abc
refuses 'at least ten tunes' --data one.abc
refuses 'layers' --layers 0
refuses 'temperature' --temperature 0
refuses 'no such file' --generate missing.safetensors
refuses 'safetensors' --generate text.txt

# A broken tune is left out and counted: what is learnt is what the others give.
run --data broken.abc "${small[@]}" --steps 3
check 'without --skip-bad it stops' test $? -eq 2
run --data broken.abc --skip-bad "${small[@]}" --epochs 2 --save skipped.safetensors --report m.html
check 'with it a run ends with 0' test $? -eq 0
check 'and counts what it left out' grep -q '^1 bad example skipped: broken.abc: line 286: ' err
check 'it prints its score' grep -q '^test: [0-9.]* bits per character; [1-6]-grams: ' out
check 'and writes a report' grep -q 'bits per character' m.html

# Stopped by a limit in the middle of an epoch, and gone on with.
run --data tunes.abc "${small[@]}" --epochs 2 --save whole.safetensors
check 'a run saves its last state' test -s whole.safetensors
check 'and its best model' test -s whole.best.safetensors
check 'the broken tune changed nothing' cmp -s whole.safetensors skipped.safetensors

# Stopped by the clock, at whatever step that is, and gone on with.
long=(--data tunes.abc "${small[@]}" --quick --dropout 0.2 --epochs 100 --patience 1000)
run "${long[@]}" --save whole.safetensors
check 'a long run ends with 0' test $? -eq 0
run "${long[@]}" --seconds 0.03 --save part.safetensors
check 'a part of it ends with 0' test $? -eq 0
cp part.safetensors before.safetensors
run "${long[@]}" --resume part.safetensors --save part.safetensors
check 'a part was not the whole' bash -c '! cmp -s whole.safetensors before.safetensors'
check 'the part and the rest are the whole' cmp -s whole.safetensors part.safetensors
check 'so is the best model' cmp -s whole.best.safetensors part.best.safetensors
refuses 'made with batch 4' --data tunes.abc --hidden 16 --batch 5 --resume part.safetensors

# A tune for each line, as text and as MIDI: a header of 14 bytes that says so, and the tracks.
printf 'K:G M:2/4 | GABc | d2 B2 |\n\nK:G\n' >in
write=(--generate whole.best.safetensors --temperature 0.1)  # close to what it knows by heart
"$program" "${write[@]}" --midi tune.mid <in >out 2>err
check 'tunes are written' test $? -eq 0
check 'a text for each line' test "$(grep -c '^X:' out)" -eq 3
check 'with the metre asked for' test "$(grep -m1 '^M:' out)" = M:2/4
check 'and the notes' grep -q 'GABc *| *d2 B2' out
for file in tune.mid tune.2.mid tune.3.mid; do
  check "$file is MIDI" test "$(head -c 4 "$file")" = MThd
done
keys="$(od -An -v -tx1 tune.mid | tr -d '\n' | grep -oP ' 90 \K..(?= [^0])' | head -6 | tr '\n' ' ')"
check 'GABcdB are sounded first' test "$keys" = '43 45 47 48 4a 47 '
cp out first
"$program" "${write[@]}" <in >out 2>err
check 'the same seed writes the same tunes' cmp -s out first
"$program" --generate whole.best.safetensors --seed 2 <in >out 2>err
check 'another one others' bash -c 'grep -q ^X:3 out && ! cmp -s out first'
"$program" "${write[@]}" --midi nowhere/tune.mid <in >out 2>err
check 'a MIDI file that cannot be written ends with 2' test $? -eq 2
check 'and is named in one line' one_line


# Bad requests stop it, or are answered by an empty line.
printf 'K:G\nM:2/x\nK:G | "H"G\n' >in
"$program" "${write[@]}" <in >out 2>err
check 'a bad request ends with 2' test $? -eq 2
check 'and is named' grep -q 'standard input: line 2: .*2/x' err
"$program" "${write[@]}" --skip-bad --midi some.mid <in >out 2>err
check 'it can be skipped' test $? -eq 0
check 'so can one with characters that the model does not know' \
  grep -q '^2 bad examples skipped; the first: standard input: line 2' err
check 'an empty line stands for each' test "$(tail -n 3 out | tr '\n' ,)" = ',,,'

finish
