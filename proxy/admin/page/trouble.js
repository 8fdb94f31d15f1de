'use strict';
// What needs attention, from what the sections know, the worst first.

const kMostTroubles = 12;

/** {level: bad, warn or note; where: a section; text} for each. */
function troublesOf(status, {routes, servers, captures, mirrors}) {
  return [...statusTroubles(status), ...serverTroubles(servers.rows),
          ...routeTroubles(routes.rows, servers), ...captureTroubles(captures.rows),
          ...mirrorTroubles(mirrors.rows)]
    .sort((a, b) => kTroubleLevels.indexOf(a.level) - kTroubleLevels.indexOf(b.level));
}
const kTroubleLevels = ['bad', 'warn', 'note'];

function trouble(level, where, ...text) { return {level, where, text: text.filter(Boolean).join(', ')}; }

function statusTroubles({state, connections, connections_limit: limit, last_reload: reload, predecessors = []}) {
  const used = limit > 0 ? connections / limit : 0;
  const states = {starting: 'sluice is starting: not every listener accepts yet',
                  lame_duck: 'Lame duck: connections are accepted, but /readyz answers 503',
                  draining: 'sluice drains: it accepts nobody'};
  return [
    states[state] && trouble('warn', '', states[state]),
    used >= .8 && trouble(used >= .95 ? 'bad' : 'warn', 'connections',
                          `${Math.floor(100 * used)} % of the connections that --max-connections allows`),
    reload && reloadTrouble(reload),
    ...predecessors.map(({pid, connections: left}) =>
      trouble('note', '', `The process before, ${pid}, drains`, `${counted(left, 'connection')} left`)),
  ].filter(Boolean);
}

function reloadTrouble({result, time, error}) {
  if (!['refused', 'needs-takeover'].includes(result)) return null;
  const what = result === 'refused' ? 'was refused' : 'needs a takeover';
  return trouble('warn', '', `The reload of ${new Date(time * 1000).toLocaleTimeString()} ${what}` +
    (error ? `: ${error}` : ''), 'what ran before runs on');
}

function fullText(name, {used, limit}) { return `${name} is full: ${grouped(used)} of ${counted(limit, 'connection')}`; }

function serverTroubles(rows) {
  return rows.filter(row => row.state !== 'up' || row.full).map(row => {
    const name = `${row.server} of ${row.route}`;
    if (row.state === 'up') return trouble('warn', 'servers', fullText(name, row.limits['server-connections']));
    if (row.ordered === 'down') return trouble('note', 'servers', `${name} is down, as ordered`);
    if (row.state === 'down') {
      return trouble('bad', 'servers', [`${name} is down`, checkText(row)].filter(Boolean).join(': '));
    }
    if (row.state === 'ejected') return trouble('warn', 'servers', `${name} is ejected`, 'it only fails');
    return trouble('note', 'servers', `${name} drains`, `${grouped(row.connections)} left`);
  });
}

function routeTroubles(rows, servers) {
  return rows.flatMap(row => [
    row.servers > 0 && row.servers_usable === 0 &&
      trouble('bad', 'routes', `${row.name} has no usable server`),
    // The servers themselves are listed, if they are known.
    !servers.section.open && row.servers_usable > 0 && row.servers_usable < row.servers &&
      trouble('warn', 'routes', `${row.name} has ${row.servers_usable} of ${row.servers} servers`),
    // Clients reset for reasons of their own.
    row.failing > 0n && trouble(row.failing > (row.lately.client_reset ?? 0n) ? 'warn' : 'note', 'routes',
      `${row.name}: ${reasons(row.lately)} in the last minute`),
    row.full && trouble('warn', 'routes', fullText(row.name, row.limits['route-connections'])),
    row.turningAway > 0n && trouble('note', 'routes',
      `${row.name} has turned away clients in the last minute: ${reasons(row.rejectedLately)}`),
    row.capture !== null && !row.capture_enabled &&
      trouble('warn', 'routes', `${row.name} is not recorded: switched off`),
  ]).filter(Boolean);
}

function captureTroubles(rows) {
  return rows.flatMap(row => [
    row.dropping > 0n && trouble('bad', 'captures',
      `${row.directory} has dropped ${bytes(String(row.dropping))} in the last minute`),
    row.losing > 0n && trouble('bad', 'captures',
      `${row.directory} has lost ${counted(String(row.losing), 'connection')} in the last minute`),
    row.failing > 0n && trouble('bad', 'captures', `${row.directory}: the disk fails`),
    // With the policy `block`, its routes forward nothing then.
    row.stuck && trouble('bad', 'captures',
      `${row.directory} is stuck: ${bytes(row.lag_bytes)} wait for the disk`),
    !row.stuck && row.lagging &&
      trouble('warn', 'captures', `${row.directory} lags by ${bytes(row.lag_bytes)}`),
  ]).filter(Boolean);
}

function mirrorTroubles(rows) {
  return rows.flatMap(row => [
    row.breaker_open && trouble('warn', 'mirrors', `Mirror ${row.mirror} fails: its breaker is open`),
    !row.breaker_open && row.cutting > 0n && trouble('warn', 'mirrors',
      `Mirror ${row.mirror}: ${counted(String(row.cutting), 'stream')} cut in the last minute`),
  ]).filter(Boolean);
}

/** A view of the troubles. */
function troubleList(sections) {
  const list = make('ul', {class: 'troubles'});
  const element = make('div', {id: 'trouble', role: 'region', 'aria-label': 'Trouble'}, list);
  let shown = '';
  const go = where => {
    const {element: target} = sections.find(({section}) => section.name === where).section;
    target.open = true;
    target.scrollIntoView();
  };
  const item = ({level, where, text}) => make('li', {class: level}, where ?
    button(text, () => go(where), {class: 'link', 'data-where': where}) : text);
  return {element, show(troubles) {
    const closed = sections.filter(({section}) => !section.open && section.name !== 'plots')
      .map(({section}) => section.title.toLowerCase());
    // Drawn anew only if it changes, so that a focus stays.
    const now = JSON.stringify([troubles, closed]);
    if (now === shown) return;
    shown = now;
    const at = [...list.querySelectorAll('button')].indexOf(document.activeElement);
    list.replaceChildren(
      ...troubles.slice(0, kMostTroubles).map(item),
      ...troubles.length > kMostTroubles ? [make('li', {class: 'note'},
        `and ${troubles.length - kMostTroubles} more`)] : [],
      ...troubles.length === 0 ? [make('li', {class: 'good'}, 'No trouble')] : [],
      ...closed.length > 0 ? [make('li', {class: 'note'}, `Closed, so not watched: ${closed.join(', ')}`)] : []);
    if (at >= 0) list.querySelectorAll('button')[at]?.focus({preventScroll: true});
  }};
}
