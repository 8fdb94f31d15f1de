'use strict';
// The sections of the live page, except that of connections. Each has {section, path(), show(data,
// time)}, and `growth` or figures that trouble.js reads.

// How many rows a table draws, at first and at most; what needs attention comes first.
const kFewRows = 12;
const kMostRows = 200;

// --- Plots ---

const kPlotSeconds = 600;

/** "16:40", or "16:40:07" between the minutes. In UTC, as in the log. */
function clockText(unix) {
  const text = new Date(unix * 1000).toISOString();
  return unix % 60 === 0 ? text.slice(11, 16) : text.slice(11, 19);
}

/** A plot of some members of the points; each is {name, of(point), look}. */
function livePlot(title, options, lines) {
  const x = {from: 0, to: kPlotSeconds, ticks: [], title: 'UTC', show: clockText};
  const chart = lineChart({title, x, room: 130, ...options});
  const now = make('span');
  const caption = make('figcaption', {}, title, ' ', now);
  return {element: make('figure', {}, caption, chart.element), show(points, to) {
    x.from = to - kPlotSeconds;
    x.to = to;
    x.ticks = Array.from({length: 5}, (_, i) => (Math.ceil(x.from / 120) + i) * 120);
    chart.show(lines.map(({name, of, look}) => ({name, look, points: points.map(
      point => [Math.floor(point.time), of(point)])})));
    const last = points[points.length - 1];
    now.textContent = last ? lines.map(({name, of}) =>
      `${name} ${options.show(of(last))}`).join(', ') : '';
  }};
}

function plotsSection() {
  const look = (colour, dash, shape) => ({colour, dash, shape});
  const count = value => grouped(value);
  const plots = [
    livePlot('Bytes per second', {unit: 'bytes/s', base: 2, show: value => bytes(Math.round(value))}, [
      {name: 'to upstream', of: point => Number(point.bytes_to_upstream), look: look(0, 0, 0)},
      {name: 'to client', of: point => Number(point.bytes_to_client), look: look(1, 1, 2)}]),
    livePlot('Accepted per second', {unit: 'connections/s', show: count}, [
      {name: 'accepted', of: point => Number(point.accepted), look: look(2, 0, 0)}]),
    livePlot('Connections', {unit: 'connections', show: count}, [
      {name: 'now', of: point => Number(point.connections), look: look(5, 0, 1)}])];
  const section = new Section('plots', 'Ten minutes',
                              make('div', {class: 'plots'}, plots.map(plot => plot.element)));
  return {section, path: () => '/v1/history', show({points, now}) {
    const last = points[points.length - 1];
    const to = Math.floor(last?.time ?? now);
    plots.forEach(plot => plot.show(points, to));
  }};
}

// --- Tables of what is configured ---

