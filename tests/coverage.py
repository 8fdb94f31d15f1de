#!/usr/bin/env python3
"""Prints how much of the code in each folder the tests ran.

usage: coverage.py BUILD, where BUILD/profile is the output of llvm-profdata for a run
"""

import collections
import json
import os
import pathlib
import subprocess
import sys

build = pathlib.Path(sys.argv[1]).resolve()
root = build.parent
programs = [build / "proxy/sluice"]
programs += [build / "tools" / f"sluice-{name}" for name in ("bench", "capture", "replay")]
programs += sorted((build / "tests").rglob("test-*"))
# If only some tests ran, only some programs were built.
programs = [path for path in programs if path.is_file() and os.access(path, os.X_OK)]
command = ["llvm-cov", "export", "-summary-only", f"-instr-profile={build / 'profile'}", str(programs[0])]
for program in programs[1:]:
    command += ["-object", str(program)]
report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

folders: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
for file in report["data"][0]["files"]:
    path = pathlib.Path(file["filename"]).resolve()
    if not path.is_relative_to(root):
        continue
    path = path.relative_to(root)
    if path.parts[0] not in ("iolib", "proxy", "tools"):
        continue
    for name in (str(path.parent), "all"):
        for kind in ("lines", "branches"):
            for count in ("count", "covered"):
                folders[name][f"{kind} {count}"] += file["summary"][kind][count]

print(f"{'folder':20} {'lines':>7} {'of them run':>12} {'branches run':>13}")
for name in [*sorted(set(folders) - {"all"}), "all"]:
    sums = folders[name]
    lines, branches = sums["lines count"], sums["branches count"]
    print(
        f"{name:20} {lines:7} {sums['lines covered'] / lines if lines else 1:12.1%}"
        f" {sums['branches covered'] / branches if branches else 1:13.1%}"
    )
