#!/usr/bin/env bash
# Installs the library into a temporary folder and builds user.cpp against the installed copy,
# from outside the tree, as its users do: shared, static, and for the processor of this machine.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd -P)"
temporary="$(mktemp -d)"
trap 'rm -rf -- "$temporary"' EXIT

# The prefix is no part of any compile command, so changing it compiles nothing again.
"$root/tools/build.sh" test -Db_ndebug=false
meson configure "$root/build/test" -Dprefix="$temporary/prefix"
meson install -C "$root/build/test" --quiet </dev/null

description="$(find "$temporary/prefix" -name unroll.pc)"
[[ -n "$description" ]] || { echo "install: no unroll.pc was installed" >&2; exit 1; }
PKG_CONFIG_PATH="$(dirname -- "$description")"
export PKG_CONFIG_PATH
library="$(pkg-config --variable=libdir unroll)"
mkdir -- "$temporary/user"
cp -- "$root/tests/install/user.cpp" "$temporary/user/"
cd -- "$temporary/user"
if grep -rlF --include='*.hpp' --include='*.pc' -- "$root" "$temporary/prefix"; then
  echo "install: the installed files above name the source tree" >&2
  exit 1
fi

echo "--- shared"
c++ -std=c++20 user.cpp $(pkg-config --cflags --libs unroll)
[[ "$(LD_LIBRARY_PATH="$library" ldd ./a.out)" == *"$library/"*libunroll* ]] ||
  { echo "install: the program is not linked to the shared library" >&2; exit 1; }
LD_LIBRARY_PATH="$library" ./a.out
if grep -qw avx2 /proc/cpuinfo; then
  [[ "$(LD_LIBRARY_PATH="$library" ldd ./a.out)" == *"$library/glibc-hwcaps/x86-64-v"* ]] ||
    { echo "install: the loader does not take the copy for this processor" >&2; exit 1; }
fi

echo "--- shared, optimised, the user's instruction level above the library's"
c++ -std=c++20 -O2 -march=native user.cpp $(pkg-config --cflags --libs unroll)
LD_LIBRARY_PATH="$library" ./a.out

echo "--- static"
rm -rf -- "$library"/libunroll*.so* "$library"/glibc-hwcaps
c++ -std=c++20 user.cpp $(pkg-config --static --cflags --libs unroll)
[[ "$(ldd ./a.out)" != *libunroll* ]]
./a.out
echo "install: the installed library serves a program outside the tree"
