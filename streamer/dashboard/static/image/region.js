// The pixels of the detector where the image is zoomed to: each with its own counts. The page says
// what it sees of each frame, and the pixels come with the frame.

import { pen } from "../dom.js";

/** @import { ImageHeader, Place, RegionHeader, Send, Values } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Image } from "../panels/image.js" */

/** @typedef {{ row: number, col: number, rows: number, cols: number, binning: number }} Window */

const MARGIN = 0.25; // of what is seen, on each side: so far the view moves before more is asked for
const ASK_MS = 60;
const PATIENCE_MS = 500; // a frame waits so long for its pixels
const TABLE = 1 << 16; // counts below have their colour in a table
const HIDDEN = 1 | 2 | 4; // marks of pixels that have no counts to show

export class Region {
  /**
   * @param {Image} image
   * @param {View} view
   * @param {Send} send
   */
  constructor(image, view, send) {
    this.image = image;
    this.view = view;
    this.send = send;
    /** @type {Window | null} */
    this.asked = null;
    this.timer = this.patience = 0;
    /** @type {{ header: ImageHeader, show: () => void } | null} */
    this.held = null; // a frame whose pixels are on their way
    /** @type {RegionHeader | null} */
    this.header = null;
    /** @type {Values} */
    this.counts = new Uint8Array();
    this.marks = new Uint8Array();
    this.canvas = document.createElement("canvas");
    this.data = new ImageData(1, 1);
    this.words = new Uint32Array(this.data.data.buffer);
    this.table = new Uint32Array(TABLE);
    this.tableKey = this.paintedKey = "";
    /** @type {() => void} */
    this.onready = () => {};
    view.onchange((names) => {
      if (["zoom", "row", "col"].some((name) => names.has(name))) this.ask();
    });
  }

  /**
   * @param {RegionHeader} header
   * @param {{ counts: Values, marks: Uint8Array }} arrays
   */
  update(header, arrays) {
    Object.assign(this, { header, ...arrays });
    this.paintedKey = "";
    this.image.dirty = true;
    if (this.held && this.isOf(this.held.header)) this.release();
    this.onready();
  }

  /** Ask for all again: nobody knows this page. */
  renew() {
    this.asked = null;
    this.ask();
  }

