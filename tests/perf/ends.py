#!/usr/bin/env python3
"""Compares sluice-bench's own ends with iperf3 -Z and with the bare system calls.

usage: ends.py [--rounds N] [--seconds S] [--build DIR]

In each round, in turn: sluice-bench's direct bulk1, iperf3 -Z, sluice-bench's direct rr1, raw-ping.
Prints Markdown: medians of the per-round figures and ratios, with their spread. Needs iperf3.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def bench(args, workload: str) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch, "result.json")
        subprocess.run([args.build / "tools/sluice-bench", "--peers", "direct", "--rounds", "1",
                        "--time", f"{args.seconds}s", "--workloads", workload, "--json", result],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads(result.read_text())["workloads"][0]["runs"][0]["metrics"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def iperf3(args) -> float:
    """The GiB/s that arrived."""
    port = str(free_port())
    server = subprocess.Popen(["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", port],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = ["iperf3", "-c", "127.0.0.1", "-p", port, "-Z", "-J", "-t", str(args.seconds)]
        for _ in range(50):  # until it listens
            done = subprocess.run(client, capture_output=True, text=True)
            if done.returncode == 0:
                return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 8 / 2**30
            time.sleep(0.1)
        sys.exit(f"iperf3: {done.stdout}{done.stderr}")
    finally:
        server.kill()
        server.wait()


def raw_ping(args) -> float:
    done = subprocess.run([args.build / "tests/perf/raw-ping", str(args.seconds)], check=True,
                          capture_output=True, text=True)
    return float(done.stdout.split()[0])


def told(values: list[float], digits: int) -> str:
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each run")
    parser.add_argument("--build", type=Path, default=Path("build"))
    args = parser.parse_args()
    if shutil.which("iperf3") is None:
        sys.exit("ends.py: iperf3 is not installed")
    args.build = args.build.resolve()
    bulk, iperf, trips, raw = [], [], [], []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
        bulk.append(bench(args, "bulk1")["gib_per_s"])
        iperf.append(iperf3(args))
        trips.append(bench(args, "rr1")["trips_per_s"])
        raw.append(raw_ping(args))
    print("| directly | sluice-bench | reference | ratio |\n| --- | --- | --- | --- |")
    for name, ours, theirs, digits in (("one stream, GiB/s, iperf3 -Z", bulk, iperf, 2),
                                       ("1-byte trips/s, raw-ping", trips, raw, 0)):
        ratios = [a / b for a, b in zip(ours, theirs)]
        print(f"| {name} | {told(ours, digits)} | {told(theirs, digits)} | {told(ratios, 2)} |")


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    main()
