'use strict';
// Draws a document (FORMAT.md) as a page, with page.js. Each workload also has `doubts`: the reasons to
// distrust its figures, as lines of text.

const kOurs = 'sluice';
const kDirect = 'direct';
const kControl = 'A/A';
const kMostColumns = 7;  // that fit beside the names at 1024 px
const kFewColumns = 4;   // with at most this many, a ratio has room beside its median

/** The looks by contender: one colour for sluice, one for those that do not compete, six others. */
function looksOf({contenders, workloads}) {
  const names = new Set([...contenders.map(each => each.name),
                         ...workloads.flatMap(each => each.summary.map(row => row.contender))]);
  let [next, asides] = [0, 0];
  return new Map(Array.from(names, name => [name,
    name === kOurs ? {colour: 0, shape: 0, dash: 0, ours: true} :
    name === kDirect || name === kControl ?
      {colour: 7, shape: asides % 5, dash: 1 + asides++ % 2, aside: true} :
      {colour: 1 + next % 6, shape: (next + 1) % 5, dash: Math.floor(next++ / 6) % 3}]));
}

/** One metric of a workload: its heading, and of each row the figure and the ratio. */
function columnOf({parts, summary}, {key, title, better, digits, compared}, looks) {
  const part = parts?.length > 1 && key.includes('.') ? key.split('.')[0] : '';
  const short = part && title.startsWith(`${part} `) ? title.slice(part.length + 1) : title;
  const more = better === 'higher';
  const spread = (of, name) => typeof of?.[name]?.median === 'number' ? of[name] : null;
  const figure = row => spread(row.metrics, key);
  const shown = row => grouped(figure(row)?.median ?? null, digits);
  // The best are those with the best median, and all that read the same; there is none if all read
  // the same or only one competes. A row with fewer valid runs than another does not.
  const rivals = summary.filter(row => !looks.get(row.contender).aside);
  const valid = Math.max(...rivals.map(row => row.valid));
  const ranked = rivals.filter(row => figure(row) && row.valid >= valid)
    .sort((a, b) => (figure(a).median - figure(b).median) * (more ? -1 : 1));
  const best = ranked.filter(row => compared && shown(row) === shown(ranked[0]));
  return {
    key, part, digits, more, figure, shown, best: best.length < ranked.length ? best : [],
    title: part ? `${part} ${short}` : short,
    heading: [...short.split(/(?<=\/)/).flatMap(word => [word, make('wbr')]), `\u00a0${more ? '↑' : '↓'}`],
    ratio: row => compared ? spread(row.ratios, key) : null};
}

/** Whether the rounds agree on which is more. */
function sure({least, most}) { return least > 1 || most < 1; }

function ratioText(value) { return (sure(value) ? '' : '~') + ratio(value.median); }

// --- The parts of a workload ---

function figureCell({figure, ratio: ratioOf, best, digits}, row, roomy) {
  const [value, relative] = [figure(row), ratioOf(row)];
  const [least, most] = value ? [grouped(value.least, digits), grouped(value.most, digits)] : [];
  const star = best.includes(row);
  return make('div', {class: roomy ? 'v vr' : 'v'},
    make('span', {class: star ? 'm best' : 'm'}, star && make('span', {class: 'star', title: 'best'}, '★'),
      grouped(value?.median ?? null, digits)),
    // If least and most look the same at this precision, the median is enough.
    least !== most && make('span', {class: 's'}, `${least}–`, make('wbr'), most),
    relative && make('span', {class: sure(relative) ? 'r sure' : 'r',
      title: `${ratio(relative.least)} to ${ratio(relative.most)}`}, ratioText(relative)));
}

/** As many tables as fit a narrow page; the columns of one part stay together. */
function figureTables({baseline}, {summary}, columns, looks) {
  const tables = [[]];
  for (const part of new Set(columns.map(column => column.part))) {
    const same = columns.filter(column => column.part === part);
    const last = tables[tables.length - 1];
    if (last.length > 0 && last.length + same.length > kMostColumns) tables.push(same);
    else last.push(...same);
  }
  const parts = columns.some(column => column.part);
  const base = (...content) => make('span', {class: 'base'}, content);
  const contender = {title: 'contender', name: true, class: 'who', cell: row => [
    key(looks.get(row.contender)), row.contender, row.contender === baseline && base('baseline'),
    row.valid < row.runs &&
      base(make('span', {class: 'void'}, `${row.valid} of ${row.runs} runs valid`))]};
  return tables.map(shown => table([contender, ...shown.map((column, i) => ({
    title: column.heading, down: column.more, sort: row => column.figure(row)?.median,
    class: parts && shown[i - 1]?.part !== column.part && 'first',
    group: parts && (column.part || 'whole path'),
    cell: row => figureCell(column, row, summary.some(column.ratio))}))], {
    kind: shown.length <= kFewColumns ? 'figures few' : 'figures',
    rowKind: row => classOf(looks.get(row.contender))}).show(summary).element);
}