/** A table in a section, which shows at most kMostRows and says so. */
class ListSection {
  #view;
  #noun;
  #none;
  #rows = [];
  #all = false;
  #more = button('', () => {
    this.#all = !this.#all;
    this.#fill();
  }, {class: 'all'});

  constructor(name, title, {noun, none, columns, rowKind, id}) {
    this.#view = table(columns, {rowKind, id, kind: 'live',
      most: () => this.#fits || this.#all ? kMostRows : kFewRows});
    this.#noun = noun;
    this.#none = none;
    this.section = new Section(name, title, this.#view.element, this.#more);
  }

  path() { return `/v1/${this.section.name}`; }

  /** `level(row)`: the lower, the more attention a row needs. */
  draw(rows, level, more) {
    this.#rows = rows.map((row, i) => [level(row), i, row]).sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([, , row]) => row);
    this.section.more = rows.length === 0 ? this.#none :
      [counted(rows.length, this.#noun), more].filter(Boolean).join(', ');
    this.#fill();
  }

  /** A button that shows few rows more would take their place. */
  get #fits() { return this.#rows.length <= kFewRows + 4; }

  #fill() {
    const count = this.#rows.length;
    this.#view.element.hidden = count === 0;
    this.#view.show(this.#rows);
    this.#more.hidden = this.#fits;
    this.#more.textContent = this.#all ? `Show ${kFewRows} only` :
      count > kMostRows ? `Show ${kMostRows} of ${grouped(count)}` : `Show all ${count}`;
  }
}

/** Ends that are no trouble. All others count as failures, except of clients that were turned away. */
const kOrderly = new Set(['closed', 'left', 'idle_timeout', 'limited', 'killed']);

/** How many of a limit are used, `limit` being {limit, used}; `count` where there is none. */
function places(count, limit) {
  if (!limit) return grouped(count);
  const text = `${grouped(limit.used)} of ${grouped(limit.limit)}`;
  return isFull(limit) ? chip('warn', text) : text;
}
function isFull(limit) { return limit !== undefined && limit.used >= limit.limit; }

/** What a source may do: "each source: 10 connections, 50/s; 812 sources". */
function sourceLimits({limits, sources}) {
  const most = limits['source-connections']?.limit;
  const each = [most && counted(most, 'connection'), limits['source-rate']?.limit].filter(Boolean);
  return each.length === 0 ? '' : `each source: ${each.join(', ')}; ${counted(sources ?? 0, 'source')}`;
}

/** How many bytes may move in each direction: "at most 50MiB/s, each connection: 20MiB/s". */
function bandwidthLimits({limits}) {
  const [all, each] = [limits['route-bandwidth']?.limit, limits['connection-bandwidth']?.limit];
  return [all && `at most ${all}`, each && `each connection: ${each}`].filter(Boolean).join(', ');
}

/** A switch for the recording of a route. */
function captureSwitch() {
  let row = null;
  const element = make('span');
  const toggle = button('', async () => {
    const {name, capture, capture_enabled: on} = row;
    if (on && !await confirmed(`Stop recording ${name}?`, [
      ['Route', name], ['Directory', capture],
      ['Effect', 'What is forwarded from now on is missing in the capture.']], 'Stop recording')) return;
    change(`/v1${pathOf('routes', name, 'capture')}`, {enabled: !on},
           `${name} is ${on ? 'no longer' : 'now'} recorded.`);
  }, {role: 'switch'});
  return {element, show(next) {
    if (!row || (row.capture === null) !== (next.capture === null)) {
      element.replaceChildren(next.capture === null ? kNothing : toggle);
    }
    row = next;
    toggle.setAttribute('aria-checked', String(row.capture_enabled));
    toggle.setAttribute('aria-label', `record ${row.name}`);
    toggle.title = row.capture ?? '';
    toggle.textContent = row.capture_enabled ? 'on' : 'off';
  }};
}

class RoutesSection extends ListSection {
  #growth = new Growth();
  rows = [];

  /** `choose(name)` shows the connections of a route. */
  constructor(choose) {
    const name = () => {
      let row = null;
      const link = button('', () => choose(row.name), {class: 'link', title: 'Show its connections'});
      const [listen, to] = [make('span'), make('span', {class: 'roomy'})];
      const limits = make('span', {class: 'base'});
      return {element: make('span', {}, link, make('span', {class: 'base'}, listen, to), limits), show(next) {
        row = next;
        limits.textContent = [sourceLimits(row), bandwidthLimits(row)].filter(Boolean).join('; ');
        link.textContent = row.name;
        listen.textContent = row.listen.join(', ');
        to.textContent = ` → ${row.to.slice(0, 3).join(', ')}${
          row.to.length > 3 ? ` and ${row.to.length - 3} more` : ''}`;
      }};
    };
    super('routes', 'Routes', {noun: 'route', none: 'none', id: row => row.name,
      rowKind: row => row.kind, columns: [
      {title: 'route', name: true, class: 'who', sort: row => row.name, view: name},
      {title: 'servers', sort: row => row.servers_usable, cell: row => row.servers === 0 ? kNothing :
        row.servers_usable === row.servers ? `${row.servers} of ${row.servers}` :
          chip(row.servers_usable === 0 ? 'bad' : 'warn', `${row.servers_usable} of ${row.servers}`)},
      {title: 'now', group: 'connections', down: true, sort: row => row.connections,
       cell: row => places(row.connections, row.limits['route-connections'])},
      {title: 'queued', group: 'connections', down: true, sort: row => row.limits.queue?.used ?? -1,
       cell: row => row.limits.queue ? places(row.limits.queue.used, row.limits.queue) : kNothing},
      {title: 'accepted/s', group: 'connections', down: true, sort: row => row.accepting,
       cell: row => rate(row.accepting)},
      {title: 'failed', group: 'connections', down: true, sort: row => Number(row.failures), cell: row => [
        make('span', {title: reasons(row.closed) || null}, grouped(String(row.failures))),
        row.failing > 0n && make('span', {class: 'more'}, ` +${grouped(String(row.failing))}`)]},
      {title: 'turned away', group: 'connections', down: true, sort: row => Number(row.turnedAway), cell: row => [
        make('span', {title: reasons(row.rejected) || null}, grouped(String(row.turnedAway))),
        row.turningAway > 0n && make('span', {class: 's'}, ` +${grouped(String(row.turningAway))}`)]},
      {title: 'now', group: 'to upstream', down: true, sort: row => row.up, cell: row => byteRate(row.up)},
      {title: 'total', group: 'to upstream', down: true, sort: row => Number(row.bytes.to_upstream),
       cell: row => size(row.bytes.to_upstream)},
      {title: 'now', group: 'to client', down: true, sort: row => row.down, cell: row => byteRate(row.down)},
      {title: 'total', group: 'to client', down: true, sort: row => Number(row.bytes.to_client),
       cell: row => size(row.bytes.to_client)},
      {title: 'recording', class: 'act', view: captureSwitch},
    ]});
  }

  show({items}, time) {
    this.#growth.turn();
    this.rows = items.map(item => {
      const of = (what, count) => this.#growth.of(`${what} ${item.name}`, count, time);
      const failed = Object.entries(item.closed ?? {}).filter(
        ([reason]) => !kOrderly.has(reason) && !(reason in item.rejected));
      const latelyOf = counts => Object.fromEntries(
        counts.map(([reason, count]) => [reason, of(reason, count).lately]));
      const lately = latelyOf(failed);
      const rejectedLately = latelyOf(Object.entries(item.rejected));
      const off = item.capture !== null && !item.capture_enabled;
      const row = {
        ...item, lately, rejectedLately, accepting: of('accepted', item.accepted).perSecond,
        up: of('up', item.bytes.to_upstream).perSecond, down: of('down', item.bytes.to_client).perSecond,
        failures: total(Object.fromEntries(failed)), failing: total(lately),
        turnedAway: total(item.rejected), turningAway: total(rejectedLately),
        full: isFull(item.limits['route-connections'])};
      return {...row, kind: item.servers > 0 && item.servers_usable === 0 ? 'bad' :
        item.servers_usable < item.servers || off || row.full || row.failing > 0n ? 'warn' : ''};
    });
    this.draw(this.rows, row => ['bad', 'warn', ''].indexOf(row.kind),
              this.rows.some(row => row.failing + row.turningAway > 0n) && '+ in the last minute');
  }
}

const kServerLevels = {down: 'bad', ejected: 'warn', drain: 'warn', up: 'good'};

/** What the last check found, without the server's own name. */
function checkText({check, server}) { return (check ?? '').replace(`connect ${server}: `, ''); }

/** Buttons that order what a server is to do. */
function serverButtons() {
  let row = null;
  const order = async state => {
    if (state === 'down' && !await confirmed(`Set ${row.server} down?`, [
      ['Route', row.route], ['Server', row.server], ['Connections', grouped(row.connections)],
      ['Effect', 'It gets no connections until it is set up again.']], 'Set down')) return;
    change(`/v1${pathOf('servers', row.route, row.server)}`, {state}, `${row.server} of ${row.route} is set ${
      {up: 'up', drain: 'to drain', down: 'down'}[state]}.`);
  };
  const buttons = ['up', 'drain', 'down'].map(state => button(state, () => order(state)));
  return {element: make('span', {class: 'choices', role: 'group'}, buttons), show(next) {
    row = next;
    buttons.forEach(each => {
      each.setAttribute('aria-pressed', String(each.textContent === row.ordered));
      each.setAttribute('aria-label', `${each.textContent}: ${row.server} of ${row.route}`);
    });
  }};
}

class ServersSection extends ListSection {
  #growth = new Growth();
  rows = [];

  constructor() {
    super('servers', 'Servers', {noun: 'server', none: 'none', id: row => `${row.route} ${row.server}`,
      rowKind: row => row.state === 'down' ? 'bad' : row.state !== 'up' || row.full ? 'warn' : '', columns: [
      {title: 'server', name: true, class: 'who', sort: row => row.server, cell: row => [
        row.server, row.backup && make('span', {class: 'base'}, 'backup')]},
      {title: 'route', class: 'text', sort: row => row.route, cell: row => row.route},
      {title: 'state', class: 'text', sort: row => Object.keys(kServerLevels).indexOf(row.state), cell: row => [
        chip(kServerLevels[row.state] ?? 'warn', row.state),
        row.ordered !== 'up' && make('span', {class: 's'}, ' ordered')]},
      {title: 'last check', class: 'text check', cell: row => row.check === null ? kNothing :
        [checkText(row), typeof row.check_age_seconds === 'number' &&
          make('span', {class: 's'}, `, ${row.check_age_seconds < 60 ?
            `${row.check_age_seconds.toFixed(1)} s` : duration(row.check_age_seconds)} ago`)]},
      {title: 'connections', down: true, sort: row => row.connections,
       cell: row => places(row.connections, row.limits['server-connections'])},
      {title: 'connects failed', down: true, sort: row => Number(row.connect_failures), cell: row => [
        grouped(String(row.connect_failures)),
        row.failing > 0n && make('span', {class: 'more'}, ` +${grouped(String(row.failing))}`)]},
      {title: 'weight', down: true, sort: row => row.weight, cell: row => grouped(row.weight)},
      {title: 'order', class: 'act', view: serverButtons},
    ]});
  }

  show({items}, time) {
    this.#growth.turn();
    this.rows = items.map(item => ({...item, full: isFull(item.limits['server-connections']), failing: this.#growth.of(
      `${item.route} ${item.server}`, item.connect_failures, time).lately}));
    const counts = Object.keys(kServerLevels).filter(state => state !== 'up').map(state => [
      state, items.filter(item => item.state === state).length]).filter(([, count]) => count > 0);
    this.draw(this.rows, row => Object.keys(kServerLevels).indexOf(row.state) - (row.full ? .5 : 0),
              counts.map(([state, count]) => `${count} ${state}`).join(', '));
  }
}

