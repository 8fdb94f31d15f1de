"""Uses page.js and page.css in headless Chromium, under the policy of a page that a server sends.

usage: page_test.py FOLDER_OF_PAGE_JS

Without Chromium the exit status is 77, which Meson counts as skipped.
"""

import functools
import http.server
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import chromium

SECONDS = 110
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
          "img-src 'self' data:")
FILES = {"page.js": ["page.js", "charts.js"], "page.css": ["page.css"]}
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>test</title>
<link rel="stylesheet" href="page.css"></head><body><main></main>
<script src="page.js"></script><script src="test.js"></script></body></html>
"""
# A table and a chart with live data, and what the functions make of numbers.
TEST = """
const violations = [];
document.addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective));
const hostile = '"><script>document.title = 1</script><img src=x onerror=alert(1)>';
const look = {colour: 0, shape: 0, dash: 0, ours: true};
const other = {colour: 1, shape: 2, dash: 1};
const view = table([
  {title: 'route', name: true, sort: row => row.name, cell: row => [key(look), row.name]},
  {title: 'bytes', group: 'to upstream', down: true, sort: row => row.bytes, cell: row => bytes(row.bytes)},
  {title: '/s', group: 'to upstream', cell: row => grouped(row.rate)},
]).show([{name: hostile, bytes: 10, rate: '18446744073709551615'}, {name: 'a', bytes: 2048, rate: 1},
         {name: 'b', rate: null}]);
const seconds = [...Array(301).keys()].map(i => 2 * i - 600);
const chart = lineChart({title: 'rate', unit: 'bytes/s', base: 2, show: bytes, x: {
  from: -600, to: 0, ticks: [-600, -300, 0], title: 'seconds', show: at => `${at} s`}});
const lines = top => [{name: hostile, look, points: seconds.map(at => [at, at + 600])},
                      {name: 'idle', look: other, points: seconds.map(at => [at, top])}];
const empty = lineChart({title: 'nothing yet', unit: '', x: {
  from: 0, to: 1, ticks: [0, 1], title: '', show: at => `${at}`}});
mount(document.querySelector('main'), note('now ', make('b', {}, hostile)), view.element,
      figure(hostile, 'per route', chart.show(lines(100))), empty.show([]).element,
      figure('bars', '', barChart({title: hostile, digits: 1}).show([
        {name: hostile, look, value: {median: 2, least: 1, most: 3}, best: true},
        {name: 'none', look: other, value: null}])));
const place = make('div');
place.style.width = '260px';
const narrow = lineChart({title: 'narrow', unit: 'ms', x: {
  from: -600, to: 0, ticks: [-600, -480, -360, -240, -120, 0], title: '', show: at => `${at} seconds`}});
mount(document.querySelector('main'), place);
mount(place, narrow.show(lines(1)).element);
const rows = () => [...document.querySelectorAll('tbody tr')].map(tr => tr.cells[0].textContent);
const heads = () => [...document.querySelectorAll('thead tr')].map(
  tr => [...tr.cells].map(th => [th.textContent, th.rowSpan, th.colSpan]));
const curves = chart.element.querySelector('svg');
const tip = () => chart.element.querySelector('.tip').textContent;
const ticks = () => [...curves.querySelectorAll('.axis text')].map(each => each.textContent);
const press = (to, name) => to.dispatchEvent(new KeyboardEvent('keydown', {key: name}));
const seen = {heads: heads(), thinned: [...narrow.element.querySelectorAll('.axis text')].map(
  each => each.textContent).filter(each => each.endsWith('seconds')),
  legend: [...narrow.element.querySelectorAll('.legend li')].map(each => each.textContent), ticks: ticks(), rows: [rows()]};
