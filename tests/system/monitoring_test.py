#!/usr/bin/env python3
"""Lets a real Prometheus scrape a real sluice, and evaluates the shipped dashboard and alerts.

usage: monitoring_test.py SLUICE DEPLOY

SLUICE is the daemon, DEPLOY the folder with prometheus/ and grafana/. The daemon has servers that are
up and down, a capture, a mirror, and traffic. Each expression of the dashboard must return data, each
metric that an alert asks for must exist, and an alert about a route without servers must begin.
"""

import contextlib
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

SKIP = 77  # meson's status for a test that was skipped
PATIENCE_SECONDS = 240  # usually it takes a few
BULK_BYTES = 8 << 20  # enough to be spliced
CONFIGURATION = """
[defaults]
admin = "127.0.0.1:0"
log-level = "info"

[[route]]
name    = "web"
listen  = "127.0.0.1:0"
to      = ["127.0.0.1:{up}", "127.0.0.1:{down}"]
balance = "round-robin"
route-connections  = 100
server-connections = 50
source-connections = 100

[[route]]
name    = "recorded"
listen  = "127.0.0.1:0"
to      = "127.0.0.1:{up}"
capture = "{folder}/capture"
mirror  = "127.0.0.1:{mirror}"

[[route]]
name   = "private"
listen = "127.0.0.1:0"
to     = "127.0.0.1:{up}"
deny   = "127.0.0.0/8"

[[route]]
name   = "gone"
listen = "127.0.0.1:0"
to     = "127.0.0.1:{down}"
health = "tcp"
"""


def wait_for(what: str, condition: Callable[[], object], deadline: float) -> object:
    """What `condition` returns, once that is true."""
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} in time")
        time.sleep(0.05)
    return found


class Process(contextlib.AbstractContextManager):
    """A program, its output in a file. It is ended at the end of the block."""

    def __init__(self, log: Path, *command: str | Path):
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=log.parent, stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=subprocess.STDOUT)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def port(self, pattern: str, deadline: float) -> int:
        """The port in the first line of the output that matches."""
        def find() -> re.Match | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.log.name}: ended:\n{self.log.read_text()}")
            return re.search(pattern, self.log.read_text())
        return int(wait_for(pattern, find, deadline)[1])


def serve(listener: socket.socket, answer: bool) -> None:
    """Takes connections until the listener is shut down, and echoes what comes if `answer`."""
    def take(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(1 << 16):
                if answer:
                    peer.sendall(data)
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=take, args=[listener.accept()[0]], daemon=True).start()


@contextlib.contextmanager
def server(answer: bool) -> Iterator[int]:
    """The port of a server on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=[listener, answer], daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """A port of loopback where nobody listens, and that no other program gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def exchange(port: int, size: int) -> None:
    """A connection that sends `size` bytes, and takes what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        def send() -> None:
            with contextlib.suppress(OSError):
                client.sendall(b"x" * size)
                client.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1 << 16):
                pass
        sender.join()


class Prometheus:
    """Its HTTP API."""

    def __init__(self, port: int):
        self.base = f"http://127.0.0.1:{port}/api/v1/"

    def get(self, path: str, **parameters: str) -> dict | list:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.base}{path}?{query}", timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            raise ValueError(f"{parameters}: {refusal.read().decode()}") from None

    def has_data(self, expression: str) -> bool:
        """Whether there is at least one finite value. Raises if the expression is wrong."""
        result = self.get("query", query=expression)["result"]
        return any(math.isfinite(float(sample["value"][1])) for sample in result)

    def rules(self) -> list[dict]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


def expressions(dashboard: dict, values: dict[str, list[str]]) -> dict[str, str]:
    """Every expression of the dashboard, by a name for it, with Grafana's variables replaced."""
    found = {f"{panel['title']} {target['refId']}": target["expr"]
             for panel in dashboard["panels"] for target in panel.get("targets", [])}

    def replace(match: re.Match) -> str:
        if match[1] == "__rate_interval":
            return "1m"
        chosen = "|".join(re.escape(value) for value in values[match[1]])
        return chosen.replace("\\", "\\\\")
    return {name: re.sub(r"\$(\w+)", replace, text) for name, text in found.items()}


