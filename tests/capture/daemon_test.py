#!/usr/bin/env python3
"""Checks that the two readers read alike what a killed daemon left.

    daemon_test.py SLUICE SLUICE_CAPTURE

sends through two workers for some seconds, with a new segment every second, and kills the daemon
while connections are open. agree.py compares what the readers find in the capture, then once more
after the next daemon has sealed it and recorded more.
"""

import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import agree
import reader

PATIENCE_SECONDS = 60
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


class Daemon:
    """A daemon that echoes on its own port, and records."""

    def __init__(self, sluice, capture, durability):
        self.process = subprocess.Popen(
            [sluice, "--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "2", "--cpu-affinity",
             "none", "--capture", capture, "--segment-size", "8MiB", "--segment-time", "1s",
             "--durability", durability],
            stderr=subprocess.PIPE, text=True)
        self.port = 0
        for line in self.process.stderr:
            found = re.search(r" listening .*address=127\.0\.0\.1:(\d+)", line)
            self.port = int(found[1]) if found else self.port
            if " started " in line:
                return
        raise AssertionError("the daemon does not start")

    def end(self, how):
        self.process.send_signal(how)
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode


def exchange(connection, data):
    """Sends `data` and waits for the whole echo, so that it is recorded."""
    connection.sendall(data)
    while data:
        echo = connection.recv(len(data))
        assert echo and data.startswith(echo)
        data = data[len(echo):]


def has_segment(capture, suffix):
    return any(name.endswith(suffix) for name in os.listdir(capture))


def send_some(port, seconds, chance, enough=lambda: True):
    """Makes connections: some end in order, some by a reset. Returns those still open."""
    connections = []
    ended = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or ended < 2 or not enough():
        if len(connections) < 16:
            connections.append(socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS))
        connection = chance.choice(connections)
        # Also zeros, which look like the end of the written bytes.
        size = chance.choice([10, 1000, 20000])
        exchange(connection, bytes(size) if chance.random() < 0.3 else chance.randbytes(size))
        if chance.random() < 0.05:
            if chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
            connections.remove(connection)
            ended += 1
        time.sleep(0.01)
    return connections


class Killed(unittest.TestCase):
    sluice = ""
    tool = ""

    def test_what_it_left_and_its_recovery_are_read_alike(self):
        for durability in ("none", "batch", "before-forward"):
            with self.subTest(durability), tempfile.TemporaryDirectory() as directory:
                self.try_one(directory, durability)

    def try_one(self, directory, durability):
        chance = random.Random(durability)
        capture = os.path.join(directory, "capture")
        daemon = Daemon(self.sluice, capture, durability)
        connections = send_some(daemon.port, 2.5, chance, lambda: has_segment(capture, ".sluice"))
        self.assertEqual(daemon.end(signal.SIGKILL), -signal.SIGKILL)
        for connection in connections:
            connection.close()
        left = self.compare(capture, os.path.join(directory, "left"))
        self.assertEqual({each["state"] for each in left["connections"]}, {"closed", "cut"})
        self.assertEqual({each["worker"] for each in left["connections"]}, {0, 1})
        self.assertTrue(has_segment(capture, ".open"))

        daemon = Daemon(self.sluice, capture, durability)
        for connection in send_some(daemon.port, 0.2, chance):
            connection.close()
        self.assertEqual(daemon.end(signal.SIGTERM), 0)
        self.assertFalse(has_segment(capture, ".open"))
        sealed = self.compare(capture, os.path.join(directory, "sealed"))
        self.assertEqual([each for each in sealed["connections"] if each["run"] == first_run(left)],
                         left["connections"])

    def compare(self, capture, out):
        self.assertEqual(list(agree.differences(self.tool, capture, out)), [])
        document = reader.read_capture(capture)
        self.assertIn(document["verdict"], (0, 3))
        return document


def first_run(document):
    return document["connections"][0]["run"]


if __name__ == "__main__":
    Killed.tool = sys.argv.pop()
    Killed.sluice = sys.argv.pop()
    unittest.main()
