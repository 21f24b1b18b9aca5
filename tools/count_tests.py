#!/usr/bin/env python3
"""Reads Meson's testlog.json and prints `pass NAME` or `fail NAME (why)` for each test.

A test that was skipped, or that ran no doctest case, counts as failed; so does an absent log.
"""
import json
import pathlib
import re
import sys

log = pathlib.Path(sys.argv[1])
tests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
lines = []
for test in tests:
    reason = "" if test["result"] in ("OK", "EXPECTEDFAIL") else test["result"].lower()
    if re.search(r"test cases:\s+0 \|", test.get("stdout", "")):
        reason = reason or "ran no test case"
    lines.append(f"fail {test['name']} ({reason})" if reason else f"pass {test['name']}")
if not tests:
    lines.append("fail (no test ran)")
print("\n".join(lines))
sys.exit(any(line.startswith("fail") for line in lines))
