// A mask as it is drawn: which pixels of the detector are not to be used.

import { pen } from "../dom.js";
import { spans } from "./shapes.js";

/** @import { Place } from "../link/types" */
/** @import { Image } from "../panels/image.js" */
/** @import { Shape, Span } from "./shapes.js" */

/** @typedef {{ span: Span, values: Uint8Array }[]} Change pixels as they were before */

const TINT = ((0xb4 << 24) | (0x66 << 16) | (0x33 << 8) | 0xff) >>> 0; // a red that shows what is below
const MOST_CHANGES = 100; // that can be taken back
const HEADER = 128; // bytes of a .npy file before its values

export class Mask {
  /** @param {Image} image */
  constructor(image) {
    this.image = image;
    /** @type {Place} */
    this.size = [0, 0];
    this.pixels = new Uint8Array(); // 1 where masked
    this.count = 0;
    /** @type {Change[]} */
    this.changes = [];
    this.canvas = document.createElement("canvas");
  }

  /** Begin with nothing where the detector is another one. */
  fit() {
    const { shape } = this.image;
    if (!shape || String(shape) === String(this.size)) return shape !== null;
    this.size = shape;
    this.pixels = new Uint8Array(shape[0] * shape[1]);
    this.count = 0;
    this.changes = [];
    [this.canvas.height, this.canvas.width] = shape;
    return true;
  }

  /**
   * Mask the pixels in a shape, or use them again.
   *
   * @param {Shape} shape
   * @param {boolean} masked
   */
  fill(shape, masked) {
    if (!this.fit()) return;
    this.put(spans(shape, this.size), (values) => values.fill(Number(masked)));
  }

  /**
   * Mask all pixels that have any of some marks.
   *
   * @param {Uint8Array} marks
   * @param {number} bits
   */
  add(marks, bits) {
    if (!this.fit() || marks.length !== this.pixels.length) return;
    const [rows, cols] = this.size;
    /** @type {Span[]} */
    const all = Array.from({ length: rows }, (_, row) => [row, 0, cols]);
    this.put(all, (values, from) => {
      for (let i = 0; i < values.length; i += 1) if (marks[from + i] & bits) values[i] = 1;
    });
  }

  clear() {
    if (!this.fit()) return;
    const [rows, cols] = this.size;
    this.put(Array.from({ length: rows }, (_, row) => [row, 0, cols]), (values) => values.fill(0));
  }

  /** Take the last change back. */
  undo() {
    const change = this.changes.pop();
    if (!change) return;
    for (const { span: [row, from], values } of change.toReversed()) this.pixels.set(values, row * this.size[1] + from);
    this.paintSpans(change.map(({ span }) => span));
  }

  /**
   * @param {Span[]} where
   * @param {(values: Uint8Array, from: number) => void} write
   */
  put(where, write) {
    const cols = this.size[1];
    /** @type {Change} */
    const change = [];
    for (const span of where) {
      const [row, from, to] = span;
      const values = this.pixels.subarray(row * cols + from, row * cols + to);
      const before = values.slice();
      write(values, row * cols + from);
      if (values.some((value, i) => value !== before[i])) change.push({ span, values: before });
    }
    if (!change.length) return;
    this.changes.push(change);
    if (this.changes.length > MOST_CHANGES) this.changes.shift();
    this.paintSpans(change.map(({ span }) => span));
  }

  /** @param {Span[]} where */
  paintSpans(where) {
    this.count = 0;
    for (const value of this.pixels) this.count += value;
    const [top, bottom] = [where[0][0], where[where.length - 1][0] + 1];
    const [left, right] = [Math.min(...where.map(([, from]) => from)), Math.max(...where.map(([, , to]) => to))];
    const data = new ImageData(right - left, bottom - top);
    const words = new Uint32Array(data.data.buffer);
    for (let row = top; row < bottom; row += 1)
      for (let col = left; col < right; col += 1)
        if (this.pixels[row * this.size[1] + col]) words[(row - top) * (right - left) + col - left] = TINT;
    pen(this.canvas).putImageData(data, left, top);
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    const { image } = this;
    if (!this.count) return;
    context.imageSmoothingEnabled = image.scale < 1;
    const [rows, cols] = this.size;
    context.drawImage(this.canvas, image.x(-0.5), image.y(-0.5), cols * image.scale, rows * image.scale);
  }

  /** The mask as a file that `detect.mask` takes: numpy's format, of booleans. */
  file() {
    const [rows, cols] = this.size;
    const words = `{'descr': '|b1', 'fortran_order': False, 'shape': (${rows}, ${cols}), }`;
    const text = `${words.padEnd(HEADER - 11)}\n`;
    const head = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8]);
    return new Blob([head, text, /** @type {Uint8Array<ArrayBuffer>} */ (this.pixels)]);
  }
}
