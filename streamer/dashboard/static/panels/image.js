// The detector image: levels to colours, zoom and pan. Coordinates are the detector's: an integer
// is the centre of a pixel, rows go downwards.

import { part, pen } from "../dom.js";
import { fillTable } from "../plot/colours.js";

/** @import { ImageHeader, Place, Theme } from "../link/types" */
/** @import { View } from "../view.js" */

const MOST_ZOOM = 64;
const KNEE = 1e-3; // of the range: up to there levels are about linear

export class Image {
  /**
   * @param {HTMLElement} host
   * @param {View} view
   * @param {() => Theme} theme
   */
  constructor(host, view, theme) {
    this.host = host;
    this.section = part("image-section");
    this.view = view;
    this.theme = theme;
    this.canvas = part("pixels", HTMLCanvasElement);
    this.context = pen(this.canvas, { alpha: false });
    this.source = document.createElement("canvas");
    this.source.width = this.source.height = 1;
    this.palette = new Uint32Array(256); // colours of the levels that are shown
    this.table = new Uint32Array(256); // and of the levels that the image has come with
    this.tableKey = ""; // what it was filled for
    this.data = new ImageData(1, 1);
    this.words = new Uint32Array(this.data.data.buffer);
    /** @type {ImageHeader | null} */
    this.header = null;
    /** @type {Uint8Array | null} */
    this.pixels = null;
    /** @type {Place | null} */
    this.shape = null;
    this.width = this.height = 0; // CSS pixels
    this.ratio = 1;
    this.drawn = 0;
    this.dirty = this.fresh = false;
    /** @type {import("../image/region.js").Region | null} pixels in full resolution, where zoomed to */
    this.region = null;
    this.onlayout = () => {};
    new ResizeObserver(() => this.layout()).observe(host);
  }

  /**
   * Take a newer frame.
   *
   * @param {ImageHeader} header
   * @param {{ pixels?: Uint8Array }} arrays
   */
  update(header, arrays) {
    if (!this.header || String(this.header.shape) !== String(header.shape)) this.reshape(header.shape);
    this.header = header;
    this.pixels = arrays.pixels?.length ? arrays.pixels : null;
    this.dirty = this.fresh = true;
  }

  /**
   * Know the detector's size before a frame comes.
   *
   * @param {Place} shape
   */
  reshape([rows, cols]) {
    this.shape = [rows, cols];
    this.host.style.aspectRatio = `${cols} / ${rows}`;
    this.layout();
  }

  layout() {
    const ratio = devicePixelRatio || 1;
    this.width = this.host.clientWidth;
    this.height = this.host.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.dirty = true;
    this.onlayout();
  }

  /** CSS pixels for a detector pixel. */
  get scale() {
    const [rows, cols] = this.shape ?? [1, 1];
    return Math.min(this.width / cols, this.height / rows) * this.view.get("zoom");
  }

  get centre() {
    const [rows, cols] = this.shape ?? [1, 1];
    return [this.view.get("row") ?? (rows - 1) / 2, this.view.get("col") ?? (cols - 1) / 2];
  }

  /** @param {number} col */
  x(col) {
    return (col - this.centre[1]) * this.scale + this.width / 2;
  }

  /** @param {number} row */
  y(row) {
    return (row - this.centre[0]) * this.scale + this.height / 2;
  }

  /**
   * Return [row, col] under a point of the host.
   *
   * @param {number} x
   * @param {number} y
   * @returns {Place}
   */
  at(x, y) {
    const [row, col] = this.centre;
    return [row + (y - this.height / 2) / this.scale, col + (x - this.width / 2) / this.scale];
  }

  /**
   * Counts at a level from 1 to 255: logarithmic above a knee, about linear below it.
   *
   * @param {number} level
   */
  counts(level) {
    const { low, high, knee } = this.range;
    return low + knee * ((1 + (high - low) / knee) ** ((level - 1) / 254) - 1);
  }