document.querySelectorAll('th button')[1].click();
seen.rows.push(rows());
view.show([{name: 'a', bytes: 1}, {name: 'b', bytes: 2}, {name: 'c', bytes: 3}]);
seen.rows.push(rows());
curves.focus();
seen.tips = [tip()];
press(curves, 'ArrowLeft');
seen.tips.push(tip());
chart.show(lines(2048));
seen.tips.push(tip());
seen.laterTicks = ticks();
seen.focused = document.activeElement === curves;
curves.blur();
seen.hidden = chart.element.querySelector('.tip').hidden;
const box = curves.getBoundingClientRect();
curves.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width / 2}));
seen.tips.push(tip());
seen.text = {
  grouped: [1234567.5, '18446744073709551615', -1234, 1e15, null, undefined, '', 'x', NaN, 0].map(
    value => grouped(value)),
  digits: [grouped(1234567.5, 1), grouped('12345.678', 2), grouped(-999.99, 1)],
  bytes: [0, 1, 1023, 1024, 1536, '1099511627776', 25232932864].map(value => bytes(value)),
  duration: [0, 2e-9, 3.5e-4, .0125, 1.25, 59.9, 60, 200, 3600, '187200'].map(duration),
  brief: [0, 12345.6, 12.34, .01234].map(brief),
  counted: [counted(1, 'round'), counted(2000, 'round')],
  ratio: [ratio(1.234), ratio(.0567)],
  when: [when('2026-11-23T23:13:18Z'), when('later')],
};
seen.title = document.title;
seen.images = document.images.length;
seen.scripts = document.scripts.length;
seen.styled = getComputedStyle(curves.querySelector('.curve')).fill;
seen.violations = violations;
seen.attributes = document.querySelectorAll('[style]').length;
return seen;
"""
HOSTILE = '"><script>document.title = 1</script><img src=x onerror=alert(1)>'


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends page.js and page.css from `folder`, and the test's page."""

    def __init__(self, folder: Path, *arguments):
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self):  # pylint: disable=invalid-name
        name = self.path.removeprefix("/")
        if name in FILES:
            body = b"".join((self.folder / file).read_bytes() for file in FILES[name])
        else:
            body = {"": PAGE, "test.js": chromium.probe(TEST)}.get(name, "").encode()
        kind = {"js": "text/javascript", "css": "text/css"}.get(name.rpartition(".")[2], "text/html")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Page(unittest.TestCase):
    folder = Path()
    seen: dict = {}

    @classmethod
    def setUpClass(cls):
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, cls.folder))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
                url = f"http://127.0.0.1:{server.server_address[1]}/"
                cls.seen = chromium.found(
                    chromium.render(url, 1000, Path(name), time.monotonic() + SECONDS))
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def test_the_policy_is_kept(self):
        self.assertEqual(self.seen["violations"], [])
        self.assertEqual(self.seen["styled"], "none", "the style sheet applies")
        # By script: the place of the tip, and the width of the narrow place.
        self.assertEqual(self.seen["attributes"], 2)

    def test_hostile_names_are_text(self):
        self.assertEqual(self.seen["title"], "test")
        self.assertEqual(self.seen["images"], 0)
        self.assertEqual(self.seen["scripts"], 2)
        self.assertEqual(self.seen["rows"][0], [HOSTILE, "a", "b"])
        self.assertIn(HOSTILE, self.seen["tips"][0])

    def test_headings_of_a_group_stand_under_its_title(self):
        self.assertEqual(self.seen["heads"], [[["route", 2, 1], ["to upstream", 1, 2]],
                                              [["bytes", 1, 1], ["/s", 1, 1]]])

    def test_a_table_keeps_its_order_when_new_rows_come(self):
        self.assertEqual(self.seen["rows"][1:], [["a", HOSTILE, "b"], ["c", "b", "a"]])

    def test_a_chart_keeps_its_cursor_and_focus_when_new_points_come(self):
        last, before, later, pointed = self.seen["tips"]
        self.assertEqual(last, f"0 s, bytes/s{HOSTILE} 600 bytesidle 100 bytes")
        self.assertEqual(before, f"-2 s, bytes/s{HOSTILE} 598 bytesidle 100 bytes")
        self.assertEqual(later, f"-2 s, bytes/sidle 2 KiB{HOSTILE} 598 bytes")
        self.assertTrue(self.seen["focused"])
        self.assertTrue(self.seen["hidden"])
        self.assertRegex(pointed, r"^-[1-5]\d\d s, bytes/s")

    def test_an_axis_of_bytes_has_round_steps(self):
        self.assertEqual(self.seen["ticks"][3:-2],
                         ["0 bytes", "128 bytes", "256 bytes", "384 bytes", "512 bytes", "640 bytes"])
        self.assertEqual(self.seen["laterTicks"][3:-2],
                         ["0 bytes", "512 bytes", "1 KiB", "1.5 KiB", "2 KiB"])

    def test_a_narrow_chart_has_fewer_texts_at_its_axis_and_a_legend(self):
        self.assertEqual(self.seen["thinned"], ["0 seconds", "-360 seconds"])
        self.assertEqual(self.seen["legend"], ["idle", HOSTILE])

    def test_numbers_and_times(self):
        text = self.seen["text"]
        self.assertEqual(text["grouped"], ["1,234,568", "18,446,744,073,709,551,615", "-1,234",
                                           "1000000000000000", "–", "–", "–", "–", "–", "0"])
        self.assertEqual(text["digits"], ["1,234,567.5", "12,345.68", "-1,000.0"])
        self.assertEqual(text["bytes"], ["0 bytes", "1 byte", "1,023 bytes", "1 KiB", "1.5 KiB",
                                         "1 TiB", "23.5 GiB"])
        self.assertEqual(text["duration"], ["0 s", "2 ns", "350 µs", "12.5 ms", "1.25 s", "59.9 s",
                                            "1 min", "3 min 20 s", "1 h", "2 d 4 h"])
        self.assertEqual(text["brief"], ["0", "12,346", "12.3", "0.0123"])
        self.assertEqual(text["counted"], ["1 round", "2,000 rounds"])
        self.assertEqual(text["ratio"], ["×1.23", "×0.057"])
        self.assertEqual(text["when"], ["2026-11-23 23:13:18 UTC", "later"])


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    Page.folder = Path(sys.argv.pop())
    return chromium.main()


if __name__ == "__main__":
    sys.exit(main())
