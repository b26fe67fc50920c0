// What the user chose to see. It lives in the address, so that a link or a reload shows the same.

/** @import { Theme, XAxis } from "./link/types" */

/**
 * @typedef {object} ViewState
 * @property {number[] | null} tracks
 * @property {string | null} quantity
 * @property {XAxis} x
 * @property {number | null} span
 * @property {number | null} from
 * @property {number | null} to
 * @property {number | null} frame
 * @property {string | null} series
 * @property {string} colours
 * @property {number | null} low
 * @property {number | null} high
 * @property {number} zoom
 * @property {number | null} row
 * @property {number | null} col
 * @property {boolean} peaks
 * @property {boolean} long
 * @property {string} sort
 * @property {Theme | null} theme
 */

/** @typedef {(names: Set<string>) => void} Listener told what has changed */

/** @type {ViewState} */
const DEFAULTS = {
  tracks: null, // numbers of the chosen tracks; null: not chosen yet, the page proposes some
  quantity: null, // null: the first one that the run knows
  x: "time",
  span: null, // seconds or frames that the plot follows; null: all
  from: null, // what was zoomed to, in units of x
  to: null,
  frame: null, // null: the newest
  series: null,
  colours: "viridis",
  low: null, // counts; null: what the image says
  high: null,
  zoom: 1, // 1: the whole detector is seen
  row: null, // what is at the centre; null: the middle
  col: null,
  peaks: true,
  long: false, // only tracks that are long
  sort: "-n_frames",
  theme: null, // null: what the system prefers
};

const NUMBERS = ["span", "from", "to", "frame", "low", "high", "zoom", "row", "col"];
export const MOST_TRACKS = 24;

export class View {
  constructor() {
    /** @type {ViewState} */
    this.state = { ...DEFAULTS, ...read(location.search) };
    /** @type {Listener[]} */
    this.listeners = [];
    /** @type {Map<number, number>} by track */
    this.slots = new Map();
    this.timer = 0;
    this.assign();
  }

  /**
   * @template {keyof ViewState} K
   * @param {K} name
   */
  get(name) {
    return this.state[name];
  }

  /**
   * Change some choices and tell those who depend on them.
   *
   * @param {Partial<ViewState>} changes
   */
  set(changes) {
    const names = namesOf(changes).filter((name) => changes[name] !== this.state[name]);
    if (!names.length) return;
    Object.assign(this.state, changes);
    if (names.includes("tracks")) this.assign();
    for (const listener of this.listeners) listener(new Set(names));
    // Browsers refuse more than about a hundred changes of the address in half a minute.
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.write(), 300);
  }

  /** @param {Listener} listener */
  onchange(listener) {
    this.listeners.push(listener);
  }

  /**
   * Choose a track, or drop it; false where there are too many.
   *
   * @param {number} track
   */
  toggle(track) {
    const tracks = this.state.tracks ?? [];
    if (tracks.includes(track)) this.set({ tracks: tracks.filter((other) => other !== track) });
    else if (tracks.length >= MOST_TRACKS) return false;
    else this.set({ tracks: [...tracks, track] });
    return true;
  }

  // A track keeps its colour as long as it is chosen, whichever others come and go.
  assign() {
    const tracks = this.state.tracks ?? [];
    for (const track of [...this.slots.keys()])
      if (!tracks.includes(track)) this.slots.delete(track);
    const taken = new Set(this.slots.values());
    let free = 0;
    for (const track of tracks) {
      if (this.slots.has(track)) continue;
      while (taken.has(free)) free += 1;
      taken.add(free);
      this.slots.set(track, free);
    }
  }

  write() {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(this.state)) {
      const usual = DEFAULTS[/** @type {keyof ViewState} */ (name)];
      if (value === usual || value === null) continue;
      if (Array.isArray(value)) query.set(name, value.join("."));
      else if (typeof value === "boolean") query.set(name, value ? "1" : "0");
      else query.set(name, String(value));
    }
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  }
}

/** @param {string} search */
function read(search) {
  /** @type {Partial<ViewState> & Record<string, any>} checked below, name by name */
  const found = {};
  for (const [name, text] of new URLSearchParams(search)) {
    if (!(name in DEFAULTS)) continue;
    if (name === "tracks") {
      const numbers = text.split(".").filter(Boolean).map(Number);
      found.tracks = numbers.filter(Number.isInteger).slice(0, MOST_TRACKS);
    } else if (name === "peaks" || name === "long") found[name] = text === "1";
    else if (NUMBERS.includes(name)) {
      if (text && Number.isFinite(Number(text))) found[name] = Number(text);
    } else found[name] = text;
  }
  if (found.x && found.x !== "frame") delete found.x;
  if (found.zoom !== undefined && found.zoom < 1) delete found.zoom;
  return found;
}

/** @param {Partial<ViewState>} changes */
function namesOf(changes) {
  return /** @type {(keyof ViewState)[]} */ (Object.keys(changes));
}
