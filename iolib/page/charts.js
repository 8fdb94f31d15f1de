'use strict';
// Draws charts. The build appends this file to page.js; pages have both as one script.

const kCharacter = 7.8;  // more than the average width of a character in a chart
const kMostName = 26;

function shortened(text, most) {
  const all = Array.from(text);
  return all.length <= most ? text : `${all.slice(0, Math.max(1, most - 1)).join('')}…`;
}

function line(name, x1, y1, x2, y2) { return draw('line', {class: name, x1, y1, x2, y2}); }

function text(anchor, x, y, content, name) {
  return draw('text', {class: name, 'text-anchor': anchor, x, y}, content);
}

/** The multiples of a round step, by `base` (10 or 2), from 0 to `most` or just above. */
function ticksTo(most, steps, base = 10) {
  if (!(most > 0)) return [0, 1];
  const power = base ** Math.floor(Math.log(most / steps) / Math.log(base));
  const factors = base === 10 ? [1, 2, 5, 10] : [1, base];
  const step = power * factors.find(factor => power * factor >= most / steps * (1 - 1e-9));
  return Array.from({length: Math.ceil(most / step - 1e-9) + 1}, (_, i) => i * step);
}

/** 1, 2 and 5 times powers of ten, from the last one up to `least` to the first one above `most`. */
function ticksAround(least, most) {
  const power = Math.floor(Math.log10(least));
  const all = Array.from({length: 3 * (Math.floor(Math.log10(most)) - power + 2)},
                         (_, i) => [1, 2, 5][i % 3] * 10 ** (power + Math.floor(i / 3)));
  return all.filter((tick, i) => !(all[i + 1] <= least || all[i - 1] > most));
}

function digitsOf(step) { return Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)); }

let unplaced = [];  // of each chart that mount() has not placed yet: its ruler, and what resizes it

/** A view that `paint(data, width)` draws: for new data, and when the width of `element` changes. */
function fitted(element, paint) {
  let data = null;
  let width = 940;
  const resize = found => {
    if (found === 0 || found === width) return;
    width = found;
    if (data) paint(data, width);
  };
  // Has no height, so that what is painted does not change what is observed.
  const ruler = make('div');
  element.prepend(ruler);
  unplaced.push({ruler, resize});
  new ResizeObserver(() => resize(ruler.clientWidth)).observe(ruler);
  return {element, show(next) { data = next; paint(data, width); return this; }};
}

/** Appends to an element of the page, and fits the charts into their places. */
function mount(parent, ...children) {
  append(parent, children);
  const placed = unplaced.filter(({ruler}) => ruler.isConnected);
  unplaced = unplaced.filter(({ruler}) => !ruler.isConnected);
  const widths = placed.map(({ruler}) => ruler.clientWidth);
  placed.forEach(({resize}, i) => resize(widths[i]));
}

/**
 * A view of bars from zero: {name, look, value, best}, where `value` is {median, least, most} or
 * null. A whisker leads from the least to the most.
 */
function barChart({title, digits}) {
  const svg = draw('svg', {class: 'chart bars', role: 'img', 'aria-label': title});
  return fitted(make('div', {class: 'plot'}, svg), (bars, width) => {
    const bottom = 6 + 26 * bars.length;
    const shown = bar => bar.value ? grouped(bar.value.median, digits) + (bar.best ? ' ★' : '') : '';
    const longest = of => Math.max(0, ...bars.map(bar => Array.from(of(bar)).length));
    const names = Math.min(longest(bar => bar.name), kMostName, Math.floor((.42 * width - 8) / kCharacter));
    const left = kCharacter * names + 8;
    const right = width - kCharacter * longest(shown) - 16;
    const ticks = ticksTo(Math.max(0, ...bars.map(bar => bar.value?.most ?? 0)),
                          Math.max(2, (right - left) / 56));
    const x = value => left + (right - left) * value / ticks[ticks.length - 1];
    svg.setAttribute('viewBox', `0 0 ${width} ${bottom + 22}`);
    svg.replaceChildren(draw('g', {class: 'axis'}, ticks.map((tick, i) => [
      line(i === 0 ? 'zero' : 'grid', x(tick), 6, x(tick), bottom),
      text('middle', x(tick), bottom + 15, grouped(tick, digitsOf(ticks[1])))])),
    ...bars.map((bar, i) => draw('g', {class: `row ${classOf(bar.look)}`, 'data-name': bar.name},
      text('end', left - 8, 23.5 + 26 * i, shortened(bar.name, names), 'name'),
      bar.value ? drawBar(bar, x, 19 + 26 * i, digits, shown(bar)) :
        text('start', left + 8, 23.5 + 26 * i, kNothing, 'none'))));
  });
}

