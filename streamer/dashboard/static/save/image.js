// The image as a figure: each pixel of the detector, peaks, rings, beam, colour bar, and what it is of.

import { ticksOf } from "../image/bar.js";
import { coloured } from "../image/region.js";
import { counts as said, whole } from "../numbers.js";
import { KINDS, kindOf, sample } from "../plot/colours.js";

/** @import { ImageHeader, Place, RegionArrays, RegionHeader } from "../link/types" */
/** @import { Image } from "../panels/image.js" */
/** @import { PeakArrays } from "../link/types" */
/** @import { Pen, Point } from "./pens.js" */
/** @import { Ring } from "../image/rings.js" */

/**
 * What there is to draw.
 *
 * @typedef {object} Scene
 * @property {Image} image how it is shown: colours, levels, what is seen
 * @property {RegionHeader} header of all pixels
 * @property {RegionArrays} arrays
 * @property {PeakArrays | null} peaks null where they are not shown
 * @property {Ring[]} rings
 * @property {Place | null} beam null where it is not shown
 * @property {string} title
 * @property {string} caption
 * @property {string} colours name of the colour map
 */

const LEAST_PX = 1100; // of the longer side: few pixels are drawn larger
const [BACK, INK, MARK] = ["#ffffff", "#17212b", "#ffe45c"];
const BAR_STEPS = 256;

/**
 * Rows and columns of what is seen, whole pixels of the detector.
 *
 * @param {Image} image
 * @param {Place} shape
 */
function seen(image, [rows, cols]) {
  const [top, left] = image.at(0, 0);
  const [bottom, right] = image.at(image.width, image.height);
  /** @type {(from: number, to: number, size: number) => Place} */
  const within = (from, to, size) => [Math.max(0, Math.round(from)), Math.min(size, Math.round(to) + 1)];
  const [[row, lastRow], [col, lastCol]] = [within(top, bottom, rows), within(left, right, cols)];
  return { row, col, rows: lastRow - row, cols: lastCol - col };
}

/**
 * How large the figure is, and where its parts are.
 *
 * @param {Scene} scene
 */
export function layout({ image, header }) {
  const window = seen(image, header.shape);
  const scale = Math.max(1, Math.ceil(LEAST_PX / Math.max(window.rows, window.cols)));
  const [width, height] = [window.cols * scale, window.rows * scale];
  const size = Math.round(Math.max(14, Math.max(width, height) / 70)); // of letters
  const [left, top] = [5 * size, 5 * size];
  return { window, scale, size, left, top, inner: [width, height], width: left + width + 9 * size, height: top + height + 4 * size };
}

/**
 * @param {Pen} pen
 * @param {Scene} scene
 */
export function draw(pen, scene) {
  const { image, header, arrays, title, caption } = scene;
  const { window, scale, size, left, top, inner: [width, height] } = layout(scene);
  pen.box(0, 0, pen.width, pen.height, BACK);
  pen.words(title, left, 1.5 * size, { size: 1.25 * size, colour: INK, weight: 600 });
  pen.words(caption, left, 3.3 * size, { size, colour: INK });
  pen.picture(coloured(image, arrays, header.shape, window), left, top, width, height);
  /** @type {(place: Place) => Point} */
  const at = ([row, col]) => [left + (col - window.col + 0.5) * scale, top + (row - window.row + 0.5) * scale];
  const thin = size / 9;
  pen.clip(left, top, width, height);
  for (const { lines, words } of scene.rings) {
    for (const line of lines) pen.line(line.map(at), MARK, thin);
    const label = lines.flat().map(at).find(([x, y]) => x > left + 2 * size && x < left + width - 5 * size && y > top + size && y < top + height - size);
    if (label) pen.words(words, ...label, { size: 0.9 * size, colour: MARK, align: "center", weight: 600 });
  }
  if (scene.beam) {
    const [x, y] = at(scene.beam);
    pen.line([[x - size, y], [x + size, y]], MARK, thin);
    pen.line([[x, y - size], [x, y + size]], MARK, thin);
  }
  const { row = [], col = [], flags = [] } = scene.peaks ?? {};
  for (let i = 0; i < row.length; i += 1)
    pen.circle(...at([row[i], col[i]]), Math.max(0.8 * size, 5 * scale), KINDS[kindOf(flags[i])].colour, thin);
  pen.unclip();
  pen.line([[left, top], [left + width, top], [left + width, top + height], [left, top + height], [left, top]], INK, thin);
  for (const [value, along] of steps(window.col, window.cols)) {
    const x = left + (along + 0.5) * scale;
    pen.line([[x, top + height], [x, top + height + 0.4 * size]], INK, thin);
    pen.words(whole(value), x, top + height + 1.2 * size, { size, colour: INK, align: "center" });
  }
  for (const [value, along] of steps(window.row, window.rows)) {
    const y = top + (along + 0.5) * scale;
    pen.line([[left - 0.4 * size, y], [left, y]], INK, thin);
    pen.words(whole(value), left - 0.7 * size, y, { size, colour: INK, align: "right" });
  }
  pen.words("column / px", left + width / 2, top + height + 2.9 * size, { size, colour: INK, align: "center" });
  pen.words("row / px", 1.2 * size, top + height / 2, { size, colour: INK, align: "center", turned: true });
  bar(pen, scene, left + width + 1.5 * size, top, height, size);
}

/**
 * @param {Pen} pen
 * @param {Scene} scene
 * @param {number} x
 * @param {number} top
 * @param {number} height
 * @param {number} size
 */
function bar(pen, { image, colours }, x, top, height, size) {
  for (let i = 0; i < BAR_STEPS; i += 1) {
    const y = top + height * (1 - (i + 1) / BAR_STEPS);
    pen.box(x, y, 1.4 * size, height / BAR_STEPS + 0.5, `rgb(${sample(colours, i / (BAR_STEPS - 1))})`);
  }
  for (const { at, words } of ticksOf(image)) {
    const y = top + height * (1 - at);
    pen.line([[x + 1.4 * size, y], [x + 1.8 * size, y]], INK, size / 9);
    pen.words(words, x + 2.1 * size, y, { size, colour: INK });
  }
  pen.words("counts", x + 6.3 * size, top + height / 2, { size, colour: INK, align: "center", turned: true });
}

/**
 * Round numbers of pixels, and how far along each is.
 *
 * @param {number} first
 * @param {number} count
 * @returns {Place[]}
 */
function steps(first, count) {
  const rough = count / 5;
  const decade = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = decade * ([1, 2, 5, 10].find((one) => one * decade >= rough) ?? 10);
  const from = Math.ceil(first / step) * step;
  /** @type {Place[]} */
  const found = [];
  for (let value = from; value < first + count; value += step) found.push([value, value - first]);
  return found;
}

/**
 * What is said of a frame below its title.
 *
 * @param {ImageHeader} header
 * @param {Image} image
 * @param {string} thresholds
 */
export function captionOf(header, image, thresholds) {
  const [low, high] = image.levels.map((level) => said(image.counts(level)));
  const when = header.time_ns ? [`${new Date(header.time_ns / 1e6).toISOString().replace("T", " ").replace("Z", " UTC")}`] : [];
  return [...when, thresholds, `colours from ${low} to ${high} counts`].filter(Boolean).join(" · ");
}
