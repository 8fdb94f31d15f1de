"""Uses the live page in headless Chromium, with a stand-in for the daemon (page_stub.py).

usage: live_page_test.py FILE...    (those of proxy/meson.build, in its order)

Without Chromium the exit status is 77, which Meson counts as skipped.
"""

import json
import os
import signal
import subprocess
import sys
import unittest
import urllib.request
from pathlib import Path

import chromium
from browser import Browser, Page

from page_stub import CONNECTIONS, HOSTILE, ROUTES

STUB = Path(__file__).with_name("page_stub.py")
TOKEN = "0123456789abcdef0123456789abcdef"
# What goes wrong in the page, what it asks for, and whether it counts as hidden.
BEFORE = """
window.asked = [];
const realFetch = window.fetch;
window.fetch = (path, ...more) => {
  asked.push(path);
  return realFetch(path, ...more);
};
window.errors = [];
addEventListener('error', event => errors.push(event.message));
addEventListener('unhandledrejection', event => errors.push(String(event.reason)));
window.fakeHidden = false;
Object.defineProperty(document, 'hidden', {get: () => fakeHidden});
window.hide = to => { fakeHidden = to; document.dispatchEvent(new Event('visibilitychange')); };
window.$ = selector => document.querySelector(selector);
window.$$ = selector => [...document.querySelectorAll(selector)];
window.row = (section, text) => $$(`#${section} tbody tr`).find(tr => tr.textContent.includes(text));
"""
BY_NAME = "row('{}', {})"


