#!/usr/bin/env bash
# Runs a command in a copy of this tree on a bare Debian, as root: what a new machine would see.
#   tools/on_debian.sh [--fresh] trixie|bookworm|sid|... COMMAND [ARGUMENT ...]
#   tools/on_debian.sh --fresh trixie tools/demo.sh --seconds 5
# The first run makes the system with debootstrap; later ones reuse it with what they installed in
# it, or start from a bare one again with --fresh. ARCH=arm64 (through qemu-user-static) makes it
# for another processor. FOLDERS, by default build/debian, holds the systems. The command runs in
# /unroll, which keeps its build folders between runs; variables named in PASS are handed on.
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
fresh=no
if [[ "${1-}" == --fresh ]]; then fresh=yes && shift; fi
if (($# < 2)); then
  sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
release="$1"
shift
if ((EUID != 0)); then
  echo "on_debian: only root can make such a system and enter it; try: sudo $0 $release $*" >&2
  exit 1
fi

own="$(dpkg --print-architecture 2>/dev/null || echo amd64)"
arch="${ARCH:-$own}"
folders="${FOLDERS:-$root/build/debian}"
name="$release"
[[ "$arch" == "$own" ]] || name+="-$arch"
system="$folders/$name"
bare="$folders/$name.bare"  # never entered, to start from again
mkdir -p -- "$folders"

exec 9>"$folders/$name.lock"
flock 9  # two runs do not make or change one system at once

unmount() {
  local place
  for place in dev/shm dev/pts dev sys proc; do
    if mountpoint -q -- "$system/$place"; then umount -l -- "$system/$place"; fi
  done
}
trap unmount EXIT
unmount  # what a run that was killed left behind

if [[ ! -f "$bare/complete" ]]; then
  needed=()
  command -v debootstrap >/dev/null || needed+=(debootstrap)
  [[ "$arch" == "$own" ]] || command -v qemu-aarch64-static >/dev/null || needed+=(qemu-user-static binfmt-support)
  if ((${#needed[@]} > 0)); then
    { apt-get -qq update; apt-get -y -qq install "${needed[@]}"; } >/dev/null 2>&1 </dev/null || {
      echo "on_debian: could not install ${needed[*]}" >&2
      exit 1
    }
  fi
  echo "on_debian: making $name with debootstrap"
  rm -rf -- "$bare"
  if ! debootstrap --variant=minbase --arch="$arch" "$release" "$bare" >"$folders/$name.log" 2>&1; then
    tail -n 20 -- "$folders/$name.log" >&2
    echo "on_debian: debootstrap failed; all it said: $folders/$name.log" >&2
    exit 1
  fi
  touch -- "$bare/complete"
  fresh=yes
fi
if [[ "$fresh" == yes || ! -f "$system/complete" ]]; then
  rm -rf -- "$system"
  cp -a --reflink=auto -- "$bare" "$system"
fi

# The network and apt's settings are this machine's.
cp -L -- /etc/resolv.conf /etc/hosts "$system/etc/"
echo 'Acquire::Check-Valid-Until "false";' >"$system/etc/apt/apt.conf.d/90on-debian"

# The tree as git sees it: tracked files, and new ones that it does not ignore.
mkdir -p -- "$system/unroll"
find "$system/unroll" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf -- {} +
cd -- "$root"
if git -c safe.directory="$root" rev-parse --git-dir >/dev/null 2>&1; then
  git -c safe.directory="$root" ls-files -z --cached --others --exclude-standard
else
  find . -path ./build -prune -o -type f -print0
fi | while IFS= read -r -d '' file; do [[ ! -e "$file" ]] || printf '%s\0' "$file"; done |
  tar -c --null --files-from=- | tar -x -C "$system/unroll"

mount -t proc proc "$system/proc"
mount --rbind /dev "$system/dev"
mount --make-rslave "$system/dev"
mountpoint -q "$system/dev/pts" || mount -t devpts devpts "$system/dev/pts"
mountpoint -q "$system/dev/shm" || mount -t tmpfs tmpfs "$system/dev/shm"

variables=(HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
for variable in ${PASS-}; do
  [[ -z "${!variable+set}" ]] || variables+=("$variable=${!variable}")
done
code=0
env -i "${variables[@]}" chroot "$system" sh -c 'cd /unroll && exec "$@"' sh "$@" || code=$?
exit "$code"
