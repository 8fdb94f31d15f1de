#!/usr/bin/env python3
"""Compares sluice with HAProxy and with no forwarder at all, in interleaved rounds.

Every run starts its forwarder afresh, points perf-load's clients at it and perf-load's backend
behind it, and stops it again. The contenders run in turn, A B C A B C; what is printed is each
one's median and the median, least and greatest of the per-round ratios to the baseline. The
contender AA is the baseline once more: no difference smaller than its spread means anything.

    tests/perf/compare.py --workloads bulk1,rr32 --rounds 5 --seconds 3
    tests/perf/compare.py --contenders haproxy-tuned,sluice,AA --variant 'old=/tmp/old/sluice'

Workloads: bulkN (bulkNdown: towards the client), rrN, crrN, idleN with N connections; msgSk and
msgSk-N ping-pong messages of S KiB (without N: 1 and 8 connections). All traffic is on loopback.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import pathlib
import platform
import random
import re
import shlex
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 5
DEFAULT_WORKLOADS = (
    "bulk1,bulk8,bulk64,rr1,rr32,rr128,crr1,crr4,idle3000,msg4k,msg16k,msg32k,msg64k"
)

HAPROXY_CONFIG = """
global
  nbthread 2
  maxconn 8000
{global_lines}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
{default_lines}
listen forward
  bind 127.0.0.1:{listen}
  server backend 127.0.0.1:{to}
"""
# Enough for a pipe each way on every connection of the largest bulk run.
HAPROXY_TUNED = {
    "global_lines": "  maxpipes 1024\n  tune.pipesize 1048576",
    "default_lines": "  option splice-request\n  option splice-response",
}
HAPROXY_DEFAULT = {"global_lines": "", "default_lines": ""}


class Void(Exception):
    """A run that does not count, with the reason."""


@dataclass
class Metric:
    key: str
    title: str
    digits: int = 2
    scale: float = 1.0
    compared: bool = True


LATENCY = [
    Metric("p50_us", "p50 µs", 1),
    Metric("p99_us", "p99 µs", 1),
    Metric("p999_us", "p99.9 µs", 1),
]
METRICS = {
    "bulk": [
        Metric("gib_per_s", "GiB/s"),
        Metric("proxy_cpu_s_per_gib", "proxy CPU s/GiB", 3),
        Metric("machine_busy_s_per_gib", "machine s/GiB", 3),
        Metric("least_share", "least share"),
        Metric("most_share", "most share", compared=False),
        Metric("pipes", "pipes", 0, compared=False),
        Metric("pipe_bytes", "KiB/pipe", 0, 1 / 1024, compared=False),
    ],
    "rr": [
        Metric("trips_per_s", "k trips/s", 2, 1e-3),
        Metric("proxy_cpu_us_per_trip", "proxy CPU µs/trip"),
        Metric("machine_busy_us_per_trip", "machine µs/trip"),
        *LATENCY,
    ],
    "crr": [
        Metric("connections_per_s", "k conn/s", 2, 1e-3),
        Metric("proxy_cpu_us_per_connection", "proxy CPU µs/conn", 1),
        Metric("machine_busy_us_per_connection", "machine µs/conn", 1),
        *LATENCY,
    ],
    "idle": [
        Metric("bytes_per_connection", "PSS B/conn", 0),
        Metric("rss_per_connection", "RSS B/conn", 0),
        Metric("descriptors_per_connection", "fds/conn", compared=False),
        Metric("pipe_ends_idle", "pipe ends", 0, compared=False),
    ],
}
# Foreign work on the machine during the run, in CPU seconds a second: should be near 0.
OTHER = Metric("other_cpu", "other CPU", 2)


@dataclass
class Workload:
    name: str
    kind: str
    arguments: list[str]


def parse_workload(text: str) -> list[Workload]:
    if m := re.fullmatch(r"bulk(\d+)(down)?", text):
        direction = ["--direction", "down"] if m[2] else []
        return [Workload(text, "bulk", ["bulk", "--connections", m[1], *direction])]
    if m := re.fullmatch(r"(rr|crr|idle)(\d+)", text):
        return [Workload(text, m[1], [m[1], "--connections", m[2]])]
    if m := re.fullmatch(r"msg(\d+)k(?:-(\d+))?", text):
        size = str(int(m[1]) * 1024)
        return [
            Workload(f"msg{m[1]}k-{n}", "rr", ["rr", "--size", size, "--connections", n])
            for n in ([m[2]] if m[2] else ["1", "8"])
        ]
    raise SystemExit(f"compare: unknown workload '{text}'")


@dataclass
class Contender:
    """A forwarder: `command` gets the two ports, None means that there is none."""

    name: str
    command: list[str] | None = None
    config: str | None = None
    version: str = ""


@dataclass
class Forwarder:
    """A started forwarder; stop() ends exactly the process that was started."""

    process: subprocess.Popen | None
    port: int
    log: pathlib.Path | None = None

    def pids(self) -> list[int]:
        return descendants(self.process.pid) if self.process else []

    def stop(self) -> None:
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        if not self.log or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        return "".join(f"\n    | {line}" for line in lines)


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything; the parent follows the last of them.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def free_ports(count: int) -> list[int]:
    """Ports below the ephemeral range, so that no outgoing connection takes them meanwhile."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def listening(port: int) -> bool:
    """Asks the kernel, since a connection made to find out would be forwarded."""
    wanted = f"{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and fields[1].rpartition(":")[2] == wanted:
                return True
    return False


