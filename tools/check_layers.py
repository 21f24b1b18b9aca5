#!/usr/bin/env python3
"""A folder includes only what stands to its left: autograd <- nn <- models <- examples."""
import pathlib
import re
import sys

ORDER = ["autograd", "nn", "models", "examples"]
MANUAL = {"autograd/xtensor.hpp", "autograd/error.hpp"}  # all that a derivation by hand may see
INCLUDE = re.compile(r'\s*#\s*include\s*(?:["<]unroll/|"(?!unroll/))([^">]+)')
root = pathlib.Path(__file__).resolve().parent.parent
breaches = 0
for path in sorted(p for f in ORDER for p in (root / f).rglob("*.[hc]pp")):
    name = path.relative_to(root)
    folder = name.parts[0]
    left = ORDER[: ORDER.index(folder) + 1] + (["unroll.hpp"] if folder == "examples" else [])
    manual = folder == "models" and "_manual." in name.name
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not (match := INCLUDE.match(line)):
            continue  # not an include, or one of a system header
        target = match[1]
        if manual and target not in MANUAL | {str(name.with_suffix(".hpp"))}:
            allowed = sorted(MANUAL)
        elif target.split("/")[0] not in left:
            allowed = left
        else:
            continue
        breaches += 1
        print(f'{name}:{number}: {line.strip()}: from the project only {", ".join(allowed)}')
print(f"layers: {breaches} breaches" if breaches else "layers: every include points to the left")
sys.exit(breaches > 0)