// --- Captures and mirrors ---

/** What was lost, most first; and how many in the last minute. */
function lossCell(counts, lately, show) {
  const lost = total(counts);
  return lost === 0n ? '0' : [
    chip(lately > 0n ? 'bad' : 'warn', show(String(lost))),
    lately > 0n && make('span', {class: 'more'}, ` +${show(String(lately))}`),
    make('span', {class: 's'}, ` ${reasons(counts, show)}`)];
}

const kStuck = 5000;  // ms

class CapturesSection extends ListSection {
  #growth = new Growth();
  #still = new Map();  // by directory: {lag, since}
  rows = [];

  constructor() {
    super('captures', 'Captures', {noun: 'capture', none: 'nothing is recorded', id: row => row.directory,
      rowKind: row => row.level, columns: [
      {title: 'directory', name: true, class: 'who', sort: row => row.directory, cell: row => [
        row.directory, make('span', {class: 'base'}, shortened(row.routes.join(', '), 80))]},
      {title: 'lag', down: true, sort: row => Number(row.lag_bytes), cell: row => row.stuck || row.lagging ?
        chip(row.stuck ? 'bad' : 'warn', bytes(row.lag_bytes)) : size(row.lag_bytes)},
      {title: 'dropped', class: 'text', down: true, sort: row => Number(total(row.dropped_bytes)),
       cell: row => lossCell(row.dropped_bytes, row.dropping, bytes)},
      {title: 'lost connections', down: true, sort: row => Number(row.lost_connections),
       cell: row => grouped(String(row.lost_connections))},
      {title: 'disk failures', down: true, sort: row => Number(row.disk_failures), cell: row => {
        const count = grouped(String(row.disk_failures));
        return row.failing > 0n ? chip('bad', count) : count;
      }},
      {title: 'now', group: 'recorded', down: true, sort: row => row.rate, cell: row => byteRate(row.rate)},
      {title: 'total', group: 'recorded', down: true, sort: row => Number(row.recorded_bytes),
       cell: row => size(row.recorded_bytes)},
      {title: 'segments', down: true, sort: row => Number(row.segments),
       cell: row => grouped(String(row.segments))},
    ]});
  }

