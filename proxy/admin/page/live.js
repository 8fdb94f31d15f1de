'use strict';
// The live page: the head line, the sections, and what a poll brings.

const connections = new ConnectionsSection();
const routes = new RoutesSection(name => connections.choose(name));
const servers = new ServersSection();
const captures = new CapturesSection();
const mirrors = new MirrorsSection();
const plots = plotsSection();
const sections = [plots, routes, servers, captures, mirrors, connections];
const troubles = troubleList(sections);

/** The line on top: what runs, and how old the data are. */
function headLine() {
  const [state, known, limit, more] = ['', 'known', 'limit', 'soft'].map(name => make('span', {class: name}));
  const meter = make('meter', {min: 0, max: 1, low: .8, high: .95, optimum: 0,
                               'aria-label': 'connections of the limit'});
  const age = make('span', {class: 'age', role: 'timer'}, 'no data yet');
  const element = make('header', {}, make('h1', {}, 'sluice'), state, known, make('span', {}, limit, meter),
                       more, age);
  meter.hidden = true;
  return {element, age, show(status) {
    state.replaceChildren(chip(status.state === 'ready' ? 'good' : 'warn', status.state.replaceAll('_', ' ')));
    known.textContent = `up ${duration(status.uptime_seconds)}`;
    more.textContent = [status.version, status.engine, status.workers && counted(status.workers, 'worker'),
                        `pid ${status.pid}`].filter(Boolean).join(', ');
    meter.hidden = status.connections_limit === undefined;
    if (meter.hidden) return;
    limit.textContent = `${grouped(status.connections)} of ${counted(status.connections_limit, 'connection')} `;
    meter.value = status.connections / status.connections_limit;
  }};
}

/** Asks for the token. `again`: the last one was wrong. */
function tokenForm() {
  const input = field('Token', make('input', {type: 'password', autocomplete: 'current-password', required: ''}));
  const told = make('p');
  const element = make('form', {class: 'token', hidden: ''}, make('h2', {}, 'A token is needed'), told,
                       input, ' ', make('button', {type: 'submit', class: 'strong'}, 'Continue'));
  element.addEventListener('submit', event => {
    event.preventDefault();
    token = input.value.trim();
    input.value = '';
    element.hidden = true;
    poller.poll();
  });
  return {element, show(again) {
    told.textContent = again ? 'That is not the token. It is the line in the file of --admin-token-file.' :
      'It is the line in the file of --admin-token-file. The page keeps it until it is closed or loaded again.';
    element.hidden = false;
    input.focus();
  }};
}

const head = headLine();
const form = tokenForm();
const banner = make('p', {class: 'banner', role: 'alert', hidden: ''});
let pid = null;

const poller = new Poller({
  paths() {
    const open = sections.filter(({section}) => section.open).map(each => [each.section.name, each.path()]);
    return Object.fromEntries([['status', '/v1/status'], ...open.filter(([, path]) => path !== null)]);
  },

  show(answers) {
    const {data: status, problem} = answers.status;
    if (problem) {
      say(`Refused: ${problem.message}`, true);
      return;
    }
    if (pid !== null && pid !== status.pid) say(`Another process answers: pid ${status.pid} instead of ${pid}.`);
    pid = status.pid;
    document.body.classList.add('known');
    head.show(status);
    connections.all = status.connections ?? 0;
    for (const part of sections) {
      const answer = answers[part.section.name];
      if (!answer) continue;
      part.section.problem = answer.problem?.message;
      if (answer.data) part.show(answer.data, answer.time);
    }
    connections.routes = routes.rows.map(row => row.name);
    const found = troublesOf(status, {routes, servers, captures, mirrors});
    troubles.show(found);
    const grave = found.filter(({level}) => level === 'bad').length;
    document.title = `${grave > 0 ? `✕ ${grave} · ` : ''}sluice ${location.host}`;
  },

  clock({age, late}) {
    document.body.classList.toggle('stale', late);
    head.age.textContent = age === null ? 'no data yet' : `${age < 10000 ? (age / 1000).toFixed(1) :
      Math.floor(age / 1000)} s old`;
    if (late) document.title = `? sluice ${location.host}`;
    banner.hidden = !late;
    if (!late) return;
    banner.textContent = age === null ? 'No answer.' :
      `No answer for ${duration(Math.floor(age / 1000))}. What is shown is that old.`;
  },

  refused(again) { form.show(again); },
});

for (const {section} of sections) {
  let open = section.open;
  section.element.addEventListener('toggle', () => {
    if (section.open && !open) poller.poll();
    open = section.open;
  });
}
mount(document.querySelector('main'), head.element, banner, form.element, troubles.element,
      sections.map(({section}) => section.element), saying);
poller.start();
