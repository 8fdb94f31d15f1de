'use strict';
// Draws pages from data: elements (make, draw), text (grouped to when), small parts and tables;
// charts.js follows with charts and mount. The data's text becomes text nodes and attributes only; nothing here reads it as HTML,
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
 *   view()      instead of cell(row), for what has a focus: makes a view {element, show(row)} that
 *               lasts as long as its row
 * A row is the same as an earlier one if `id(row)` is. At most `most()` rows are shown.
 */
function table(columns, {
  kind = false, rowKind = () => false, id = row => row, most = () => Infinity} = {}) {
  const body = make('tbody');
  let rows = [];
  let order = null;  // {column, sign}
  let lines = new Map();  // by id
  const refill = () => {
    const next = new Map();
    for (const row of sorted(rows, order).slice(0, most())) {
      const again = next.has(id(row));
      const line = (!again && lines.get(id(row))) || tableLine(columns);
      next.set(again ? line : id(row), line);
      line.show(row, rowKind(row));
    }
    lines = next;
    arrange(body, Array.from(lines.values(), line => line.element));
  };
  const grouping = columns.some(column => column.group);
  const heads = columns.map(column => make('th', {
    scope: 'col', class: column.class, 'aria-sort': column.sort && 'none',
    rowspan: grouping && !column.group && 2,
  }, column.sort ? make('button', {type: 'button'}, column.title) : column.title));
  columns.forEach((column, i) => column.sort && heads[i].querySelector('button').addEventListener('click', () => {
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

/** A row in a table: it draws only what has changed. */
function tableLine(columns) {
  const cells = columns.map(column => {
    const element = make(column.name ? 'th' : 'td', {scope: column.name && 'row', class: column.class});
    const view = column.view?.();
    append(element, view?.element);
    let shown = null;
    return row => {
      const content = view ? view.show(row) : column.cell(row);
      if (!view && (content !== shown || typeof content !== 'string')) {
        element.replaceChildren();
        append(element, content);
      }
      shown = content;
      return element;
    };
  });
  const element = make('tr');
  return {element, show(row, kind) {
    element.className = kind || '';
    const drawn = cells.map(cell => cell(row));
    if (!element.firstChild) append(element, drawn);
  }};
}

/** Makes `nodes` the children of `parent`. It moves only those that must move, and keeps the focus. */
function arrange(parent, nodes) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Set(nodes);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({preventScroll: true});
}

function sorted(rows, order) {
  if (!order) return rows;
  const missing = value => value === null || value === undefined;
  return rows.map(row => [row, order.column.sort(row)]).sort(([, a], [, b]) =>
    missing(a) || missing(b) ? missing(a) - missing(b) : ((a > b) - (a < b)) * order.sign)
    .map(([row]) => row);
}
