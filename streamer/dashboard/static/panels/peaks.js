// The peaks of the shown frame: marks over the image, and which one is pointed at.

import { part, pen } from "../dom.js";
import { whole } from "../numbers.js";
import { KINDS, kindOf, lineStyle } from "../plot/colours.js";
import { enlarged } from "../wall.js";

/** @import { ImageHeader, Peak, PeakArrays, Theme } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Pointers } from "../image/pointers.js" */
/** @import { Image } from "./image.js" */

const REACH_PX = 14; // a pointer this near means the peak
const [SMALLEST_PX, LARGEST_PX] = [3.5, 8];
const [SINGLE, FLAGS, TRACK] = [new Float32Array(), new Int32Array(), new Float64Array()];
const NONE = {
  row: SINGLE, col: SINGLE, row_sigma: SINGLE, col_sigma: SINGLE, score: SINGLE, flags: FLAGS, track: TRACK,
};

export class Peaks {
  /**
   * @param {Image} image
   * @param {Pointers} pointers
   * @param {View} view
   * @param {() => Theme} theme
   */
  constructor(image, pointers, view, theme) {
    this.image = image;
    this.section = image.section;
    this.view = view;
    this.theme = theme;
    this.canvas = part("marks", HTMLCanvasElement);
    this.context = pen(this.canvas);
    /** @type {ImageHeader | null} */
    this.header = null;
    /** @type {PeakArrays} */
    this.arrays = NONE;
    this.count = 0;
    this.pointed = -1; // index of the peak that is pointed at
    /** @type {number | null} */
    this.followed = null; // its track, to find it on the next frame
    /** @type {number[] | null} */
    this.order = null; // indices of the peaks, the strongest first
    this.dirty = false;
    /** @type {(peak: Peak | null) => void} */
    this.onpoint = () => {};
    /** @type {(track: number) => void} */
    this.onchoose = () => {};
    pointers.onclick = (x, y) => this.choose(this.nearest(x, y));
    image.host.addEventListener("keydown", (event) => this.key(event));
    image.host.addEventListener("blur", () => this.point(-1));
  }

  /**
   * @param {ImageHeader} header
   * @param {PeakArrays} arrays
   */
  update(header, arrays) {
    this.header = header;
    this.arrays = arrays;
    this.count = arrays.row?.length ?? 0;
    this.order = null;
    this.dirty = true;
    if (this.followed === null) return;
    this.pointed = this.followed < 0 ? -1 : arrays.track.indexOf(this.followed);
    this.onpoint(this.peak(this.pointed));
  }

  /**
   * What is known of a peak, or null.
   *
   * @param {number} index
   * @returns {Peak | null}
   */
  peak(index) {
    if (!this.header || index < 0 || index >= this.count) return null;
    const { row, col, row_sigma, col_sigma, score, flags, track } = this.arrays;
    return {
      frame: this.header.frame,
      series: this.header.series,
      row: row[index],
      col: col[index],
      row_sigma: row_sigma[index],
      col_sigma: col_sigma[index],
      score: score[index],
      flags: flags[index],
      track: track[index],
    };
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  nearest(x, y) {
    const reach = REACH_PX / this.image.scale;
    const [row, col] = this.image.at(x, y);
    let [best, distance] = [-1, reach * reach];
    for (let i = 0; i < this.count; i += 1) {
      const square = (this.arrays.row[i] - row) ** 2 + (this.arrays.col[i] - col) ** 2;
      if (square < distance) [best, distance] = [i, square];
    }
    return best;
  }

  /** @param {number} index */
  point(index) {
    if (index !== this.pointed) this.dirty = true;
    this.pointed = index;
    this.followed = index < 0 ? null : this.arrays.track[index];
    this.onpoint(this.peak(index));
  }

  /** @param {number} index */
  choose(index) {
    if (index < 0) return;
    this.point(index);
    const track = this.arrays.track[index];
    if (track >= 0) this.onchoose(track);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.target !== this.image.host || !this.count) return;
    if (event.key === "Enter") this.choose(this.pointed);
    if (event.key.toLowerCase() !== "n") return;
    const { score } = this.arrays;
    this.order ??= [...score.keys()].sort((a, b) => score[b] - score[a]);
    const now = this.order.indexOf(this.pointed);
    const next = now < 0 ? 0 : (now + (event.shiftKey ? -1 : 1) + this.count) % this.count;
    this.point(this.order[next]);
    event.stopPropagation();
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    part("peak-count").textContent = `${whole(this.count)} ${this.count === 1 ? "peak" : "peaks"}`;
    const { canvas, context, image } = this;
    if (canvas.width !== image.canvas.width || canvas.height !== image.canvas.height)
      [canvas.width, canvas.height] = [image.canvas.width, image.canvas.height];
    context.setTransform(image.ratio, 0, 0, image.ratio, 0, 0);
    context.clearRect(0, 0, image.width, image.height);
    if (!this.count || !this.view.get("peaks")) return;
    this.crosses();
    this.chosen();
  }