  show({items}, time) {
    this.#growth.turn();
    this.rows = items.map(item => {
      const of = (what, count) => this.#growth.of(`${what} ${item.directory}`, count, time);
      const rateNow = of('recorded', item.recorded_bytes).perSecond;
      const dropping = of('dropped', String(total(item.dropped_bytes))).lately;
      const losing = of('lost', item.lost_connections).lately;
      const failing = of('failed', item.disk_failures).lately;
      // More than a second of what it records, and not a mere block.
      const lagging = Number(item.lag_bytes) > Math.max(8 << 20, rateNow ?? 0);
      const before = this.#still.get(item.directory);
      const still = before?.lag === item.lag_bytes ? before : {lag: item.lag_bytes, since: time};
      this.#still.set(item.directory, still);
      const stuck = item.lag_bytes !== '0' && time - still.since >= kStuck;
      return {...item, rate: rateNow, dropping, losing, failing, lagging, stuck,
              level: stuck || dropping + losing + failing > 0n ? 'bad' :
                lagging || total(item.dropped_bytes) > 0n ? 'warn' : ''};
    });
    this.draw(this.rows, row => ['bad', 'warn', ''].indexOf(row.level), '');
  }
}

class MirrorsSection extends ListSection {
  #growth = new Growth();
  rows = [];

