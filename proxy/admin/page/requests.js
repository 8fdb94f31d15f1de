'use strict';
// Requests to the daemon: the token, reading and changing, and asking again once a second.

// In memory only. Storage of the browser would keep it where every later page of this origin could
// read it: another program may listen at this address and port one day. After a reload of the page
// the token is asked for again.
let token = null;

/** The daemon's answer that something is not possible. `message` is a sentence for people. */
class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Resolves to the JSON of the answer, or null. Throws a Problem, or other errors without an answer. */
async function request(path, {method = 'GET', body, signal} = {}) {
  const headers = {};
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (method !== 'GET') Object.assign(headers, {'X-Sluice': '1', 'Content-Type': 'application/json'});
  const response = await fetch(path, {
    method, headers, signal, body: body && JSON.stringify(body),
    cache: 'no-store', credentials: 'omit', redirect: 'error'});
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, String(problem.detail ?? `${response.status} ${response.statusText}`));
}

function post(path, body = {}) { return request(path, {method: 'POST', body}); }

/** A path from its parts, each of which may hold any character. */
function pathOf(...parts) { return `/${parts.map(encodeURIComponent).join('/')}`; }

const kPeriod = 1000;    // ms from one poll to the next
const kPatience = 5000;  // ms until a poll that is not answered is given up
const kStale = 3000;     // ms without an answer until the page says so

/**
 * Asks once a second while the page is visible, and at once when it becomes visible.
 *   paths()        what to ask for: {name: path}. `status` is one of them
 *   show(answers)  by name: {data, time}, or {problem} if the daemon refused
 *   clock({age, late})  four times a second: the age of what is shown in ms (null: nothing is), and
 *                  whether an answer is late
 *   refused(again) the token is missing, or wrong (`again`): no poll until poll() is called
 */
class Poller {
  #handlers;
  #timer = null;
  #abort = null;    // of the poll that is not answered yet
  #answered = null;
  #since = 0;       // from when on an answer is expected
  #refused = false; // then none is

  constructor(handlers) { this.#handlers = handlers; }

  start() {
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#stop();
      else this.#resume();
    });
    setInterval(() => this.#tick(), 250);
    if (!document.hidden) this.#resume();
  }

  /** Asks at once. */
  async poll() {
    this.#stop();
    if (document.hidden) return;
    if (this.#refused) this.#since = performance.now();
    this.#refused = false;
    const abort = new AbortController();
    this.#abort = abort;
    const begin = performance.now();
    const patience = setTimeout(() => abort.abort(), kPatience);
    const answers = await this.#ask(abort.signal);
    if (!answers) abort.abort();  // what is still asked for
    clearTimeout(patience);
    if (this.#abort !== abort) return;  // another poll has begun, or the page is hidden
    this.#abort = null;
    if (Object.values(answers ?? {}).some(({problem}) => problem?.status === 401)) {
      this.#refused = true;
      this.#handlers.refused(token !== null);
      return;
    }
    if (answers) {
      this.#answered = performance.now();
      this.#handlers.show(answers);
      this.#tick();
    }
    this.#timer = setTimeout(() => this.poll(), Math.max(0, begin + kPeriod - performance.now()));
  }

  /** The answers, or null if one is missing. */
  async #ask(signal) {
    const left = Object.entries(this.#handlers.paths());
    const answers = {};
    const ask = async () => {
      for (let next = left.shift(); next; next = left.shift()) {
        const [name, path] = next;
        try {
          const data = await request(path, {signal});
          answers[name] = {data, time: performance.now()};
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          answers[name] = {problem: error};
        }
      }
    };
    // Two at a time: the daemon has few connections for all browsers.
    return Promise.all([ask(), ask()]).then(() => answers, () => null);
  }

  #resume() {
    this.#since = performance.now();
    this.poll();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  #tick() {
    if (document.hidden) return;
    const now = performance.now();
    this.#handlers.clock({
      age: this.#answered === null ? null : now - this.#answered,
      late: !this.#refused && now - Math.max(this.#answered ?? 0, this.#since) > kStale});
  }
}
