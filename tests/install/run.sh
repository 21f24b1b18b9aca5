#!/usr/bin/env bash
# Installs the library under a prefix of its own and builds user.cpp (a user's op, cell, fuse and
# training loop) and models.cpp against the copy, from outside the tree, in each way that users have.
#   tests/install/run.sh [WAY ...]       pkg-config cmake meson; cmake-subdirectory meson-subproject build the sources
# Prints `pass WAY` or `fail WAY` for each.
set -uo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd -P)"
ways=("$@")
(($# > 0)) || ways=(pkg-config cmake meson cmake-subdirectory meson-subproject)
temporary="$(mktemp -d)"
trap 'rm -rf -- "$temporary"' EXIT
prefix="$temporary/prefix"

die() { echo "install: $*" >&2; return 1; }
fresh() { rm -rf -- "$temporary/user" && mkdir -- "$temporary/user" && cp -- "$root"/tests/install/* "$temporary/user/" && cd -- "$temporary/user"; }
compile() { local source="$1" && shift && ccache g++ -std=c++20 "$source" -o "${source%.cpp}" "$@"; }
run() { (cd "${1:-.}" && ./user && ./models); }
linked_to() { [[ "$(ldd "$1")" == *"$2"* ]]; }

# The prefix is no part of any compile command, so changing it compiles nothing again.
install_copy() {
  "$root/tools/build.sh" test && meson configure "$root/build/test" -Dprefix="$prefix" &&
    meson install -C "$root/build/test" --quiet </dev/null || return 1
  PKG_CONFIG_PATH="$(dirname -- "$(find "$prefix" -name unroll.pc)")"
  export PKG_CONFIG_PATH
  library="$(pkg-config --variable=libdir unroll)"
  ! grep -rlF --include='*.hpp' --include='*.pc' --include='*.cmake' -- "$root" "$prefix" ||
    die 'the installed files above name the source tree'
}

try_pkg-config() {
  local rpath="-Wl,-rpath,$library" source
  # As where no other development package is installed: only what installed headers include.
  [[ "$(pkg-config --print-requires --print-requires-private unroll unroll-models | cut -d' ' -f1 | sort -u | tr '\n' ' ')" == \
    'unroll xsimd xtensor ' ]] || die 'the descriptions require more than xsimd and xtensor' || return 1
  for source in user models; do
    local module=unroll
    [[ "$source" == user ]] || module=unroll-models
    compile "$source.cpp" $(pkg-config --cflags --libs "$module") "$rpath" || return 1
  done
  linked_to ./user "$library/" || die 'the program is not linked to the shared library' || return 1
  linked_to ./models "$library/" || die 'libunroll_models.so does not find libunroll.so' || return 1
  if grep -qw avx2 /proc/cpuinfo; then
    linked_to ./user "$library/glibc-hwcaps/x86-64-v" || die 'the loader does not take the copy for this processor' || return 1
  fi
  run || return 1
  echo "--- the user's instruction level above the library's"
  compile user.cpp -O2 -march=native $(pkg-config --cflags --libs unroll) "$rpath" && run || return 1
  echo "--- static"
  rm -rf -- "$temporary/static" && cp -a -- "$prefix" "$temporary/static" || return 1
  local copy="${library/"$prefix"/"$temporary/static"}"
  rm -rf -- "$copy"/libunroll*.so* "$copy/glibc-hwcaps"
  compile user.cpp -L"$copy" $(pkg-config --static --cflags --libs unroll | sed "s#$library#$copy#g") &&
    compile models.cpp -L"$copy" $(pkg-config --static --cflags --libs unroll-models | sed "s#$library#$copy#g") || return 1
  ! linked_to ./models libunroll || die 'the program is not linked statically' || return 1
  run
}

try_cmake() {
  local static
  for static in OFF ON; do
    cmake -S . -B "build-$static" -DCMAKE_PREFIX_PATH="$prefix" -Dunroll_USE_STATIC_LIBS="$static" &&
      cmake --build "build-$static" && run "build-$static" || return 1
  done
  ! linked_to build-ON/models libunroll || die 'the program is not linked statically' || return 1
  # Another series than the installed one is refused.
  sed -i 's/find_package(unroll 0.1/find_package(unroll 7.0/' CMakeLists.txt
  ! cmake -S . -B build-7 -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1 || die 'version 7.0 was found'
}

try_meson() { meson setup build && ninja -C build && run build; }

try_cmake-subdirectory() {
  cmake -S . -B build -DUNROLL_SOURCE="$root" && cmake --build build && run build
}

try_meson-subproject() {
  mkdir subprojects && ln -s -- "$root" subprojects/unroll && mv unroll.wrap subprojects/ || return 1
  unset PKG_CONFIG_PATH
  meson setup build -Dunroll:levels=false && ninja -C build && run build
}

install_copy || { echo 'fail install'; exit 1; }
# From here on; the copy's build has settings of its own.
export CCACHE_BASEDIR="$temporary" CCACHE_NOHASHDIR=1 CXX=g++ CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_GENERATOR=Ninja
code=0
for way in "${ways[@]}"; do
  echo "=== $way" >&2
  if (fresh && "try_$way" >&2); then
    echo "pass $way"
  else
    echo "fail $way"
    code=1
  fi
done
exit "$code"
