#!/usr/bin/env bash
# Line coverage of autograd/ and nn/ by the tests; fails below 85 %.
#   tools/coverage.sh [arguments of gcovr, e.g. --html-details build/coverage.html]
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
"$root/tools/setup.sh" --ci
export CCACHE_DISABLE=1  # the notes files name the folder they were compiled in
# Early inlining would fold calls away before they are counted; -O0 does not compile xsimd.
"$root/tools/build.sh" coverage -Db_coverage=true -Doptimization=1 -Db_ndebug=false \
  -Dexamples=false -Dbenchmarks=false -Dcpp_args='-fno-early-inlining -fprofile-update=atomic'
find "$root/build/coverage" -name '*.gcda' -delete
meson test -C "$root/build/coverage" --print-errorlogs --timeout-multiplier 20 </dev/null

cd -- "$root"
counts=build/coverage/lines.json
gcovr --root . --filter '(build/coverage/include/unroll/)?(autograd|nn)/' --json "$counts" \
  build/coverage
# Headers were read through the link in the build folder.
sed -i 's#"build/coverage/include/unroll/#"#g' "$counts"
gcovr --root . --add-tracefile "$counts" --print-summary --fail-under-line 85 "$@"
