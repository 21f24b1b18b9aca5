# Shared by the tests of command lines: a folder of their own, checks that are counted, programs that are run.
#   name=05_char_rnn
#   program=PATH
#   source common.sh
#   refuses 'no such file' --text missing.txt
#   check 'a name' test -s file
#   finish
folder="$(mktemp -d)"
trap 'rm -rf -- "$folder"' EXIT
cd -- "$folder" || exit 2
# A program for another processor is run by Meson's exe_wrapper.
emulated() {  # PROGRAM
  if [[ -z "${MESON_EXE_WRAPPER-}" ]]; then
    printf '%s\n' "$1"
    return
  fi
  local wrapper
  read -ra wrapper <<<"$MESON_EXE_WRAPPER"
  wrapper[0]="$(command -v -- "${wrapper[0]}")"
  printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${wrapper[*]}" "$1" >"$folder/$(basename -- "$1").sh"
  chmod +x -- "$folder/$(basename -- "$1").sh"
  printf '%s\n' "$folder/$(basename -- "$1").sh"
}
[[ -z "${program-}" ]] || program="$(emulated "$program")"
passed=0
failed=0

check() {  # NAME CONDITION...
  local what="$1"
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $what" >&2
    head -n 4 out err >&2
  fi
}
run() { "$program" "$@" >out 2>err </dev/null; }
one_line() { (($(wc -l <err) == 1)) && [[ ! -s out ]] && grep -q "^$name: " err; }

# One clear line and exit code 2.
refuses() {  # WORDS ARGUMENTS...
  local words="$1"
  shift
  run "$@"
  local code=$?
  check "'$*' ends with 2, not $code" test "$code" -eq 2
  check "'$*' says one line" one_line
  check "'$*' says '$words'" grep -qi -- "$words" err
}

finish() {
  echo "cli: $passed passed, $failed failed"
  ((failed == 0))
}
