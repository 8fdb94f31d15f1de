"""Renders the HTML report of sluice-bench in headless Chromium and checks the result.

usage: html_page_test.py SLUICE_BENCH_BINARY

The page is made from sample.json beside this file. Without Chromium the exit status is 77, which
Meson counts as skipped.
"""

import json
import re
import statistics
import sys
import tempfile
import time
import unittest
from html.parser import HTMLParser
from pathlib import Path

import chromium

SECONDS = 220
WIDTHS = (1280, 1024, 500)  # no window of Chromium is narrower
# From this width on, tables need not scroll.
ROOMY = 1024
SAMPLE = Path(__file__).with_name("sample.json")
HOSTILE = "<script>alert(1)</script>"
POLICY = re.compile(r"script-src ('sha256-[^']+' ?){2}")
# A bar may be off by this fraction or, if it is short, by part of a pixel.
TOLERANCE = 0.02
PIXELS = 0.5

# Finds out the page's layout, and what it does when it is used.
PROBE = chromium.probe("""
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
  fits: [...document.querySelectorAll('.plot > svg')].map(
    svg => [svg.viewBox.baseVal.width, svg.getBoundingClientRect().width]),
  loaded: performance.getEntriesByType('resource').map(e => e.name),
  wide: [...document.querySelectorAll('.wide')].map(e => [e.scrollWidth, e.clientWidth]),
  outside: [...document.querySelectorAll('svg text')].filter(text => {
    const [a, b] = [box(text), box(text.ownerSVGElement)];
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 ||
           a.bottom > b.bottom + 1;
  }).map(text => text.textContent),
  curves: [...document.querySelectorAll('svg.curves')].map(svg => ({
    workload: svg.closest('section').dataset.workload,
    lines: [...svg.querySelectorAll('.line')].map(g => g.dataset.name)})),
  bars: [...document.querySelectorAll('svg.bars')].map(svg => ({
    workload: svg.closest('section').dataset.workload,
    metric: svg.closest('figure').dataset.metric,
    zero: box(svg.querySelector('.zero')),
    ticks: [...svg.querySelectorAll('.axis text')].map(box),
    rows: [...svg.querySelectorAll('.row')].map(g => ({
      contender: g.dataset.name,
      bar: g.querySelector('.bar') && g.querySelector('.bar').getBBox().width *
           svg.getBoundingClientRect().width / svg.viewBox.baseVal.width,
      left: g.querySelector('.bar') && g.querySelector('.bar').getBBox().x *
            svg.getBoundingClientRect().width / svg.viewBox.baseVal.width +
            svg.getBoundingClientRect().left}))})),
};
const chart = document.querySelector('svg.curves');
const tip = chart.parentElement.querySelector('.tip');
const press = key => chart.dispatchEvent(new KeyboardEvent('keydown', {key}));
chart.dispatchEvent(new FocusEvent('focus'));
seen.read = ['', 'ArrowLeft', 'Home', 'ArrowLeft'].map(key => { press(key); return tip.textContent; });
press('Escape');
seen.hidden = tip.hidden;
const table = document.querySelector('.figures');
const heading = [...table.querySelectorAll('th')].find(th => th.textContent.startsWith('GiB/s'));
const names = () => [...table.querySelectorAll('tbody tr')].map(tr =>
  [...tr.querySelector('th').childNodes].find(node => node.nodeType === Node.TEXT_NODE).textContent);
seen.orders = [names()];
for (let i = 0; i < 3; ++i) {
  heading.querySelector('button').click();
  seen.orders.push([heading.getAttribute('aria-sort'), ...names()]);
}
return seen;
""")


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