/** Bars of the first column, and of the path's CPU time or, if that is unknown, the machine's. */
function charts({name, summary}, columns, looks) {
  if (columns.length === 0 || summary.length === 0) return null;
  const cpu = word => columns.slice(1).find(column => column.key.startsWith(word));
  return make('div', {class: 'charts'}, [columns[0], cpu('proxy_cpu') ?? cpu('machine_cpu')].map(
    column => column && figure(column.title, `${column.more ? 'more' : 'less'} is better`,
      barChart({title: `${name}: ${column.title}`, digits: column.digits}).show(summary.map(row => ({
        name: row.contender, look: looks.get(row.contender), value: column.figure(row),
        best: column.best.includes(row)}))), column.key)));
}

function curves({name, summary}, looks) {
  const parts = [...new Set(summary.flatMap(row => Object.keys(row.percentiles ?? {})))].sort();
  return parts.map(part => {
    const title = parts.length > 1 ? `Latency of ${part}` : 'Latency';
    return figure(title, 'µs at each percentile, less is better; both axes are logarithmic; medians ' +
      'of the rounds', latencyChart(`${name}: ${title}`).show(summary.map(row => ({
      name: row.contender, look: looks.get(row.contender), points: row.percentiles?.[part] ?? []}))));
  });
}

/** The void runs. A reason appears once per contender, with all its rounds. */
function voids({runs}) {
  const all = runs.filter(run => !run.valid);
  const kinds = new Map();
  for (const run of all) {
    const kind = JSON.stringify([run.contender, run.reason]);
    kinds.set(kind, [...kinds.get(kind) ?? [], run]);
  }
  return all.length > 0 && note(
    make('b', {}, `${counted(all.length, 'void run')}, left out of every figure:`),
    make('ul', {}, Array.from(kinds.values(), same => make('li', {}, make('b', {}, same[0].contender),
      `, round${same.length > 1 ? 's' : ''} ${same.map(run => run.round).join(', ')}: `,
      make('code', {}, same[0].reason || 'no reason given')))));
}

function workloadSection(report, workload, columns, number, looks) {
  const {name, loop, description, summary, doubts} = workload;
  const loops = {'closed loop': 'the next exchange begins when the last one has ended',
                 'open loop': 'exchanges are due at fixed times, and latency counts from then'};
  const based = summary.some(row => row.contender === report.baseline && row.valid > 0);
  return make('section', {id: `w${number}`, 'data-workload': name},
    make('div', {class: 'head'}, make('h2', {}, name), loop && [
      make('span', {class: 'loop'}, loop), make('span', {class: 'soft'}, loops[loop])]),
    make('p', {class: 'lead'}, description), voids(workload),
    summary.length > 1 && !based && note('The baseline, ', make('b', {}, report.baseline),
      ', has no valid run here: there are no ratios.'),
    doubts.map(doubt => note(make('b', {}, doubt.replace(/:.*/s, ':')), doubt.replace(/^.*?:/s, ''))),
    figureTables(report, workload, columns, looks), charts(workload, columns, looks),
    curves(workload, looks));
}

// --- The page ---

function lead({started, contenders, workloads, settings, machine}) {
  const fact = name => machine[name] ?? '?';
  return make('p', {class: 'lead'}, `On ${when(started)}, ${counted(contenders.length, 'contender')} ` +
    `carried ${counted(workloads.length, 'workload')}, ${counted(settings.rounds, 'round')} of ` +
    `${settings.seconds} s each after ${settings.warmup_seconds} s of warm-up, on a machine with ` +
    `${fact('cpus')} × ${fact('cpu')} and ${bytes(machine.memory_bytes)} of memory (${fact('kernel')}).`,
    contenders.length > 1 &&
      ' The contenders took turns within each round, every run in a process of its own.');
}

function howToRead({contenders, baseline}, looks) {
  const several = contenders.length > 1;
  return make('ul', {class: 'how'}, [
    ['3.58', 'median of the valid rounds'],
    ['3.02–4.14', 'their least and most; in the charts, the whisker'],
    ['↑ ↓', 'more, less is better; a click on a heading sorts'],
    several && ['×1.23', `median of the ratios to ${baseline} in the same round`],
    several && ['~×1.02', 'the rounds do not agree on which is more'],
    several && ['★', 'best of those that compete'],
    looks.has(kDirect) && [kDirect, 'no forwarder in between: not in the contest'],
    looks.has(kControl) && [kControl, 'the baseline a second time: what differs no more is noise'],
  ].map(item => item && make('li', {}, make('b', {}, item[0]), ` ${item[1]}`)));
}

