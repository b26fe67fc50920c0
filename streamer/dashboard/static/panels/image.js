// The detector image: levels to colours, zoom and pan. Coordinates are the detector's: an integer
// is the centre of a pixel, rows go downwards.

import { around, part, pen } from "../dom.js";
import { fillTable } from "../plot/colours.js";

/** @import { ImageHeader, Place, Theme } from "../link/types" */
/** @import { View } from "../view.js" */

/** @typedef {{ at: Place, start: Place, moved?: boolean }} Pointer */

const MOST_ZOOM = 64;
const MOVE_SHARE = 0.1; // of what is seen, for an arrow key
const CLICK_PX = 4; // a pointer that moved less was meant to stay

export class Image {
  /**
   * @param {HTMLElement} host
   * @param {View} view
   * @param {() => Theme} theme
   */
  constructor(host, view, theme) {
    this.host = host;
    this.view = view;
    this.theme = theme;
    this.canvas = part("pixels", HTMLCanvasElement);
    this.context = pen(this.canvas, { alpha: false });
    this.source = document.createElement("canvas");
    this.source.width = this.source.height = 1;
    this.table = new Uint32Array(256);
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
    /** @type {Map<number, Pointer>} */
    this.pointers = new Map();
    /** @type {(x: number, y: number) => void} */
    this.onclick = () => {};
    /** @type {(x: number | null, y: number | null) => void} */
    this.onpoint = () => {};
    this.onlayout = () => {};
    this.listen();
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

  get range() {
    const low = this.header?.low ?? 0;
    const high = Math.max(this.header?.high ?? 1, low + 1e-6);
    return { low, high, knee: this.header?.knee || Math.max(low, 1e-3) };
  }

  /** The levels that the colour map spans. */
  get levels() {
    const [low, high] = [this.view.get("low"), this.view.get("high")];
    return [low === null ? 1 : this.level(low), high === null ? 255 : this.level(high)];
  }

  /**
   * Counts of the image pixel at a place, or null.
   *
   * @param {number} row
   * @param {number} col
   */
  read(row, col) {
    if (!this.pixels || !this.header) return null;
    const { shape, binning } = this.header;
    const width = Math.ceil(shape[1] / binning);
    const [i, j] = [Math.floor((row + 0.5) / binning), Math.floor((col + 0.5) / binning)];
    if (i < 0 || j < 0 || j >= width || i * width + j >= this.pixels.length) return null;
    return this.pixels[i * width + j];
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
    }
    if (this.fresh) this.drawn += 1;
    this.fresh = false;
  }

  colour() {
    const { header, pixels, table } = this;
    const entry = header?.arrays.find(({ name }) => name === "pixels");
    if (!pixels || !entry) return;
    const [low, high] = this.levels;
    const key = `${this.view.get("colours")} ${low} ${high} ${this.theme()}`;
    if (key !== this.tableKey) fillTable(table, this.view.get("colours"), low, high, this.theme());
    else if (!this.fresh) return;
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

  listen() {
    const { host, pointers } = this;
    /**
     * @param {MouseEvent} event
     * @returns {Place}
     */
    const place = (event) => {
      const box = host.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
    }, { passive: false });
    host.addEventListener("pointerdown", (event) => {
      if (around(event, "button") || event.button) return;
      pointers.set(event.pointerId, { at: place(event), start: place(event) });
    });
    host.addEventListener("pointermove", (event) => this.drag(event.pointerId, place(event)));
    host.addEventListener("pointerup", (event) => {
      const pointer = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      if (pointer && !pointer.moved) this.onclick(...place(event));
    });
    host.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    host.addEventListener("pointerleave", () => this.onpoint(null, null));
    host.addEventListener("dblclick", (event) => around(event, "button") || this.move(0, 0, 1));
    host.addEventListener("keydown", (event) => this.key(event));
    part("zooms").addEventListener("click", (event) => {
      const what = around(event, "button")?.dataset.zoom;
      if (what === "all") this.move(0, 0, 1);
      else if (what) this.zoom(what === "in" ? 1.5 : 1 / 1.5);
    });
  }

  /**
   * Move or zoom with a pointer that is down; else say where it points.
   *
   * @param {number} id
   * @param {Place} place
   */
  drag(id, [x, y]) {
    const { pointers } = this;
    const pointer = pointers.get(id);
    if (!pointer) {
      this.onpoint(x, y);
      return;
    }
    const [oldX, oldY] = pointer.at;
    const stayed = Math.hypot(x - pointer.start[0], y - pointer.start[1]) < CLICK_PX;
    if (stayed && !pointer.moved) return;
    if (!pointer.moved) this.host.setPointerCapture(id);
    pointer.moved = true;
    pointer.at = [x, y];
    if (pointers.size === 1) {
      const [row, col] = this.centre;
      this.move(row - (y - oldY) / this.scale, col - (x - oldX) / this.scale);
      return;
    }
    const [other] = [...pointers].filter(([one]) => one !== id).map(([, p]) => p.at);
    const before = Math.hypot(oldX - other[0], oldY - other[1]);
    this.zoom(Math.hypot(x - other[0], y - other[1]) / Math.max(before, 1), ...other);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    /** @type {Record<string, Place>} */
    const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = (MOVE_SHARE * Math.min(this.width, this.height)) / this.scale;
    if (event.target !== this.host || event.ctrlKey || event.metaKey) return;
    if (event.key in arrows) {
      const [down, right] = arrows[event.key];
      this.move(this.centre[0] + down * step, this.centre[1] + right * step);
    } else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.move(0, 0, 1);
    else return;
    event.preventDefault();
  }
}
