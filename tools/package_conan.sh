#!/usr/bin/env bash
# Builds the Conan package of tools/conan and a program with it, with the dependencies of this
# machine: no remote is asked. Conan itself goes into build/conan/.
#   tools/package_conan.sh [-o '&:shared=True' | other arguments of `conan create`]
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
folder="$root/build/conan"
export CONAN_HOME="$folder/home"
# Cached objects serve the next build, which lies in another folder.
export CCACHE_BASEDIR="$folder" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
SECONDS=0

"$root/tools/setup.sh"
if [[ ! -x "$folder/venv/bin/conan" ]]; then
  mkdir -p -- "$folder"
  if ! python3 -m venv --clear "$folder/venv" >"$folder/venv.log" 2>&1; then
    cat -- "$folder/venv.log" >&2
    echo "package_conan: Python cannot make an environment (Debian: apt-get install python3-venv)" >&2
    exit 1
  fi
  "$folder/venv/bin/pip" --quiet install 'conan>=2,<3'
  echo "package_conan: installed $("$folder/venv/bin/conan" --version)"
fi
conan="$folder/venv/bin/conan"
"$conan" profile detect --force >"$folder/profile.log" 2>&1
echo "package_conan: building (log: $folder/create.log)"
code=0
"$conan" create "$root/tools/conan" --no-remote --build=missing -s compiler.cppstd=20 \
  -o '&:system=True' -c "tools.cmake.cmake_layout:test_folder=$folder/test" \
  ${JOBS:+-c "tools.build:jobs=$JOBS"} "$@" >"$folder/create.log" 2>&1 </dev/null || code=$?
if ((code != 0)); then
  tail -n 60 -- "$folder/create.log" >&2
  echo "package_conan: failed after $SECONDS s" >&2
  exit 1
fi
sed -n '/all numbers are right/p' "$folder/create.log"
echo "package_conan: the package is built and serves a program, after $SECONDS s"
