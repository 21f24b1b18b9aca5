#!/usr/bin/env bash
# What a user's file costs to compile: user seconds of g++ -O2 without a precompiled header, the
# median of five. The bars: 3 s with the core headers, 6 s with the xtensor one.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
temporary="$(mktemp -d)"
trap 'rm -rf -- "$temporary"' EXIT
ln -s -- "$root" "$temporary/unroll"
read -ra flags <<<"$(pkg-config --cflags xsimd xtensor) ${CXXFLAGS-}"
compiler="$(command -v "${CXX:-g++}")"  # not through ccache
case "$(readlink -f -- "$compiler")" in *ccache) compiler=/usr/bin/g++ ;; esac

code=0
LC_ALL=C
TIMEFORMAT=%U
measure() {  # FILE LIMIT_IN_SECONDS
  local times=()
  local source="$root/bench/compile_time/$1"
  for _ in 1 2 3 4 5; do
    if ! { time "$compiler" -std=c++20 -O2 -I"$temporary" "${flags[@]}" -c "$source" \
      -o "$temporary/out.o" 2>"$temporary/messages"; } 2>"$temporary/time"; then
      cat -- "$temporary/messages" >&2
      echo "compile_time: $1 does not compile" >&2
      exit 1
    fi
    times+=("$(tail -n 1 "$temporary/time")")
  done
  local median verdict=ok
  median="$(printf '%s\n' "${times[@]}" | sort -n | sed -n 3p)"
  awk -v a="$median" -v b="$2" 'BEGIN {exit !(a <= b)}' || { verdict='too slow' && code=1; }
  printf '%-20s median %5s s of %s (bar %s s): %s\n' "$1" "$median" "${times[*]}" "$2" "$verdict"
}
measure user_core.cpp 3
measure user_xtensor.cpp 6
exit "$code"
