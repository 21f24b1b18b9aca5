#!/usr/bin/env bash
# The command lines of 18_classify_text and 19_tag_sequence: what they learn of small data, what they say to bad data, and
# that a saved model answers line by line.
#   tests/cli/text.sh CLASSIFY_TEXT TAG_SEQUENCE
set -uo pipefail
(($# == 2)) || { echo "usage: $0 CLASSIFY_TEXT TAG_SEQUENCE" >&2; exit 2; }
classify="$(readlink -f -- "$1")"
tag="$(readlink -f -- "$2")"
source "$(dirname -- "$(readlink -f -- "$0")")/common.sh"

name=18_classify_text
program="$(emulated "$classify")"
printf 'pos\tfine\nneg\n' >bad.tsv
printf 'pos\tfine\n' >small.tsv
refuses 'no such file' --data missing
refuses 'bad.tsv: line 2: expected a label and a text, found one column' --data bad.tsv
refuses 'a part is empty' --data small.tsv
refuses 'words and characters' --quick --units letters
refuses 'no such file' --predict missing.safetensors
for i in $(seq 30); do printf 'pos\tyes %s\nneg\tno %s\n' "$i" "$i"; done >some.tsv
run --data some.tsv --units characters --epochs 6 --save c.safetensors --report c.html
check 'it trains on a file' test $? -eq 0
check 'and prints its score' grep -q '^test accuracy ' out
check 'and writes a report' grep -q '<h2' c.html
check 'with its gradient by step' grep -q 'test texts of .* characters, read from left' c.html
printf 'yes 3\n\nno 8\n' | "$program" --predict c.best.safetensors >out 2>err
check 'it answers line by line' test "$(wc -l <out)" -eq 3
check 'with label, tab, probability' bash -c '! grep -qvP "^(pos|neg)\t[01]\.[0-9]{4}$" out'
run --quick --save q.safetensors
check 'a quick run ends with 0' test $? -eq 0

name=19_tag_sequence
program="$(emulated "$tag")"
refuses 'no model of tag_sequence' --predict q.best.safetensors
printf 'a O\nb\n' >bad.conll
refuses 'bad.conll: line 2: expected a word and its tag, found one column' --data bad.conll
for i in $(seq 40); do printf 'Ann\tI-PER\nsaw\tO\nRome\tI-LOC\n\t\n'; done >some.conll
for parts in '--no-crf --no-letters' '--no-shapes'; do
  # shellcheck disable=SC2086
  run --data some.conll --epochs 4 $parts --save t.safetensors --report t.html
  check "it trains ($parts)" test $? -eq 0
  check 'and prints its score' grep -q '^test F1 ' out
  printf 'Ann saw Rome\n\nAnn\n' | "$program" --predict t.best.safetensors >out 2>err
  check 'it answers line by line, a tag for each word' \
    test "$(awk '{ print NF }' out | tr '\n' ' ')" = '3 0 1 '
done
check 'the report shows tagged sentences' grep -q '<mark' t.html
run --quick
check 'a quick run ends with 0' test $? -eq 0
finish