  /** Ask for what is seen, soon. */
  ask() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      const wanted = this.wanted();
      if (wanted === this.asked) return;
      this.asked = wanted;
      this.send({ type: "region", ...(wanted ?? { row: 0, col: 0, rows: 0, cols: 0, binning: 1 }) });
    }, ASK_MS);
  }

  /**
   * What has to be there for what is seen; null where the image as it comes shows as much.
   *
   * @returns {Window | null}
   */
  wanted() {
    const { image, asked } = this;
    const { shape } = image;
    const pixel = image.scale * image.ratio; // device pixels for one of the detector
    const binning = Math.max(1, Math.ceil(1 / pixel - 0.3));
    if (!shape || this.view.get("zoom") <= 1 || binning >= (image.header?.binning ?? 1)) return null;
    const [top, left] = image.at(0, 0);
    const [bottom, right] = image.at(image.width, image.height);
    const ends = /** @type {[number, number, number][]} */ ([[top, bottom, shape[0]], [left, right, shape[1]]]);
    const [rows, cols] = ends.map(([from, to, size]) => within(from, to, size, 0));
    const holds = /** @param {Window} one */ (one) =>
      one.binning === binning &&
      one.row <= rows[0] && one.row + one.rows >= rows[1] && one.col <= cols[0] && one.col + one.cols >= cols[1];
    if (asked && holds(asked)) return asked;
    const [tall, wide] = ends.map(([from, to, size]) => within(from, to, size, MARGIN));
    return { row: tall[0], col: wide[0], rows: tall[1] - tall[0], cols: wide[1] - wide[0], binning };
  }

  /**
   * Whether these pixels are of a frame.
   *
   * @param {{ series: string, frame: number } | null} header
   */
  isOf(header) {
    return this.header !== null && this.header.series === header?.series && this.header.frame === header.frame;
  }

  /**
   * Whether a frame is better not shown yet: its pixels are about to come.
   *
   * @param {ImageHeader} header
   */
  awaits(header) {
    return this.asked !== null && header.has_pixels && !this.isOf(header);
  }

  /**
   * Put off showing a frame until its pixels are there, or for a while; false where nothing is awaited.
   *
   * @param {ImageHeader} header
   * @param {() => void} show
   */
  hold(header, show) {
    this.held = null;
    this.ask(); // the size of the detector may be known now
    if (!this.awaits(header)) return false;
    this.held = { header, show };
    if (!this.patience)
      this.patience = setTimeout(() => {
        this.patience = 0;
        this.release();
      }, PATIENCE_MS);
    return true;
  }

  release() {
    const { held } = this;
    this.held = null;
    held?.show();
  }

  /**
   * Counts and marks of a pixel, where they are here.
   *
   * @param {Place} pixel
   */
  read([row, col]) {
    const { header, image } = this;
    if (!header || header.binning !== 1 || !this.isOf(image.header)) return null;
    const [i, j] = [row - header.origin[0], col - header.origin[1]];
    const [height, width] = this.size;
    if (i < 0 || j < 0 || i >= height || j >= width) return null;
    return { counts: this.counts[i * width + j], marks: this.marks[i * width + j] };
  }

  /** Counts of the darkest pixels, where they are shown. */
  get low() {
    return this.asked !== null && this.isOf(this.image.header) ? this.header?.low : undefined;
  }

  get size() {
    return this.header?.arrays.find(({ name }) => name === "counts")?.shape ?? [0, 0];
  }

  /**
   * Draw the pixels over the image, if they are of the same frame.
   *
   * @param {CanvasRenderingContext2D} context
   */
  paint(context) {
    const { header, image, canvas } = this;
    const [height, width] = this.size;
    if (!header || !width || !this.isOf(image.header) || this.asked === null) return;
    this.colour(width, height);
    const factor = header.binning * image.scale * image.ratio;
    context.imageSmoothingEnabled = factor < 1;
    const [left, top] = [image.x(header.origin[1] - 0.5), image.y(header.origin[0] - 0.5)];
    context.drawImage(canvas, left * image.ratio, top * image.ratio, width * factor, height * factor);
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  colour(width, height) {
    const { image, counts, marks } = this;
    const key = image.tableKey;
    if (key === this.paintedKey) return;
    if (key !== this.tableKey) for (let i = 0; i < TABLE; i += 1) this.table[i] = image.shade(i);
    this.tableKey = this.paintedKey = key;
    if (this.data.width !== width || this.data.height !== height) {
      [this.canvas.width, this.canvas.height] = [width, height];
      this.data = new ImageData(width, height);
      this.words = new Uint32Array(this.data.data.buffer);
    }
    const shade = shader(image, this.table);
    for (let i = 0; i < counts.length; i += 1) this.words[i] = shade(counts[i], marks[i]);
    pen(this.canvas).putImageData(this.data, 0, 0);
  }
}

/**
 * The pixels from one place to another, and some more, as far as there are any: the first, and one
 * behind the last.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} size
 * @param {number} margin
 */
function within(from, to, size, margin) {
  const more = margin * (to - from);
  return [Math.max(0, Math.floor(from + 0.5 - more)), Math.min(size, Math.ceil(to + 0.5 + more))];
}

/**
 * How pixels look now, given their counts and marks.
 *
 * @param {Image} image
 * @param {Uint32Array} table colours of small counts
 */
function shader(image, table) {
  /** @type {(counts: number, marks: number) => number} */
  return (counts, marks) => {
    if (marks & HIDDEN) return image.palette[0];
    return counts >= 0 && counts < TABLE && Number.isInteger(counts) ? table[counts] : image.shade(counts);
  };
}

/**
 * Part of the pixels of a frame in colours, each a pixel of a canvas.
 *
 * @param {Image} image
 * @param {{ counts: Values, marks: Uint8Array }} arrays of the whole frame
 * @param {Place} shape
 * @param {{ row: number, col: number, rows: number, cols: number }} window
 */
export function coloured(image, { counts, marks }, [, width], { row, col, rows, cols }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [cols, rows];
  const data = new ImageData(cols, rows);
  const words = new Uint32Array(data.data.buffer);
  const shade = shader(image, Uint32Array.from({ length: TABLE }, (_, value) => image.shade(value)));
  for (let i = 0; i < rows; i += 1)
    for (let j = 0, at = (row + i) * width + col; j < cols; j += 1, at += 1)
      words[i * cols + j] = shade(counts[at], marks[at]);
  pen(canvas).putImageData(data, 0, 0);
  return canvas;
}
