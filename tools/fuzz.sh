#!/usr/bin/env bash
# Feeds the readers of data files with broken input (libFuzzer, clang): each may refuse it with a DataError or FormatError,
# and do nothing else.
#   tools/fuzz.sh [SECONDS] [NAME ...]      (default: 60 seconds for each tests/fuzz/fuzz_NAME.cpp)
# The readers are compiled with AddressSanitizer and UBSan; what is below them comes from the library in build/test. Inputs to
# begin with lie in tests/fuzz/corpus/NAME. What was found is left in build/fuzz.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
seconds="${1:-60}"
shift || true
cd -- "$root"
library="$root/build/test/lib"
tools/build.sh test library >/dev/null
work="$root/build/fuzz"
mkdir -p -- "$work/include"
ln -sfn -- "$root" "$work/include/unroll"

names=("$@")
((${#names[@]} > 0)) || for file in tests/fuzz/fuzz_*.cpp; do
  name="${file##*/fuzz_}"
  names+=("${name%.cpp}")
done

read -ra packages <<<"$(pkg-config --cflags xsimd xtensor)"
flags=(-std=c++20 -O1 -g1 -Wno-psabi -fsanitize=address,undefined -fno-sanitize-recover=undefined -I"$work/include" "${packages[@]}")
compile() { ccache clang++ "${flags[@]}" -fsanitize=fuzzer-no-link -c "$1" -o "$2"; }
objects=()
for source in models/data/*.cpp models/training/data_error.cpp; do
  object="$work/$(basename "${source%.cpp}").o"
  compile "$source" "$object"
  objects+=("$object")
done

# One reader; the log is shown when something is found.
fuzz() {
  local name="$1" log="$work/$1.log" corpus="$work/corpus/$1"
  local seeds=()
  [[ ! -d "tests/fuzz/corpus/$name" ]] || seeds=("tests/fuzz/corpus/$name")
  mkdir -p -- "$corpus"
  compile "tests/fuzz/fuzz_$name.cpp" "$work/fuzz_$name.o"
  clang++ -fsanitize=fuzzer,address,undefined -o "$work/fuzz_$name" "$work/fuzz_$name.o" "${objects[@]}" \
    -L"$library" -Wl,-rpath,"$library" -lunroll -lfmt -lz
  if "$work/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=1 -print_final_stats=1 \
    -artifact_prefix="$work/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    echo "pass fuzz $name ($(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs)"
  else
    tail -n 60 -- "$log" >&2
    echo "fail fuzz $name"
    return 1
  fi
}

# Two at a time.
status=0
running=()
for name in "${names[@]}"; do
  fuzz "$name" &
  running+=($!)
  if ((${#running[@]} == 2)); then
    wait "${running[0]}" || status=1
    running=("${running[@]:1}")
  fi
done
for process in "${running[@]}"; do wait "$process" || status=1; done
exit "$status"
