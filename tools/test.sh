#!/usr/bin/env bash
# Set-up, build, and every test.
#   tools/test.sh [-Doption=value ...] [arguments of `meson test`, e.g. a test's name]
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
stage='tools/setup.sh'
trap 'code=$?; ((code == 0)) || echo "test: failed in $stage after $SECONDS s"' EXIT
SECONDS=0

options=()
while [[ "${1-}" == -D* ]]; do options+=("$1") && shift; done
"$root/tools/setup.sh"
stage='the build'
"$root/tools/build.sh" test "${options[@]}" meson-test-prereq library

stage='the tests (the output of those that failed is above)'
results="$root/build/test/meson-logs/testlog.json"
rm -f -- "$results"
code=0
meson test -C "$root/build/test" --no-rebuild --print-errorlogs --timeout-multiplier 20 "$@" \
  </dev/null || code=$?
counted="$("$root/tools/count_tests.py" "$results")" || code=1
grep '^fail' <<<"$counted" || true
((code == 0)) || exit "$code"
echo "test: done in $SECONDS s, all $(grep -c '^pass' <<<"$counted") tests passed"