  constructor() {
    super('mirrors', 'Mirrors', {noun: 'mirror', none: 'nothing is mirrored', id: row => row.mirror,
      rowKind: row => row.level, columns: [
      {title: 'mirror', name: true, class: 'who', sort: row => row.mirror, cell: row => [
        row.mirror, make('span', {class: 'base'}, shortened(row.routes.join(', '), 80))]},
      {title: 'breaker', class: 'text', sort: row => Number(row.breaker_open), cell: row =>
        row.breaker_open ? chip('bad', 'open') : chip('good', 'closed')},
      {title: 'lag', down: true, sort: row => Number(row.lag_bytes), cell: row => size(row.lag_bytes)},
      {title: 'cut', class: 'text', down: true, sort: row => Number(total(row.cut)),
       cell: row => lossCell(row.cut, row.cutting, grouped)},
      {title: 'now', group: 'streams', down: true, sort: row => Number(row.streams),
       cell: row => grouped(row.streams)},
      {title: 'total', group: 'streams', down: true, sort: row => Number(row.streams_total),
       cell: row => grouped(String(row.streams_total))},
      {title: 'now', group: 'bytes', down: true, sort: row => row.rate, cell: row => byteRate(row.rate)},
      {title: 'total', group: 'bytes', down: true, sort: row => Number(row.bytes), cell: row => size(row.bytes)},
    ]});
  }

  show({items}, time) {
    this.#growth.turn();
    this.rows = items.map(item => {
      const of = (what, count) => this.#growth.of(`${what} ${item.mirror}`, count, time);
      const cutting = of('cut', String(total(item.cut))).lately;
      return {...item, cutting, rate: of('bytes', item.bytes).perSecond,
              level: item.breaker_open ? 'bad' : cutting > 0n ? 'warn' : ''};
    });
    this.draw(this.rows, row => ['bad', 'warn', ''].indexOf(row.level), '');
  }
}
