#!/usr/bin/env python3
"""Measures the cost of recording, and the speed of the disk in the same round.

usage: capture.py [--rounds N] [--time T] [--dir DIR] [--build DIR]

In each round: fio on DIR, then sluice-bench's contenders that record to DIR, one after the other.
Prints Markdown: medians of the per-round figures and ratios, with their spread. Needs fio.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

FIO = {  # the disk alone, in the way that each level uses it
    "1 MiB writes, 8 deep": ["--bs=1m", "--iodepth=8", "--size=4g", "--fallocate=posix"],
    "the same, flushed every 8": ["--bs=1m", "--iodepth=8", "--size=4g", "--fallocate=posix",
                                  "--fdatasync=8"],
    "4 KiB, durable, one at a time": ["--bs=4k", "--iodepth=1", "--size=16m", "--overwrite=1",
                                      "--sync=dsync"],
}
LEVELS = {
    "none": ["--durability", "none", "--capture-full", "block"],
    "batch": ["--durability", "batch"],
    "before-forward": ["--durability", "before-forward"],
    "buffered": ["--durability", "none", "--capture-full", "block", "--capture-io", "buffered"],
}


def fio(name: str, directory: Path, seconds: float) -> dict:
    out = subprocess.run(
        ["fio", f"--name={name.replace(' ', '-').replace(',', '')}", f"--directory={directory}",
         "--direct=1", "--rw=write", "--ioengine=io_uring", "--time_based",
         f"--runtime={seconds:g}", "--output-format=json", *FIO[name]],
        check=True, capture_output=True, text=True).stdout
    for left in directory.glob("*"):
        left.unlink()
    write = json.loads(out)["jobs"][0]["write"]
    return {"gib": write["bw_bytes"] / 2**30, "p50": write["clat_ns"]["percentile"]["50.000000"] / 1e3}


def bench(args, levels: list[str], workloads: str) -> dict:
    """The metrics of one round: {workload: {level: metrics}}."""
    with tempfile.TemporaryDirectory(dir=args.dir) as scratch:
        command = [str(args.build / "tools/sluice-bench"), "--rounds", "1", "--time", args.time,
                   "--peers", "sluice", "--relative-to", "sluice", "--workloads", workloads,
                   "--json", f"{scratch}/results.json"]
        sluice = args.build / "proxy/sluice"
        for level in levels:
            options = " ".join(LEVELS[level])
            command += ["--contender", f"{level}={sluice} --listen 127.0.0.1:{{listen}} --to "
                        f"127.0.0.1:{{to}} --workers 2 --log-level warn --capture "
                        f"{scratch}/{level} {options}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        found = {}
        for workload in json.loads(Path(scratch, "results.json").read_text())["workloads"]:
            found[workload["name"]] = {run["contender"]: run["metrics"] for run in workload["runs"]}
        return found


def told(values: list[float], digits: int = 2) -> str:
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def row(*cells) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def report(disks: list[dict], rounds: list[dict]) -> None:
    row("the disk alone (fio)", "GiB/s", "p50 µs")
    row("---", "---", "---")
    for name in FIO:
        row(name, told([d[name]["gib"] for d in disks]), told([d[name]["p50"] for d in disks], 0))
    for name in ("bulk1", "bulk8"):
        print()
        row(name, "GiB/s", "× without", "proxy CPU s/GiB", "added CPU s/GiB", "× fio")
        row(*["---"] * 6)
        for level in ("sluice", *LEVELS):
            if level not in rounds[0][name]:
                continue
            runs = [r[name][level] for r in rounds]
            plain = [r[name]["sluice"] for r in rounds]
            disk = ("the same, flushed every 8" if level == "batch" else "1 MiB writes, 8 deep")
            speed = [r["gib_per_s"] for r in runs]
            cpu = [r["proxy_cpu_s_per_gib"] for r in runs]
            row("no capture" if level == "sluice" else level, told(speed),
                told([a / b["gib_per_s"] for a, b in zip(speed, plain)]), told(cpu, 3),
                told([a - b["proxy_cpu_s_per_gib"] for a, b in zip(cpu, plain)], 3),
                "" if level == "sluice"
                else told([a / d[disk]["gib"] for a, d in zip(speed, disks)]))
    print()
    row("ping-pong, 1 byte", "trips/s", "× without", "p50 µs", "added p50 a message", "× fio's 4 KiB")
    row(*["---"] * 6)
    for name, level in (("rr32", "sluice"), ("rr32", "none"), ("rr32", "batch"), ("rr1", "sluice"),
                        ("rr1", "before-forward"), ("rr64", "before-forward")):
        runs = [r[name][level] for r in rounds]
        plain = [r[name]["sluice"] for r in rounds]
        added = [(a["p50_us"] - b["p50_us"]) / 2 for a, b in zip(runs, plain)]
        single = level == "before-forward" and name == "rr1"
        row(f"{name[2:]} connection{'' if name == 'rr1' else 's'}, "
            + ("no capture" if level == "sluice" else level),
            told([r["trips_per_s"] for r in runs], 0),
            told([a["trips_per_s"] / b["trips_per_s"] for a, b in zip(runs, plain)]),
            told([r["p50_us"] for r in runs], 0), told(added, 0) if single else "",
            told([a / d["4 KiB, durable, one at a time"]["p50"] for a, d in zip(added, disks)])
            if single else "")
    gain = [r["rr64"]["before-forward"]["trips_per_s"] / r["rr1"]["before-forward"]["trips_per_s"]
            for r in rounds]
    print(f"\nbefore-forward: 64 connections make {told(gain, 1)} × the trips of one.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time", default="2s", help="of each run")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()),
                        help="on the disk to be measured")
    parser.add_argument("--build", type=Path, default=Path("build"))
    args = parser.parse_args()
    if shutil.which("fio") is None:
        sys.exit("capture.py: fio is not installed")
    args.build = args.build.resolve()
    disks, rounds = [], []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=args.dir) as scratch:
            disks.append({name: fio(name, Path(scratch), 2) for name in FIO})
        found = bench(args, ["none", "batch", "buffered"], "bulk1,bulk8,rr32")
        for workload, runs in bench(args, ["before-forward"], "bulk1,rr1,rr64").items():
            found[workload] = runs | found.get(workload, {})
        rounds.append(found)
    report(disks, rounds)


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    main()
