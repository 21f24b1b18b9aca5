#!/usr/bin/env bash
# Prints docs/ops.md anew from the table of ops in tests/op_samples_*.cpp.
#   tools/ops_reference.sh [build folder]     (default: build)
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
build="${1:-$root/build}"
ninja -C "$build" tests/ops_reference >&2
"$build/tests/ops_reference" > "$root/docs/ops.md.new"
mv -- "$root/docs/ops.md.new" "$root/docs/ops.md"
echo "ops_reference: wrote docs/ops.md"