def start(contender: Contender, folder: pathlib.Path, to: int, listen: int) -> Forwarder:
    if contender.command is None:
        return Forwarder(None, to)
    values = {"listen": listen, "to": to}
    if contender.config is not None:
        values["config"] = folder / "forwarder.cfg"
        values["config"].write_text(contender.config.format(listen=listen, to=to))
    command = [part.format(**values) for part in contender.command]
    log = folder / "forwarder.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
        )
    forwarder = Forwarder(process, listen, log)
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while not listening(listen):
            if process.poll() is not None:
                raise Void(f"exited with {process.returncode}{forwarder.last_words()}")
            if time.monotonic() > deadline:
                raise Void(f"does not listen{forwarder.last_words()}")
            time.sleep(0.01)
    except BaseException:
        forwarder.stop()
        raise
    return forwarder


def where_it_hangs(pid: int) -> str:
    """What each thread of a process does in the kernel, as far as /proc tells."""
    lines = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            lines.append(f"\n    | thread {task.name} {state} {(task / 'wchan').read_text()}")
        except OSError:
            continue
    return "".join(lines)


def run_load(command: list[str], timeout: float) -> dict:
    """Runs perf-load, bounded in time; returns its JSON."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            text, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            hanging = where_it_hangs(process.pid)
            process.kill()
            raise Void(f"perf-load did not end{hanging}") from None
        except BaseException:
            process.kill()
            raise
    try:
        result = json.loads(text)
    except ValueError:
        raise Void(f"perf-load exited with {process.returncode}, saying {text!r}") from None
    if process.returncode != 0 or not result.get("ok"):
        raise Void(result.get("reason", f"perf-load exited with {process.returncode}"))
    return result


def derive(result: dict) -> dict:
    """Adds what follows from perf-load's figures."""
    busy = result["machine_busy_s"]
    used = result["proxy_cpu_s"] + result["load_cpu_s"]
    result["other_cpu"] = max(0.0, busy - used) / result["seconds"]
    if "bytes" in result:
        result["machine_busy_s_per_gib"] = busy / (result["bytes"] / 2**30)
    if "trips_per_s" in result:
        result["machine_busy_us_per_trip"] = busy * 1e6 / result["count"]
    if "connections_per_s" in result:
        result["machine_busy_us_per_connection"] = busy * 1e6 / result["count"]
    return result


def busy_cpus(seconds: float) -> float:
    """How many CPUs the machine keeps busy over a short while."""

    def ticks() -> int:
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7))

    begin, before = time.monotonic(), ticks()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begin)


def wait_for_quiet(options: argparse.Namespace) -> None:
    deadline = time.monotonic() + options.quiet_wait
    while busy_cpus(0.2) > options.quiet and time.monotonic() < deadline:
        pass


def fresh_network() -> None:
    """Moves this program, and what it starts from now on, into an empty network of its own.

    What earlier runs left in TIME_WAIT, up to the kernel's limit on it, then slows no later run,
    and no other program has the ports. The network goes with the last process in it.
    """
    new_network = 0x40000000  # CLONE_NEWNET, <linux/sched.h>
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_network) != 0:
        error = ctypes.get_errno()
        raise SystemExit(f"compare: unshare: {os.strerror(error)}; use --network shared")
    with socket.socket() as any_socket:
        name, up_and_running = b"lo", 0x41  # IFF_UP | IFF_RUNNING, <net/if.h>
        request = struct.pack("16sh14x", name, up_and_running)
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS, netdevice(7)


class OneAtATime:
    """Two comparisons on one machine take turns, run by run."""

    def __enter__(self) -> None:
        name = pathlib.Path(tempfile.gettempdir()) / "sluice-perf.lock"
        # Reading suffices for flock, and another user may have made the file.
        name.exists() or name.touch(0o644)
        self.fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def run_quietly(options: argparse.Namespace, contender: Contender, workload: Workload) -> dict:
    """Repeats a run that other programs disturbed; keeps the one disturbed least."""
    with OneAtATime():
        kept = None
        for _ in range(1 + options.repeats):
            wait_for_quiet(options)
            run = run_once(options, contender, workload)
            if kept is None or run["other_cpu"] < kept["other_cpu"]:
                kept = run
            if kept["other_cpu"] <= options.quiet:
                break
        return kept


