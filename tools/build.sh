#!/usr/bin/env bash
# Configures build/NAME if it is not configured so already, then compiles it:
#   tools/build.sh NAME [-Doption=value ...] [--cross-file=FILE] [target ...]
# `release` is what the demo runs, for this machine's processor; `test` has all that there is, with
# assertions; other names have tests and examples. The compiler is CXX if set. JOBS limits the compilers that run at once; by default one for each
# processor, but at most one for each 1.5 GB of memory.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
(($# >= 1)) || { echo "usage: tools/build.sh NAME [-Doption=value ...] [--cross-file=FILE] [target ...]" >&2; exit 2; }
folder="$root/build/$1"
case "$1" in
  release) options=(-Dexamples=true -Dnative=true) ;;
  test) options=(-Dtests=true -Dexamples=true -Dbenchmarks=true -Db_ndebug=false) ;;
  *) options=(-Dtests=true -Dexamples=true) ;;
esac
shift
targets=()
for argument in "$@"; do
  if [[ "$argument" == -D* || "$argument" == --cross-file=* ]]; then options+=("$argument"); else targets+=("$argument"); fi
done

# Cached objects serve every clone, wherever it lies.
export CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
[[ -w "${HOME:-/nonexistent}" ]] || export CCACHE_DIR="${CCACHE_DIR:-$root/build/ccache}"

# The folder is set up afresh after an interrupted set-up, a move, or a change of the options.
wanted="$root | ${CXX-} | ${CXXFLAGS-} | ${options[*]-}"
if [[ ! -f "$folder/build.ninja" || "$(cat "$folder/configured" 2>/dev/null)" != "$wanted" ]]; then
  rm -rf -- "$folder"
  mkdir -p -- "$folder"
  if ! meson setup "${options[@]}" "$folder" "$root" >"$folder.log" 2>&1 </dev/null; then
    cat -- "$folder.log" >&2
    echo "build: meson could not configure $folder" >&2
    exit 1
  fi
  mv -- "$folder.log" "$folder/configure.log"
  printf '%s\n' "$wanted" >"$folder/configured"
fi

memory_kb="$(awk '/^MemAvailable/ {print $2}' /proc/meminfo 2>/dev/null || true)"
jobs="$(nproc 2>/dev/null || echo 2)"
by_memory=$((${memory_kb:-4000000} / 1500000))
((jobs <= by_memory)) || jobs=$((by_memory > 0 ? by_memory : 1))
exec ninja -C "$folder" -j "${JOBS:-$jobs}" "${targets[@]}"