def render(page: str, width: int, folder: Path, deadline: float) -> dict:
    """The probe's findings in a window of that width."""
    # The page forbids other scripts; the tested copy allows the probe.
    allowed, policies = POLICY.subn("script-src 'unsafe-inline'", page)
    if policies != 1:
        raise RuntimeError("the page's policy does not name two scripts")
    copy = folder / f"{width}.html"
    copy.write_text(allowed.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    return chromium.found(chromium.render(copy.as_uri(), width, folder, deadline))


def median_of(workload: dict, contender: str, metric: str) -> float | None:
    """The median of the runs themselves, not from the summary that the page was made of."""
    values = [run["metrics"][metric] for run in workload["runs"]
              if run["valid"] and run["contender"] == contender and metric in run["metrics"]]
    return statistics.median(values) if values else None


class Page(unittest.TestCase):
    binary = ""
    document: dict = {}
    source = ""
    drawn = ""
    seen: dict[int, dict] = {}

    @classmethod
    def setUpClass(cls):
        deadline = time.monotonic() + SECONDS
        cls.document = json.loads(SAMPLE.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            page = folder / "page.html"
            chromium.run([cls.binary, "report", "--from", str(SAMPLE), "--html", str(page)], deadline,
                         folder)
            cls.source = page.read_text(encoding="utf-8")
            cls.drawn = chromium.render(page.as_uri(), WIDTHS[0], folder, deadline)
            for width in WIDTHS:
                cls.seen[width] = render(cls.source, width, folder, deadline)

    def text(self) -> str:
        return " ".join(self.seen[WIDTHS[0]]["text"].split())

    def assert_shown(self, text: str) -> None:
        self.assertIn(" ".join(text.split()), self.text())

    def test_nothing_is_wider_than_the_window(self):
        for width, seen in self.seen.items():
            with self.subTest(width=width):
                self.assertEqual(seen["inner"], width)
                self.assertLessEqual(seen["scroll"], seen["client"])
                for scroll, client in seen["wide"] if width >= ROOMY else []:
                    self.assertLessEqual(scroll, client)

    def test_drawings_have_the_width_of_their_place(self):
        for seen in self.seen.values():
            self.assertGreater(len(seen["fits"]), 5)
            for drawn, shown in seen["fits"]:
                self.assertAlmostEqual(drawn, shown, delta=1)

    def test_no_text_leaves_its_drawing(self):
        for seen in self.seen.values():
            self.assertEqual(seen["outside"], [])

    def test_the_page_draws_itself_under_its_own_policy(self):
        for part in ('<svg class="chart bars"', '<svg class="chart curves"', "<tbody><tr", 'id="repeat"'):
            self.assertNotIn(part, self.source)
            self.assertIn(part, self.drawn)

    def test_nothing_is_loaded(self):
        for document in (self.source, self.drawn):
            parsed = Elements()
            parsed.feed(document)
            for tag, attributes in parsed.elements:
                self.assertNotIn(tag, {"link", "img", "image", "iframe", "object", "embed"})
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
        self.assertNotIn(HOSTILE, self.source)
        for seen in self.seen.values():
            self.assertEqual(seen["scripts"], 4, "the data, two scripts, and the probe")
            self.assertNotIn("img", seen["elements"])
            self.assertIn(HOSTILE, seen["text"])

    def test_the_page_holds_the_results_themselves(self):
        data = self.source.partition('id="data">')[2].partition("</script>")[0]
        for held, given in zip(json.loads(data)["workloads"], self.document["workloads"], strict=True):
            self.assertEqual(held["metrics"], given["metrics"])
            self.assertEqual([(run["contender"], run["valid"]) for run in held["runs"]],
                             [(run["contender"], run["valid"]) for run in given["runs"]])

    def test_links_lead_somewhere(self):
        parsed = Elements()
        parsed.feed(self.drawn)
        ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        self.assertEqual(len(ids), len(set(ids)))
        links = [attributes["href"] for _, attributes in parsed.elements if "href" in attributes]
        self.assertEqual(len(links), len(self.document["workloads"]))
        for link in links:
            self.assertIn(link.removeprefix("#"), ids)

    def test_keys_read_the_values_of_a_chart(self):
        for seen in self.seen.values():
            last, before, first, still = seen["read"]
            self.assertTrue(last.startswith("p99.99, µs"), last)
            self.assertTrue(before.startswith("p99.95, µs"), before)
            self.assertTrue(first.startswith("p50, µs<script>"), first)
            self.assertTrue(first.endswith("sluice 80.0direct 48.0"), first)
            self.assertEqual(first, still)
            self.assertTrue(seen["hidden"])

    def test_a_heading_sorts_its_table_and_gives_the_order_back(self):
        for seen in self.seen.values():
            before, down, up, after = seen["orders"]
            rising = [HOSTILE, "haproxy-tuned", "A/A", "sluice", "direct"]
            self.assertEqual(down, ["descending", *reversed(rising)])
            self.assertEqual(up, ["ascending", *rising])
            self.assertEqual(after, ["none", *before])

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
        self.assertEqual(self.text().count("Not quiet:"), 1)
        self.assert_shown("the kernel's own threads): sluice 0.31.")

    def test_an_end_that_was_the_limit_is_shown(self):
        self.assertEqual(self.text().count("Saturated:"), 1)
        self.assert_shown("may be the limit: sluice 0.97.")

    def test_what_a_tcpdump_has_lost_is_shown(self):
        self.assertEqual(self.text().count("Lost:"), 1)
        self.assert_shown("did not record: haproxy-tuned 12.50.")

    def test_system_calls_have_a_column_or_a_reason(self):
        self.assert_shown("system calls/GiB ↓")
        self.assert_shown("4.25")
        self.assert_shown("System calls not counted: haproxy-tuned: it was slow")

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
    return chromium.main()


if __name__ == "__main__":
    sys.exit(main())
