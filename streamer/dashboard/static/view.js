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
 * @property {string | null} rings
 * @property {boolean} lattice
 * @property {boolean} beam
 * @property {string | null} roi
 * @property {boolean} mean
 * @property {"sum" | "highest" | null} stack
 * @property {boolean} long
 * @property {string} sort
 * @property {Theme | null} theme
 * @property {"utc" | "local"} zone
 * @property {boolean} wall
 * @property {boolean} quiver
 * @property {"voltage" | "capacity"} against
 * @property {string | null} run
 */

/** @typedef {(names: Set<string>) => void} Listener told what has changed */

/** @type {ViewState} */
const DEFAULTS = {
  tracks: null, // numbers of the chosen tracks; null: not chosen yet, the page proposes some reflections
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
  rings: null, // spacings in angstroms, as they were typed
  lattice: false, // rings of the lattice
  roi: null, // first row and column, rows and columns of the region of interest
  mean: false, // of its pixels, not their sum
  stack: null, // what many frames are together is shown; null: one frame
  beam: true, // the cross where the direct beam is
  long: false, // only tracks that are long
  sort: "-n_frames",
  theme: null, // null: what the system prefers
  zone: "utc", // how times are written
  quiver: false, // arrows of drifts on the image
  against: "voltage", // or the cell's capacity
  wall: false, // the page fills a screen that is only looked at
  run: null, // which run the following were chosen in; null: not known
};

// What means something else in another run.
const OF_A_RUN = /** @type {const} */ (["tracks", "span", "from", "to", "frame", "series", "low", "high", "zoom", "row", "col", "roi", "stack"]);

const NUMBERS = ["span", "from", "to", "frame", "low", "high", "zoom", "row", "col"];
const BOOLEANS = ["peaks", "long", "lattice", "beam", "mean", "quiver"];
export const MOST_LINES = 24; // reflections that are told apart by their looks
const MOST_TRACKS = 120; // of all of these
const MOST_MEMBERS = 30; // of one: what has more is no reflection but spots that met

export class View {
  constructor() {
    /** @type {ViewState} */
    this.state = { ...DEFAULTS, ...read(location.search) };
    /** @type {Listener[]} */
    this.listeners = [];
    /** @type {Map<number, number>} by track */
    this.slots = new Map();
    /** @type {Map<number, number>} the reflection of each track, as far as it is known */
    this.reflections = new Map();
    /** @type {Map<number, number[]>} tracks by reflection */
    this.members = new Map();
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

  /**
   * Know which run is shown; what was chosen in another is chosen no more. True where there was another.
   *
   * @param {string} run
   */
  settle(run) {
    const isOther = this.state.run !== null && this.state.run !== run;
    this.set(isOther ? { ...Object.fromEntries(OF_A_RUN.map((name) => [name, DEFAULTS[name]])), run } : { run });
    return isOther;
  }

  /** @param {Listener} listener */
  onchange(listener) {
    this.listeners.push(listener);
  }

  /**
   * Choose the reflection of a track, or drop it; false where there are too many.
   *
   * @param {number} track
   */
  toggle(track) {
    const tracks = this.state.tracks ?? [];
    const spots = this.spots(track);
    const others = tracks.filter((other) => !spots.includes(other));
    if (tracks.includes(track)) this.set({ tracks: others });
    else if (others.length + spots.length > MOST_TRACKS || new Set(this.slots.values()).size >= MOST_LINES) return false;
    else this.set({ tracks: [...others, ...spots] });
    return true;
  }

  /**
   * The tracks of the reflection that a track is of: they are chosen together.
   *
   * @param {number} track
   */
  spots(track) {
    const spots = this.members.get(this.reflections.get(track) ?? track) ?? [];
    return spots.length > MOST_MEMBERS || !spots.includes(track) ? [track] : spots;
  }

  /**
   * Know which tracks are of which reflection, and return those chosen with all that belong to them.
   *
   * @param {ArrayLike<number>} tracks
   * @param {ArrayLike<number>} reflections
   */
  learn(tracks, reflections) {
    this.reflections.clear();
    this.members.clear();
    for (let i = 0; i < tracks.length; i += 1) {
      this.reflections.set(tracks[i], reflections[i]);
      const spots = this.members.get(reflections[i]);
      if (spots) spots.push(tracks[i]);
      else this.members.set(reflections[i], [tracks[i]]);
    }
    this.assign();
    const chosen = (this.state.tracks ?? []).flatMap((track) => this.spots(track));
    return [...new Set(chosen)].slice(0, MOST_TRACKS);
  }

  // A reflection keeps its colour as long as it is chosen, whichever others come and go.
  assign() {
    const tracks = this.state.tracks ?? [];
    /** @type {Map<number, number>} by the first spot */
    const known = new Map();
    for (const track of tracks) {
      const [first] = this.spots(track);
      const slot = this.slots.get(track);
      if (slot !== undefined && !known.has(first)) known.set(first, slot);
    }
    const taken = new Set(known.values());
    let free = 0;
    this.slots.clear();
    for (const track of tracks) {
      const [first] = this.spots(track);
      while (!known.has(first) && taken.has(free)) free += 1;
      const slot = known.get(first) ?? free;
      known.set(first, slot);
      taken.add(slot);
      this.slots.set(track, slot);
    }
  }

  write() {
    const query = new URLSearchParams();
    const isBound = OF_A_RUN.some((name) => this.state[name] !== DEFAULTS[name]);
    for (const [name, value] of Object.entries(this.state)) {
      if (name === "run" && !isBound) continue;
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
    } else if (name === "wall") found.wall = text !== "0";
    else if (BOOLEANS.includes(name)) found[name] = text === "1";
    else if (NUMBERS.includes(name)) {
      if (text && Number.isFinite(Number(text))) found[name] = Number(text);
    } else found[name] = text;
  }
  if (found.stack !== "sum" && found.stack !== "highest") delete found.stack;
  if (found.x && found.x !== "frame") delete found.x;
  if (found.against !== "capacity") delete found.against;
  if (found.zone !== "local") delete found.zone;
  if (found.zoom !== undefined && found.zoom < 1) delete found.zoom;
  return found;
}

/** @param {Partial<ViewState>} changes */
function namesOf(changes) {
  return /** @type {(keyof ViewState)[]} */ (Object.keys(changes));
}
