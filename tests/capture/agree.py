#!/usr/bin/env python3
"""Checks that sluice-capture and reader.py read random captures alike.

    agree.py MAKE_CAPTURES SLUICE_CAPTURE [COUNT [FIRST_SEED]]

makes COUNT captures (1000) from the seeds after FIRST_SEED (0) and compares for each
- the exit status of `sluice-capture verify DIR` with reader.py's verdict;
- `sluice-capture ls --json DIR`: the id and state of each connection and the bytes and gaps of its
  sides, under the same keys as reader.py's; in any order, other keys ignored; and its exit status,
  5 for damage and 4 for a gap that is `lost`;
- `sluice-capture extract --out OUT DIR`: the SHA-256 of all files that are not empty and whose name
  does not begin with `index`, in any order, with those of the sides that have bytes.
For a capture of a later version all three exit with 1, name the file, and print nothing.
A difference is printed with its seed, from which the capture can be made again.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import reader

MOST_DIFFERENCES = 10


def run(*command):
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


def sides(connection):
    return {name: (side["bytes"], [tuple(gap) for gap in side["gaps"]])
            for name, side in connection["sides"].items()}


def connections(document):
    return {connection["id"]: (connection["state"], sides(connection))
            for connection in document["connections"]}


def checksums(directory):
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest()
                  for path in pathlib.Path(directory).rglob("*")
                  if path.is_file() and path.stat().st_size and not path.name.startswith("index"))


def listing_status(document):
    """The exit status of a command that lists recorded gaps itself."""
    if document["verdict"] == 5:
        return 5
    lost = any(reason == "lost" for connection in document["connections"]
               for side in connection["sides"].values() for _, _, reason in side["gaps"])
    return 4 if lost else 0


def refusals(tool, capture, out, file):
    """The commands that do not refuse a capture because of `file`."""
    for command in (["verify"], ["ls", "--json"], ["extract", "--out", out]):
        ended = run(tool, *command, capture)
        if ended.returncode != 1 or ended.stdout or file.encode() not in ended.stderr:
            yield f"{command[0]} exits with {ended.returncode} and does not refuse {file}"


def differences(tool, capture, out):
    """The differences between the two, in words."""
    expected = reader.read_capture(capture)
    if "refused" in expected:
        yield from refusals(tool, capture, out, expected["refused"])
        return
    verified = run(tool, "verify", capture).returncode
    if verified != expected["verdict"]:
        yield f"verify exits with {verified}, the verdict is {expected['verdict']}"
    ls = run(tool, "ls", "--json", capture)
    if ls.returncode != listing_status(expected):
        yield f"ls exits with {ls.returncode}, expected {listing_status(expected)}"
    listed = connections(json.loads(ls.stdout))
    known = connections(expected)
    for name in sorted(listed.keys() | known.keys()):
        if listed.get(name) != known.get(name):
            yield f"connection {name}: ls {listed.get(name)}, reader.py {known.get(name)}"
    run(tool, "extract", "--out", out, capture)
    recorded = sorted(side["sha256"] for connection in expected["connections"]
                      for side in connection["sides"].values() if side["bytes"])
    extracted = checksums(out)
    if extracted != recorded:
        yield f"extract: {len(extracted)} files with bytes, expected {len(recorded)}, or others"


def main():
    make_captures, tool = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    if os.environ.get("SLUICE_LONG") == "1":
        count = max(count, 1000)
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    different = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as directory:
            capture = os.path.join(directory, "capture")
            subprocess.run([make_captures, "random", str(seed), capture], check=True)
            for difference in differences(tool, capture, os.path.join(directory, "out")):
                print(f"seed {seed}: {difference}")
                different += 1
        if different >= MOST_DIFFERENCES:
            print(f"stopped after {seed - first + 1} captures")
            return 1
    print(f"{count} captures, {different} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
