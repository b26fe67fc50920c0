// The page: what comes is handed to its parts, which draw themselves when the browser is ready.

import { part } from "./dom.js";
import { PANELS } from "./panels.js";
import { Cell } from "./panels/cell.js";
import { Controls } from "./panels/controls.js";
import { Detector } from "./panels/detector.js";
import { Drift } from "./panels/drift.js";
import { Frames } from "./panels/frames.js";
import { Image } from "./panels/image.js";
import { decode, isPacked, unpack } from "./link/message.js";
import { Moments } from "./link/moments.js";
import { Pointers } from "./image/pointers.js";
import { useLocalTime } from "./numbers.js";
import { Lives } from "./panels/lives.js";
import { Patch } from "./panels/patch.js";
import { Peaks } from "./panels/peaks.js";
import { Round } from "./round.js";
import { Readout } from "./panels/readout.js";
import { csv, hand } from "./panels/saving.js";
import { Series } from "./panels/series.js";
import { QUANTITIES, settle } from "./plot/quantities.js";
import { Socket } from "./link/socket.js";
import { Stats } from "./link/stats.js";
import { View } from "./view.js";
import { hang } from "./wall.js";

/** @import { Header, Hello, ImageArrays, ImageHeader, Place, Receivers, Send, Theme, Values } from "./link/types" */
/** @import { Arrived } from "./link/socket.js" */

const POINTS = 4000; // of a line, at most; half of them, at least, are more than a plot has columns
const AHEAD = 0.25; // of the span: how far the plot moves before finer points are asked for

const dark = matchMedia("(prefers-color-scheme: dark)");

const view = new View();
useLocalTime(view.get("zone") === "local");
/** @returns {Theme} */
const theme = () => {
  const wanted = view.get("theme");
  if (wanted === "dark" || wanted === "light") return wanted;
  return dark.matches ? "dark" : "light";
};
/** @type {Hello | null} */
let hello = null;
let watched = false; // this connection was told what to send
let request = 0;
/** @type {Record<string, number>} */
const turns = {}; // messages that came, by type
let arrived = Infinity; // moment at which the oldest came of what is to be drawn
/** @type {number | null} */
let askedEnd = null; // end of the run when its drifts were asked for last

document.documentElement.dataset.theme = theme();
const url = new URL("ws", location.href);
url.protocol = url.protocol.replace("http", "ws");
url.search = url.hash = "";
const socket = new Socket(url, connected, stored);
/** @type {Send} */
const send = (message) => socket.send(message);
const stats = new Stats(socket);
const round = new Round(takeIn, count);
const { schedule } = round;
const cell = new Cell();
const series = new Series();
const moments = new Moments();
const lives = new Lives();
const image = new Image(part("image"), view, theme);
const pointers = new Pointers(image);
const peaks = new Peaks(image, pointers, view, theme);
const patch = new Patch(view, series, send);
const frames = new Frames(view, series, send);
const drift = new Drift(part("plot"), view, cell, series, theme);
const readout = new Readout(part("readout"), drift, lives);
const detector = new Detector({ view, image, pointers, series, theme, send, schedule });
const panels = [detector, ...PANELS.map((Kind) => new Kind({ image, drift, cell, lives, view, theme, socket, stats, send, choose, schedule }))];
round.begin([image, peaks, patch, frames, drift, detector.roi, ...panels]);

/** @param {...string} words */
const fileName = (...words) => [hello?.run ?? "run", ...words].join("_").replace(/[^\w.-]+/g, "_");
/** @param {{ series: string, frame: number }} header */
const nameOfFrame = ({ series: name, frame }) => `${series.several ? `${name}_` : ""}frame_${frame}`;
/** @type {Promise<import("./save/figures.js").Figures> | null} */
let saving = null;

/** What saves figures, of which most pages need nothing. */
function figures() {
  saving ??= import("./save/figures.js").then(({ Figures }) => new Figures(detector, image, peaks, view, send, problem));
  return saving;
}

/** @param {"png" | "svg"} form */
async function savePlot(form) {
  (await figures()).savePlot(form, drift, fileName(drift.quantity), hello?.run ?? "");
}

/** @param {"png" | "svg"} form */
async function saveImage(form) {
  const { header } = image;
  if (!header) return;
  const { stack, frame, series: name } = header;
  const what = stack ? `${name.replace("of", `of ${frame}`)}` : `frame ${frame} of ${name}`;
  (await figures()).saveImage(form, fileName(stack ? what : nameOfFrame(header)), `${hello?.run ?? ""} · ${what}`);
}

