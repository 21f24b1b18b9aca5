#!/usr/bin/env bash
# Checks the format of the C++ files; --fix rewrites them.
#   tools/check_format.sh [--fix] [file ...]     without files: all that are tracked
set -euo pipefail
root="$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
fix=no
if [[ "${1-}" == --fix ]]; then fix=yes && shift; fi

format="$(command -v clang-format-14 || command -v clang-format || true)"
if [[ -z "$format" || "$("$format" --version)" != *' version 14.'* ]]; then
  echo "format: clang-format 14 is needed (tools/setup.sh --ci); others format differently" >&2
  exit 1
fi

if (($# > 0)); then
  files=("$@")
else
  cd -- "$root"
  mapfile -d '' files < <(git ls-files -z -- '*.hpp' '*.cpp' 2>/dev/null)
  if ((${#files[@]} == 0)); then  # not a git checkout
    mapfile -d '' files < <(find . -path './build*' -prune -o -name '*.[hc]pp' -print0)
  fi
fi

checked=0
wrong=()
for file in "${files[@]}"; do
  [[ -f "$file" ]] || continue  # deleted, not yet committed
  checked=$((checked + 1))
  "$format" --style=file "$file" | cmp -s - "$file" && continue
  if [[ "$fix" == yes ]]; then "$format" --style=file -i "$file"; fi
  wrong+=("$file")
done
if ((${#wrong[@]} == 0)); then
  echo "format: $checked files are formatted"
elif [[ "$fix" == yes ]]; then
  echo "format: rewrote ${#wrong[@]} of $checked files"
else
  printf '%s\n' "${wrong[@]}"
  echo "format: ${#wrong[@]} of $checked files differ; fix them with: tools/check_format.sh --fix"
  exit 1
fi
