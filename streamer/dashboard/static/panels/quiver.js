// How far each reflection has drifted, as an arrow on the image, drawn longer than it is.

import { part } from "../dom.js";
import { fixed } from "../numbers.js";
import { lineStyle } from "../plot/colours.js";
import { enlarged } from "../wall.js";
import { Overlay } from "../image/overlay.js";

/** @import { TrackArrays, TracksHeader } from "../link/types" */
/** @import { Page } from "../panels.js" */

/** @typedef {{ track: number, row: number, col: number, down: number, right: number, sure: boolean }} Arrow */

const LONGEST_SHARE = 0.09; // of the image's side: as long is the longest arrow but a few
const MOST = 0.95; // share of the arrows that are no longer
const SURE = 3; // standard deviations
const DOUBTFUL = 16 | 32; // flags: not like one peak, out of trusted range
const [INK, RIM] = ["#ffffff", "#000000b0"];

export class Quiver {
  /** @param {Page} page */
  constructor({ image, view, lives, theme }) {
    this.image = image;
    this.section = image.section;
    this.view = view;
    this.lives = lives;
    this.theme = theme;
    this.follows = ["quiver", "tracks", "theme"];
    this.dirty = false;
    /** @type {Arrow[]} */
    this.arrows = [];
    this.factor = 1; // by which they are longer
    const label = document.createElement("label");
    label.className = "check";
    label.innerHTML = '<input type="checkbox" id="quiver"> <span>drifts</span> <small id="quiver-words"></small>';
    part("kinds").before(label);
    const box = part("quiver", HTMLInputElement);
    box.checked = view.get("quiver");
    box.addEventListener("change", () => view.set({ quiver: box.checked }));
    this.overlay = new Overlay(image, "arrows");
    this.receivers = {
      /** @type {(header: TracksHeader, arrays: TrackArrays) => void} */
      tracks: (_, arrays) => {
        this.arrows = arrowsOf(arrays).filter(({ track }) => !lives.ended(track));
        this.dirty = true;
      },
    };
  }

  draw() {
    this.overlay.draw(this.dirty, (context) => this.mark(context));
    this.dirty = false;
  }

  /** @param {CanvasRenderingContext2D} context */
  mark(context) {
    const { image, view, arrows } = this;
    const shown = view.get("quiver");
    part("quiver-words").textContent = "";
    if (!shown || !arrows.length) return;
    const lengths = arrows.filter(({ sure }) => sure).map(({ down, right }) => Math.hypot(down, right));
    lengths.sort((one, other) => one - other);
    const longest = lengths[Math.floor(MOST * (lengths.length - 1))] ?? 0;
    const [rows, cols] = image.shape ?? [1, 1];
    this.factor = longest ? round((LONGEST_SHARE * Math.min(rows, cols)) / (longest * Math.sqrt(view.get("zoom")))) : 1;
    part("quiver-words").textContent = longest ? `× ${fixed(this.factor, this.factor < 10 ? 1 : 0)}` : "none yet";
    for (const pass of /** @type {const} */ ([RIM, INK])) for (const arrow of arrows) this.arrow(context, arrow, pass);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Arrow} arrow
   * @param {string} pass
   */
  arrow(context, { track, row, col, down, right, sure }, pass) {
    const { image, factor } = this;
    const slot = this.view.slots.get(track);
    const [x, y] = [image.x(col), image.y(row)];
    const [dx, dy] = [right * factor * image.scale, down * factor * image.scale];
    const length = Math.hypot(dx, dy);
    if (!(length > 0)) return;
    const large = enlarged();
    const head = Math.min(7 * large, length);
    const [ux, uy] = [dx / length, dy / length];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx, y + dy);
    context.moveTo(x + dx - head * (ux + 0.5 * uy), y + dy - head * (uy - 0.5 * ux));
    context.lineTo(x + dx, y + dy);
    context.lineTo(x + dx - head * (ux - 0.5 * uy), y + dy - head * (uy + 0.5 * ux));
    context.globalAlpha = sure ? 1 : 0.45;
    context.lineWidth = (pass === RIM ? 4 : 1.8) * large;
    context.strokeStyle = pass === RIM || slot === undefined ? pass : lineStyle(slot, this.theme()).colour;
    context.stroke();
    context.globalAlpha = 1;
  }

  report() {
    return { arrows: this.view.get("quiver") ? { factor: this.factor, each: this.arrows } : null };
  }
}

/**
 * Where each reflection's newest spot is, and how far that is from where its first one was.
 *
 * @param {TrackArrays} t
 * @returns {Arrow[]}
 */
function arrowsOf(t) {
  const { track, reflection = track, row, col, ref_row, ref_col, last_time_ns, last_frame } = t;
  if (!track || !row || !ref_row) return [];
  const place = new Map([...track].map((number, i) => [number, i]));
  /** @type {Map<number, number>} index of the newest spot by reflection */
  const newest = new Map();
  /** @param {number} i */
  const late = (i) => last_time_ns?.[i] || last_frame?.[i] || 0;
  for (let i = 0; i < track.length; i += 1) {
    const other = newest.get(reflection[i]);
    if (other === undefined || late(i) >= late(other)) newest.set(reflection[i], i);
  }
  const arrows = [];
  for (const [number, i] of newest) {
    const first = place.get(number) ?? i;
    const alone = first === i && t.drift_row;
    const [down, right] = alone ? [t.drift_row[i], t.drift_col[i]] : [row[i] - ref_row[first], col[i] - ref_col[first]];
    const sigma = alone
      ? Math.hypot(t.drift_row_sigma[i], t.drift_col_sigma[i])
      : Math.hypot(t.row_sigma[i], t.col_sigma[i], t.ref_row_sigma[first], t.ref_col_sigma[first]);
    const sure = Math.hypot(down, right) > SURE * sigma;
    if (Number.isFinite(down + right) && !(t.flags[i] & DOUBTFUL))
      arrows.push({ track: track[i], row: row[i], col: col[i], down, right, sure });
  }
  return arrows;
}

/**
 * 1, 2 or 5 times a power of ten that is not above a value.
 *
 * @param {number} value
 */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * (value >= 5 * power ? 5 : value >= 2 * power ? 2 : 1);
}