const controls = new Controls(view, image, frames, theme, {
  csv: () => hand(fileName(`${drift.quantity}.csv`), new Blob([csv(drift, series)], { type: "text/csv" })),
  "drift-png": () => savePlot("png"),
  "drift-svg": () => savePlot("svg"),
  "image-png": () => saveImage("png"),
  "image-svg": () => saveImage("svg"),
});

/** Drifts build upon each other: each is taken in before the next could replace it. */
function stored() {
  const message = socket.slots.get("drift");
  if (message && socket.slots.delete("drift")) receive("drift", message);
  schedule();
}

/** Hand what came since the last round to its parts. */
function takeIn() {
  for (const [type, message] of socket.take()) receive(type, message);
}

/** Know how long what was drawn had waited. */
function count() {
  if (arrived < Infinity) stats.add(arrived);
  arrived = Infinity;
}

/**
 * @param {string} type
 * @param {Arrived} message
 */
function receive(type, { buffer, at }) {
  try {
    const { header, arrays } = decode(buffer);
    const turn = turns[type] = (turns[type] ?? 0) + 1;
    if (!isPacked(header)) return deliver(type, header, arrays, at);
    unpack(header, arrays).then((unpacked) => {
      if (turn === turns[type]) deliver(type, header, unpacked, at); // else there is a newer one
      schedule();
    }).catch((error) => misunderstood(type, error));
  } catch (error) {
    misunderstood(type, error);
  }
}

/**
 * @param {string} type
 * @param {unknown} error
 */
function misunderstood(type, error) {
  stats.bad += 1;
  problem(`A message of the run was not understood (${type}): ${error instanceof Error ? error.message : error}`);
}

/**
 * Hand a message to who takes it.
 *
 * @param {string} type
 * @param {Header} header
 * @param {Record<string, Values>} arrays
 * @param {number} at
 */
function deliver(type, header, arrays, at) {
  try {
    const takers = [wired, ...panels.map((panel) => panel.receivers)].filter((one) => type in one);
    if (header.type !== type || !takers.length) throw new Error(`type ${header.type}`);
    for (const taker of takers) taker[type](header, arrays);
    if (type === "image" || type === "drift") arrived = Math.min(arrived, at);
  } catch (error) {
    misunderstood(type, error);
  }
}

/**
 * What goes to the parts that work upon each other.
 *
 * @type {Partial<Receivers> & Record<string, any>}
 */
const wired = {
  hello(header) {
    if (view.settle(`${header.run} ${header.started ?? ""}`) && hello) {
      view.write();
      location.reload(); // nothing of the other run is to be left
      return;
    }
    hello = header;
    series.greet(header);
    lives.greet(header);
    frames.greet(header);
    drift.dirty = patch.dirty = true;
    mark();
    if (header.shape && !image.shape) image.reshape(header.shape);
    const { quantity, offered } = settle(view.get("quantity"), header.quantities);
    view.set({ quantity });
    controls.offer(offered.map((name) => [name, QUANTITIES[name]]));
    if (!watched) watch();
  },
  health(header) {
    frames.grow(header.n_frames ?? 0);
  },
  image(header, arrays) {
    const { frame, series: name, stack } = view.state;
    if ((header.stack ?? null) !== stack) return;
    // What was on its way when the user paused would show for a moment what he did not choose.
    if (stack === null && frame !== null && (header.frame !== frame || header.series !== (name ?? header.series))) return;
    if (stack === null && frame !== null && name === null) view.set({ series: header.series }); // the address did not say
    if (!detector.region.hold(header, () => showFrame(header, arrays))) showFrame(header, arrays);
  },
  tracks(header, arrays) {
    frames.grow(header.n_frames);
    moments.update(header.timeline);
    lives.update(header, arrays);
    const times = header.timeline[1];
    drift.extent = { time: times.length ? [times[0], times[times.length - 1]] : [], frame: header.n_frames ? [0, header.n_frames - 1] : [] };
    drift.dirty = true;
    const untimed = header.n_frames > 0 && !header.timeline[0].length;
    if (untimed) view.set({ x: "frame" });
  },
  drift(header, arrays) {
    if (header.request < request) return;
    if (!drift.update(header, arrays)) return watch();
    mark();
    const [end, span] = [drift.whole[1], view.get("span")];
    if (span !== null && end - (askedEnd ?? -Infinity) > AHEAD * span) watch();
  },
  cell(header, arrays) {
    cell.update(header, arrays);
    drift.dirty = true;
  },
  patch: (header, arrays) => patch.update(header, arrays),
  problem: (header) => problem(header.text),
};

/**
 * @param {ImageHeader} header
 * @param {ImageArrays} arrays
 */
