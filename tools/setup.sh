#!/usr/bin/env bash
# Installs the missing packages on Debian or Ubuntu, as root or through sudo.
#   tools/setup.sh         what building, the demo and the tests need
#   tools/setup.sh --ci    also the second compiler and the checkers that .ci/run uses
# Anywhere else it installs nothing and says what is missing.
set -euo pipefail

packages=(g++ meson ninja-build pkg-config cmake ccache python3
  libxtensor-dev libxtensor-blas-dev libxsimd-dev xtl-dev libopenblas-dev
  nlohmann-json3-dev libfmt-dev libcli11-dev zlib1g-dev
  doctest-dev libbenchmark-dev gnuplot-nox graphviz)
case "${1-}" in
  '') ;;
  --ci) packages+=(git clang-14 clang libclang-rt-14-dev clang-format-14 clang-format gcovr) ;;
  *) echo "usage: tools/setup.sh [--ci]" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  missing=()
  for tool in g++ meson ninja pkg-config python3; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  for module in xtensor xsimd openblas nlohmann_json fmt zlib; do
    pkg-config --exists "$module" 2>/dev/null || missing+=("$module")
  done
  if ((${#missing[@]} == 0)); then
    echo "setup: not Debian or Ubuntu, but the compiler, Meson and the libraries are here"
    exit 0
  fi
  echo "setup: this is not Debian or Ubuntu; missing here: ${missing[*]}" >&2
  echo "setup: install what corresponds to these Debian packages: ${packages[*]}" >&2
  exit 1
fi

installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "${packages[@]}" 2>/dev/null || true)"
missing=()
for package in "${packages[@]}"; do
  [[ "$installed" == *" installed:$package "* ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup: neither root nor sudo; ask for: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
  [[ -t 0 ]] || as_root=(sudo -n)
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -y -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null
}
install() { apt install --no-install-recommends "${missing[@]}"; }

echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
# The first try takes the package lists as they are; they are fetched only if that fails.
if ! install >"$log" 2>&1; then
  { apt update; install; } >"$log" 2>&1 ||
    { sleep 5; apt update; install; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "setup: could not install: ${missing[*]} (apt's last words are above)" >&2
    exit 1
  }
fi
echo "setup: installed ${#missing[@]} packages"
