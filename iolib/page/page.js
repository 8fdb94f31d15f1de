'use strict';
// Draws pages from data: elements (make, draw, mount), text (grouped to when), small parts, tables
// and charts. The data's text becomes text nodes and attributes only; nothing here reads it as HTML,
// and no style comes from markup, so that a page can forbid inline scripts and styles.
//
// Tables and charts are views: `element` stands in the page, and `show(data)` draws new data into
// it. A view keeps its order, its focus and its cursor when new data come.

// --- Elements. Children are nodes, strings and lists of these; what is false or empty is left out ---

function append(node, ...children) { node.append(...children.flat(Infinity).filter(Boolean)); }

function maker(namespace) {
  return (name, attributes = {}, ...children) => {
    const node = document.createElementNS(namespace, name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
    }
    append(node, children);
    return node;
  };
}
const make = maker('http://www.w3.org/1999/xhtml');
const draw = maker('http://www.w3.org/2000/svg');

// --- Numbers and times as text: numbers, or strings of digits where 2^53 is not enough ---

const kNothing = '–';

/** 1234567.5 with one digit is "1,234,567.5". A string of digits keeps them all. */
function grouped(value, digits = 0) {
  const exact = typeof value === 'string' && /^-?\d+$/.test(value) && digits === 0;
  const number = value === null || value === '' ? NaN : Number(value);
  if (!Number.isFinite(number)) return kNothing;
  if (!exact && Math.abs(number) >= 1e15) return String(Number(number.toPrecision(6)));
  const [whole, rest] = (exact ? value : number.toFixed(digits)).split('.');
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return rest === undefined ? text : `${text}.${rest}`;
}

/** Three or more significant digits: "12,345", "12.3", "0.0123". */
function brief(value) {
  const size = Math.abs(Number(value));
  return grouped(value, size > 0 ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size)))) : 0);
}

/** "23.5 GiB". */
function bytes(value) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = value === null ? NaN : Number(value);
  let unit = 0;
  if (size === 1) return '1 byte';
  for (; size >= 1024 && unit + 1 < units.length; ++unit) size /= 1024;
  return `${grouped(size, Number.isInteger(size) ? 0 : 1)} ${units[unit]}`;
}

function ratio(value) { return `×${grouped(value, value < 0.1 ? 3 : 2)}`; }

/** "350 µs", "1.25 s", "3 min 20 s", "2 d 4 h". */
function duration(seconds) {
  const value = Number(seconds);
  if (!Number.isFinite(value)) return kNothing;
  if (value < 60) {
    const power = value > 0 ? Math.max(-3, Math.min(0, Math.floor(Math.log10(value) / 3))) : 0;
    return `${Number((value / 1000 ** power).toPrecision(3))} ${['s', 'ms', 'µs', 'ns'][-power]}`;
  }
  const parts = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]].map(([unit, size], i, units) =>
    [Math.floor(value % (i > 0 ? units[i - 1][1] : Infinity) / size), unit]);
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(part => part.join(' '))
    .join(' ');
}

/** "1 round", "2 rounds". */
function counted(count, noun) { return `${grouped(count)} ${noun}${Number(count) === 1 ? '' : 's'}`; }

/** "2026-11-23T23:13:18Z" for reading. */
function when(time) { return String(time).replace(/^(.{10})T(.{8})Z$/, '$1 $2 UTC'); }

// --- Small parts ---

function note(...children) { return make('div', {class: 'note', role: 'note'}, children); }

/** Names with their values. */
function facts(pairs) {
  return make('dl', {class: 'facts'},
              pairs.map(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]));
}

function figure(title, more, chart, metric) {
  const caption = make('figcaption', {}, title, ' ', make('span', {}, more));
  return make('figure', {'data-metric': metric}, caption, chart.element);
}

// A look is how one thing appears in all charts and tables of a page: {colour, shape, dash, ours,
// aside}. Shape and dash are for those who cannot tell the colours apart. `ours` is drawn with
// emphasis, `aside` without.

function classOf(look) {
  return `k${look.colour}${look.ours ? ' ours' : ''}${look.aside ? ' aside' : ''}`;
}

