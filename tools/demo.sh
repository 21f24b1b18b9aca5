#!/usr/bin/env bash
# Set-up, build, and the main job: the table of hand-derived against automatic gradients, then a
# character RNN that trains on real text for at most two minutes and writes a report.
#   tools/demo.sh [arguments of 05_char_rnn, e.g. --text FOLDER --seconds 30 --report FILE]
# Ctrl-C stops the training cleanly.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
examples="$root/build/release/examples"

report=''
previous=''
for argument in "$@"; do
  case "$argument" in
    -h | --help)
      sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      [[ ! -x "$examples/05_char_rnn" ]] || { echo && "$examples/05_char_rnn" --help; }
      exit 0
      ;;
    --report=*) report="${argument#--report=}" ;;
    *) [[ "$previous" != --report ]] || report="$argument" ;;
  esac
  previous="$argument"
done
if [[ -z "$report" ]]; then
  report="$root/report.html"
  set -- --report "$report" "$@"
fi

stage='the start'
terminal=''
[[ ! -t 0 ]] || terminal="$(stty -g 2>/dev/null || true)"
restore_terminal() {
  if [[ -n "$terminal" ]]; then stty "$terminal" 2>/dev/null || true; fi
  if [[ -t 1 ]]; then printf '\033[0m\033[?25h'; fi  # colours off, cursor on
}
finish() {
  local code=$?
  ((code == 0)) || restore_terminal
  if ((code == 130)); then
    echo "demo: interrupted during $stage after $SECONDS s" >&2
  elif ((code != 0)); then
    echo "demo: failed in $stage (exit code $code) after $SECONDS s" >&2
  fi
}
trap finish EXIT
SECONDS=0

stage='tools/setup.sh'
"$root/tools/setup.sh"
stage='the build'
"$root/tools/build.sh" release examples/04_manual_vs_automatic examples/05_char_rnn
stage='04_manual_vs_automatic'
"$examples/04_manual_vs_automatic"

# Ctrl-C goes to the program, which stops cleanly; this script waits for it.
stage='05_char_rnn'
interrupted=no
trap 'interrupted=yes' INT
state_of() { stat -c '%i %y %s' -- "$1" 2>/dev/null || true; }
before="$(state_of "$report")"
code=0
"$examples/05_char_rnn" "$@" || code=$?
restore_terminal
((code == 0)) || exit "$code"
ending="done in $SECONDS s"
[[ "$interrupted" == no ]] || ending="stopped after $SECONDS s"
if [[ "$(state_of "$report")" != "$before" ]]; then
  echo "demo: $ending, report: $(readlink -f -- "$report")"
elif [[ "$interrupted" == yes ]]; then
  echo "demo: $ending, without a report"
else
  echo "demo: 05_char_rnn wrote no report to $report" >&2
  exit 1
fi