/** One row for each workload, with its first metric. */
function overview({baseline, contenders, workloads}, columns, looks) {
  // Otherwise there is nothing to compare.
  if (!looks.has(kOurs) || contenders.length < 2 || workloads.length === 0) return null;
  const rows = workloads.map(({name, summary}, i) => {
    const [column] = columns[i];
    const of = contender => column && summary.find(row => row.contender === contender);
    const shown = contender => of(contender) ? column.shown(of(contender)) : kNothing;
    return {name, column, i, base: shown(baseline), ours: shown(kOurs),
            ratio: of(kOurs) ? column.ratio(of(kOurs)) : null, best: column?.best[0]};
  });
  return table([
    {title: 'workload', name: true, class: 'text', sort: row => row.name,
     cell: row => make('a', {href: `#w${row.i + 1}`}, row.name)},
    {title: 'first figure', class: 'text', cell: ({column}) => column ? [
      column.part && `${column.part} `, column.heading.map(node => node.cloneNode?.() ?? node)] : kNothing},
    {title: baseline, cell: row => row.base},
    {title: kOurs, cell: row => make('b', {}, row.ours)},
    {title: `${kOurs} ÷ baseline`, down: true, sort: row => row.ratio?.median,
     cell: row => row.ratio ? ratioText(row.ratio) : kNothing},
    {title: '★ best', class: 'text', cell: ({best, column}) => best ? [
      key(looks.get(best.contender)), `${best.contender}, ${column.shown(best)}`] : kNothing},
  ], {kind: 'overview'}).show(rows).element;
}

/** First the known facts, in the order of `known` and under its names, then the others. */
function factsOf(title, values, known) {
  const keys = new Set([...Object.keys(known).filter(name => name in values), ...Object.keys(values).sort()]);
  const shown = (name, value) => value === true ? 'yes' : value === false ? 'no' :
    name.includes('bytes') && value >= 0 ? bytes(value) : String(value);
  return make('div', {}, make('h3', {}, title),
    facts(Array.from(keys, name => [known[name] ?? name, shown(name, values[name])])));
}

function repeat({command, settings, machine, contenders, tool}, looks) {
  return make('section', {id: 'repeat'}, make('h2', {}, 'Repeat this run'), make('pre', {}, command),
    make('div', {class: 'pair'},
      factsOf('Settings', settings, {
        rounds: 'rounds', seconds: 'seconds measured', warmup_seconds: 'seconds of warm-up',
        servers: 'servers', names: 'names in TLS hellos', network: 'network namespace',
        verify_bytes: 'verified at most, each stream', verify_all: 'everything verified',
        syscalls: 'system calls'}),
      factsOf('Machine', machine, {
        cpu: 'processor', cpus: 'CPUs', memory_bytes: 'memory', kernel: 'kernel',
        congestion_control: 'congestion control', clock_source: 'clock source',
        filesystem: 'filesystem of --dir', pipe_bytes_granted_of_1MiB: 'granted to a pipe of 1 MiB'})),
    contenders.map(({name, version, command: started, config}) => [
      make('h3', {}, key(looks.get(name)), name), version && make('p', {class: 'label'}, version),
      started ? make('pre', {}, started) : make('p', {class: 'label'}, 'Nothing is started for it.'),
      config && [make('p', {class: 'label'}, '{config}'), make('pre', {}, config)]]),
    make('p', {class: 'soft'}, `sluice-bench ${tool ?? ''}. In command lines and files, {listen}, {to} ` +
      'and {mirror} are ports, {config} the file and {dir} a directory of the run\'s own. A word or a ' +
      'line with {to} is repeated for each server.'));
}

function showReport(report) {
  const looks = looksOf(report);
  const columns = report.workloads.map(
    workload => workload.metrics.map(metric => columnOf(workload, metric, looks)));
  document.title = `sluice-bench, ${when(report.started)}`;
  mount(document.querySelector('main'),
    make('h1', {}, 'TCP paths side by side'), lead(report), make('pre', {}, report.command),
    report.interrupted && note(make('b', {}, 'This run was interrupted.'), ' What had been measured ' +
      'until then follows; some contenders may have fewer rounds than others, or none.'),
    howToRead(report, looks), overview(report, columns, looks), report.workloads.map(
      (workload, i) => workloadSection(report, workload, columns[i], i + 1, looks)),
    repeat(report, looks));
}

showReport(JSON.parse(document.getElementById('data').textContent));