def label_values(prometheus: Prometheus, dashboard: dict) -> dict[str, list[str]]:
    """The values of each variable, as Grafana gets them."""
    values: dict[str, list[str]] = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)",
                                           variable["query"]["query"]).groups()
            selector = re.sub(r"\$\w+", ".*", selector)
            values[variable["name"]] = prometheus.get(f"label/{label}/values",
                                                      **{"match[]": selector})
    return values


def check(prometheus: Prometheus, dashboard: dict, traffic: Callable[[], None],
          deadline: float) -> list[str]:
    """What is wrong with the dashboard and the alerts."""
    values = wait_for("values of the variables",
                      lambda: (found := label_values(prometheus, dashboard)) and
                      all(found.values()) and found, deadline)
    pending = expressions(dashboard, values)
    print(f"{len(pending)} expressions, variables: {values}")
    began = []
    while (pending or not began) and time.monotonic() < deadline:
        traffic()
        pending = {name: text for name, text in pending.items() if not prometheus.has_data(text)}
        began = [alert for alert in prometheus.get("alerts")["alerts"]
                 if alert["labels"]["alertname"] == "SluiceRouteWithoutServer"]
        time.sleep(0.3)
    wrong = [f"no data: {name}: {text}" for name, text in pending.items()]
    if [alert["labels"]["route"] for alert in began] != ["gone"]:
        wrong.append(f"routes without a server: {began}")
    names = set(prometheus.get("label/__name__/values"))
    for rule in prometheus.rules():
        prometheus.get("query", query=rule["query"])
        if rule["health"] == "err":
            wrong.append(f"{rule['name']}: {rule['lastError']}")
        used = set(re.findall(r"\b(?:sluice|process)_\w+|\bup\b", rule["query"]))
        wrong += [f"{rule['name']}: there is no {name}" for name in used - names]
        if not used:
            wrong.append(f"{rule['name']}: asks for nothing: {rule['query']}")
    for alert in prometheus.get("alerts")["alerts"]:
        print(alert["state"], alert["annotations"]["summary"])
        wrong += [text for text in alert["annotations"].values() if "<error" in text]
    return wrong


def copy_configuration(deploy: Path, folder: Path, port: int) -> Path:
    """Copies the shipped configuration, and makes it ask `port` each second."""
    text = (deploy / "prometheus" / "scrape.yml").read_text()
    text = text.replace('targets: ["127.0.0.1:9180"]', f'targets: ["127.0.0.1:{port}"]')
    copy = folder / "scrape.yml"
    copy.write_text(text.replace("_interval: 15s", "_interval: 1s"))
    shutil.copy(deploy / "prometheus" / "alerts.yml", folder)
    return copy


def run(sluice: Path, deploy: Path, folder: Path) -> list[str]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with server(True) as up, server(False) as mirror, refusing() as down:
        configuration = folder / "sluice.toml"
        configuration.write_text(CONFIGURATION.format(up=up, down=down, mirror=mirror,
                                                      folder=folder))
        with Process(folder / "sluice.log", sluice, "--config", configuration) as daemon:
            admin = daemon.port(r"admin_listening address=127\.0\.0\.1:(\d+)", deadline)
            web, recorded, private = (
                daemon.port(rf" listening route={name} address=\S+:(\d+)", deadline)
                for name in ("web", "recorded", "private"))
            with Process(folder / "prometheus.log", "prometheus", "--config.file",
                         copy_configuration(deploy, folder, admin),
                         "--web.listen-address=127.0.0.1:0",
                         f"--storage.tsdb.path={folder}/data") as prometheus:
                asked = prometheus.port(r'"Listening on" address=127\.0\.0\.1:(\d+)', deadline)
                wait_for("Prometheus", lambda: "Server is ready" in prometheus.log.read_text(),
                         deadline)

                def traffic() -> None:
                    with contextlib.suppress(ConnectionResetError):
                        exchange(private, 1)
                    for port in (web, recorded):
                        exchange(port, 100)
                        exchange(port, BULK_BYTES)
                dashboard = json.loads((deploy / "grafana" / "sluice.json").read_text())
                return check(Prometheus(asked), dashboard, traffic, deadline)


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    if shutil.which("prometheus") is None:
        print("skipped: prometheus is not installed")
        return SKIP
    with tempfile.TemporaryDirectory() as folder:
        wrong = run(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), Path(folder))
    print("\n".join(wrong) or "every expression has data")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
