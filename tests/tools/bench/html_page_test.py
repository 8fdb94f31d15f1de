"""Renders the HTML report of sluice-bench in headless Chromium and checks the result.

usage: html_page_test.py SLUICE_BENCH_BINARY

The page is made from sample.json beside this file. Without Chromium the exit status is 77, which
Meson counts as skipped.
"""

import html
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
from html.parser import HTMLParser
from pathlib import Path

SKIPPED = 77
SECONDS = 55
WIDTHS = (1280, 1024)
SAMPLE = Path(__file__).with_name("sample.json")
HOSTILE = "<script>alert(1)</script>"
POLICY = "style-src 'unsafe-inline'"
# A bar may be off by this fraction or, if it is short, by part of a pixel.
TOLERANCE = 0.02
PIXELS = 0.5

# Writes the page's layout as JSON into an element.
PROBE = """
<script>
const box = element => {
  const r = element.getBoundingClientRect();
  return {left: r.left, right: r.right, top: r.top, bottom: r.bottom, width: r.width,
          text: element.textContent};
};
const root = document.documentElement;
const seen = {
  inner: innerWidth, scroll: root.scrollWidth, client: root.clientWidth,
  text: document.body.innerText,
  elements: [...new Set([...document.querySelectorAll('*')].map(e => e.localName))],
  scripts: document.scripts.length,
  loaded: performance.getEntriesByType('resource').map(e => e.name),
  wide: [...document.querySelectorAll('.wide')].map(e => [e.scrollWidth, e.clientWidth]),
  outside: [...document.querySelectorAll('svg text')].filter(text => {
    const [a, b] = [box(text), box(text.ownerSVGElement)];
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 ||
           a.bottom > b.bottom + 1;
  }).map(text => text.textContent),
  curves: [...document.querySelectorAll('svg.curves')].map(svg => ({
    workload: svg.closest('section').dataset.workload,
    lines: [...svg.querySelectorAll('.line')].map(g => g.dataset.contender)})),
  bars: [...document.querySelectorAll('svg.bars')].map(svg => ({
    workload: svg.closest('section').dataset.workload,
    metric: svg.closest('figure').dataset.metric,
    zero: box(svg.querySelector('.zero')),
    ticks: [...svg.querySelectorAll('.axis text')].map(box),
    rows: [...svg.querySelectorAll('.row')].map(g => ({
      contender: g.dataset.contender,
      bar: g.querySelector('.bar') && g.querySelector('.bar').getBBox().width *
           svg.getBoundingClientRect().width / svg.viewBox.baseVal.width,
      left: g.querySelector('.bar') && g.querySelector('.bar').getBBox().x *
            svg.getBoundingClientRect().width / svg.viewBox.baseVal.width +
            svg.getBoundingClientRect().left}))})),
};
const probe = document.createElement('pre');
probe.id = 'probe';
probe.textContent = JSON.stringify(seen);
document.body.append(probe);
</script>
"""


class Elements(HTMLParser):
    """Collects the elements with their attributes, and the style sheets' text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.styles = ""
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.in_style = tag == "style"

    def handle_endtag(self, tag):
        self.in_style = False

    def handle_data(self, data):
        if self.in_style:
            self.styles += data


def run(command: list[str], deadline: float, home: Path) -> str:
    """The command's output. On return it and all its children have ended."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", start_new_session=True, env=os.environ | {"HOME": str(home)})
    try:
        printed, said = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit status {process.returncode}: {said[-2000:]}")
    return printed


def render(chromium: str, page: str, width: int, folder: Path, deadline: float) -> dict:
    """The probe's findings in a window of that width."""
    # The page forbids scripts; the tested copy allows the probe.
    if page.count(POLICY) != 1:
        raise RuntimeError(f"the page's policy does not say {POLICY}")
    copy = folder / f"{width}.html"
    copy.write_text(
        page.replace(POLICY, POLICY + "; script-src 'unsafe-inline'")
        .replace("</body>", PROBE + "</body>"), encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as profile:
        printed = run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={width},1000",
             "--dump-dom", copy.as_uri()], deadline, folder)
    _, found, rest = printed.rpartition('<pre id="probe">')
    if not found:
        raise RuntimeError("the probe did not run")
    return json.loads(html.unescape(rest.partition("</pre>")[0]))


def median_of(workload: dict, contender: str, metric: str) -> float | None:
    """The median of the runs themselves, not from the summary that the page was made of."""
    values = [run["metrics"][metric] for run in workload["runs"]
              if run["valid"] and run["contender"] == contender and metric in run["metrics"]]
    return statistics.median(values) if values else None


