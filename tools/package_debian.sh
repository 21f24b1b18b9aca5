#!/usr/bin/env bash
# Builds the Debian packages into build/debian-packages/, checks them with lintian, installs them,
# and builds and runs programs against the installed copies. As root, on Debian 12 or later:
#   tools/on_debian.sh trixie tools/package_debian.sh
# It installs what it needs. JOBS limits the compilers that run at once.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
folder="$root/build/debian-packages"
if ((EUID != 0)); then
  echo "package_debian: only root can install the packages and what they are built with" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive CCACHE_DIR="${CCACHE_DIR:-$root/build/ccache}"
# Without debugging symbols: they cost time, and nothing here looks at them.
export DEB_CXXFLAGS_STRIP=-g DEB_BUILD_OPTIONS="noautodbgsym ${DEB_BUILD_OPTIONS-}"
mkdir -p -- "$folder"
cd -- "$root"
SECONDS=0

# Each step has a log, which is shown when the step fails.
step() {
  local name="$1" code=0
  shift
  "$@" >"$folder/$name.log" 2>&1 </dev/null || code=$?
  if ((code != 0)); then
    tail -n 60 -- "$folder/$name.log" >&2
    echo "package_debian: $name failed after $SECONDS s; all it said: $folder/$name.log" >&2
    exit 1
  fi
  echo "package_debian: $name done after $SECONDS s"
}

install_needed() {
  local install=(apt-get -y -q -o DPkg::Lock::Timeout=120 --no-install-recommends)
  apt-get -q update &&
    "${install[@]}" install build-essential ccache cmake fakeroot lintian pkgconf &&
    "${install[@]}" build-dep ./
}
# A copy of the tree as git sees it; without git, of all but the build folders.
copy_sources() {
  rm -rf -- "$folder"/unroll-*/
  mkdir -- "$source"
  if git -c safe.directory="$root" rev-parse --git-dir >/dev/null 2>&1; then
    git -c safe.directory="$root" ls-files -z --cached --others --exclude-standard
  else
    find . -path ./build -prune -o -type f -print0
  fi | tar -c --null --files-from=- | tar -x -C "$source"
}
build() {
  rm -f -- "$folder"/*.deb "$folder"/*.changes "$folder"/*.buildinfo "$folder"/*.dsc "$folder"/*.tar.*
  cd -- "$source" && dpkg-buildpackage -us -uc ${JOBS:+"-j$JOBS"}
}

step dependencies install_needed
version="$(dpkg-parsechangelog -S Version)"
source="$folder/unroll-$version"
step sources copy_sources
step build build
step lintian lintian --allow-root --fail-on error "$folder"/*.changes
sed 's/^/  /' "$folder/lintian.log"
step install apt-get -y -q install --reinstall "$folder"/libunroll{,-models}{0,-dev}_"$version"_*.deb
step consumer "$source/debian/tests/consumer"
ls -l "$folder"/*.deb
