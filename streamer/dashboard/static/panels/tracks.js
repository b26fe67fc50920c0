// The table of tracks: sorted, filtered, chosen from. Only the rows in sight are in the document.

import { around, part, section } from "../dom.js";
import { lineStyle } from "../plot/colours.js";
import { NONE, fixed, flagWords, measured, whole } from "../numbers.js";
import { enlarged } from "../wall.js";

/** @import { TrackArrays, TracksHeader } from "../link/types" */
/** @import { Page } from "../panels.js" */

/** @typedef {{ key: string, words: string, unit: string, cell: (t: TrackArrays, i: number) => string }} Column */

const BAR = `
  <span id="tracks-words"></span>
  <span class="push"></span>
  <label class="check"><input type="checkbox" id="long"> long tracks only</label>
  <button type="button" id="none" title="Take every track out of the plot">Clear</button>`;
const ROW_PX = 30; // on a desk
const SPARE = 6; // rows above and below what is seen
const PROPOSED = 6;
const LONG = 0.5; // of the longest track's frames
const MICRO = 1e6;
const DOUBTFUL = 16 | 32; // flags: not like one peak, out of trusted range

// Hundreds of rows are compared at a glance: one digit of the error is enough.
/**
 * @param {number} value
 * @param {number} sigma
 */
const short = (value, sigma) => measured(value, sigma, "", 1);

/**
 * Along the hours, or along the frames where these have no times.
 *
 * @param {TrackArrays} t
 * @param {number} i
 */
function rate(t, i) {
  if (Number.isFinite(t.rate[i]) || !Number.isFinite(t.rate_per_frame?.[i])) return short(t.rate[i], t.rate_sigma[i]);
  return `${short(t.rate_per_frame[i], t.rate_per_frame_sigma[i])} px/frame`;
}

/** @type {Column[]} */
const COLUMNS = [
  { key: "track", words: "track", unit: "", cell: (t, i) => String(t.track[i]) },
  { key: "n_frames", words: "frames", unit: "", cell: (t, i) => whole(t.n_frames[i]) },
  { key: "drift", words: "drift", unit: "px", cell: (t, i) => short(t.drift[i], t.drift_sigma[i]) },
  {
    key: "excursion",
    words: "largest",
    unit: "px",
    cell: (t, i) => short(t.excursion[i], t.excursion_sigma?.[i] ?? NaN),
  },
  { key: "rate", words: "rate", unit: "px/h", cell: rate },
  { key: "significance", words: "significance", unit: "σ", cell: (t, i) => fixed(t.significance[i], 1) },
  { key: "d", words: "d", unit: "Å", cell: (t, i) => short(t.d[i], t.d_sigma[i]) },
  {
    key: "strain",
    words: "strain",
    unit: "10⁻⁶",
    cell: (t, i) => short(t.strain[i] * MICRO, t.strain_sigma[i] * MICRO),
  },
  { key: "flags", words: "flags", unit: "", cell: (t, i) => flagWords(t.flags[i]) },
];

export class Tracks {
  /** @param {Page} page */
  constructor({ view, lives, theme, choose }) {
    this.view = view;
    this.lives = lives;
    this.theme = theme;
    this.choose = choose;
    this.follows = ["tracks", "long", "sort"];
    this.receivers = {
      /** @type {(header: TracksHeader, arrays: TrackArrays) => void} */
      tracks: (_, arrays) => this.update(arrays),
    };
    const { section: around, bar } = section("tracks", "Tracks");
    this.section = around;
    bar.insertAdjacentHTML("beforeend", BAR);
    this.host = around.appendChild(document.createElement("div"));
    this.host.id = "tracks";
    this.host.tabIndex = -1;
    /** @type {TrackArrays} */
    this.columns = {};
    this.count = 0; // tracks
    /** @type {number[]} */
    this.order = []; // those that are shown, sorted
    /** @type {HTMLTableRowElement[]} */
    this.rows = []; // in the document
    this.active = 0;
    this.dirty = false;
    this.proposed = view.get("tracks") === null;
    this.proposing = false;
    this.table = this.host.appendChild(document.createElement("table"));
    this.head = this.table.createTHead().insertRow();
    this.above = this.table.createTBody().insertRow();
    this.body = this.table.createTBody();
    this.below = this.table.createTBody().insertRow();
    this.make();
    this.listen();
  }

  get rowPx() {
    return ROW_PX * enlarged();
  }

