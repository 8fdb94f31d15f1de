#!/usr/bin/env python3
"""Runs the shipped unit under a real systemd, which is process 1 of its own namespaces.

usage: systemd_drill_test.py SLUICE SLUICE_CTL UNIT

UNIT is sluice.service as it is installed. systemd must see the daemon start, hang, hand over and end;
the journal must have fields; a port that systemd holds must never be closed.
"""

import contextlib
import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from systemd_machine import LIBC, Machine, why_impossible

SKIP = 77  # meson's status for a test that was skipped
PATIENCE_SECONDS = 60  # usually it takes a few
PORT, NEW_PORT, HELD_PORT = 7000, 7001, 7002
CLONE_NEWNET = 0x40000000
PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
CONFIGURATION = f"""
[defaults]
admin           = "unix:/run/sluice/admin.sock"
takeover-socket = "/run/sluice/takeover.sock"
workers         = 2

[[route]]
name   = "echo"
listen = "127.0.0.1:{PORT}"
to     = "echo:"
"""
NEW_ROUTE = f"""
[[route]]
name   = "new"
listen = "127.0.0.1:{NEW_PORT}"
to     = "echo:"
"""
HELD_CONFIGURATION = f"""
[[route]]
name   = "held"
listen = [":{HELD_PORT}", "unix:/run/held.sock"]
to     = "echo:"
"""
# Shorter than in the unit, so that the drill is.
DROP_IN = """
[Service]
WatchdogSec=4s
RestartSec=0
"""
SOCKET = f"""
[Socket]
ListenStream={HELD_PORT}
ListenStream=/run/held.sock
"""


def wait_for(what: str, condition: Callable[[], object]) -> object:
    """What `condition` returns, once that is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {PATIENCE_SECONDS} s")
        time.sleep(0.02)
    return found


def expect(condition: object, what: object) -> None:
    if not condition:
        raise AssertionError(str(what))


def echoes(port: int) -> bool:
    """Whether a new connection is accepted, and gets its bytes back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(b"hello")
            return client.recv(5, socket.MSG_WAITALL) == b"hello"
    except OSError:
        return False


