#!/usr/bin/env python3
"""Counts the instructions that the daemon runs in user space for a trip and for a connection.

usage: tests/perf/instructions.py SLUICE [--sni N] [OPTIONS OF SLUICE]

With --sni, connections begin with a TLS hello for one of N names, which each have a route; with
--sni 0 there are no routes, so that the difference is what routing costs. With --proxy-out v2 the
server takes the header before anything else.

Each kind of work is done few times and many times under callgrind; the difference gives the cost
of one. Needs valgrind, and Linux 5.6 for pidfd_getfd.
"""
import ctypes
import os
import socket
import ssl
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


def name(index):
    return f"n{index}.bench.test"


def hello_for(server_name):
    """What OpenSSL says first."""
    said = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname=server_name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return said.read()


class Opening:
    """What connections begin with, and what the daemon adds."""
    hellos = [b""]
    turn = 0
    header_bytes = 0


def connect(port, server):
    hello = Opening.hellos[Opening.turn % len(Opening.hellos)]
    Opening.turn += 1
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.sendall(hello)
    upstream, _ = server.accept()
    for end in (client, upstream):
        end.settimeout(PATIENCE)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    missing = Opening.header_bytes + len(hello)
    while missing > 0:
        missing -= len(upstream.recv(missing))
    return client, upstream


def addresses(folder, names, listen, to):
    """The options that say where the daemon listens, and where it forwards."""
    if names == 0:
        return ["--listen", f"127.0.0.1:{listen}", "--to", f"127.0.0.1:{to}"]
    with open(f"{folder}/sluice.toml", "w") as config:
        print(f'[[route]]\nname = "front"\nlisten = "127.0.0.1:{listen}"', file=config)
        for each in map(name, range(names)):
            print(f'[[route.match]]\nsni = "{each}"\nroute = "{each}"', file=config)
        for each in map(name, range(names)):
            print(f'[[route]]\nname = "{each}"\nto = "127.0.0.1:{to}"', file=config)
    return ["--config", f"{folder}/sluice.toml"]


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


def instructions(command, names, work, count):
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    server.settimeout(PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        counts, log = f"{folder}/counts", f"{folder}/log"
        daemon = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={counts}",
             command[0], *addresses(folder, names, port, server.getsockname()[1]),
             "--workers", "1", "--log-file", log, *command[1:]],
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
    command = sys.argv[1:]
    names = 0
    if "--sni" in command:
        at = command.index("--sni")
        names = int(command[at + 1])
        del command[at:at + 2]
        Opening.hellos = [hello_for(name(each)) for each in range(max(names, 1))]
    if "--proxy-out" in command:
        Opening.header_bytes = 28  # version 2, IPv4
    for work, few, many in ((trips, 200, 1200), (connections, 50, 350)):
        fewer = instructions(command, names, work, few)
        more = instructions(command, names, work, many)
        print(f"{work.__name__}: {(more - fewer) / (many - few):.0f} instructions each", flush=True)


main()
