"""A stand-in for the daemon: serves the live page, and an API with the shapes of the real one.

usage: page_stub.py [--token TOKEN] [--port PORT] FILE...    (those of proxy/meson.build, in its order)

It has 50 routes, 5,000 connections, a server that is down and a capture that lags. Everything moves
as time passes. It prints its address and serves until it is killed. What a page changes, changes;
GET /stub tells what was asked for, for the tests.
"""

import argparse
import json
import math
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
          "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
ROUTES = 50
CONNECTIONS = 5000
BEYOND = 2**53 + 1
HOSTILE = '"><script>document.title="owned"</script>'
NAMES = ["orders", "cache", "web", "ssh", "mail", "search", "billing", "events", "ledger", HOSTILE]


class Problem(Exception):
    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status = status


class Daemon:
    """What the stand-in knows, and how it moves."""

    def __init__(self) -> None:
        self.begin = time.time()
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.routes = [NAMES[i] if i < len(NAMES) else f"tenant-{i:02}" for i in range(ROUTES)]
        self.capture_off: set[str] = set()
        self.orders: dict[tuple[str, str], str] = {}
        self.killed: set[str] = set()
        self.stuck = False
        self.reload: dict | None = None

    def seconds(self) -> float:
        return time.time() - self.begin

    def servers_of(self, i: int) -> list[str]:
        count = 3 if i == 0 else 1 + (i % 3 > 0)
        return [f"10.{i}.0.{n}:{5432 if i == 0 else 8000 + i}" for n in range(1, 1 + count)]

    def state_of(self, i: int, server: str) -> str:
        ordered = self.orders.get((self.routes[i], server), "up")
        if ordered == "down" or (i == 0 and server.startswith("10.0.0.3")):
            return "down"
        return "drain" if ordered == "drain" else "ejected" if server.startswith("10.4.0.2") else "up"

    def speed(self, i: int, at: float) -> float:
        """Bytes per second to the clients of a route."""
        return max(0.0, 9e7 / (1 + i) * (1.2 + math.sin(at / 70 + i) + 0.15 * math.sin(at * 2 + i)))

    def moved(self, i: int) -> int:
        at = self.seconds() + 1000
        return int(9e7 / (1 + i) * (1.2 * at + 70 * (1 - math.cos(at / 70 + i))))

    def count(self, i: int) -> int:
        return CONNECTIONS // ROUTES

    def status(self) -> dict:
        return {"version": "0.1.0", "pid": 4242, "uptime_seconds": int(self.seconds()) + 187_200,
                "state": "ready", "engine": "uring", "workers": 4,
                "connections": CONNECTIONS - len(self.killed),
                "connections_limit": 100_000, "log_level": "info", "last_reload": self.reload,
                "predecessors": [{"pid": 4141, "connections": 34}] if self.reload else []}

    def route(self, i: int) -> dict:
        name = self.routes[i]
        servers = self.servers_of(i)
        resets = 40 + int(self.seconds() * 2) if name == "web" else i
        capture = "/var/lib/sluice/orders" if i == 0 else "/var/lib/sluice/all" if i in (1, 5, 9) else None
        # The web has a limit of its own that is reached, and a flood from some sources.
        limits = {0: {"route-connections": {"limit": 250, "used": self.count(i)},
                      "connection-bandwidth": {"limit": "20MiB/s"}, "route-bandwidth": {"limit": "50MiB/s"}},
                  2: {"route-connections": {"limit": 100, "used": 100}, "source-connections": {"limit": 10},
                      "source-rate": {"limit": "50/s"}}}.get(i, {})
        rejected = {"denied": "1202", "source-rate": str(93_000 + int(self.seconds() * 800)),
                    "route-connections": "31"} if i == 2 else {"denied": "4"} if i == 3 else {}
        limited = sum(int(count) for reason, count in rejected.items() if reason != "denied")
        # The cache has moved more than a double counts, and moves 1,000 bytes a second.
        up = BEYOND + 1000 * int(self.seconds()) if name == "cache" else self.moved(i) // 7
        return {"name": name, "listen": [f"0.0.0.0:{5432 + i}"], "to": servers,
                "accepted": str(12_345 * (i + 1) + int(self.seconds() * 40 / (i + 1))),
                "connections": self.count(i),
                "closed": {"closed": str(12_000 * (i + 1)),
                           **{name: count for name, count in rejected.items() if name == "denied"},
                           **({"limited": str(limited)} if limited else {}),
                           **({"upstream_reset": str(resets)} if resets else {"connect_refused": "7"})},
                "rejected": rejected, "limits": limits, "sources": 812 if i == 2 else None,
                "retries": "0", "bytes": {"to_upstream": str(up), "to_client": str(self.moved(i))},
                "spliced_bytes": {"to_upstream": "0", "to_client": str(self.moved(i) // 2)},
                "capture": capture, "capture_enabled": capture is not None and name not in self.capture_off,
                "mirrors": ["10.9.0.1:5432"] if i == 0 else [], "servers": len(servers),
                "servers_usable": sum(self.state_of(i, each) == "up" for each in servers)}

    def servers(self) -> list[dict]:
        items = []
        for i, name in enumerate(self.routes):
            for n, server in enumerate(self.servers_of(i)):
                state = self.state_of(i, server)
                checked = i < 10
                items.append({
                    "route": name, "server": server, "state": state,
                    "ordered": self.orders.get((name, server), "up"), "backup": i == 0 and n == 2,
                    "weight": 2 if n == 1 else 1,
                    "connections": 0 if state == "down" else self.count(i) // (n + 1),
                    "limits": {"server-connections": {"limit": 100, "used": self.count(i) // (n + 1)}}
                    if i == 1 else {},
                    "connect_failures": str(31 if state == "down" else 0),
                    "check": None if not checked else "Connection refused" if state == "down" else "ok",
                    "check_age_seconds": round(self.seconds() % 2, 3) if checked else None})
        return items

    def captures(self) -> list[dict]:
        none = {"full": "0", "disk_full": "0", "disk_failed": "0", "limit": "0", "not_duplicated": "0"}
        return [
            {"directory": "/var/lib/sluice/orders", "routes": ["orders"], "recorded_bytes": str(self.moved(0)),
             "lag_bytes": str((300 << 20) + (0 if self.stuck else int(self.seconds() * 1000) % 9973)),
             "dropped_bytes": none | {"full": str((4 << 20) + int(self.seconds()) * 65_536)},
             "lost_connections": "0", "disk_failures": "0", "segments": "412"},
            {"directory": "/var/lib/sluice/all", "routes": ["cache", "search", HOSTILE],
             "recorded_bytes": str(BEYOND), "lag_bytes": str(81_920 + int(self.seconds() * 1000) % 9973),
             "dropped_bytes": none,
             "lost_connections": "0", "disk_failures": "0", "segments": "9"}]

    def mirrors(self) -> list[dict]:
        return [{"mirror": "10.9.0.1:5432", "routes": ["orders"], "streams": 0, "streams_total": "81213",
                 "bytes": str(self.moved(3)), "lag_bytes": "0", "breaker_open": True,
                 "cut": {"lagged": "12", "connect_failed": str(30 + int(self.seconds() / 4))}}]

    def history(self) -> dict:
        now = int(time.time())
        points = []
        for at in range(now - 599, now + 1):
            down = sum(self.speed(i, at) for i in range(8))
            burst = 3 if at % 240 < 30 else 1
            points.append({"time": at + 0.25,
                           "bytes_to_upstream": str(int(down / 7 * (1.2 + math.sin(at / 40)))),
                           "bytes_to_client": str(int(down)),
                           "accepted": int(60 * burst + 20 * math.sin(at * 1.3)),
                           "connections": int(4400 + 500 * math.sin(at / 90) + 40 * math.sin(at / 3))})
        return {"interval_seconds": 1, "now": now + 0.5, "points": points}

    def connection(self, n: int) -> dict:
        i = n % ROUTES
        age = self.seconds() + (n * 7919) % 90_000
        moved = BEYOND if n == 1 else int((n * 104_729 % 9_973) ** 2 * 11 + age * (n % 97) * 100)
        return {"id": f"1a22aed7a7e8157-{n % 4}-{n}", "client": f"192.168.{n // 250}.{n % 250 + 1}:{40_000 + n}",
                "route": self.routes[i], "server": self.servers_of(i)[0], "bytes": str(moved),
                "bytes_to_upstream": str(moved // 8), "bytes_to_client": str(moved - moved // 8),
                "age_seconds": round(age, 3), "idle_seconds": round(n * 31 % 600 / 10, 3),
                "recorded": i in (0, 1, 5, 9), "mirrors": int(i == 0)}

    def connections(self, query: dict[str, str]) -> dict:
        sort = query.get("sort", "id")
        after = int(query.get("after", "0"))
        limit = min(int(query.get("limit", "200")), 1000)
        items = [self.connection(n) for n in range(CONNECTIONS)]
        items = [each for each in items if each["id"] not in self.killed
                 and query.get("route", each["route"]) == each["route"]]
        if sort != "id":
            of = {"bytes": lambda each: int(each["bytes"]), "age": lambda each: each["age_seconds"],
                  "idle": lambda each: each["idle_seconds"]}[sort]
            items.sort(key=of, reverse=True)
        rest = items[after:]
        return {"items": rest[:limit], "next": str(after + limit) if len(rest) > limit else None}

    def read(self, path: str, query: dict[str, str]) -> dict:
        def listed(items):
            return {"items": items, "next": None}
        match path:
            case "/v1/status": return self.status()
            case "/v1/routes": return listed([self.route(i) for i in range(ROUTES)])
            case "/v1/servers": return listed(self.servers())
            case "/v1/captures": return listed(self.captures())
            case "/v1/mirrors": return listed(self.mirrors())
            case "/v1/history": return self.history()
            case "/v1/connections": return self.connections(query)
            case "/stub": return {"asked": self.asked}
        raise Problem(404, "There is nothing at this path.")

    def change(self, path: str, body: dict) -> dict | None:
        if path == "/stub/stuck":
            self.stuck = True
            return None
        if path == "/stub/reload":
            self.reload = {"time": time.time(), **body}
            return None
        parts = [urllib.parse.unquote(part) for part in path.split("/")[2:]]
        match parts:
            case ["connections", name, "kill"] if not body:
                if name not in {self.connection(n)["id"] for n in range(CONNECTIONS)} - self.killed:
                    raise Problem(404, "There is no such connection.")
                self.killed.add(name)
                return None
            case ["routes", name, "capture"] if name in self.routes:
                if name == "cache":
                    raise Problem(409, "A sink must record: its FIN confirms.")
                (self.capture_off.discard if body["enabled"] else self.capture_off.add)(name)
                return {"capture_enabled": body["enabled"]}
            case ["servers", route, server] if route in self.routes:
                self.orders[(route, server)] = body["state"]
                return {"state": self.state_of(self.routes.index(route), server), "ordered": body["state"]}
        raise Problem(404, "There is nothing at this path.")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    daemon = Daemon()
    files: dict[str, tuple[str, bytes]] = {}
    token = ""

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def handle_api(self, act) -> None:
        try:
            if self.token and self.headers.get("Authorization") != f"Bearer {self.token}":
                given = "Authorization" in self.headers
                raise Problem(401, "The token is wrong." if given else "A token is needed.")
            result = act()
        except Problem as problem:
            body = {"type": "about:blank", "title": "Error", "status": problem.status, "detail": str(problem)}
            self.answer(problem.status, json.dumps(body).encode(), "application/problem+json")
            return
        if result is None:
            self.answer(204, b"")
        else:
            self.answer(200, json.dumps(result).encode())

    def do_GET(self):  # pylint: disable=invalid-name
        path, _, query = self.path.partition("?")
        if path in self.files:
            kind, body = self.files[path]
            self.answer(200, body, kind)
            return
        with self.daemon.lock:
            if path != "/stub":
                self.daemon.asked.append(f"GET {self.path}")
            self.handle_api(lambda: self.daemon.read(path, dict(urllib.parse.parse_qsl(query))))

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.daemon.lock:
            self.daemon.asked.append(f"POST {self.path} {body.decode()}")

            def act():
                if self.headers.get("X-Sluice") != "1" or self.headers.get("Content-Type") != "application/json":
                    raise Problem(403, "Changes need X-Sluice and a JSON type.")
                if self.headers.get("Origin") != f"http://{self.headers['Host']}":
                    raise Problem(403, "Changes from pages of other origins are refused.")
                return self.daemon.change(self.path, json.loads(body))
            self.handle_api(act)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--token", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    for path, suffix, kind in (("/", ".html", "html"), ("/assets/page.css", ".css", "css"),
                               ("/assets/page.js", ".js", "javascript")):
        text = b"".join(file.read_bytes() for file in options.files if file.suffix == suffix)
        Handler.files[path] = (f"text/{kind}; charset=utf-8", text)
    Handler.token = options.token
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