def run_once(options: argparse.Namespace, contender: Contender, workload: Workload) -> dict:
    with tempfile.TemporaryDirectory(prefix="perf-") as name:
        if options.network == "own":
            fresh_network()
        to, listen = free_ports(2)
        forwarder = start(contender, pathlib.Path(name), to, listen)
        try:
            command = [options.load, *workload.arguments]
            command += ["--serve", str(to), "--to", str(forwarder.port)]
            command += ["--seconds", str(options.seconds), "--warmup", str(options.warmup)]
            command += shlex.split(options.load_args)
            for pid in forwarder.pids():
                command += ["--watch", str(pid)]
            # perf-load bounds itself at 40 s over the planned time; this is the outer bound.
            return derive(run_load(command, options.seconds + options.warmup + 60))
        except Void as void:
            raise Void(f"{void}{forwarder.last_words()}") from None
        finally:
            forwarder.stop()


def first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ((done.stdout or done.stderr).splitlines() or ["?"])[0]


def sluice(name: str, path: str, arguments: str) -> Contender:
    binary = shutil.which(path) or str(pathlib.Path(path).resolve())
    command = [binary, "--listen", "127.0.0.1:{listen}", "--to", "127.0.0.1:{to}"]
    given = shlex.split(arguments)
    if "--workers" not in given:
        command += ["--workers", "2"]
    if "--log-level" not in given:
        command += ["--log-level", "warn"]
    command += [part.replace("{", "{{").replace("}", "}}") for part in given]
    return Contender(name, command, version=first_line([binary, "--version"]))


def contenders(options: argparse.Namespace) -> list[Contender]:
    haproxy = [options.haproxy, "-db", "-f", "{config}"]
    version = first_line([options.haproxy, "-v"])
    known = {
        "direct": Contender("direct"),
        "haproxy-tuned": Contender(
            "haproxy-tuned", haproxy, tuned_config(HAPROXY_TUNED), version
        ),
        "haproxy-default": Contender(
            "haproxy-default", haproxy, tuned_config(HAPROXY_DEFAULT), version
        ),
    }
    if shutil.which(options.sluice) or pathlib.Path(options.sluice).exists():
        known["sluice"] = sluice("sluice", options.sluice, options.sluice_args)
    variants = []
    for variant in options.variant:
        name, _, line = variant.partition("=")
        path, _, arguments = line.strip().partition(" ")
        if not name or not path:
            raise SystemExit(f"compare: --variant '{variant}': expected NAME=PATH ARGS")
        known[name] = sluice(name, path, arguments)
        variants.append(name)
    names = options.contenders.split(",") if options.contenders else [*known, "AA"]
    names += [name for name in variants if name not in names]
    baseline = options.baseline if options.baseline in names else names[0]
    options.baseline = baseline
    if "AA" in names:
        again = known.get(baseline)
        if again is None:
            raise SystemExit(f"compare: unknown baseline '{baseline}'")
        known["AA"] = Contender("AA", again.command, again.config, "the baseline again")
    missing = [name for name in names if name not in known]
    if missing:
        raise SystemExit(f"compare: not to be had: {', '.join(missing)}")
    return [known[name] for name in names]


def tuned_config(lines: dict[str, str]) -> str:
    return HAPROXY_CONFIG.format(listen="{listen}", to="{to}", **lines)


@dataclass
class Results:
    """results[contender][round] is a run's figures, or None if it was void."""

    workload: Workload
    runs: dict[str, list[dict | None]] = field(default_factory=dict)

    def median(self, name: str, key: str) -> float | None:
        values = [run[key] for run in self.runs[name] if run]
        return statistics.median(values) if values else None

    def ratios(self, name: str, baseline: str, key: str) -> list[float]:
        pairs = zip(self.runs[name], self.runs[baseline])
        return [a[key] / b[key] for a, b in pairs if a and b and b[key] > 0]


def table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def report(results: Results, baseline: str) -> str:
    metrics = METRICS[results.workload.kind]
    compared = [metric for metric in metrics if metric.compared]
    values, ratios = [], []
    for name, runs in results.runs.items():
        row = [name]
        for metric in [*metrics, OTHER]:
            median = results.median(name, metric.key)
            row.append("–" if median is None else f"{median * metric.scale:.{metric.digits}f}")
        values.append([*row, f"{sum(run is not None for run in runs)}/{len(runs)}"])
        row = [name]
        for metric in compared:
            each = results.ratios(name, baseline, metric.key)
            row.append(
                f"{statistics.median(each):.2f} ({min(each):.2f}–{max(each):.2f})" if each else "–"
            )
        ratios.append(row)
    titles = [metric.title for metric in metrics]
    shown = [row for row in ratios if row[0] != baseline]
    text = f"## {results.workload.name}\n\n"
    text += table(["median", *titles, OTHER.title, "valid runs"], values)
    if shown and baseline in results.runs:
        text += "\n\n" + table([f"× {baseline}", *(metric.title for metric in compared)], shown)
    return text + "\n"


