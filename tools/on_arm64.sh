#!/usr/bin/env bash
# Compiles for 64-bit ARM on Debian 12 or 13 (x86-64), and runs the tests in QEMU's emulation, as root:
#   tools/on_arm64.sh                    the library, the tests and the examples, and every test
#   tools/on_arm64.sh library            only compiles the library
#   tools/on_arm64.sh test [NAME ...]    compiles all, and runs these tests
# What is missing is installed first: a cross compiler, and arm64's OpenBLAS, {fmt} and zlib beside this machine's. Where that
# is not wanted, or apt's versions of the two do not match, a system of its own does as well:
#   tools/on_debian.sh bookworm tools/on_arm64.sh
# The build is build/arm64; JOBS limits the compilers, and the tests, that run at once.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
what="${1-test}"
shift || true
if [[ "$what" != library && "$what" != test || ("$what" == library && $# -gt 0) ]]; then
  sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
stage='the installation'
trap 'code=$?; ((code == 0)) || echo "arm64: failed in $stage after $SECONDS s"' EXIT
SECONDS=0

packages=(g++-aarch64-linux-gnu meson ninja-build pkg-config ccache python3
  libxtensor-dev libxtensor-blas-dev libxsimd-dev xtl-dev nlohmann-json3-dev libcli11-dev doctest-dev
  libopenblas-dev:arm64 libfmt-dev:arm64 zlib1g-dev:arm64 qemu-user-static)
[[ "$what" == library ]] || packages+=(gnuplot-nox graphviz)  # emulated programs start them for their reports' figures
# Some are there under another name (pkgconf provides pkg-config), so apt says what it would install.
apt() { DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null; }
missing() {
  ! apt install --simulate --no-upgrade --no-install-recommends "${packages[@]}" 2>/dev/null >"$log" || grep -q "^Inst" "$log"
}
log="$(mktemp)"
if ! dpkg --print-foreign-architectures | grep -qx arm64 || missing; then
  if ((EUID != 0)); then
    echo "arm64: only root can install: dpkg --add-architecture arm64, and ${packages[*]}" >&2
    exit 1
  fi
  echo "arm64: installing a cross compiler, arm64's libraries and QEMU"
  dpkg --add-architecture arm64
  { apt update && apt install --no-upgrade --no-install-recommends "${packages[@]}"; } >"$log" 2>&1 || {
    tail -n 20 -- "$log" >&2
    exit 1
  }
fi
rm -f -- "$log"

stage='the build'
build() { "$root/tools/build.sh" arm64 -Db_ndebug=false --cross-file="$root/tools/aarch64.ini" "$@"; }
if [[ "$what" == library ]]; then
  build libraries
  echo "arm64: the library is compiled, in $SECONDS s"
  exit
fi
build

stage='the tests (the output of those that failed is above)'
results="$root/build/arm64/meson-logs/testlog.json"
rm -f -- "$results"
code=0
# An emulated test takes up to thirty times as long.
meson test -C "$root/build/arm64" --no-rebuild --print-errorlogs --timeout-multiplier 30 \
  --num-processes "${JOBS:-$(nproc)}" "$@" </dev/null || code=$?
counted="$("$root/tools/count_tests.py" "$results")" || code=1
grep '^fail' <<<"$counted" || true
echo "arm64: $(grep -c '^pass' <<<"$counted") passed, $(grep -c '^fail' <<<"$counted") failed, in $SECONDS s"
exit "$code"