  /** @param {number} counts */
  level(counts) {
    const { low, high, knee } = this.range;
    const above = Math.log1p(Math.max(counts - low, -0.999 * knee) / knee);
    return 1 + (254 * above) / Math.log1p((high - low) / knee);
  }

  /**
   * The pixel, as the canvas takes it, that counts have now.
   *
   * @param {number} counts
   */
  shade(counts) {
    return this.palette[Math.min(255, Math.max(1, Math.round(this.level(counts))))];
  }

  /** From which counts on to which there are levels: single pixels go lower than the highest of many. */
  get range() {
    const came = cameWith(this.header);
    const low = Math.min(came.low, this.region?.low ?? came.low);
    return low < came.low ? { low, high: came.high, knee: Math.min(1, KNEE * (came.high - low)) } : came;
  }

  /** The levels that the colour map spans. */
  get levels() {
    const [low, high] = [this.view.get("low"), this.view.get("high")];
    return [low === null ? 1 : this.level(low), high === null ? 255 : this.level(high)];
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    if (this.header) this.colour();
    const { context, canvas, ratio, scale } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = getComputedStyle(this.host).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (this.pixels && this.header) {
      const factor = this.header.binning * scale * ratio;
      context.imageSmoothingEnabled = factor < 1;
      context.drawImage(
        this.source,
        this.x(-0.5) * ratio,
        this.y(-0.5) * ratio,
        this.source.width * factor,
        this.source.height * factor,
      );
      this.region?.paint(context);
    }
    if (this.fresh && !this.header?.coarse) this.drawn += 1;
    this.fresh = false;
  }

  colour() {
    const { header, pixels, table } = this;
    const entry = header?.arrays.find(({ name }) => name === "pixels");
    if (!pixels || !entry) return;
    const [low, high] = this.levels;
    const came = cameWith(header);
    const { low: least, high: most, knee } = this.range;
    const key = [this.view.get("colours"), low, high, this.theme(), least, most, knee, came.low, came.high].join(" ");
    if (key !== this.tableKey) {
      fillTable(this.palette, this.view.get("colours"), low, high, this.theme());
      table[0] = this.palette[0];
      for (let level = 1; level < 256; level += 1)
        table[level] = this.shade(came.low + came.knee * ((1 + (came.high - came.low) / came.knee) ** ((level - 1) / 254) - 1));
    } else if (!this.fresh) return;
    this.tableKey = key;
    const [height, width] = entry.shape;
    if (this.data.width !== width || this.data.height !== height) {
      [this.source.width, this.source.height] = [width, height];
      this.data = new ImageData(width, height);
      this.words = new Uint32Array(this.data.data.buffer);
    }
    for (let i = 0; i < pixels.length; i += 1) this.words[i] = table[pixels[i]];
    pen(this.source).putImageData(this.data, 0, 0);
  }

  /**
   * Zoom by a factor; what is at (x, y) stays there.
   *
   * @param {number} factor
   */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const zoom = Math.min(Math.max(this.view.get("zoom") * factor, 1), MOST_ZOOM);
    const [row, col] = this.at(x, y);
    const scale = (this.scale / this.view.get("zoom")) * zoom;
    this.move(row - (y - this.height / 2) / scale, col - (x - this.width / 2) / scale, zoom);
  }

  /**
   * @param {number} row
   * @param {number} col
   */
  move(row, col, zoom = this.view.get("zoom")) {
    const [rows, cols] = this.shape ?? [1, 1];
    if (zoom === 1) {
      this.view.set({ zoom, row: null, col: null });
      return;
    }
    /**
     * @param {number} value
     * @param {number} size
     */
    const inside = (value, size) => Math.min(Math.max(value, -0.5), size - 0.5);
    this.view.set({ zoom, row: inside(row, rows), col: inside(col, cols) });
  }
}

/**
 * The range of the levels that an image has come with.
 *
 * @param {ImageHeader | null} header
 */
function cameWith(header) {
  const low = header?.low ?? 0;
  const high = Math.max(header?.high ?? 1, low + 1e-6);
  return { low, high, knee: header?.knee || Math.max(low, 1e-3) };
}
