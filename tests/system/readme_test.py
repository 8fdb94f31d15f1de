#!/usr/bin/env python3
"""Runs the commands of the README's tour as they stand, in a shell and a network of their own.

usage: readme_test.py README BUILD

The blocks of shell commands under the heading "A tour" run one after the other in one shell, in an
empty folder that holds nothing but BUILD's link, so that the README's paths and ports are right.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77  # meson's status for a test that was skipped
TOUR = "## A tour"
NEEDED = ["ip", "redis-server", "redis-cli", "redis-benchmark", "tshark", "unshare"]
OWN_NETWORK = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc",
               "--kill-child", "--"]
PATIENCE_SECONDS = 300
# What each step has to print.
EXPECTED = {
    1: [r"^OK$"],
    2: [r"^hello$", r"^SET: .* requests per second"],
    3: [r" closed .* 127\.0\.0\.1:6379 ", r"upstream 4: hello$", r"^clean: "],
    4: [r"^(\d+) of \1 connections replayed", r", 0 differ$"],
    5: [r"<-> 127\.0\.0\.1:6379 "],
    6: [r"^sluice +[1-9]"],
}


def tour(readme: str) -> list[str]:
    """The tour's blocks of shell commands."""
    section = readme.split(f"\n{TOUR}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def script(blocks: list[str]) -> str:
    """All blocks, each announced, and the first command that fails ends it."""
    lines = ["set -eum", "ip link set lo up"]
    for number, block in enumerate(blocks, 1):
        lines += [f"echo '=== step {number}'", block]
    return "\n".join(lines + ["echo '=== done'", ""])


def run(blocks: list[str], build: Path) -> tuple[int, str]:
    """The status and the output of all blocks."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "build").symlink_to(build.resolve())
        process = subprocess.Popen([*OWN_NETWORK, "bash", "-c", script(blocks)], cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\nnot done after {PATIENCE_SECONDS} s\n"
        return process.returncode, output


def main() -> int:
    readme, build = Path(sys.argv[1]).read_text(), Path(sys.argv[2])
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print("skipped: not installed:", *missing)
        return SKIP
    trial = subprocess.run([*OWN_NETWORK, "true"], capture_output=True, text=True)
    if trial.returncode != 0:
        print("skipped: no network namespace of its own:", trial.stderr.strip())
        return SKIP
    blocks = tour(readme)
    status, output = run(blocks, build)
    print(output)
    steps = re.split(r"^=== (?:step \d+|done)$", output, flags=re.MULTILINE)
    lacking = [(step, text) for step, texts in EXPECTED.items() for text in texts
               if step >= len(steps) or not re.search(text, steps[step], re.MULTILINE)]
    if len(steps) != len(EXPECTED) + 2 or status != 0 or lacking:
        print(f"{len(blocks)} steps, {len(steps) - 2} done, status {status}, lacking: {lacking}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
