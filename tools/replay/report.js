'use strict';
// Draws the report of a replay as a page, with page.js. The document is that of --json without the
// list of all answers, and with `remarks` (lines of text) and `curves` (points of the chart).

const kThen = {name: 'then', look: {colour: 7, shape: 1, dash: 1, aside: true}};
const kNow = {name: 'now', look: {colour: 0, shape: 0, dash: 0, ours: true}};

/** The percentiles of some rows {name, look, values}, in µs. */
function percentileTable(rows) {
  const names = Object.keys(rows[0].values).filter(name => /^p\d/.test(name));
  return table([
    {title: 'µs', name: true, class: 'who', cell: row => [key(row.look), row.name]},
    ...[...names, 'max'].map(name => ({title: name === 'max' ? 'most' : name,
                                       cell: row => grouped(row.values[name], 1)})),
  ], {rowKind: row => classOf(row.look)}).show(rows).element;
}

function latency({latency_us: {requests, then, now}, curves}) {
  if (requests === 0) return make('p', {class: 'soft'}, 'No request was answered.');
  const title = 'From a request to the first byte of its answer';
  const chart = latencyChart(title).show([{...kThen, points: curves.then},
                                          {...kNow, points: curves.now}]);
  return [percentileTable([{...kThen, values: then}, {...kNow, values: now}]),
    figure(title, 'µs at each percentile, less is better; both axes are logarithmic', chart)];
}

/** Bytes that are in hexadecimal, with all but printable ASCII escaped. */
function printable(hex) {
  return (hex.match(/../g) ?? []).map(pair => {
    const code = parseInt(pair, 16);
    return code < 0x20 || code > 0x7e ? `\\x${pair}` : String.fromCharCode(code);
  }).join('');
}

function differences({connections, different, differences: listed}) {
  const both = (title, sort, shown = sort) => ['then', 'now'].map(time => ({
    title: `${title} ${time}`, down: true, sort: row => sort(row, time), cell: row => shown(row, time)}));
  const count = (row, time) => row[`${time}_bytes`];
  const milliseconds = (row, time) => row[`${time}_ns`] / 1e6;
  const quoted = hex => make('code', {}, `"${printable(hex)}"`);
  const differs = row => row.first === undefined ? 'the lengths or the ends' : [
    `from byte ${grouped(row.first)} to ${grouped(row.last)}, ${counted(row.bytes_that_differ, 'byte')}: `,
    'then ', quoted(row.then), ', now ', quoted(row.now)];
  return make('section', {id: 'compare'}, make('h2', {}, 'Answers compared'),
    make('p', {}, `${counted(connections, 'answer')} compared, of which ${grouped(different)} differ` +
      (different > listed.length ? `; the first ${grouped(listed.length)} are listed.` : '.')),
    listed.length > 0 && table([
      {title: 'connection', name: true, class: 'text', sort: row => row.connection,
       cell: row => row.connection},
      ...both('bytes', count, (row, time) => grouped(count(row, time))),
      ...both('end', (row, time) => row[`${time}_end`]),
      ...both('ms', milliseconds, (row, time) => grouped(milliseconds(row, time), 1)),
      {title: 'what differs', class: 'text', sort: row => row.first, cell: differs},
    ], {kind: 'differences'}).show(listed).element);
}

function showReport(report) {
  const {replay, capture, lag_us: lag, compare, remarks} = report;
  document.title = `sluice-replay, ${when(report.began)}`;
  const seconds = value => `${grouped(value, 3)} s`;
  if (report.interrupted) remarks.push('The replay was interrupted.');
  mount(document.querySelector('main'), make('h1', {}, 'Then and now'),
    make('p', {class: 'lead'}, `On ${when(report.began)}, ` +
      `${counted(replay.connections, 'connection')} of a recording to ${report.settings.to}: ` +
      `${grouped(replay.completed)} completed, ${grouped(replay.failed)} failed.`),
    remarks.length > 0 && note(make('ul', {}, remarks.map(each => make('li', {}, each)))),
    facts([['recorded in', seconds(capture.seconds)], ['replayed in', seconds(replay.seconds)],
           ['sent', bytes(replay.sent_bytes)], ['received', bytes(replay.received_bytes)],
           ['requests answered', grouped(report.latency_us.requests)],
           ['connections at once, at most', grouped(replay.most_at_once)]]),
    make('section', {id: 'latency'}, make('h2', {}, 'Latency'), latency(report)),
    make('section', {id: 'lag'}, make('h2', {}, 'Behind schedule'), percentileTable([
      {...kNow, name: 'connections\' beginnings', values: lag.connections},
      {...kThen, name: 'all else', values: lag.rest}])),
    compare && differences(compare),
    make('section', {id: 'repeat'}, make('h2', {}, 'Repeat this run'),
      make('pre', {}, report.command), make('p', {class: 'soft'}, `sluice-replay ${report.tool}`)));
}

showReport(JSON.parse(document.getElementById('data').textContent));