class Stub:
    """The stand-in, as a process of its own: it can be stopped."""

    files: list[str] = []

    def __init__(self, *options: str):
        self.process = subprocess.Popen([sys.executable, "-B", str(STUB), *options, *self.files],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    def asked(self) -> list[str]:
        with urllib.request.urlopen(f"{self.url}stub", timeout=60) as answer:
            return json.load(answer)["asked"]

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        self.send(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class LivePage(unittest.TestCase):
    browser: Browser

    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        self.stub = self.start()
        self.page = self.open(self.stub)

    def start(self, *options: str) -> Stub:
        stub = Stub(*options)
        self.addCleanup(stub.end)
        return stub

    def open(self, stub: Stub) -> Page:
        page = self.browser.open(stub.url, before=BEFORE)
        self.addCleanup(page.close)
        if "--token" not in stub.process.args:
            self.ready(page)
        return page

    def ready(self, page: Page) -> None:
        """Waits until all rows, and rates, are there."""
        page.wait("$$('#connections tbody tr').length === 200 && "
                  "row('routes', 'orders').textContent.includes('/s')")

    def tearDown(self):
        self.assertEqual(self.page.run("violations"), [])
        self.assertEqual(self.page.run("errors"), [])

    def texts(self, selector: str) -> list[str]:
        return self.page.run(f"$$({json.dumps(selector)}).map(each => each.textContent)")

    def click(self, element: str) -> None:
        self.page.run(f"{element}.click()")

    def confirm(self, verb: str) -> None:
        self.page.wait("$('dialog[open]')?.textContent.includes(%s) ?? false" % json.dumps(verb))
        self.page.run(f"$$('dialog button').find(each => each.textContent === {json.dumps(verb)}).click()")
        self.page.wait("!$('dialog')")

    def test_trouble_comes_first(self):
        self.assertIn("10.0.0.3:5432 of orders is down: Connection refused", self.texts(".troubles .bad"))
        self.assertTrue(any("has dropped" in text for text in self.page.wait(
            "(all => all.length > 1 && all)($$('.troubles .bad').map(each => each.textContent))")))
        self.assertTrue(any("orders lags by 300" in text for text in self.texts(".troubles .warn")))
        self.page.wait("$('.troubles').textContent.includes('web: upstream reset')")
        self.assertIn("10.0.0.3:5432", self.texts("#servers tbody tr")[0])
        self.assertEqual(self.page.run("$('#servers tbody tr').className"), "bad")
        self.assertRegex(self.page.run("document.title"), "^✕ 2 · sluice ")
        self.assertEqual(self.page.run("$('header').textContent.includes('5,000 of 100,000 connections')"), True)

    def test_limits_show_what_is_used_and_who_was_turned_away(self):
        cells = "[...row('routes', '%s').children].map(each => each.textContent)"
        orders = self.page.run(cells % "orders")
        self.assertIn("100 of 250", orders)
        self.assertIn("at most 50MiB/s, each connection: 20MiB/s", orders[0])
        web = self.page.run(cells % "web")
        self.assertIn("▲ 100 of 100", web)
        self.assertIn("each source: 10 connections, 50/s; 812 sources", web[0])
        self.assertIn("web is full: 100 of 100 connections", self.texts(".troubles .warn"))
        self.assertIn("10.1.0.1:8001 of cache is full: 100 of 100 connections", self.texts(".troubles .warn"))
        self.assertIn("50 of 100", self.page.run(cells.replace("routes", "servers") % "10.1.0.2:8001"))
        self.assertTrue(self.page.wait("$('.troubles').textContent.includes("
                                       "'web has turned away clients in the last minute: source rate ')"))
        reasons = self.page.run("[...row('routes', 'web').querySelectorAll('span')].map(each => each.title)")
        self.assertTrue(any("denied 1,202, route connections 31" in each for each in reasons), reasons)
        # They are no failures.
        self.assertFalse(any("limited" in each or "web: denied" in each for each in self.texts(".troubles li")))

    def test_a_capture_that_gets_nothing_to_the_disk_is_stuck(self):
        self.page.run("post('/stub/stuck')")
        self.page.wait("$('.troubles').textContent.includes('orders is stuck: 300 MiB wait for the disk')")
        self.assertFalse(any("all is stuck" in text for text in self.texts(".troubles .bad")))

    def test_a_reload_that_failed_and_a_process_that_drains_are_trouble(self):
        self.assertFalse(any("reload" in text for text in self.texts(".troubles li")))
        self.page.run("post('/stub/reload', {result: 'refused', error: 'sluice.toml:2:1: <b>to</b>'})")
        self.page.wait("$('.troubles').textContent.includes('was refused: sluice.toml:2:1: <b>to</b>')")
        self.assertIn("The process before, 4141, drains, 34 connections left", self.texts(".troubles .note"))
        self.page.run("post('/stub/reload', {result: 'needs-takeover', error: null})")
        self.page.wait("$('.troubles').textContent.includes('needs a takeover')")
        self.page.run("post('/stub/reload', {result: 'applied', error: null})")
        self.page.wait("!$('.troubles').textContent.includes('The reload of')")

    def test_a_table_shows_few_rows_or_all(self):
        self.assertEqual(len(self.texts("#routes tbody tr")), 12)
        self.click("$('#routes .all')")
        self.assertEqual(len(self.texts("#routes tbody tr")), ROUTES)
        self.click("$$('#routes th button').find(each => each.textContent === 'accepted/s')")
        self.page.wait("$$('#routes tbody td:nth-child(5)').every(each => each.textContent !== '\u2013')")
        rates = [float(text) for text in self.texts("#routes tbody td:nth-child(5)")]
        self.assertEqual(rates, sorted(rates, reverse=True))

    def test_hostile_names_are_text(self):
        self.click("$('#routes .all')")
        self.assertIn(HOSTILE, self.texts("#routes tbody .link"))
        self.assertIn(HOSTILE, self.texts("#connections option"))
        self.assertEqual(self.page.run("document.scripts.length"), 1)
        self.assertNotEqual(self.page.run("document.title"), "owned")
        # The path of a request holds it too.
        self.click(f"{BY_NAME.format('routes', json.dumps(HOSTILE))}.querySelector('[role=switch]')")
        self.confirm("Stop recording")
        self.page.wait(f"{BY_NAME.format('routes', json.dumps(HOSTILE))}.querySelector("
                       "'[aria-checked=false]') !== null")

    def test_counts_beyond_what_a_double_holds_are_exact(self):
        self.assertIn("9,007,199,254,740,993 bytes",
                      self.page.run("$$('#captures td span').map(each => each.title)"))
        self.assertIn("9,007,199,254,740,993 bytes",
                      self.page.run("$$('#connections td span').map(each => each.title)"))
        growth = """(counts => {
            const growth = new Growth();
            return counts.map((count, i) => {
                growth.turn();
                const {perSecond, lately} = growth.of('x', count, 1000 * i);
                return [perSecond, String(lately)];
            });
        })(['9007199254740993', '9007199254740994', '9007199254740997', '5', '6'])"""
        self.assertEqual(self.page.run(growth),
                         [[None, "0"], [1, "1"], [3, "4"], [None, "0"], [1, "1"]])

    def test_a_connection_is_killed_after_a_question(self):
        client = self.page.run("$('#connections tbody th').textContent")
        button = "$('#connections tbody button')"
        self.click(button)
        self.assertIn(f"Client{client}", self.page.wait("$('dialog')?.textContent"))
        self.assertEqual(self.page.run("document.activeElement.textContent"), "Cancel")
        self.confirm("Cancel")
        self.assertFalse([each for each in self.stub.asked() if each.startswith("POST")])
        self.click(button)
        self.confirm("Kill")
        self.page.wait(f"!row('connections', {json.dumps(client)})")
        self.assertIn(f"{client} is killed.", self.texts(".said"))
        self.page.wait("$('header').textContent.includes('4,999 of')")
        posts = [each for each in self.stub.asked() if each.startswith("POST")]
        self.assertRegex(posts[0], r"^POST /v1/connections/1a22aed7a7e8157-\d-\d+/kill \{\}$")
        self.assertEqual(len(posts), 1)

    def test_recording_is_switched_off_and_on(self):
        switch = "row('routes', 'orders').querySelector('[role=switch]')"
        self.click(switch)
        self.confirm("Stop recording")
        self.page.wait(f"{switch}.getAttribute('aria-checked') === 'false'")
        self.page.wait("$('.troubles').textContent.includes('orders is not recorded')")
        self.click(switch)
        self.page.wait(f"{switch}.getAttribute('aria-checked') === 'true'")
        self.assertEqual([each for each in self.stub.asked() if each.startswith("POST")], [
            'POST /v1/routes/orders/capture {"enabled":false}',
            'POST /v1/routes/orders/capture {"enabled":true}'])

    def test_a_refusal_is_shown(self):
        self.click("row('routes', 'cache').querySelector('[role=switch]')")
        self.confirm("Stop recording")
        self.page.wait("$('.said.bad')?.textContent === 'Refused: A sink must record: its FIN confirms.'")

    def test_servers_are_set(self):
        pressed = "row('servers', '10.0.0.1:5432').querySelector('[aria-pressed=true]').textContent"
        state = "row('servers', '10.0.0.1:5432').querySelector('.chip').textContent"
        button = ("[...row('servers', '10.0.0.1:5432').querySelectorAll('button')]"
                  ".find(each => each.textContent === '%s')")
        self.assertEqual(self.page.run(pressed), "up")
        self.click(button % "drain")
        self.page.wait(f"{pressed} === 'drain' && {state} === '▲ drain'")
        self.click(button % "down")
        self.confirm("Set down")
        self.page.wait(f"{pressed} === 'down' && {state} === '✕ down'")
        self.assertIn("10.0.0.1:5432 of orders is down, as ordered", self.texts(".troubles .note"))
        self.click(button % "up")
        self.page.wait(f"{pressed} === 'up' && {state} === '✓ up'")
        self.assertIn('POST /v1/servers/orders/10.0.0.1%3A5432 {"state":"drain"}', self.stub.asked())

    def test_plots_show_ten_minutes_and_keys_read_them(self):
        self.assertEqual(self.texts("#plots figcaption")[0].split(" to ")[0], "Bytes per second")
        paths = self.page.run("$$('#plots .curve').map(each => each.getAttribute('d').split('L').length)")
        self.assertEqual(len(paths), 4)
        self.assertGreaterEqual(min(paths), 599)
        chart = "$('#plots svg.chart')"
        tip = "$('#plots .tip').textContent"
        self.page.run(f"{chart}.focus()")
        self.page.wait(f"/^\\d\\d:\\d\\d(:\\d\\d)?, bytes\\/s/.test({tip})")
        self.page.press("ArrowLeft")
        shown = self.page.run(tip).split(",")[0]
        # The cursor stays at its moment while time goes on.
        ticks = self.page.run("$('#plots .curve').getAttribute('d')")
        self.page.wait(f"$('#plots .curve').getAttribute('d') !== {json.dumps(ticks)}")
        self.assertEqual(self.page.run(tip).split(",")[0], shown)

    def test_a_process_that_is_stopped_is_seen(self):
        self.assertTrue(self.page.run("$('.banner').hidden"))
        self.stub.send(signal.SIGSTOP)
        self.page.wait("document.body.classList.contains('stale')")
        self.assertRegex(self.texts(".banner")[0], r"^No answer for \d+ s\. What is shown is that old\.$")
        self.assertEqual(self.page.run("getComputedStyle($('.banner')).display"), "block")
        self.page.wait("parseFloat($('.age').textContent) >= 4")
        self.assertEqual(len(self.texts("#connections tbody tr")), 200)
        self.stub.send(signal.SIGCONT)
        self.page.wait("!document.body.classList.contains('stale') && $('.banner').hidden")

    def test_a_hidden_page_asks_nothing_and_a_visible_one_at_once(self):
        asked = self.page.run("hide(true), asked.length")
        self.page.run("new Promise(done => setTimeout(done, 2500))")
        self.assertEqual(self.page.run("asked.length"), asked)
        self.assertGreater(self.page.run("hide(false), asked.length"), asked)
        self.page.wait("parseFloat($('.age').textContent) < 1")

    def test_closed_sections_are_not_asked_for_and_a_poll_asks_for_200_connections(self):
        for name in ("servers", "connections"):
            self.click(f"$('#{name} summary')")
        self.page.wait("$('.troubles').textContent.includes('Closed, so not watched: servers, connections')")
        self.page.run("asked.length = 0, poller.poll()")
        self.assertEqual(sorted(set(self.page.run("asked"))), [
            "/v1/captures", "/v1/history", "/v1/mirrors", "/v1/routes", "/v1/status"])
        self.page.wait("$('.troubles').textContent.includes('orders has 2 of 3 servers')")
        self.page.run("asked.length = 0")
        self.click("$('#connections summary')")
        self.page.wait("asked.includes('/v1/connections?sort=bytes&limit=200')")

    def test_connections_are_sorted_by_the_daemon_and_chosen_by_route(self):
        self.click("$$('#connections th button').find(each => each.textContent === 'idle')")
        self.page.wait("asked.includes('/v1/connections?sort=idle&limit=200')")
        self.page.wait("$('#connections tbody td:nth-child(9)').textContent === '59 s'")
        self.assertEqual(self.page.run(
            "$$('#connections th[aria-sort=descending]').map(each => each.textContent)"), ["idle"])
        self.click("row('routes', 'mail').querySelector('.link')")
        self.page.wait(f"$$('#connections tbody tr').length === {CONNECTIONS // ROUTES}")
        self.assertEqual(set(self.texts("#connections tbody td:nth-child(2)")), {"mail"})

    def test_a_connection_is_found_among_all(self):
        self.page.run("$('#connections input').value = '192.168.19.250:44999'; "
                      "$('#connections input').dispatchEvent(new Event('input'))")
        self.assertEqual(self.texts("#connections tbody tr"), [])
        self.click("$$('.filter button').find(each => each.textContent === 'Search all')")
        self.page.wait("$$('#connections tbody tr').length === 1")
        self.assertRegex(self.texts(".filter .soft")[0], r"^1 connection found among 5,000 at ")
        self.click("$('#connections tbody button')")
        self.confirm("Kill")
        self.page.wait("$$('#connections tbody tr').length === 0")
        self.click("$$('.filter button').find(each => each.textContent === 'Back to live')")
        self.page.run("$('#connections input').value = ''; "
                      "$('#connections input').dispatchEvent(new Event('input'))")
        self.page.wait("$$('#connections tbody tr').length === 200")

    def test_rows_and_focus_last(self):
        self.page.run("window.kept = row('servers', '10.1.0.1:8001'); kept.querySelectorAll('button')[1].focus()")
        age = self.page.run("kept.textContent")
        self.page.wait(f"row('servers', '10.1.0.1:8001').textContent !== {json.dumps(age)}")
        self.assertTrue(self.page.run("kept === row('servers', '10.1.0.1:8001') && "
                                      "document.activeElement === kept.querySelectorAll('button')[1]"))
        # Its row moves up, and the focus with it.
        self.page.press("Enter", "\r")
        self.page.wait("$$('#servers tbody tr').indexOf(kept) < 4 && kept.className === 'warn'")
        self.assertTrue(self.page.run("document.activeElement === kept.querySelectorAll('button')[1]"))

    def test_nothing_is_wider_than_the_window(self):
        for width in (1366, 400):
            for dark in (False, True):
                self.page.resize(width, 900, dark)
                self.page.wait(f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")
        self.page.wait("$$('#plots svg.chart').every(svg => "
                       "Math.abs(svg.viewBox.baseVal.width - svg.getBoundingClientRect().width) < 1)")

    def test_the_token_is_asked_for_once_and_kept_in_memory(self):
        stub = self.start("--token", TOKEN)
        page = self.open(stub)
        page.wait("!$('.token').hidden && document.activeElement.type === 'password'")
        self.assertTrue(page.run("$('.banner').hidden && getComputedStyle($('#routes')).display === 'none'"))
        enter = "$('.token input').value = '{}'; $('.token button').click()"
        page.run(enter.format("wrong"))
        page.wait("!$('.token').hidden && $('.token').textContent.includes('That is not the token.')")
        page.run(enter.format(TOKEN))
        self.ready(page)
        self.assertTrue(page.run("$('.token').hidden"))
        self.assertEqual(page.run("[localStorage.length, sessionStorage.length, document.cookie]"), [0, 0, ""])
        self.assertEqual([page.run("violations"), page.run("errors")], [[], []])
        page.go(stub.url)
        page.wait("!$('.token').hidden")


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    Stub.files = [name for name in sys.argv[1:] if name.endswith((".html", ".css", ".js"))]
    sys.argv = [sys.argv[0], *[name for name in sys.argv[1:] if name not in Stub.files]]
    return chromium.main()


if __name__ == "__main__":
    sys.exit(main())
