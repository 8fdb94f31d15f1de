'use strict';
// Small parts of the live page: counters that grow, sections, questions, and what was said.

/** A count, as a number or as a string of digits. Exact: totals pass 2^53. */
function big(count) { return /^\d+$/.test(String(count)) ? BigInt(count) : 0n; }

/** The sum of an object's counts. */
function total(counts) { return Object.values(counts ?? {}).reduce((sum, count) => sum + big(count), 0n); }

/** Bytes, rounded for reading; the exact count is the title. */
function size(count) {
  return make('span', {title: `${grouped(String(count))} bytes`}, bytes(String(count)));
}

function rate(perSecond, show = value => grouped(value, value < 10 && value > 0 ? 1 : 0)) {
  return perSecond === null ? kNothing : show(perSecond);
}
function byteRate(perSecond) { return rate(perSecond, value => `${bytes(Math.round(value))}/s`); }

/**
 * How fast counters grow. Call turn() for each answer, then of() for each counter in it; a counter
 * that is missing in an answer is forgotten.
 */
class Growth {
  #before = new Map();
  #now = new Map();

  turn() {
    this.#before = this.#now;
    this.#now = new Map();
  }

  /**
   * {perSecond, lately}: since the answer before (null: there is none), and in the last minute or,
   * if that is shorter, since the page is open. `time` in ms.
   */
  of(name, count, time) {
    const value = big(count);
    const before = this.#before.get(name);
    const goesOn = before && value >= before.value && time > before.time;
    const marks = goesOn ? before.marks.slice() : [];
    if (!goesOn || time - marks[marks.length - 1].time >= 5000) marks.push({time, value});
    while (marks.length > 1 && marks[1].time <= time - 60000) marks.shift();
    this.#now.set(name, {time, value, marks});
    return {perSecond: goesOn ? Number(value - before.value) / (time - before.time) * 1000 : null,
            lately: value - marks[0].value};
  }
}

/** A word with a sign, so that the colour is not needed to tell it: `level` is bad, warn, good or ''. */
function chip(level, text) {
  const sign = {bad: '✕ ', warn: '▲ ', good: '✓ '}[level] ?? '';
  return make('span', {class: `chip ${level}`}, sign + text);
}

/** Reasons with their counts, most first: "upstream reset 30, connect refused 4". */
function reasons(counts, show = grouped) {
  return Object.entries(counts).map(([name, count]) => [name, big(count)]).filter(([, count]) => count > 0n)
    .sort(([, a], [, b]) => (a < b) - (a > b))
    .map(([name, count]) => `${name.replaceAll(/[-_]/g, ' ')} ${show(String(count))}`).join(', ');
}

/**
 * A part of the page that can be closed: then it is not asked for. `more` stands beside the title,
 * `problem` says why there are no data.
 */
class Section {
  #more = make('span', {class: 'soft'});
  #problem = make('p', {class: 'note', hidden: ''});

  constructor(name, title, ...children) {
    this.name = name;
    this.title = title;
    this.element = make('details', {id: name, open: ''},
      make('summary', {}, make('h2', {}, title), this.#more), this.#problem, children);
  }

  get open() { return this.element.open; }
  set more(text) { if (this.#more.textContent !== text) this.#more.textContent = text; }
  set problem(text) {
    this.#problem.hidden = !text;
    this.#problem.textContent = text ?? '';
  }
}

/** Text boxes and lists to choose from, with a label that only some need. */
function field(label, element) {
  element.setAttribute('aria-label', label);
  return element;
}

function button(text, act, attributes = {}) {
  const element = make('button', {type: 'button', ...attributes}, text);
  element.addEventListener('click', act);
  return element;
}

/** Asks before something that cannot be undone. Resolves to whether to do it. */
function confirmed(question, pairs, verb) {
  return new Promise(resolve => {
    const no = button('Cancel', () => dialog.close(), {autofocus: ''});
    const yes = button(verb, () => dialog.close('yes'), {class: 'strong'});
    const dialog = make('dialog', {'aria-label': question}, make('h2', {}, question), facts(pairs),
                        make('div', {class: 'choice'}, no, yes));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const saying = make('p', {class: 'said', role: 'status', hidden: ''});
let sayingEnds = null;

/** Shows a sentence for some seconds. */
function say(text, wrong = false) {
  clearTimeout(sayingEnds);
  saying.textContent = text;
  saying.classList.toggle('bad', wrong);
  saying.hidden = false;
  sayingEnds = setTimeout(() => { saying.hidden = true; }, wrong ? 15000 : 6000);
}

/** Changes something, says how that went, and shows what is new. */
async function change(path, body, done) {
  try {
    await post(path, body);
    say(done);
  } catch (error) {
    say(error instanceof Problem ? `Refused: ${error.message}` : `No answer: ${error.message}`, true);
  }
  poller.poll();
}