class Page(unittest.TestCase):
    binary = ""
    chromium = ""
    document: dict = {}
    source = ""
    seen: dict[int, dict] = {}

    @classmethod
    def setUpClass(cls):
        deadline = time.monotonic() + SECONDS
        cls.document = json.loads(SAMPLE.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            page = folder / "page.html"
            run([cls.binary, "report", "--from", str(SAMPLE), "--html", str(page)], deadline, folder)
            cls.source = page.read_text(encoding="utf-8")
            for width in WIDTHS:
                cls.seen[width] = render(cls.chromium, cls.source, width, folder, deadline)

    def text(self) -> str:
        return " ".join(self.seen[WIDTHS[0]]["text"].split())

    def assert_shown(self, text: str) -> None:
        self.assertIn(" ".join(text.split()), self.text())

    def test_nothing_is_wider_than_the_window(self):
        for width, seen in self.seen.items():
            with self.subTest(width=width):
                self.assertEqual(seen["inner"], width)
                self.assertLessEqual(seen["scroll"], seen["client"])
                for scroll, client in seen["wide"]:
                    self.assertLessEqual(scroll, client)

    def test_no_text_leaves_its_drawing(self):
        for seen in self.seen.values():
            self.assertEqual(seen["outside"], [])

    def test_nothing_is_loaded(self):
        parsed = Elements()
        parsed.feed(self.source)
        for tag, attributes in parsed.elements:
            self.assertNotIn(tag, {"script", "link", "img", "image", "iframe", "object", "embed"})
            for name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster"):
                self.assertTrue(attributes.get(name, "#").startswith("#"), (tag, attributes))
            self.assertNotIn("url(", attributes.get("style", ""))
            self.assertFalse([name for name in attributes if name.startswith("on")], attributes)
        self.assertTrue(parsed.styles)
        for loader in ("url(", "@import", "http://", "https://"):
            self.assertNotIn(loader, parsed.styles)
        for seen in self.seen.values():
            self.assertEqual(seen["loaded"], [])

    def test_hostile_names_are_text(self):
        for seen in self.seen.values():
            self.assertEqual(seen["scripts"], 1, "the probe is the only script")
            self.assertNotIn("img", seen["elements"])
            self.assertIn(HOSTILE, seen["text"])

    def test_links_lead_somewhere(self):
        parsed = Elements()
        parsed.feed(self.source)
        ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        self.assertEqual(len(ids), len(set(ids)))
        for _, attributes in parsed.elements:
            if "href" in attributes:
                self.assertIn(attributes["href"].removeprefix("#"), ids)

    def test_all_names_are_shown(self):
        self.assert_shown(self.document["command"])
        for contender in self.document["contenders"]:
            for field in ("name", "version", "command", "config"):
                self.assert_shown(contender[field])
        for workload in self.document["workloads"]:
            for field in ("name", "description", "loop"):
                self.assert_shown(workload[field])
        for fact in ("kernel", "cpu", "congestion_control", "clock_source"):
            self.assert_shown(self.document["machine"][fact])

    def test_void_runs_are_shown_with_their_reasons(self):
        reasons = {run["reason"] for workload in self.document["workloads"]
                   for run in workload["runs"] if not run["valid"]}
        self.assertGreater(len(reasons), 1)
        for reason in reasons:
            self.assert_shown(reason)

    def test_what_disturbed_the_run_is_shown(self):
        self.assert_shown("This run was interrupted.")
        self.assertEqual(self.text().count("Not quiet."), 1)
        self.assert_shown("median: sluice 0.31.")

    def test_an_end_that_was_the_limit_is_shown(self):
        self.assertEqual(self.text().count("Saturated."), 1)
        self.assert_shown("median: sluice 0.97.")

    def test_large_numbers_are_grouped_and_missing_ones_dashed(self):
        self.assert_shown("80,555")
        self.assert_shown("–")

    def test_the_best_of_those_that_compete_is_marked(self):
        self.assert_shown("★4.30")
        self.assertNotIn("★6.25", self.text(), "direct does not compete")

    def test_bars_are_proportional_from_zero(self):
        workloads = {workload["name"]: workload for workload in self.document["workloads"]}
        for seen in self.seen.values():
            drawn = [(chart["workload"], chart["metric"]) for chart in seen["bars"]]
            for workload in self.document["workloads"]:
                self.assertIn((workload["name"], workload["metrics"][0]["key"]), drawn)
            for chart in seen["bars"]:
                self.check_bars(chart, workloads[chart["workload"]])

    def check_bars(self, chart: dict, workload: dict) -> None:
        ticks = [(float(tick["text"].replace(",", "")), (tick["left"] + tick["right"]) / 2)
                 for tick in chart["ticks"]]
        zero = (chart["zero"]["left"] + chart["zero"]["right"]) / 2
        self.assertEqual(ticks[0][0], 0)
        self.assertAlmostEqual(ticks[0][1], zero, delta=PIXELS)
        scale = (ticks[-1][1] - ticks[0][1]) / ticks[-1][0]
        for value, x in ticks:
            self.assertAlmostEqual(x, zero + value * scale, delta=2 * PIXELS)
        contenders = [entry["contender"] for entry in workload["summary"]]
        self.assertEqual([row["contender"] for row in chart["rows"]], contenders)
        for row in chart["rows"]:
            value = median_of(workload, row["contender"], chart["metric"])
            if value is None:
                self.assertIsNone(row["bar"], row)
                continue
            self.assertAlmostEqual(row["left"], zero, delta=2 * PIXELS)
            self.assertAlmostEqual(
                row["bar"], value * scale, delta=max(PIXELS, TOLERANCE * value * scale),
                msg=f"{chart['workload']}, {chart['metric']}, {row['contender']}")

    def test_each_latency_has_a_curve_for_each_contender(self):
        expected = {}
        for workload in self.document["workloads"]:
            lines = {entry["contender"] for entry in workload["summary"] if entry.get("percentiles")}
            if lines:
                expected[workload["name"]] = lines
        self.assertEqual(len(expected), 2)
        for seen in self.seen.values():
            found = {chart["workload"]: set(chart["lines"]) for chart in seen["curves"]}
            self.assertEqual(found, expected)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    Page.binary = sys.argv.pop()
    Page.chromium = shutil.which("chromium") or ""
    if not Page.chromium:
        print("skipped: there is no chromium in PATH to render the page in")
        return SKIPPED
    return 0 if unittest.main(exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