def pipe_granted() -> int:
    """What this user is granted when it asks for a pipe of 1 MiB."""
    ends = os.pipe()
    try:
        try:
            fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, 1 << 20)
        except OSError:
            pass
        return fcntl.fcntl(ends[0], fcntl.F_GETPIPE_SZ)
    finally:
        for end in ends:
            os.close(end)


def machine(options: argparse.Namespace, chosen: list[Contender]) -> str:
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    lines = [
        f"- command: `{shlex.join(['tests/perf/compare.py', *sys.argv[1:]])}`",
        f"- kernel: {platform.release()} {platform.version()}",
        f"- CPU: {os.cpu_count()} × {model[1] if model else platform.machine()}",
        f"- pipe granted when 1 MiB is asked for: {pipe_granted()} bytes",
        f"- {options.rounds} rounds of {options.seconds:g} s after {options.warmup:g} s of "
        "warm-up, contenders in turn, started afresh for each run, "
        f"network namespace: {options.network}",
    ]
    for contender in chosen:
        if contender.version:
            command = " ".join(contender.command or [])
            lines.append(f"- {contender.name}: {contender.version} (`{command}`)")
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workloads", default=DEFAULT_WORKLOADS, help="comma-separated (default: all)")
    add("--contenders", help="comma-separated, in this order: direct, haproxy-tuned, "
        "haproxy-default, sluice, a variant's name, AA (default: all there are)")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=3.0, help="measured in each run (default: 3)")
    add("--warmup", type=float, default=0.3, help="seconds before that (default: 0.3)")
    add("--baseline", default="haproxy-tuned", help="of the ratios (default: haproxy-tuned)")
    add("--sluice", default=str(ROOT / "build/proxy/sluice"), help="the binary")
    add("--sluice-args", default="", help="added to sluice's command line")
    add("--variant", action="append", default=[], metavar="'NAME=PATH ARGS'",
        help="another sluice; may be repeated")
    add("--haproxy", default=shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
        or "haproxy", help="the binary")
    add("--load", default=str(ROOT / "build/tests/perf/perf-load"), help="the load program")
    add("--load-args", default="", help="added to perf-load's command line, in every run")
    add("--quiet", type=float, default=0.2, metavar="CPUS",
        help="a run waits until the machine is less busy than this, and is repeated if other "
        "programs were busier than this meanwhile (default: 0.2)")
    add("--quiet-wait", type=float, default=60.0, metavar="S",
        help="the longest such wait (default: 60)")
    add("--repeats", type=int, default=3, help="of a disturbed run at most (default: 3)")
    add("--network", choices=["own", "shared"], default="own" if os.geteuid() == 0 else "shared",
        help="own: each run in a fresh network namespace, so that no run inherits another's "
        "TIME_WAIT; needs root (default: own for root)")
    add("--markdown", type=pathlib.Path, help="write the tables there")
    add("--json", type=pathlib.Path, help="write every run's figures there")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    if not pathlib.Path(options.load).exists():
        parser.error(f"{options.load} is missing; build it, or: g++ -O2 -std=c++20 "
                     "-I. tests/perf/*.cc -pthread -o perf-load, and name it by --load")
    options.load = str(pathlib.Path(options.load).resolve())
    return options


def main() -> int:
    options = arguments()
    # The finally clauses that stop the forwarders run on these too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    workloads = [w for text in options.workloads.split(",") for w in parse_workload(text)]
    chosen = contenders(options)
    head = machine(options, chosen)
    print(head, flush=True)
    sections, everything, void_runs = [head], {}, 0
    for workload in workloads:
        results = Results(workload, {contender.name: [] for contender in chosen})
        for round_number in range(options.rounds):
            for contender in chosen:
                try:
                    run = run_quietly(options, contender, workload)
                except Void as void:
                    void_runs += 1
                    run = None
                    print(f"VOID {workload.name}, {contender.name}, round {round_number + 1}: "
                          f"{void}", file=sys.stderr, flush=True)
                results.runs[contender.name].append(run)
        sections.append(report(results, options.baseline))
        everything[workload.name] = results.runs
        print(sections[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(sections))
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    return 1 if void_runs else 0


if __name__ == "__main__":
    sys.exit(main())