  crosses() {
    const { context, image } = this;
    const { row, col, score, flags } = this.arrays;
    const paths = KINDS.map(() => new Path2D());
    let strongest = 1;
    for (let i = 0; i < this.count; i += 1) strongest = Math.max(strongest, score[i]);
    const grow = (LARGEST_PX - SMALLEST_PX) / Math.log(strongest + 1);
    const zoom = Math.min(1.6, Math.sqrt(this.view.get("zoom"))) * enlarged();
    for (let i = 0; i < this.count; i += 1) {
      const [x, y] = [image.x(col[i]), image.y(row[i])];
      if (x < -9 || y < -9 || x > image.width + 9 || y > image.height + 9) continue;
      const size = (SMALLEST_PX + grow * Math.log(Math.max(score[i], 0) + 1)) * zoom;
      const kind = kindOf(flags[i]);
      trace(paths[kind], KINDS[kind].shape, x, y, size);
    }
    // A dark rim keeps marks legible on bright and dark pixels alike.
    for (const [width, alpha] of [[3.2, 0.55], [1.5, 1]]) {
      context.lineWidth = width * enlarged();
      context.globalAlpha = alpha;
      for (const [index, path] of paths.entries()) {
        context.strokeStyle = alpha < 1 ? "#000000" : KINDS[index].colour;
        context.stroke(path);
      }
    }
    context.globalAlpha = 1;
  }

  chosen() {
    const { context, image, view } = this;
    const { row, col, track } = this.arrays;
    const halo = this.theme() === "dark" ? "#000000c0" : "#ffffffd8";
    const large = enlarged();
    context.font = `600 ${12 * large}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (let i = 0; i < this.count; i += 1) {
      const slot = view.slots.get(track[i]);
      if (slot === undefined) continue;
      const { colour, dash } = lineStyle(slot, this.theme());
      const [x, y] = [image.x(col[i]), image.y(row[i])];
      ring(context, x, y, 12 * large, colour, halo, dash);
      const label = String(track[i]);
      const left = x + 18 * large + context.measureText(label).width > image.width;
      context.textAlign = left ? "right" : "left";
      context.lineWidth = 3.5 * large;
      context.strokeStyle = halo;
      context.strokeText(label, x + (left ? -17 : 17) * large, y - 8 * large);
      context.fillStyle = colour;
      context.fillText(label, x + (left ? -17 : 17) * large, y - 8 * large);
    }
    if (this.pointed >= 0)
      ring(context, image.x(col[this.pointed]), image.y(row[this.pointed]), 17 * large, "#ffffff", "#000000a0", []);
  }
}

/**
 * Put the shape of a kind of peak on a path.
 *
 * @param {Path2D} path
 * @param {string} shape
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
export function trace(path, shape, x, y, size) {
  if (shape === "circle") {
    path.moveTo(x + size * 0.8, y);
    path.arc(x, y, size * 0.8, 0, 2 * Math.PI);
  } else if (shape === "square") path.rect(x - size * 0.75, y - size * 0.75, size * 1.5, size * 1.5);
  else if (shape === "diamond") {
    path.moveTo(x, y - size);
    path.lineTo(x + size, y);
    path.lineTo(x, y + size);
    path.lineTo(x - size, y);
    path.closePath();
  } else {
    const [a, b] = shape === "plus" ? [size, 0] : [size * 0.75, size * 0.75];
    path.moveTo(x - a, y - b);
    path.lineTo(x + a, y + b);
    path.moveTo(x + b, y - a);
    path.lineTo(x - b, y + a);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {string} colour
 * @param {string} halo
 * @param {number[]} dash
 */
function ring(context, x, y, radius, colour, halo, dash) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 4.5 * enlarged();
  context.strokeStyle = halo;
  context.stroke();
  context.lineWidth = 2 * enlarged();
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.stroke();
  context.setLineDash([]);
}
