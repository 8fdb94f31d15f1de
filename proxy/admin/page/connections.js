'use strict';
// The section of connections. The daemon sorts them and sends the first ones; to find one among all,
// the page reads them once, in parts.

const kShown = 200;   // that a poll asks for
const kPart = 1000;   // the most that one answer has
const kSorts = {bytes: 'bytes', age: 'age', idle: 'idle'};

class ConnectionsSection {
  #growth = new Growth();
  #items = [];
  #next = null;
  #all = 0;         // how many connections there are
  #sort = 'bytes';
  #found = null;    // what a search among all has found: {items, text}
  #search = 0;      // the number of the latest search
  #route = field('Route', make('select', {}, make('option', {value: ''}, 'all routes')));
  #routes = [];
  #text = field('Filter by client, route, server or id', make('input', {
    type: 'search', placeholder: 'client, server, id …', autocomplete: 'off', spellcheck: 'false'}));
  #seek = button('Search all', () => this.#searchAll(), {hidden: ''});
  #live = button('Back to live', () => this.#goLive(), {hidden: ''});
  #told = make('span', {class: 'soft', role: 'status'});
  #heads = {};
  #view;

  constructor() {
    this.#view = table(this.#columns(), {kind: 'live', id: row => row.id});
    this.section = new Section('connections', 'Connections',
      make('div', {class: 'filter'}, this.#route, this.#text, this.#seek, this.#live, this.#told),
      this.#view.element);
    this.#route.addEventListener('change', () => this.#goLive());
    this.#text.addEventListener('input', () => {
      if (this.#found) this.#goLive();
      this.#draw();
    });
    this.#text.addEventListener('keydown', event => {
      if (event.key === 'Enter' && !this.#seek.hidden) this.#searchAll();
    });
    this.#mark();
  }

  #columns() {
    const head = sort => this.#heads[sort] = button(kSorts[sort], () => {
      this.#sort = sort;
      this.#mark();
      this.#goLive();
    });
    const kill = () => {
      let row = null;
      const element = button('kill', () => this.#kill(row), {class: 'danger'});
      return {element, show(next) {
        row = next;
        element.setAttribute('aria-label', `kill ${row.client}`);
      }};
    };
    return [
      {title: 'client', name: true, class: 'who', cell: row => row.client},
      {title: 'route', class: 'text', cell: row => row.route},
      {title: 'server', class: 'text', cell: row => row.server || kNothing},
      {title: head('bytes'), cell: row => size(row.bytes)},
      {title: 'to upstream', cell: row => size(row.bytes_to_upstream)},
      {title: 'to client', cell: row => size(row.bytes_to_client)},
      {title: 'now', cell: row => byteRate(row.rate)},
      {title: head('age'), cell: row => duration(Math.floor(row.age_seconds))},
      {title: head('idle'), cell: row => duration(Math.floor(row.idle_seconds))},
      {title: 'copied to', class: 'text', cell: row => [row.recorded && 'capture', row.mirrors > 0 &&
        counted(row.mirrors, 'mirror')].filter(Boolean).join(', ') || kNothing},
      {title: make('span', {class: 'unseen'}, 'kill'), class: 'act', view: kill},
    ];
  }

  /** Marks the column by which the daemon sorts: the greatest comes first. */
  #mark() {
    for (const [sort, head] of Object.entries(this.#heads)) {
      head.parentElement.setAttribute('aria-sort', sort === this.#sort ? 'descending' : 'none');
    }
  }

  #filter() { return this.#route.value ? `&route=${encodeURIComponent(this.#route.value)}` : ''; }

  /** null while what a search has found is shown. */
  path() { return this.#found ? null : `/v1/connections?sort=${this.#sort}&limit=${kShown}${this.#filter()}`; }

  show({items, next}, time) {
    this.#growth.turn();
    this.#items = items.map(item => ({...item, rate: this.#growth.of(item.id, item.bytes, time).perSecond}));
    this.#next = next ?? null;
    this.#draw();
  }

  set all(count) { this.#all = count; }

  /** The routes to choose from. */
  set routes(names) {
    if (names.length === this.#routes.length && names.every((name, i) => name === this.#routes[i])) return;
    const chosen = this.#route.value;
    this.#routes = names;
    this.#route.replaceChildren(make('option', {value: ''}, 'all routes'),
                                ...names.map(name => make('option', {value: name}, name)));
    this.#route.value = names.includes(chosen) ? chosen : '';
  }

  choose(route) {
    this.#route.value = route;
    this.section.element.open = true;
    this.section.element.scrollIntoView();
    this.#goLive();
  }

  #matches(row) {
    const text = this.#text.value.trim().toLowerCase();
    return !text || [row.client, row.route, row.server, row.id].some(
      part => String(part ?? '').toLowerCase().includes(text));
  }

  #draw() {
    const text = this.#text.value.trim();
    const rows = (this.#found?.items ?? this.#items).filter(row => this.#matches(row));
    this.#view.element.hidden = rows.length === 0;
    this.#view.show(rows.slice(0, kShown));
    this.#seek.hidden = !text || this.#next === null || this.#found !== null;
    this.#live.hidden = this.#found === null;
    this.section.more = counted(this.#all, 'connection');
    const part = this.#next === null ? '' : `the first ${this.#items.length} by ${kSorts[this.#sort]}`;
    this.#told.textContent = this.#found ? `${counted(rows.length, 'connection')} ${this.#found.text}` :
      text ? `${counted(rows.length, 'match').replace('matchs', 'matches')} in ${part || 'all'}` : part;
  }

  #goLive() {
    ++this.#search;
    this.#found = null;
    this.#seek.disabled = false;
    poller.poll();
  }

  /** Reads all connections once, and keeps those that match. */
  async #searchAll() {
    const number = ++this.#search;
    const items = [];
    let [read, after] = [0, ''];
    try {
      do {
        const answer = await request(`/v1/connections?sort=id&limit=${kPart}${this.#filter()}${
          after && `&after=${encodeURIComponent(after)}`}`);
        if (number !== this.#search) return;
        read += answer.items.length;
        items.push(...answer.items.filter(row => this.#matches(row)).map(row => ({...row, rate: null})));
        after = answer.next ?? '';
        this.#told.textContent = `${counted(read, 'connection')} searched …`;
      } while (after && items.length < kShown);
    } catch (error) {
      say(`The search failed: ${error.message}`, true);
      return;
    }
    this.#found = {items, text: `found among ${grouped(read)} at ${
      clockText(Math.floor(Date.now() / 1000))} UTC; not live`};
    this.#draw();
    this.#live.focus();
  }

  async #kill(row) {
    const sure = await confirmed('Kill this connection?', [
      ['Client', row.client], ['Route', row.route], ['Server', row.server || kNothing],
      ['To upstream', `${grouped(row.bytes_to_upstream)} bytes`],
      ['To client', `${grouped(row.bytes_to_client)} bytes`], ['Age', duration(Math.floor(row.age_seconds))],
      ['Effect', 'Client and server get a reset.']], 'Kill');
    if (!sure) return;
    if (this.#found) this.#found.items = this.#found.items.filter(({id}) => id !== row.id);
    await change(`/v1${pathOf('connections', row.id, 'kill')}`, {}, `${row.client} is killed.`);
    this.#draw();
  }
}
