#!/usr/bin/env python3
"""Writes docs/reference/*.md from the public headers: what each says at its top, and its declarations with their comments.

    tools/reference.py            write the pages
    tools/reference.py --check    fail when a page is not what the headers say

What is in a namespace `detail`, private members and the bodies of functions are left out.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "autograd": ("The engine", ["autograd/*.hpp", "autograd/ops/ops.hpp"]),
    "nn": ("Networks", ["nn/*.hpp"]),
    "models": ("Models, data and training", ["models/*.hpp", "models/*/*.hpp"]),
}
# Headers that no user includes.
PRIVATE = {"block", "call", "cxx20", "higher_levels", "kernels", "lane", "lane_at_level", "lane_math", "levels", "loop",
           "members", "pool", "shape", "simd", "tape", "sequence", "atomic_file", "safetensors_header", "xtensor_headers"}


def tokens(text):
    """Comments, strings, braces and the text between them, so that no brace in a comment is counted."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\])+\'|[{}();]|[^/"\'{}();]+|.', re.S)
    return [m.group(0) for m in pattern.finditer(text)]


def skip_block(parts, i):
    """The index behind the brace that closes the one at i."""
    depth = 0
    while i < len(parts):
        depth += (parts[i] == "{") - (parts[i] == "}")
        i += 1
        if depth == 0:
            return i
    raise SystemExit("reference: a brace is not closed")


HEAD = re.compile(r"(?:template\s*<.*?>\s*(?:requires.*?)?)?\s*(class|struct|enum(?: class)?)\s+\w+[^;=()]*$", re.S)


def declarations(parts, i, end, out, is_class=False):
    """Appends the public text of parts[i:end] to out; a body of a function becomes a semicolon."""
    text, public, parens = "", not is_class, 0

    def flush(tail=""):
        nonlocal text
        if public and text.strip():
            out.append(text.rstrip() + tail)
        text = ""

    while i < end:
        part = parts[i]
        parens += (part == "(") - (part == ")")
        if part == "{" and parens == 0:
            close = skip_block(parts, i)
            code = re.sub(r"//[^\n]*", "", text).strip()
            if code.startswith("namespace"):
                name = code.split()[1] if len(code.split()) > 1 else ""
                text = ""
                if name and not name.endswith("detail"):
                    declarations(parts, i + 1, close - 1, out)
            elif HEAD.match(code) and not code.startswith("enum"):
                inner = []
                declarations(parts, i + 1, close - 1, inner, "class" in HEAD.match(code).group(1))
                text = text.rstrip() + " {" + "".join(inner) + "\n}"
                i = close
                continue
            elif code.startswith("enum") or re.search(r"=\s*$", code) or re.search(r"[\w\]>]$", code) and ")" not in code:
                text += "".join(parts[i:close])  # an enumeration or an initialiser
                i = close
                continue
            else:
                text = re.sub(r"\)\s*:\s*[^:].*$", ")", text, flags=re.S)  # a constructor's member initialisers
                flush(";")
                i = close
                if i < end and parts[i] == ";":
                    i += 1
                continue
            i = close
            continue
        if part == ";" and parens == 0:
            code = re.sub(r"//[^\n]*", "", text).strip()
            if code.startswith(("using namespace", "extern template", "friend", "static_assert", "template struct")):
                text = ""
            else:
                text += ";"
                j = i + 1  # a comment on the same line belongs to what stands before it
                if j < end and re.fullmatch(r"[ \t]+", parts[j]) and j + 1 < end and parts[j + 1].startswith("//"):
                    text += parts[j] + parts[j + 1]
                    i = j + 1
                flush()
            i += 1
            continue
        access = re.match(r"\s*(public|private|protected):", part)
        if access and text.strip() == "":
            public = access.group(1) == "public"
            part = part[access.end():]
        text += part
        i += 1


def page_of(header):
    text = header.read_text()
    top = re.match(r"(?:[ \t]*//[^\n]*\n)+", text)
    head = [re.sub(r"^// ?", "", line) for line in top.group(0).splitlines()] if top else []
    body = re.sub(r"^\s*#[^\n]*\n|\s*// namespace[^\n]*", "", text[top.end() if top else 0:], flags=re.M)
    parts = tokens(body)
    out = []
    declarations(parts, 0, len(parts), out)
    lines = [f"## `unroll/{header.relative_to(ROOT)}`", ""]
    code = False
    for line in head:  # indented lines of the comment are code
        is_code = line.startswith("  ")
        if is_code != code and (is_code or line.strip()):
            while code and not lines[-1]:
                lines.pop()
            if is_code and lines[-1]:
                lines.append("")
            lines.append("```cpp" if is_code else "```")
            if not is_code:
                lines.append("")
            code = is_code
            if not line.strip():
                continue
        lines.append(line[2:] if is_code else line)
    if code:
        lines.append("```")
    code_lines = re.sub(r"\n{3,}", "\n\n", "".join(out)).strip("\n")
    if not code_lines.strip():
        return None
    return "\n".join(lines).rstrip() + "\n\n```cpp\n" + code_lines + "\n```\n"


def write(folder):
    pages = {}
    for name, (title, patterns) in PAGES.items():
        headers = sorted({h for p in patterns for h in ROOT.glob(p)} - {h for h in ROOT.glob("**/*.hpp") if h.stem in PRIVATE})
        sections = [s for s in map(page_of, headers) if s]
        pages[folder / f"{name}.md"] = (
            f"# Reference: {title.lower()}\n\nPrinted by `tools/reference.py` from the headers; do not edit.\n\n" + "\n".join(sections))
    return pages


def main():
    folder = ROOT / "docs" / "reference"
    stale = [p for p, text in write(folder).items() if not p.exists() or p.read_text() != text]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(ROOT)} is not what the headers say: run tools/reference.py")
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for page, text in write(folder).items():
        page.write_text(text)
        print(f"reference: wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