class Unit:
    """A unit of the machine."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name

    def control(self, verb: str) -> subprocess.CompletedProcess:
        return self.machine.run("systemctl", verb, self.name, capture_output=True)

    def must(self, verb: str) -> None:
        done = self.control(verb)
        expect(done.returncode == 0, f"systemctl {verb} {self.name}: {done.stderr}\n{self.log()}")

    def show(self, name: str) -> str:
        done = self.machine.run("systemctl", "show", "--property", name, "--value", self.name,
                                capture_output=True)
        return done.stdout.strip()

    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    def host_pid(self) -> int:
        """The host's number of the main process."""
        inner = self.main_pid()
        for group in self.machine.group.rglob(f"{self.name}*/cgroup.procs"):
            for pid in group.read_text(encoding="utf-8").split():
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                if re.search(rf"^NSpid:.*\t{inner}$", status, re.MULTILINE):
                    return int(pid)
        raise AssertionError(f"process {inner} is not in the unit's control group")

    def entries(self, *matches: str) -> list[dict]:
        """The unit's entries of the journal."""
        self.machine.run("journalctl", "--sync", capture_output=True)
        done = self.machine.run("journalctl", "-o", "json", "-u", self.name, *matches,
                                capture_output=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def configure(self, text: str) -> None:
        path = Path(f"/proc/{self.machine.init()}/root/etc/sluice/sluice.toml")
        path.write_text(text, encoding="utf-8")

    def log(self) -> str:
        done = self.machine.run("journalctl", "-n", "60", "--no-pager", capture_output=True)
        return done.stdout


def check_start(unit: Unit) -> None:
    """`systemctl start` returns once every listener accepts."""
    unit.must("start")
    expect(unit.is_active(), unit.log())
    expect(echoes(PORT), "the daemon does not accept after the start")
    expect(unit.show("StatusText") == "Serves 1 route", unit.show("StatusText"))
    asked = unit.machine.run("/opt/sluice-ctl", "status", capture_output=True)
    expect(asked.returncode == 0, asked.stderr)


def check_journal(unit: Unit) -> None:
    """Each line of the log is an entry with its fields."""
    found = wait_for("the entry", lambda: unit.entries("SLUICE_EVENT=listening"))
    entry = found[0]
    expected = {"PRIORITY": "6", "SYSLOG_IDENTIFIER": "sluice", "SLUICE_ROUTE": "echo",
                "SLUICE_ADDRESS": f"127.0.0.1:{PORT}", "_TRANSPORT": "journal",
                "MESSAGE": f"listening route=echo address=127.0.0.1:{PORT}"}
    for name, value in expected.items():
        expect(entry.get(name) == value, f"{name}: {entry}")
    wait_for("the connection's line", lambda: unit.entries("SLUICE_EVENT=connection", "SLUICE_REASON=closed"))
    warnings = unit.entries("-p", "warning")
    expect(not warnings, f"the sandbox is in the way: {warnings}")


@contextlib.contextmanager
def stopped(unit: Unit) -> Iterator[None]:
    os.kill(unit.host_pid(), 19)  # SIGSTOP
    yield


@contextlib.contextmanager
def one_worker_held(unit: Unit) -> Iterator[None]:
    tasks = Path(f"/proc/{unit.host_pid()}/task")
    worker = next(int(task.name) for task in tasks.iterdir()
                  if (task / "comm").read_text(encoding="utf-8") == "worker-1\n")
    nothing = ctypes.c_void_p()
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        expect(LIBC.ptrace(request, worker, nothing, nothing) == 0, "ptrace is refused")
    os.waitpid(worker, WALL)
    yield
    wait_for("the name of the thread that hangs",
             lambda: unit.entries("SLUICE_EVENT=watchdog_unanswered", "SLUICE_PART=worker-1"))
    # The process is gone only once its tracer has seen the end of the thread.
    while not os.WIFSIGNALED(os.waitpid(worker, WALL)[1]):
        LIBC.ptrace(17, worker, nothing, nothing)  # PTRACE_DETACH


def watchdog_timeouts(unit: Unit) -> int:
    return sum("Watchdog timeout" in str(entry["MESSAGE"]) for entry in unit.entries("_PID=1"))


def check_watchdog(unit: Unit, hang: Callable[[Unit], contextlib.AbstractContextManager]) -> None:
    """systemd ends a daemon that hangs, and starts it again."""
    before, restarts, timeouts = unit.main_pid(), int(unit.show("NRestarts")), watchdog_timeouts(unit)
    with hang(unit):
        pass
    wait_for("the restart", lambda: int(unit.show("NRestarts")) > restarts and unit.is_active())
    expect(watchdog_timeouts(unit) > timeouts, unit.log())
    expect(unit.main_pid() != before, "the process is the same")
    expect(echoes(PORT), "the daemon does not accept after its restart")


def check_takeover(unit: Unit) -> None:
    """The process that takes over is the service from then on, and has its watchdog."""
    before = unit.main_pid()
    with socket.create_connection(("127.0.0.1", PORT)) as client:
        taken = unit.machine.run("/opt/sluice-ctl", "takeover", capture_output=True)
        expect(taken.returncode == 0, f"{taken}\n{unit.log()}")
        wait_for("the new main process", lambda: unit.main_pid() not in (0, before))
        expect(unit.is_active() and echoes(PORT), unit.log())
        client.sendall(b"hello")
        expect(client.recv(5, socket.MSG_WAITALL) == b"hello", "the takeover broke a connection")
    resets = unit.show("WatchdogTimestampMonotonic")
    wait_for("the watchdog's next reset",
             lambda: unit.show("WatchdogTimestampMonotonic") != resets)
    expect(unit.is_active() and int(unit.show("NRestarts")) == 2, unit.log())


def check_reload(unit: Unit) -> None:
    """A reload is applied; one of a bad file fails. Neither ends anything."""
    before = unit.main_pid()
    with socket.create_connection(("127.0.0.1", PORT)) as client:
        unit.configure(CONFIGURATION + NEW_ROUTE)
        unit.must("reload")
        wait_for("the new route", lambda: echoes(NEW_PORT))
        wait_for("the status", lambda: unit.show("StatusText") == "Serves 2 routes")
        unit.configure("this is no configuration")
        refused = unit.control("reload")
        expect(refused.returncode != 0, f"a bad file is reloaded: {refused}")
        expect(unit.main_pid() == before and unit.is_active(), unit.log())
        expect(echoes(PORT) and echoes(NEW_PORT), "a bad file ends something")
        unit.configure(CONFIGURATION)
        unit.must("reload")
        wait_for("the end of the route", lambda: not echoes(NEW_PORT))
        client.sendall(b"hello")
        expect(client.recv(5, socket.MSG_WAITALL) == b"hello", "a reload broke a connection")
    expect(unit.main_pid() == before and unit.is_active() and echoes(PORT), unit.log())


def check_end(unit: Unit) -> None:
    """systemd waits until connections have ended."""
    with socket.create_connection(("127.0.0.1", PORT)) as client:
        asked = unit.machine.run("systemctl", "stop", "--no-block", unit.name)
        expect(asked.returncode == 0, asked)
        wait_for("the drain", lambda: unit.show("StatusText").startswith("Accepts no"))
        for _ in range(3):
            client.sendall(b"hello")
            expect(client.recv(5, socket.MSG_WAITALL) == b"hello", "the stop broke a connection")
            time.sleep(0.1)
    wait_for("the end", lambda: unit.show("ActiveState") not in ("active", "deactivating"))
    expect(unit.show("ActiveState") == "inactive" and unit.show("Result") == "success", unit.log())
    expect(not echoes(PORT), "somebody accepts after the end")


def check_activation(unit: Unit, held: Unit) -> None:
    """systemd listens, starts the daemon for the first client, and keeps the port while it restarts."""
    held.must("start")
    expect(unit.show("ActiveState") == "inactive", unit.log())
    expect(echoes(HELD_PORT), unit.log())
    expect(unit.is_active(), unit.log())
    expect(not unit.entries("SLUICE_EVENT=sockets_unused"), unit.log())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/{unit.machine.init()}/root/run/held.sock")
        client.sendall(b"hello")
        expect(client.recv(5, socket.MSG_WAITALL) == b"hello", "the unix socket does not answer")
    refused, done = [], threading.Event()

    def connect_all_the_time() -> None:
        enter_network(unit.machine)
        while not done.is_set():
            if not echoes(HELD_PORT):
                refused.append(time.monotonic())
            time.sleep(0.005)

    clients = threading.Thread(target=connect_all_the_time)
    clients.start()
    before = unit.main_pid()
    unit.must("restart")
    done.set()
    clients.join()
    expect(unit.main_pid() != before, "no restart")
    expect(not refused, f"{len(refused)} clients were refused during the restart")
    unit.must("stop")
    expect(echoes(HELD_PORT), "systemd does not start the daemon again")


def enter_network(machine: Machine) -> None:
    """From now on this thread's sockets are in the machine."""
    network = os.open(f"/proc/{machine.init()}/ns/net", os.O_RDONLY)
    expect(LIBC.setns(network, CLONE_NEWNET) == 0, "setns is refused")
    os.close(network)


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    if reason := why_impossible():
        print(f"skipped: {reason}")
        return SKIP
    shipped = Path(sys.argv[3]).read_text(encoding="utf-8")
    own = re.sub(r"/\S*/bin/sluice", "/opt/sluice", shipped)
    files = {
        "sluice/sluice.toml": CONFIGURATION,
        "sluice/held.toml": HELD_CONFIGURATION,
        "systemd/system/machine.target": "[Unit]\nRequires=systemd-journald.service\n",
        "systemd/system/sluice.service": own,
        "systemd/system/sluice.service.d/drill.conf": DROP_IN,
        "systemd/system/held.service": own.replace("sluice.toml", "held.toml"),
        "systemd/system/held.socket": SOCKET,
        "systemd/journald.conf": "[Journal]\nStorage=volatile\n",
    }
    with Machine(files, [Path(path) for path in sys.argv[1:3]]) as machine:
        enter_network(machine)
        unit, held = Unit(machine, "sluice.service"), Unit(machine, "held.service")
        steps = {
            "start": lambda: check_start(unit),
            "journal": lambda: check_journal(unit),
            "reload": lambda: check_reload(unit),
            "watchdog, stopped process": lambda: check_watchdog(unit, stopped),
            "watchdog, held worker": lambda: check_watchdog(unit, one_worker_held),
            "takeover": lambda: check_takeover(unit),
            "end": lambda: check_end(unit),
            "socket activation": lambda: check_activation(held, Unit(machine, "held.socket")),
        }
        for name, step in steps.items():
            began = time.monotonic()
            try:
                step()
            except AssertionError:
                print(unit.log())
                raise
            print(f"{name}: passed in {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
