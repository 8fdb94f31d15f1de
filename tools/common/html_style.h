#pragma once

#include <string_view>

namespace sluice::html {

/// The page's style sheet. The colours of the contenders (--c in .k0 to .k7) are distinguishable
/// with the common forms of colour blindness, in light and in dark mode: where the hues are
/// similar, the lightness differs.
inline constexpr std::string_view kStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f7f8; --line: #d5d9de; --grid: #e4e7ea;
  --ink: #1b1f24; --soft: #57606a; --tint: #e9f2fa; --link: #005a9c;
  --warn-ink: #6b3d00; --warn-page: #fff4e0; --warn-line: #d08700;
  --p0: #0072b2; --p1: #c43c00; --p2: #00a070; --p3: #cc6ca6;
  --p4: #b98a00; --p5: #432a86; --p6: #5e3a1c; --p7: #737b84;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --panel: #1c2024; --line: #3a4047; --grid: #2a2f35;
    --ink: #e6e9ec; --soft: #a3abb4; --tint: #1c2b38; --link: #7cc0f0;
    --warn-ink: #ffd79a; --warn-page: #2e2413; --warn-line: #b97a14;
    --p0: #56b4e9; --p1: #ee7733; --p2: #1fb58a; --p3: #f0a3cf;
    --p4: #f0dc4e; --p5: #8a6be0; --p6: #a9764c; --p7: #8d949c;
  }
}
.k0 { --c: var(--p0); } .k1 { --c: var(--p1); } .k2 { --c: var(--p2); } .k3 { --c: var(--p3); }
.k4 { --c: var(--p4); } .k5 { --c: var(--p5); } .k6 { --c: var(--p6); } .k7 { --c: var(--p7); }

* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1160px; margin: 0 auto; padding: 28px 24px 56px; }
a { color: var(--link); }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 21px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 22px 0 6px; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 80ch; }
.soft { color: var(--soft); }
.lead { overflow-wrap: anywhere; }
section { margin-top: 40px; padding-top: 22px; border-top: 1px solid var(--line); }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre {
  font-size: 12.5px; line-height: 1.45; margin: 6px 0 10px; padding: 9px 12px; border-radius: 5px;
  background: var(--panel); border: 1px solid var(--line);
  white-space: pre-wrap; overflow-wrap: anywhere;
}
.how { margin: 10px 0 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 2px 22px;
  font-size: 13.5px; color: var(--soft); }
.how b { color: var(--ink); font-weight: 600; }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; }
.loop { font-size: 12.5px; font-weight: 600; border: 1px solid var(--line); border-radius: 10px;
  padding: 0 9px; background: var(--panel); white-space: nowrap; }
.head .soft { font-size: 13.5px; }
.note { margin: 12px 0; padding: 9px 13px; border-left: 4px solid var(--warn-line); border-radius: 3px;
  background: var(--warn-page); color: var(--warn-ink); font-size: 14px; overflow-wrap: anywhere; }
.note ul { margin: 4px 0 0; padding-left: 20px; }
.note li { margin: 2px 0; }
.note code { font-size: 12.5px; }

.wide { overflow-x: auto; margin: 14px 0 6px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
th { font-weight: 600; font-size: 12.5px; text-align: right; vertical-align: bottom; }
th, td { padding: 6px 7px; border-bottom: 1px solid var(--line); }
th.who, td.who { text-align: left; padding-left: 24px; text-indent: -18px; }
thead tr:last-child th, thead th[rowspan] { border-bottom: 2px solid var(--soft); }
.figures thead th { max-width: 92px; }
th.part { text-align: left; max-width: none; border-bottom: 1px solid var(--line); color: var(--soft); }
.part, .first { border-left: 1px solid var(--line); }
td { text-align: right; vertical-align: top; }
td.who { font-weight: 500; overflow-wrap: anywhere; min-width: 124px; max-width: 190px; }
th.text, td.text { text-align: left; overflow-wrap: anywhere; }
.overview th, .overview td { padding-left: 14px; }
.overview td b { font-weight: 700; }
tr.ours > td { background: var(--tint); }
tr.ours > td.who { font-weight: 700; }
tr.aside > td { color: var(--soft); }
td .base { display: block; font-weight: 400; font-size: 12px; color: var(--soft); text-indent: 0; }
.m { white-space: nowrap; }
.best .m { font-weight: 700; }
.star { margin-right: 3px; }
.s, .r { font-size: 11.5px; color: var(--soft); }
.r { white-space: nowrap; }
.r.sure { color: var(--ink); }
.aside .r.sure { color: var(--soft); }
.v { display: grid; justify-items: end; align-items: baseline; }
.figures.few { width: auto; min-width: 80%; }
.figures.few thead th { max-width: none; }
.figures.few .r { margin-right: 4px; }
.few .vr { grid-template-columns: 1fr 64px; }
.few .vr .m, .few .vr .s { grid-column: 1; }
.few .s { font-size: 12px; }
.few .vr .r { grid-column: 2; grid-row: 1; font-size: 13px; }
.void { font-weight: 600; color: var(--warn-ink); background: var(--warn-page); border-radius: 3px;
  padding: 0 5px; white-space: nowrap; font-size: 12.5px; }
.key { vertical-align: -1px; margin-right: 6px; flex: none; }

.charts { display: grid; grid-template-columns: 29fr 19fr; gap: 6px 26px; align-items: start; }
figure { margin: 16px 0 0; min-width: 0; }
figcaption { font-size: 13.5px; font-weight: 600; margin-bottom: 4px; }
figcaption span { font-weight: 400; color: var(--soft); }
.chart { display: block; width: 100%; height: auto; }
.chart text { font-size: 13px; fill: var(--ink); font-variant-numeric: tabular-nums; }
.axis text { font-size: 12px; fill: var(--soft); }
.grid { stroke: var(--grid); } .zero { stroke: var(--soft); }
.bar { fill: var(--c); fill-opacity: .42; stroke: var(--c); }
.ours .bar { fill-opacity: 1; }
.aside .bar { fill-opacity: .12; stroke-dasharray: 3 2; }
.ours .name, .ours .value { font-weight: 700; }
.aside .name, .aside .value, .none { fill: var(--soft) !important; }
.whisker { fill: none; stroke: var(--ink); stroke-width: 1.4; }
.halo { fill: none; stroke: var(--page); stroke-width: 4; stroke-opacity: .75; }
.curve { fill: none; stroke: var(--c); stroke-width: 1.7; stroke-linejoin: round; }
.d1 .curve { stroke-dasharray: 6 3; } .d2 .curve { stroke-dasharray: 2 3; }
.ours .curve { stroke-width: 3.2; }
.leader { fill: none; stroke: var(--c); stroke-width: 1; stroke-opacity: .55; }
.mark { fill: var(--c); stroke: var(--page); stroke-width: 1; }
.key .mark { stroke: none; }
.aside .mark { fill: var(--page); stroke: var(--c); stroke-width: 1.6; }

.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 18px; margin: 6px 0;
  font-size: 14px; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 32px; }
.label { font-size: 12.5px; color: var(--soft); margin: 0; }

@media (max-width: 760px) {
  .charts, .pair { grid-template-columns: minmax(0, 1fr); }
  main { padding: 18px 14px 40px; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section { break-inside: auto; margin-top: 22px; }
  figure, tr, .note, .head { break-inside: avoid; }
  h2, h3, figcaption, .head { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 9.5pt; }
  th, td { padding: 3px 5px; }
  .bar, .mark, .key, .note, .void, tr.ours > td, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

}  // namespace sluice::html
