// The pixel under the cursor: its counts exactly as the detector sent them, what is wrong with it,
// and its angles and spacing.

import { part } from "../dom.js";
import { fixed } from "../numbers.js";

/** @import { Place, PointHeader, Send } from "../link/types" */
/** @import { Image } from "../panels/image.js" */
/** @import { Geometry } from "./geometry.js" */
/** @import { Region } from "./region.js" */

/** @typedef {{ counts: number | null, marks: number, why?: string }} Reading */

const MARKS = [[1, "masked by the detector"], [2, "masked by detect.mask"], [4, "no counts"], [8, "saturated"]];
const AGAIN_MS = 1000; // for an answer that does not come

export class Cursor {
  /**
   * @param {Image} image
   * @param {Region} region
   * @param {Geometry} geometry
   * @param {Send} send
   */
  constructor(image, region, geometry, send) {
    this.image = image;
    this.region = region;
    this.geometry = geometry;
    this.send = send;
    /** @type {Place | null} */
    this.pixel = null;
    this.byKeys = false;
    /** @type {PointHeader | null} */
    this.answer = null;
    this.asked = "";
    this.askedAt = -Infinity;
    this.element = part("under");
  }

  /** @param {Place | null} place */
  point(place) {
    this.byKeys = false;
    this.pixel = place && this.inside([Math.round(place[0]), Math.round(place[1])]);
  }

  /**
   * Go so many pixels, from the middle of what is seen where there is no cursor.
   *
   * @param {number} down
   * @param {number} right
   */
  step(down, right) {
    const { image } = this;
    const [row, col] = this.pixel ?? image.centre.map(Math.round);
    const next = this.inside([row + down, col + right]);
    if (!next) return;
    this.pixel = next;
    this.byKeys = true;
    const [x, y] = [image.x(next[1]), image.y(next[0])];
    if (x < 0 || y < 0 || x > image.width || y > image.height) image.move(...next);
  }

  /** @param {Place} pixel */
  inside([row, col]) {
    const [rows, cols] = this.image.shape ?? [0, 0];
    return row >= 0 && col >= 0 && row < rows && col < cols ? /** @type {Place} */ ([row, col]) : null;
  }

  /** @param {PointHeader} header */
  update(header) {
    this.answer = header;
  }

  /**
   * Counts and marks of the pixel; null where they are not here yet.
   *
   * @returns {Reading | null}
   */
  get reading() {
    const { pixel, answer, image } = this;
    if (!pixel || !image.header) return null;
    const here = this.region.read(pixel);
    if (here) return here;
    return answer && keyOf(answer, [answer.row, answer.col]) === keyOf(image.header, pixel) ? answer : null;
  }

  draw() {
    this.ask();
    const words = this.words();
    if (this.element.textContent !== words) this.element.textContent = words;
  }

  ask() {
    const { pixel, image, answer } = this;
    if (!pixel || !image.header?.has_pixels || this.reading) return;
    const wanted = keyOf(image.header, pixel);
    // One question at a time: the next when the last was answered.
    const open = this.asked !== "" && (!answer || keyOf(answer, [answer.row, answer.col]) !== this.asked);
    if (wanted === this.asked || open)
      if (performance.now() - this.askedAt < AGAIN_MS) return;
    [this.asked, this.askedAt] = [wanted, performance.now()];
    const { series, frame } = image.header;
    this.send({ type: "point", series, frame, row: pixel[0], col: pixel[1] });
  }

  words() {
    const { pixel, image, reading } = this;
    if (!pixel || !image.header) return "";
    const where = `row ${pixel[0]}, col ${pixel[1]}`;
    const at = this.geometry.at(pixel);
    const angles = at
      ? [at.d === null ? "" : `d ${fixed(at.d, 4)} Å`, `2θ ${fixed(at.two_theta, 3)}°`, `χ ${fixed(at.chi, 2)}°`]
      : [];
    return [reading ? `${where}: ${said(reading)}` : where, ...angles].filter(Boolean).join(" · ");
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    if (!this.byKeys || !this.pixel) return;
    const { image } = this;
    const [row, col] = this.pixel;
    const size = Math.max(image.scale, 7);
    const [left, top] = [image.x(col) - size / 2, image.y(row) - size / 2];
    for (const [width, colour] of /** @type {const} */ ([[4, "#000000c0"], [1.6, "#ffffff"]])) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(left, top, size, size);
    }
  }

  /** For the console and for tests. */
  report() {
    const { pixel, reading } = this;
    const at = pixel && this.geometry.at(pixel);
    return { pixel, counts: reading?.counts ?? null, marks: reading?.marks ?? null, ...at, words: this.words() };
  }
}

/**
 * @param {{ series: string, frame: number }} header
 * @param {Place} pixel
 */
const keyOf = ({ series, frame }, pixel) => `${series} ${frame} ${pixel}`;

/** @param {Reading} reading */
function said({ counts, marks, why }) {
  if (counts === null) return why || "no counts";
  const number = Number.isInteger(counts) ? fixed(counts, 0) : String(Number(counts.toPrecision(9)));
  const words = MARKS.filter(([bit]) => marks & Number(bit)).map(([, text]) => text);
  if (marks & 4) return `${words.join(", ")} (the detector sent ${number})`;
  return [`${number} counts`, ...words].join(", ");
}
