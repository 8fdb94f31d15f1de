"""Uses the live page of the real daemon in headless Chromium.

usage: live_page_daemon_test.py SLUICE_BINARY

Without Chromium the exit status is 77, which Meson counts as skipped.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import chromium
from browser import Browser
from live_page_test import BEFORE, TOKEN

SECONDS = 120
HOSTILE = '"><img src=x onerror=alert(1)>'
CLIENTS = 3


class Daemon:
    """sluice with two routes: `orders` echoes and records; of the two servers of `web` one is down."""

    binary = ""

    def __init__(self, folder: Path, dead: int, alive: int, more: str = ""):
        config = folder / "sluice.toml"
        config.write_text(f"""
[defaults]
admin = "127.0.0.1:0"
{more}

[[route]]
name    = "orders"
listen  = "127.0.0.1:0"
to      = "echo:"
capture = {json.dumps(str(folder / HOSTILE.replace("/", "")))}

[[route]]
name   = "web"
listen = "127.0.0.1:0"
to     = ["127.0.0.1:{alive}", "127.0.0.1:{dead}"]
health = "tcp"
health-interval = "100ms"
""", encoding="utf-8")
        self.process = subprocess.Popen([self.binary, "--config", str(config), "--log-format", "json"],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.listens: dict[str, str] = {}
        assert self.process.stderr
        for line in self.process.stderr:
            event = json.loads(line)
            if event["event"] == "listening":
                self.listens[event["route"]] = event["address"]
            elif event["event"] == "admin_listening":
                self.url = f"http://{event['address']}/"
            elif event["event"] == "started":
                break
        else:
            raise RuntimeError("sluice did not start")
        self.reader = threading.Thread(target=self.process.stderr.read)
        self.reader.start()

    def connect(self, route: str) -> socket.socket:
        host, _, port = self.listens[route].rpartition(":")
        return socket.create_connection((host, int(port)), timeout=SECONDS)

    def end(self) -> None:
        for number in (signal.SIGCONT, signal.SIGKILL):
            os.kill(self.process.pid, number)
        self.process.wait()
        self.reader.join()
        assert self.process.stderr
        self.process.stderr.close()


class LivePageOfTheDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        # A port that refuses, since nobody listens, and one whose connections wait in its queue.
        dead = self.enterContext(socket.socket())
        dead.bind(("127.0.0.1", 0))
        alive = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        self.ports = dead.getsockname()[1], alive.getsockname()[1]

    def start(self, more: str = "") -> Daemon:
        daemon = Daemon(self.folder, *self.ports, more)
        self.addCleanup(daemon.end)
        return daemon

    def confirm(self, page, verb: str) -> None:
        page.wait("$('dialog[open]') !== null")
        page.run(f"$$('dialog button').find(each => each.textContent === {json.dumps(verb)}).click()")

    def test_it_shows_and_changes_what_runs(self):
        daemon = self.start()
        clients = [self.enterContext(daemon.connect("orders")) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"12345678")
            self.assertEqual(client.recv(8, socket.MSG_WAITALL), b"12345678")
        page = self.browser.open(daemon.url, before=BEFORE)
        self.addCleanup(page.close)
        self.check_rows(page)
        self.check_kill(page, clients)
        self.check_capture(page)
        self.check_server(page)
        self.check_stop(page, daemon)
        self.assertEqual(page.run("[violations, errors, document.images.length, document.scripts.length]"),
                         [[], [], 0, 1])

    def check_rows(self, page) -> None:
        page.wait(f"$$('#connections tbody tr').length === {CLIENTS}")
        page.wait("$('.troubles').textContent.includes(' of web is down: ')")
        page.wait("$$('#plots .curve').length === 4 && $('#plots .curve').getAttribute('d').length > 20")
        self.assertEqual(page.run("$$('#routes tbody tr').length"), 2)
        page.wait("row('routes', 'web').className === 'warn' && $('#servers tbody tr').className === 'bad'")
        page.wait("row('captures', %s) !== undefined" % json.dumps(HOSTILE.replace("/", "")))
        self.assertTrue(page.run("$('#mirrors').textContent.includes('nothing is mirrored')"))

    def check_kill(self, page, clients: list[socket.socket]) -> None:
        victim = clients[0].getsockname()[1]
        page.run(f"row('connections', '127.0.0.1:{victim}').querySelector('button').click()")
        self.confirm(page, "Kill")
        with self.assertRaises(ConnectionResetError):
            clients[0].recv(1)
        page.wait(f"$$('#connections tbody tr').length === {CLIENTS - 1}")
        clients[1].sendall(b"x")
        self.assertEqual(clients[1].recv(1), b"x")

    def check_capture(self, page) -> None:
        switch = "row('routes', 'orders').querySelector('[role=switch]')"
        page.run(f"{switch}.click()")
        self.confirm(page, "Stop recording")
        page.wait(f"{switch}.getAttribute('aria-checked') === 'false'")
        page.wait("$('.troubles').textContent.includes('orders is not recorded')")
        page.run(f"{switch}.click()")
        page.wait(f"{switch}.getAttribute('aria-checked') === 'true'")

    def check_server(self, page) -> None:
        server = f"row('servers', '127.0.0.1:{self.ports[1]}')"
        for order, level in (("drain", "warn"), ("up", "good")):
            page.run(f"[...{server}.querySelectorAll('button')]"
                     f".find(each => each.textContent === '{order}').click()")
            page.wait(f"{server}.querySelector('.chip.{level}') !== null")

    def check_stop(self, page, daemon: Daemon) -> None:
        os.kill(daemon.process.pid, signal.SIGSTOP)
        page.wait("document.body.classList.contains('stale')")
        os.kill(daemon.process.pid, signal.SIGCONT)
        page.wait("!document.body.classList.contains('stale')")

    def test_it_asks_for_the_token(self):
        file = self.folder / "token"
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
        daemon = self.start(f"admin-token-file = {json.dumps(str(file))}")
        page = self.browser.open(daemon.url, before=BEFORE)
        self.addCleanup(page.close)
        page.wait("!$('.token').hidden")
        page.run(f"$('.token input').value = '{TOKEN}'; $('.token button').click()")
        page.wait("$$('#routes tbody tr').length === 2")
        self.assertEqual(page.run("[violations, errors]"), [[], []])

    def test_the_page_itself_is_kept_and_asked_for_again(self):
        daemon = self.start()
        with urllib.request.urlopen(f"{daemon.url}assets/page.js", timeout=SECONDS) as answer:
            self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"])
            self.assertEqual(answer.headers["Cache-Control"], "no-cache")
            tag = answer.headers["ETag"]
        request = urllib.request.Request(f"{daemon.url}assets/page.js", headers={"If-None-Match": tag})
        with self.assertRaises(urllib.error.HTTPError) as unchanged:
            urllib.request.urlopen(request, timeout=SECONDS)
        self.assertEqual(unchanged.exception.code, 304)
        unchanged.exception.close()


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    Daemon.binary = sys.argv.pop(1)
    return chromium.main()


if __name__ == "__main__":
    sys.exit(main())
