// The peak that is pointed at: its numbers, the pixels around it, and where it was placed.

import { part, pen } from "../dom.js";
import { KINDS, kindOf, sample } from "../plot/colours.js";
import { counts, fixed, flagWords, measured, whole } from "../numbers.js";

/** @import { PatchHeader, Peak, Place, Send } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Series } from "./series.js" */

const DWELL_MS = 120; // pointing this long means interest
const AGAIN_MS = 400; // while frames pass, pixels are asked for no more often
const SIZE = 132;

export class Patch {
  /**

   * @param {View} view
   * @param {Series} series
   * @param {Send} send
   */
  constructor(view, series, send) {
    this.view = view;
    this.section = part("image-section");
    this.series = series;
    this.send = send;
    this.canvas = part("patch", HTMLCanvasElement);
    this.title = part("peak-title");
    this.numbers = part("peak-numbers");
    this.words = part("peak-words");
    this.context = pen(this.canvas);
    this.canvas.width = this.canvas.height = SIZE * (devicePixelRatio || 1);
    /** @type {Peak | null} */
    this.peak = null;
    /** @type {{ header: PatchHeader, pixels: Float32Array } | null} */
    this.message = null;
    this.dirty = false;
    this.timer = 0;
    this.askedAt = 0;

  }

  /**
   * Show a peak; null keeps the last one.
   *
   * @param {Peak | null} peak
   */
  point(peak) {
    if (!peak) return;
    if (this.peak && keyOf(peak) === keyOf(this.peak)) return;
    if (this.peak?.track !== peak.track) this.message = null;
    this.peak = peak;
    this.dirty = true;
    clearTimeout(this.timer);
    const wait = Math.max(DWELL_MS, this.askedAt + AGAIN_MS - performance.now());
    // While frames pass a newer peak must not put the request off for ever.
    this.timer = setTimeout(() => this.ask(), Math.min(wait, AGAIN_MS));
  }

  ask() {
    if (!this.peak) return;
    const { series, frame, row, col } = this.peak;
    this.askedAt = performance.now();
    this.send({ type: "patch", series, frame, row, col });
  }

  /**
   * @param {PatchHeader} header
   * @param {{ pixels?: Float32Array }} arrays
   */
  update(header, arrays) {
    this.message = { header, pixels: arrays.pixels ?? new Float32Array() };
    this.dirty = true;
  }

  draw() {
    if (!this.dirty || !this.peak) return;
    this.dirty = false;
    const { peak } = this;
    this.title.textContent = peak.track >= 0 ? `Peak of track ${peak.track}` : "Peak without track";
    const kind = KINDS[kindOf(peak.flags)];
    const rows = [
      ["row", measured(peak.row, peak.row_sigma, "px")],
      ["column", measured(peak.col, peak.col_sigma, "px")],
      ["score", `${counts(peak.score)} counts`],
      ["flags", flagWords(peak.flags)],
    ];
    const { fit, placed } = this.message?.header ?? {};
    if (fit && placed) {
      rows.push(["fit, row", measured(fit.row, fit.row_sigma, "px")]);
      rows.push(["fit, column", measured(fit.col, fit.col_sigma, "px")]);
      const [row, col] = placed;
      rows.push(["model to fit", `${fixed(Math.hypot(fit.row - row, fit.col - col), 3)} px`]);
    }
    this.numbers.replaceChildren(...rows.map(([name, value]) => pair(name, value)));
    this.numbers.dataset.kind = kind.words;
    this.words.textContent = this.explain();
    this.pixels();
  }

  explain() {
    if (!this.message) return this.peak ? this.where(this.peak) : "";
    const { header, pixels } = this.message;
    if (!pixels.length) return header.why || "no pixels of this frame at hand";
    const marks = header.fit ? "+ placed, ○ fit" : "+ placed";
    return `${this.where(header)}: ${marks}, 11 × 11 px`;
  }

  /** @param {{ series: string, frame: number }} at */
  where({ series, frame }) {
    const number = this.series.number(series, frame);
    const words = this.series.words(number);
    return `frame ${whole(number ?? frame)}${words && `, ${words}`}`;
  }

  pixels() {
    const { context, canvas, message } = this;
    const size = canvas.width / 11;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!message?.pixels.length) return;
    const { header, pixels } = message;
    let [low, high] = [Infinity, -Infinity];
    for (const value of pixels) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    pixels.forEach((value, index) => {
      if (Number.isNaN(value)) return;
      const colour = sample(this.view.get("colours"), (value - low) / Math.max(high - low, 1e-9));
      context.fillStyle = `rgb(${colour})`;
      context.fillRect((index % 11) * size, Math.floor(index / 11) * size, size + 0.5, size + 0.5);
    });
    /**
     * @param {Place} where
     * @returns {Place}
     */
    const place = ([row, col]) => [
      (col - header.origin[1] + 0.5) * size,
      (row - header.origin[0] + 0.5) * size,
    ];
    const placed = place(header.placed);
    const arm = 0.7 * size;
    const cross = new Path2D();
    cross.moveTo(placed[0] - arm, placed[1]);
    cross.lineTo(placed[0] + arm, placed[1]);
    cross.moveTo(placed[0], placed[1] - arm);
    cross.lineTo(placed[0], placed[1] + arm);
    this.stroke(cross, "#ffffff");
    if (!header.fit) return;
    const [x, y] = place([header.fit.row, header.fit.col]);
    const circle = new Path2D();
    circle.arc(x, y, 0.5 * size, 0, 2 * Math.PI);
    this.stroke(circle, "#ff9d3c");
  }

  /**
   * @param {Path2D} path
   * @param {string} colour
   */
  stroke(path, colour) {
    const ratio = this.canvas.width / SIZE;
    this.context.lineWidth = 4 * ratio;
    this.context.strokeStyle = "#000000b0";
    this.context.stroke(path);
    this.context.lineWidth = 1.8 * ratio;
    this.context.strokeStyle = colour;
    this.context.stroke(path);
  }
}

/** @param {Pick<Peak, "series" | "frame" | "row" | "col">} peak */
function keyOf({ series, frame, row, col }) {
  return `${series} ${frame} ${row} ${col}`;
}

/**
 * @param {string} name
 * @param {string} value
 */
function pair(name, value) {
  const element = document.createElement("div");
  const [term, said] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  said.textContent = value;
  element.append(term, said);
  return element;
}