function drawBar({name, value}, x, y, digits, shown) {
  const [median, least, most] = [value.median, value.least, value.most].map(each => grouped(each, digits));
  const [from, to] = [x(value.least), x(value.most)];
  const path = `M${from} ${y - 4}V${y + 4}M${to} ${y - 4}V${y + 4}M${from} ${y}H${to}`;
  return [
    draw('title', {}, `${name}: ${median} (${least}–${most})`),
    draw('rect', {class: 'bar', x: x(0), y: y - 7, width: x(value.median) - x(0), height: 14}),
    // Drawn twice: the wider halo separates the whisker from the bar.
    to - from >= 1 && ['halo', 'whisker'].map(kind => draw('path', {class: kind, d: path})),
    text('start', Math.max(x(value.median), to) + 8, y + 4.5, shown, 'value')];
}

/**
 * A view of lines: {name, look, points}, where the points are [x, y] in ascending order of x. The
 * pointer and the arrow keys read the values.
 *   unit    what stands beside the y axis, which is logarithmic (`log`) or begins at 0
 *   base    2 if y counts bytes
 *   show    formats a y
 *   x       the other axis: {from, to, ticks, title, show(x)}, and at(x) if it is not linear. It may
 *           change before each show(data)
 *   room    how high the plot is, in pixels; otherwise that depends on the width
 */
function lineChart({title, unit, x, log = false, base = 10, show = brief, room = null}) {
  const svg = draw('svg', {class: 'chart curves', role: 'img', tabindex: 0,
                           'aria-label': `${title}. The arrow keys read the values.`});
  const tip = make('div', {class: 'tip', role: 'status', hidden: ''});
  const legend = make('ul', {class: 'legend'});
  let plot = null;
  let cursor = null;  // the x whose values are shown
  const point = next => {
    cursor = next ?? null;
    svg.querySelector('.cursor')?.remove();
    tip.hidden = cursor === null || plot.stops.length === 0;
    if (!tip.hidden) drawCursor(plot, plot.nearest(plot.place(cursor)), svg, tip);
  };
  const on = (type, handler) => svg.addEventListener(type, handler);
  on('pointermove', event => {
    const box = svg.getBoundingClientRect();
    point(plot.nearest((event.clientX - box.left) * plot.width / box.width));
  });
  on('pointerleave', () => point(null));
  on('blur', () => point(null));
  on('focus', () => point(plot.stops[plot.stops.length - 1]));
  on('keydown', event => {
    const last = plot.stops.length - 1;
    const at = cursor === null ? last + 1 : plot.stops.indexOf(plot.nearest(plot.place(cursor)));
    const next = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: NaN}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    point(plot.stops[Math.min(Math.max(next, 0), last)]);
  });
  return fitted(make('div', {class: 'plot'}, svg, tip, legend), (lines, width) => {
    plot = plotOf(lines, width, {unit, x, log, base, show, room});
    svg.setAttribute('viewBox', `0 0 ${width} ${plot.bottom + 42}`);
    svg.replaceChildren(drawAxes(plot), ...plot.lines.map(each => drawLine(plot, each)));
    legend.replaceChildren(...plot.labelled ? [] : plot.lines.map(
      each => make('li', {class: classOf(each.look)}, key(each.look), each.name)));
    point(cursor);
  });
}

function plotOf(lines, width, options) {
  const {x, log, base, room} = options;
  // A logarithmic axis cannot show zero, which is what a clock reports for a faster event.
  const shown = ([at, value]) => at >= x.from && at <= x.to && value >= (log ? 1e-3 : 0) && value < Infinity;
  const kept = lines.map(each => ({...each, points: each.points.filter(shown)}))
    .filter(each => each.points.length > 0)
    .sort((a, b) => Boolean(a.look.ours) - Boolean(b.look.ours));  // ours on top
  const points = kept.flatMap(each => each.points);
  const [least, most] = points.reduce(([a, b], [, v]) => [Math.min(a, v), Math.max(b, v)], [Infinity, 0]);
  const ticks = !log ? ticksTo(most, 5, base) : points.length > 0 ? ticksAround(least, most) : [1, 10];
  const labelled = width >= 640;  // else the names stand in a legend
  const [left, top] = [base === 10 ? 70 : 84, 12];
  const names = Math.max(0, ...kept.map(each => shortened(each.name, kMostName).length));
  const right = width - (labelled ? 40 + kCharacter * names : 22);
  const bottom = top + (room ?? (labelled ? Math.max(300, 17 * kept.length) : 220));
  const part = (value, from, to, of = same => same) => (of(value) - of(from)) / (of(to) - of(from));
  const place = value => left + (right - left) * part(value, x.from, x.to, x.at);
  const height = value =>
    bottom - (bottom - top) * part(value, ticks[0], ticks[ticks.length - 1], log ? Math.log : undefined);
  // Each label stands beside its line's end; they keep the order of the ends, and do not overlap.
  const order = kept.map(each => ({each, y: height(each.points[each.points.length - 1][1])}))
    .sort((a, b) => a.y - b.y);
  order.forEach((label, i) => { label.y = Math.max(label.y, i > 0 ? order[i - 1].y + 17 : top); });
  order.reduceRight((limit, label) => (label.each.labelY = Math.min(label.y, limit)) - 17, bottom);
  const stops = [...new Set(points.map(([at]) => at))].sort((a, b) => a - b);
  const nearest = at => stops.reduce((best, stop) =>
    Math.abs(place(stop) - at) < Math.abs(place(best) - at) ? stop : best, stops[0]);
  return {...options, lines: kept, ticks, labelled, left, top, right, bottom, width, place, height,
          stops, nearest};
}

