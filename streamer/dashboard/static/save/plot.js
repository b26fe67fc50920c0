// The curves as a figure: lines with their bands, axes with units, and which line is which.

import { fixed, shownUnit } from "../numbers.js";
import { padded } from "../plot/axes.js";
import { lineStyle } from "../plot/colours.js";
import { extent, within } from "../plot/lines.js";

/** @import { Drift } from "../panels/drift.js" */
/** @import { Pen, Point } from "./pens.js" */

const [BACK, INK, GRID] = ["#ffffff", "#17212b", "#e1e6eb"];
export const [WIDTH, HEIGHT] = [2400, 1350];
const SIZE = 28; // of letters
const BOX = { left: 190, top: 110, width: 1900, height: 1080 };

/**
 * @param {Pen} pen
 * @param {Drift} drift
 * @param {string} title
 */
export function draw(pen, drift, title) {
  const [from, to] = drift.range;
  const lines = drift.chosen;
  const [low, high] = padded(lines.map((line) => extent(line, from, to)), 1e-6);
  /** @type {(x: number, y: number) => Point} */
  const at = (x, y) => [
    BOX.left + ((x - from) / (to - from)) * BOX.width,
    BOX.top + (1 - (y - low) / (high - low)) * BOX.height,
  ];
  pen.box(0, 0, pen.width, pen.height, BACK);
  pen.words(title, BOX.left, 55, { size: 1.3 * SIZE, colour: INK, weight: 600 });
  const time = drift.x === "time";
  for (const x of rounded(from, to, 7)) {
    const [place] = at(x, low);
    pen.line([[place, BOX.top], [place, BOX.top + BOX.height]], GRID, 2);
    pen.words(time ? clock(x, to - from) : fixed(x, 0), place, BOX.top + BOX.height + 34, { size: SIZE, colour: INK, align: "center" });
  }
  const [, factor] = shownUnit(drift.unit);
  const ticks = rounded(low, high, 6);
  const digits = Math.max(0, Math.min(9, 1 - Math.floor(Math.log10((ticks[1] - ticks[0]) * factor))));
  for (const y of ticks) {
    const [, place] = at(from, y);
    pen.line([[BOX.left, place], [BOX.left + BOX.width, place]], GRID, 2);
    pen.words(fixed(y * factor, digits), BOX.left - 16, place, { size: SIZE, colour: INK, align: "right" });
  }
  pen.words(drift.label, 34, BOX.top + BOX.height / 2, { size: SIZE, colour: INK, align: "center", turned: true });
  pen.words(time ? "time of day / UTC" : "frame", BOX.left + BOX.width / 2, BOX.top + BOX.height + 88, { size: SIZE, colour: INK, align: "center" });
  pen.clip(BOX.left, BOX.top, BOX.width, BOX.height);
  for (const line of lines) {
    const { colour, dash } = look(drift, line.track);
    for (const piece of pieces(line, from, to)) {
      for (const sign of [-1, 1]) {
        const edge = piece.filter((i) => Number.isFinite(line.sigma[i])).map((i) => at(line.x[i], line.y[i] + sign * line.sigma[i]));
        if (edge.length > 1) pen.line(edge, colour, 1, [2, 6]);
      }
      if (piece.length > 1) pen.line(piece.map((i) => at(line.x[i], line.y[i])), colour, 4, dash.map((one) => 3 * one));
      else pen.circle(...at(line.x[piece[0]], line.y[piece[0]]), 4, colour, 3);
    }
  }
  pen.unclip();
  pen.line([[BOX.left, BOX.top], [BOX.left, BOX.top + BOX.height], [BOX.left + BOX.width, BOX.top + BOX.height]], INK, 3);
  for (const [i, { track }] of lines.entries()) {
    const y = BOX.top + 20 + i * 1.5 * SIZE;
    const { colour, dash } = look(drift, track);
    pen.line([[BOX.left + BOX.width + 24, y], [BOX.left + BOX.width + 84, y]], colour, 5, dash.map((one) => 3 * one));
    pen.words(drift.name(track), BOX.left + BOX.width + 98, y, { size: SIZE, colour: INK });
  }
}

/**
 * How a line looks on white, whatever the page is on.
 *
 * @param {Drift} drift
 * @param {number} track
 */
function look(drift, track) {
  return lineStyle(track < 0 ? -1 - track : (drift.view.slots.get(track) ?? 0), "light");
}

/**
 * Indices of points that are joined, piece by piece.
 *
 * @param {{ x: ArrayLike<number>, y: ArrayLike<number>, gap?: number }} line
 * @param {number} from
 * @param {number} to
 */
function pieces({ x, y, gap = Infinity }, from, to) {
  const [first, last] = within(x, from, to);
  /** @type {number[][]} */
  const found = [[]];
  for (let i = first; i <= last; i += 1) {
    const isOpen = found[found.length - 1].length > 0;
    if (isOpen && (Number.isNaN(y[i]) || x[i] - x[i - 1] > gap)) found.push([]);
    if (!Number.isNaN(y[i])) found[found.length - 1].push(i);
  }
  return found.filter((piece) => piece.length);
}

/**
 * About so many round numbers in a range.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} count
 */
function rounded(from, to, count) {
  const rough = (to - from) / count;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * ([1, 2, 5, 10].find((one) => one * decade >= rough) ?? 10);
  const found = [];
  for (let i = Math.ceil(from / step); i * step <= to; i += 1) found.push(i * step);
  return found;
}

/**
 * @param {number} seconds Unix time
 * @param {number} span
 */
function clock(seconds, span) {
  const text = new Date(seconds * 1000).toISOString();
  return span > 172_800 ? text.slice(5, 16).replace("T", " ") : span < 10 ? text.slice(14, 22) : text.slice(11, 19);
}
