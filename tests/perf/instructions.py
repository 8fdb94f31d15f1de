#!/usr/bin/env python3
"""Counts the instructions that the daemon runs in user space for a trip and for a connection.

usage: tests/perf/instructions.py SLUICE [OPTIONS OF SLUICE]

Each kind of work is done few times and many times under callgrind; the difference gives the cost
of one. Needs valgrind, and Linux 5.6 for pidfd_getfd.
"""
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 30
PIDFD_OPEN, PIDFD_GETFD = 434, 438
libc = ctypes.CDLL(None, use_errno=True)


def wake(pid):
    """Wakes the workers. Valgrind runs one thread at a time, and a worker that sleeps in
    io_uring_enter keeps the others from running (seen with valgrind 3.19)."""
    process = libc.syscall(PIDFD_OPEN, pid, 0)
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if "eventfd" not in os.readlink(f"/proc/{pid}/fd/{number}"):
                continue
        except OSError:
            continue
        copy = libc.syscall(PIDFD_GETFD, process, int(number), 0)
        if copy >= 0:
            os.write(copy, (1).to_bytes(8, "little"))
            os.close(copy)
    os.close(process)


def wait_until(condition, what, pid):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"instructions.py: {what} took longer than {PATIENCE} s")
        time.sleep(0.02)
        try:
            wake(pid)
        except OSError:
            pass  # it ends


def connect(port, server):
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    upstream, _ = server.accept()
    for end in (client, upstream):
        end.settimeout(PATIENCE)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, upstream


def exchange(client, upstream):
    client.send(b"?")
    upstream.recv(1)
    upstream.send(b"!")
    client.recv(1)


def close(client, upstream):
    client.close()
    upstream.recv(1)
    upstream.close()


def trips(port, server, count):
    ends = connect(port, server)
    for _ in range(count):
        exchange(*ends)
    close(*ends)


def connections(port, server, count):
    for _ in range(count):
        ends = connect(port, server)
        exchange(*ends)
        close(*ends)


def instructions(command, work, count):
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    server.settimeout(PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        counts, log = f"{folder}/counts", f"{folder}/log"
        daemon = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={counts}",
             command[0], "--listen", f"127.0.0.1:{port}",
             "--to", f"127.0.0.1:{server.getsockname()[1]}", "--workers", "1",
             "--log-file", log, *command[1:]],
            stderr=subprocess.DEVNULL)
        try:
            started = lambda: os.path.exists(log) and " started " in open(log).read()
            wait_until(started, "the start", daemon.pid)
            work(port, server, count)
            daemon.terminate()
            wait_until(lambda: daemon.poll() is not None, "the end", daemon.pid)
        finally:
            daemon.kill()
            daemon.wait()
        for line in open(counts):
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    sys.exit("instructions.py: callgrind has counted nothing")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for work, few, many in ((trips, 200, 1200), (connections, 50, 350)):
        fewer = instructions(sys.argv[1:], work, few)
        more = instructions(sys.argv[1:], work, many)
        print(f"{work.__name__}: {(more - fewer) / (many - few):.0f} instructions each", flush=True)


main()
