// Names of lines beside where they end: colours alone do not tell all lines from each other.

import { enlarged } from "../wall.js";
import { within } from "./lines.js";

const LINE_PX = 13; // names are as far apart
const HALO = 3;

/** @import { Box, Scale } from "./lines.js" */

/** @typedef {{ x: ArrayLike<number>, y: ArrayLike<number>, key: string, name: string, colour: string }} Named line */
/** @typedef {{ x: number, y: number, name: string, colour: string }} End of a line, in canvas pixels */

/**
 * Write names where lines end that are seen, none upon another; of lines with the same key one, where
 * the last of them ends.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 * @param {Scale} scale
 * @param {Named[]} lines
 * @param {string} back colour behind them
 */
export function nameEnds(context, box, scale, lines, back) {
  /** @type {Map<string, End>} */
  const last = new Map();
  for (const line of lines) {
    const end = endOf(line, scale);
    if (end && !(end.x < (last.get(line.key)?.x ?? -Infinity))) last.set(line.key, end);
  }
  write(context, box, [...last.values()], back);
}

/**
 * @param {Named} line
 * @param {Scale} scale
 * @returns {End | null}
 */
function endOf({ x, y, name, colour }, { x0, y0, across, below, from, to }) {
  const [first, last] = within(x, from, to);
  let i = last;
  while (i >= first && (x[i] > to || Number.isNaN(y[i]))) i -= 1;
  return i < first || x[i] < from ? null : { x: x0 + x[i] * across, y: y0 - y[i] * below, name, colour };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 * @param {End[]} ends
 * @param {string} back
 */
function write(context, box, ends, back) {
  const ratio = (devicePixelRatio || 1) * enlarged();
  const step = LINE_PX * ratio;
  if (ends.length * step > box.height) return; // they would hide what they name
  const sorted = ends.toSorted((one, other) => one.y - other.y);
  let above = box.top - step / 2;
  for (const end of sorted) above = end.y = Math.max(end.y, above + step);
  let next = box.top + box.height + step / 2;
  for (const end of sorted.toReversed()) next = end.y = Math.min(end.y, next - step);
  context.save();
  context.font = `600 ${11.5 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = HALO * ratio;
  context.strokeStyle = back;
  for (const { x, y, name, colour } of sorted) {
    const wide = context.measureText(name).width + 6 * ratio;
    const left = Math.min(x + 6 * ratio, box.left + box.width - wide);
    context.strokeText(name, left, y);
    context.fillStyle = colour;
    context.fillText(name, left, y);
  }
  context.restore();
}