function drawAxes({left, top, right, bottom, place, height, ticks, x, log, base, show, unit}) {
  const shown = tick => base === 10 ? grouped(tick, digitsOf(log ? tick : ticks[1])) : show(tick);
  // The ticks whose texts do not touch, from the last one on.
  const labelled = x.ticks.reduceRight(([kept, limit], tick) => {
    const half = kCharacter * x.show(tick).length / 2;
    return place(tick) + half > limit ? [kept, limit] : [[...kept, tick], place(tick) - half];
  }, [[], Infinity])[0];
  return draw('g', {class: 'axis'},
    x.ticks.map(tick => line('grid', place(tick), top, place(tick), bottom)),
    labelled.map(tick => text('middle', place(tick), bottom + 17, x.show(tick))),
    ticks.map(tick => [line('grid', left, height(tick), right, height(tick)),
                       text('end', left - 8, height(tick) + 4, shown(tick))]),
    text('middle', (left + right) / 2, bottom + 36, x.title),
    draw('text', {'text-anchor': 'middle',
                  transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`}, unit));
}

function drawLine({place, height, right, labelled, x}, {name, look, points, labelY}) {
  const path = points.map(([at, value]) => `${place(at).toFixed(2)} ${height(value).toFixed(2)}`);
  const marks = points.filter(([at]) => x.ticks.some(tick => Math.abs(tick - at) < 1e-6))
    .map(([at, value]) => markerPath(look, place(at), height(value), 4));
  if (labelled) marks.push(markerPath(look, right + 30, labelY, 4));
  return draw('g', {class: `line ${classOf(look)} d${look.dash}`, 'data-name': name},
    draw('title', {}, name),
    labelled && draw('path', {class: 'leader', d: `M${path[path.length - 1]}L${right + 24} ${labelY}`}),
    draw('path', {class: 'curve', d: `M${path.join('L')}`}),
    draw('path', {class: 'mark', d: marks.join('')}),
    labelled && text('start', right + 40, labelY + 4.5, shortened(name, kMostName), 'name'));
}

function drawCursor({lines, place, height, top, bottom, x, show, unit, width}, at, svg, tip) {
  const values = lines.map(({look, name, points}) => ({look, name, y: points.find(([stop]) => stop === at)?.[1]}))
    .filter(({y}) => y !== undefined).sort((a, b) => b.y - a.y);
  append(svg, draw('g', {class: 'cursor'}, line('zero', place(at), top, place(at), bottom),
    values.map(({look, y}) => draw('circle', {class: `mark k${look.colour}`, r: 3.5, cx: place(at),
                                              cy: height(y)}))));
  tip.replaceChildren(make('b', {}, `${x.show(at)}, ${unit}`), make('ul', {}, values.map(
    ({look, name, y}) => make('li', {class: classOf(look)}, key(look), `${name} `, make('b', {}, show(y))))));
  // On the side with more room.
  const share = place(at) / width;
  tip.style.left = share < .5 ? `calc(${100 * share}% + 12px)` : 'auto';
  tip.style.right = share < .5 ? 'auto' : `calc(${100 * (1 - share)}% + 12px)`;
}

/** A view of µs at each percentile; points are [percentile, µs]. The x axis counts nines. */
function latencyChart(title) {
  return lineChart({title, unit: 'µs', log: true, x: {
    from: 50, to: 99.99, ticks: [50, 90, 99, 99.9, 99.99], title: 'percentile',
    at: percentile => -Math.log10(1 - percentile / 100), show: percentile => `p${percentile}`}});
}
