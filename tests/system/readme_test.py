#!/usr/bin/env python3
"""Runs the commands of the README's tour unchanged, in their own shell and network.

usage: readme_test.py README BUILD

The blocks of shell commands under the heading "A tour" run one after the other in one shell, twice.
The folder contains only a link to BUILD, so that the README's paths and ports are right. The tour
must not use a redis that already runs on Debian's port.
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
PATIENCE_SECONDS = 500
BENCHMARK = "build/tools/sluice-bench"
# On a busy machine nothing may complete in a run's 700 ms, which makes it void. It is then repeated.
AGAIN = """benchmark() {
  for try in 1 2 3; do
    if said=$("$@" 2>&1); then echo "$said"; return 0; fi
    echo "$said"
    grep -q 'no exchange was completed' <<<"$said" || return 1
  done
  return 1
}"""
TOURS = 2
# A redis that already runs. In the end, its only connection must be this test's question.
BYSTANDER_STARTS = "redis-server --port 6379 --save '' --daemonize yes > /dev/null"
BYSTANDER_TELLS = "redis-cli -p 6379 info stats | tr -d '\\r' | grep total_connections_received"
UNTOUCHED = r"^total_connections_received:1$"
# The output that each step must contain.
EXPECTED = {
    1: [r"^OK$"],
    2: [r"^hello$", r"^SET: .* requests per second"],
    3: [r" closed .* 127\.0\.0\.1:7379 ", r"upstream 4: hello$", r"^clean: "],
    4: [r"^(\d+) of \1 connections completed, 0 failed:", r", 0 differ$"],
    5: [r"<-> 127\.0\.0\.1:7379 "],
    6: [r"^sluice +[1-9]"],
}


def tour(readme: str) -> list[str]:
    """The tour's blocks of shell commands."""
    section = readme.split(f"\n{TOUR}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def script(blocks: list[str]) -> str:
    """All blocks, TOURS times, each announced. The first command that fails ends the script."""
    lines = [AGAIN, "set -eum", "ip link set lo up", BYSTANDER_STARTS]
    for number, block in enumerate(blocks * TOURS, 1):
        block = re.sub(f"^{BENCHMARK} ", f"benchmark {BENCHMARK} ", block, flags=re.MULTILINE)
        lines += [f"echo '=== step {number}'", block]
    return "\n".join(lines + ["echo '=== done'", BYSTANDER_TELLS, ""])


def run(blocks: list[str], build: Path) -> tuple[int, str, list[str]]:
    """The status and the output of all blocks, and the files that they leave."""
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
        return process.returncode, output, [name for name in os.listdir(folder) if name != "build"]


def lacking(steps: list[str]) -> list[tuple[int, str]]:
    """The expected output that is missing, with its step."""
    expected = [(tour * len(EXPECTED) + step, text) for tour in range(TOURS)
                for step, texts in EXPECTED.items() for text in texts]
    expected.append((TOURS * len(EXPECTED) + 1, UNTOUCHED))
    return [(step, text) for step, text in expected
            if step >= len(steps) or not re.search(text, steps[step], re.MULTILINE)]


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
    status, output, left = run(blocks, build)
    print(output)
    steps = re.split(r"^=== (?:step \d+|done)$", output, flags=re.MULTILINE)
    missed = lacking(steps)
    if len(steps) != TOURS * len(EXPECTED) + 2 or status != 0 or missed or left:
        print(f"{len(blocks)} steps, {len(steps) - 2} done, status {status}, lacking: {missed}, "
              f"left behind: {left}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