function showFrame(header, arrays) {
  image.update(header, arrays);
  peaks.update(header, arrays);
  frames.update(header);
  mark();
  part("empty").hidden = header.has_pixels;
  part("empty").textContent = header.why || "The pixels of this frame are not at hand";
  controls.levels();
  schedule();
}

/** Mark on the plot which frame the image shows. */
function mark() {
  if (image.header && !image.header.stack) drift.show(image.header.time_ns / 1e9, frames.number);
}

function connected() {
  for (const panel of panels) panel.dirty = true;
  watched = false;
  schedule();
  if (!socket.open) return;
  send({ type: "hold", hold: document.hidden });
  frames.show();
  if (hello) watch();
}

/** Ask for the curves that are to be seen. */
function watch() {
  const { tracks: chosen, quantity, x, span, frame } = view.state;
  let { from, to } = view.state;
  if (!quantity || !socket.open) return;
  askedEnd = null;
  if (from !== null && to !== null) [from, to] = [from - (to - from), to + (to - from)];
  else if (span !== null && frame === null && drift.x === x && drift.lines.some((line) => line.x.length)) {
    askedEnd = drift.whole[1];
    from = askedEnd - span * (1 + AHEAD);
  }
  watched = true;
  request += 1;
  send({ type: "watch", tracks: chosen ?? [], quantity, x, from, to, points: POINTS, request });
}

/**
 * Take a track into the plot, or out of it.
 *
 * @param {number} track
 */
function choose(track) {
  if (!view.toggle(track)) problem("The plot holds no more tracks: take one out first.");
}

/** @param {string} text */
function problem(text) {
  part("problem").hidden = false;
  part("problem-words").textContent = text;
}

function retheme() {
  document.documentElement.dataset.theme = theme();
  round.renew();
}

function rezone() {
  useLocalTime(view.get("zone") === "local");
  round.renew();
}

view.onchange((names) => {
  /** @param {...string} wanted */
  const any = (...wanted) => wanted.some((name) => names.has(name));
  if (any("theme")) retheme();
  if (any("zone")) rezone();
  if (any("colours", "low", "high", "zoom", "row", "col")) image.dirty = peaks.dirty = patch.dirty = true;
  if (any("peaks", "tracks")) peaks.dirty = true;
  for (const panel of panels) if (any(...(panel.follows ?? []))) panel.dirty = true;
  if (any("frame")) frames.dirty = true;
  if (any("tracks", "quantity", "x", "span", "from", "to") || (any("frame") && view.get("span") !== null)) watch();
  if (any("tracks", "x", "span", "from", "to", "frame")) drift.dirty = true;
  schedule();
});

/** @type {Peaks["onpoint"]} */
peaks.onpoint = (peak) => {
  patch.point(peak);
  schedule();
};
/** @type {Pointers["onpoint"]} */
pointers.onpoint = (x, y) => {
  const isIn = x !== null && y !== null;
  peaks.point(isIn ? peaks.nearest(x, y) : -1);
  detector.point(isIn ? image.at(x, y) : null);
};
image.onlayout = () => {
  peaks.dirty = detector.dirty = true;
  schedule();
};
detector.region.onready = () => {
  controls.levels();
  schedule();
};
drift.onresize = schedule;
hang(view, () => round.renew());
/** @type {Drift["onshow"]} */
drift.onshow = (x) => {
  const number = drift.x === "frame" ? x : moments.frameAt(x);
  if (number !== null) frames.go(number);
};
/** @type {Drift["onselect"]} */
drift.onselect = (from, to) => view.set({ from, to });
peaks.onchoose = choose;
dark.addEventListener("change", retheme);
part("problem-dismiss").addEventListener("click", () => {
  part("problem").hidden = true;
});
document.addEventListener("visibilitychange", () => send({ type: "hold", hold: document.hidden }));
schedule();

Object.defineProperty(window, "stats", { get: () => stats.report() });
/** What is shown, as plain numbers: for tests, and for who opens the console. */
Object.defineProperty(window, "view", {
  get: () => ({
    ...view.state,
    connected: socket.open,
    images: image.drawn,
    image: image.header,
    peaks: peaks.count,
    peak: patch.peak,
    patch: patch.message && { ...patch.message.header, counts: [...patch.message.pixels] },
    /** @type {(row: number, col: number) => Place} */
    place: (row, col) => [image.x(col), image.y(row)],
    drift: { ...drift.report(), values: drift.values() },
    cell: { time: [...cell.time], voltage: [...cell.voltage], halfCycles: cell.halfCycles },
    readout: readout.element.textContent,
    ...Object.assign({}, ...panels.map((panel) => panel.report?.())),
  }),
});
