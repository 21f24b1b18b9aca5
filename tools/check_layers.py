#!/usr/bin/env python3
"""A folder includes only what stands to its left: autograd <- nn <- models <- examples."""
import pathlib
import posixpath
import re
import sys

ORDER = ["autograd", "nn", "models", "examples"]
# All that a derivation by hand may see, beside other such derivations; the same holds for these.
MANUAL = {f"autograd/{f}.hpp" for f in ("cxx20", "error", "xtensor_headers", "xtensor_blas_headers")}
INCLUDE = re.compile(r'\s*#\s*include\s*(?:["<]unroll/|"(?!unroll/))([^">]+)')
root = pathlib.Path(__file__).resolve().parent.parent
breaches = 0
for path in sorted(p for f in ORDER for p in (root / f).rglob("*.[hc]pp")):
    name = path.relative_to(root)
    folder = name.parts[0]
    left = ORDER[: ORDER.index(folder) + 1] + (["unroll.hpp"] if folder == "examples" else [])
    manual = str(name) in MANUAL or name.match("models/*_manual.*")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not (match := INCLUDE.match(line)):
            continue  # not an include, or one of a system header
        target = posixpath.normpath(match[1])
        if manual and target not in MANUAL and not pathlib.Path(target).match("models/*_manual.hpp"):
            allowed = sorted(MANUAL) + ["models/*_manual.hpp"]
        elif target.split("/")[0] not in left:
            allowed = left
        else:
            continue
        breaches += 1
        print(f'{name}:{number}: {line.strip()}: from the project only {", ".join(allowed)}')
print(f"layers: {breaches} breaches" if breaches else "layers: every include points to the left")
sys.exit(breaches > 0)