  make() {
    this.table.setAttribute("role", "grid");
    this.table.setAttribute("aria-label", "Tracks");
    this.table.setAttribute("aria-multiselectable", "true");
    this.head.append(heading("in plot"));
    for (const column of COLUMNS) {
      const cell = heading("");
      cell.dataset.key = column.key;
      const button = cell.appendChild(document.createElement("button"));
      button.type = "button";
      button.append(column.words);
      if (column.unit) button.appendChild(document.createElement("small")).textContent = column.unit;
      button.addEventListener("click", () => this.sortBy(column.key));
      this.head.append(cell);
    }
    for (const spacer of [this.above, this.below]) {
      spacer.setAttribute("aria-hidden", "true");
      spacer.className = "spacer";
    }
  }

  listen() {
    const { view } = this;
    view.onchange((names) => {
      if (names.has("tracks") && !this.proposing) this.proposed = false;
    });
    const long = part("long", HTMLInputElement);
    long.checked = view.get("long");
    long.addEventListener("change", () => view.set({ long: long.checked }));
    part("none").addEventListener("click", () => this.clear());
    this.host.addEventListener("scroll", () => this.fill());
    this.body.addEventListener("click", (event) => {
      const row = around(event, "tr");
      if (row) this.activate(Number(row.dataset.place), true);
    });
    this.body.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.fill()).observe(this.host);
  }

  /** @param {TrackArrays} arrays */
  update(arrays) {
    this.columns = arrays;
    this.count = arrays.track?.length ?? 0;
    this.reflections();
    this.propose();
    this.dirty = true;
  }

  /** A spot that splits from one that is chosen is drawn from then on. */
  reflections() {
    const { track = [], reflection = track } = this.columns;
    const whole = this.view.learn(track, reflection);
    if (whole.length > (this.view.get("tracks")?.length ?? 0)) this.set(whole);
  }

  /** Choose the reflections with most frames, until the user has chosen; hot pixels come last. */
  propose() {
    if (!this.proposed || !this.count) return;
    const { view } = this;
    const { track, n_frames } = this.columns;
    const place = new Map([...track].map((one, i) => [one, i]));
    /** @param {number} one */
    const total = (one) => view.spots(one).reduce((sum, spot) => sum + n_frames[place.get(spot) ?? 0], 0);
    const frames = [...track].map(total);
    // Where a run goes on, what it sees no more comes behind what it sees.
    const over = [...track].map((one) => Number(view.spots(one).every((spot) => this.lives.ended(spot))));
    const best = [...frames.keys()].sort(
      (a, b) => this.doubt(a) - this.doubt(b) || over[a] - over[b] || frames[b] - frames[a] || track[a] - track[b],
    );
    /** @type {Set<number>} */
    const wanted = new Set(); // the first spots
    for (const i of best) if (wanted.size < PROPOSED) wanted.add(view.spots(track[i])[0]);
    const now = new Set((view.get("tracks") ?? []).map((one) => view.spots(one)[0]));
    const lengths = [...now].map((one) => frames[place.get(one) ?? -1] ?? 0);
    const ended = [...now].filter((one) => over[place.get(one) ?? -1]).length;
    const fewest = [...wanted].filter((one) => over[place.get(one) ?? -1]).length;
    // What was proposed first stays as long as it is not outgrown: lines that jump help nobody.
    const isWorthy = ended ? ended <= fewest : lengths.every((n) => n >= 0.8 * frames[best[0]]);
    const good = now.size === wanted.size && isWorthy;
    if (!good) this.set([...wanted].flatMap((one) => view.spots(one)));
  }

  /**
   * Have tracks in the plot that the user did not choose one by one.
   *
   * @param {number[]} tracks
   */
  set(tracks) {
    this.proposing = true;
    this.view.set({ tracks });
    this.proposing = false;
  }

  /**
   * 1 for what looks like no peak, else 0.
   *
   * @param {number} i
   */
  doubt(i) {
    return Number((this.columns.flags?.[i] & DOUBTFUL) > 0);
  }

  /**
   * 1 for what a run that goes on sees no more, else 0.
   *
   * @param {number} i
   */
  over(i) {
    return Number(this.lives.ended(this.columns.track[i]));
  }

  /** @param {string} key */
  sortBy(key) {
    const now = this.view.get("sort");
    const down = key !== "track" && key !== "flags";
    const first = down ? `-${key}` : key;
    const second = down ? key : `-${key}`;
    this.view.set({ sort: now === first ? second : first });
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const sort = this.view.get("sort");
    const key = COLUMNS.some((column) => column.key === sort.replace("-", "")) ? sort.replace("-", "") : "n_frames";
    const sign = sort.startsWith("-") ? -1 : 1;
    const values = this.columns[key] ?? [];
    /** @type {(value: number) => number} */
    const size = ["drift", "excursion", "rate", "strain"].includes(key) ? Math.abs : Number;
    const frames = this.columns.n_frames ?? [];
    let longest = 0;
    for (const n of frames) longest = Math.max(longest, n);
    const least = this.view.get("long") ? LONG * longest : 0;
    /** @type {number[]} */
    const order = [];
    for (let i = 0; i < this.count; i += 1) if (frames[i] >= least) order.push(i);
    // What is not known stands at the end, whichever way the column is sorted.
    /** @param {number} i */
    const place = (i) => (Number.isNaN(values[i]) ? Infinity : sign * size(values[i]));
    // So do hot pixels, which outlast every spot, where it is figures that count; and among the longest
    // what has ended.
    /** @type {(i: number) => number} */
    const doubt = key === "track" || key === "flags" ? () => 0 : (i) => 2 * this.doubt(i) + (key === "n_frames" ? this.over(i) : 0);
    order.sort(
      (a, b) => doubt(a) - doubt(b) || place(a) - place(b) || this.columns.track[a] - this.columns.track[b] || 0,
    );
    this.order = order;
    for (const cell of this.head.cells)
      cell.ariaSort = cell.dataset.key !== key ? "none" : sign < 0 ? "descending" : "ascending";
    this.table.setAttribute("aria-rowcount", String(order.length + 1));
    part("tracks-words").textContent = order.length === this.count ? `${this.count}` : `${order.length} of ${this.count}`;
    this.fill();
  }

  /** Put the rows in sight into the document, re-using those that are there. */
  fill() {
    const first = Math.max(0, Math.floor(this.host.scrollTop / this.rowPx) - SPARE);
    const seen = Math.ceil(this.host.clientHeight / this.rowPx) + 2 * SPARE;
    const last = Math.min(this.order.length, first + seen);
    this.above.style.height = `${first * this.rowPx}px`;
    this.below.style.height = `${(this.order.length - last) * this.rowPx}px`;
    while (this.rows.length < last - first) this.rows.push(this.row());
    while (this.rows.length > last - first) this.rows.pop()?.remove();
    this.active = Math.max(0, Math.min(this.active, this.order.length - 1));
    const reachable = this.active >= first && this.active < last ? this.active : first;
    this.rows.forEach((row, i) => this.write(row, first + i, reachable));
  }

  row() {
    const row = this.body.insertRow();
    const mark = row.insertCell();
    mark.className = "mark";
    mark.appendChild(document.createElement("i"));
    for (const column of COLUMNS) row.insertCell().dataset.key = column.key;
    return row;
  }

  /**
   * @param {HTMLTableRowElement} row
   * @param {number} place
   * @param {number} reachable
   */
  write(row, place, reachable) {
    const i = this.order[place];
    const track = this.columns.track[i];
    const slot = this.view.slots.get(track);
    row.dataset.place = String(place);
    row.dataset.track = String(track);
    row.tabIndex = place === reachable ? 0 : -1;
    row.ariaSelected = String(slot !== undefined);
    row.ariaRowIndex = String(place + 2);
    const mark = /** @type {HTMLElement} */ (row.cells[0].firstElementChild);
    mark.className = slot === undefined ? "box" : "box chosen";
    mark.style.background = slot === undefined ? "" : lineStyle(slot, this.theme()).colour;
    COLUMNS.forEach((column, n) => {
      const known = this.columns[column.key] ? column.cell(this.columns, i) : NONE;
      const ended = column.key === "flags" ? this.lives.words(track) : "";
      const text = ended ? `${ended} · ${known}` : known;
      const cell = row.cells[n + 1];
      if (cell.textContent !== text) cell.textContent = text;
    });
  }

  /**
   * Make a row the one that keys act on, and choose its track if asked to.
   *
   * @param {number} place
   * @param {boolean} toggle
   */
  activate(place, toggle) {
    this.active = Math.min(Math.max(place, 0), this.order.length - 1);
    const top = this.active * this.rowPx;
    const view = this.host.clientHeight - (this.table.tHead?.offsetHeight ?? 0);
    if (top < this.host.scrollTop) this.host.scrollTop = top;
    else if (top + this.rowPx > this.host.scrollTop + view) this.host.scrollTop = top + this.rowPx - view;
    if (toggle) this.choose(this.columns.track[this.order[this.active]]);
    this.fill();
    this.rows.find((row) => row.tabIndex === 0)?.focus({ preventScroll: true });
  }

  clear() {
    this.proposed = false;
    this.view.set({ tracks: [] });
  }

  report() {
    return { table: this.order.map((i) => this.columns.track[i]) };
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = Math.max(1, Math.floor(this.host.clientHeight / this.rowPx) - 2);
    const place = Number(around(event, "tr")?.dataset.place);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    if (event.key in steps) this.activate(place + steps[event.key], false);
    else if (event.key === "Enter" || event.key === " ") this.activate(place, true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** @param {string} words */
function heading(words) {
  const cell = document.createElement("th");
  cell.scope = "col";
  cell.textContent = words;
  return cell;
}