function markerPath({shape}, x, y, radius) {
  const [corners, turn, size] = [[24, 0, .95], [4, .125, 1.2], [3, 0, 1.3], [4, 0, 1.2], [3, .5, 1.3]][shape];
  const path = Array.from({length: corners}, (_, i) => 2 * Math.PI * (turn + i / corners)).map(angle =>
    [x + size * radius * Math.sin(angle), y - size * radius * Math.cos(angle)].map(at => at.toFixed(2)));
  return `M${path.map(point => point.join(' ')).join('L')}Z`;
}

/** The marker of a look, for use beside a name. */
function key(look) {
  return draw('svg', {class: `key ${classOf(look)}`, viewBox: '-7 -7 14 14', width: 12, height: 12,
                      'aria-hidden': 'true'},
              draw('path', {class: 'mark', d: markerPath(look, 0, 0, 5)}));
}

// --- Tables ---

/**
 * A view of rows. A click on a heading sorts by its column, a second one the other way round, a
 * third one not at all. A column has
 *   title, cell(row)   what stands in the heading and in a cell
 *   sort(row)   optional: the number or string to sort by; rows without one come last
 *   down        optional: the first click sorts the greatest first
 *   name        optional: the column names its row
 *   class       optional
 *   group       optional: the title above this column and its neighbours of the same group
 */
function table(columns, {kind = false, rowKind = () => false} = {}) {
  const body = make('tbody');
  let rows = [];
  let order = null;  // {column, sign}
  const refill = () => body.replaceChildren(...sorted(rows, order).map(
    row => make('tr', {class: rowKind(row)}, columns.map(column => make(column.name ? 'th' : 'td',
      {scope: column.name && 'row', class: column.class}, column.cell(row))))));
  const grouping = columns.some(column => column.group);
  const heads = columns.map(column => make('th', {
    scope: 'col', class: column.class, 'aria-sort': column.sort && 'none',
    rowspan: grouping && !column.group && 2,
  }, column.sort ? make('button', {type: 'button'}, column.title) : column.title));
  columns.forEach((column, i) => heads[i].querySelector('button')?.addEventListener('click', () => {
    const first = column.down ? -1 : 1;
    const again = order?.column === column;
    order = again && order.sign !== first ? null : {column, sign: again ? -first : first};
    heads.forEach((head, j) => columns[j].sort && head.setAttribute('aria-sort', 'none'));
    if (order) heads[i].setAttribute('aria-sort', order.sign > 0 ? 'ascending' : 'descending');
    refill();
  }));
  const begins = i => !columns[i]?.group || columns[i].group !== columns[i - 1]?.group;
  const upper = heads.map((head, i) => {
    if (!columns[i].group) return head;
    let end = i + 1;
    while (!begins(end)) ++end;
    return begins(i) && make('th', {class: 'part', scope: 'colgroup', colspan: end - i}, columns[i].group);
  });
  const lower = grouping && make('tr', {}, heads.filter((head, i) => columns[i].group));
  const element = make('div', {class: 'wide'}, make('table', {class: kind},
    make('thead', {}, make('tr', {}, upper), lower), body));
  return {element, show(next) { rows = next; refill(); return this; }};
}

function sorted(rows, order) {
  if (!order) return rows;
  const missing = value => value === null || value === undefined;
  return rows.map(row => [row, order.column.sort(row)]).sort(([, a], [, b]) =>
    missing(a) || missing(b) ? missing(a) - missing(b) : ((a > b) - (a < b)) * order.sign)
    .map(([row]) => row);
}

// --- Charts ---

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
 *   x       the other axis: {from, to, ticks, title, show(x)}, and at(x) if it is not linear
 */
function lineChart({title, unit, x, log = false, base = 10, show = brief}) {
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
    plot = plotOf(lines, width, {unit, x, log, base, show});
    svg.setAttribute('viewBox', `0 0 ${width} ${plot.bottom + 42}`);
    svg.replaceChildren(drawAxes(plot), ...plot.lines.map(each => drawLine(plot, each)));
    legend.replaceChildren(...plot.labelled ? [] : plot.lines.map(
      each => make('li', {class: classOf(each.look)}, key(each.look), each.name)));
    point(cursor);
  });
}

function plotOf(lines, width, options) {
  const {x, log, base} = options;
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
  const bottom = top + (labelled ? Math.max(300, 17 * kept.length) : 220);
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
