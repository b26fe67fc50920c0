// What stands at the ticks of the plot's axes.

import { fixed, wall } from "../numbers.js";
import { enlarged } from "../wall.js";

const ROOMY_PX = 80; // a tick about as often

/**
 * Time of day; with the day where they are more than one.
 *
 * @param {uPlot} plot
 * @param {number[]} splits
 * @param {number} axis
 * @param {number} space
 * @param {number} step
 */
export function clock(plot, splits, axis, space, step) {
  const long = (plot.scales.x.max ?? 0) - (plot.scales.x.min ?? 0) > 86_400;
  return splits.map((split) => {
    const date = wall(split);
    /** @param {number} value */
    const two = (value) => String(value).padStart(2, "0");
    const day = long ? `${date.getUTCDate()} ${date.toLocaleString("en", { month: "short", timeZone: "UTC" })} ` : "";
    const seconds = step < 60 ? `:${two(date.getUTCSeconds())}` : "";
    const part = step < 1 ? (date.getUTCMilliseconds() / 1000).toFixed(step < 0.1 ? 2 : 1).slice(1) : "";
    return `${day}${two(date.getUTCHours())}:${two(date.getUTCMinutes())}${seconds}${part}`;
  });
}

/**
 * CSS pixels that a time of day takes, as it is written for such a range.
 *
 * @param {uPlot} plot
 * @param {number} axis
 * @param {number} from
 * @param {number} to
 * @param {number} width of the axis
 */
export function room(plot, axis, from, to, width) {
  const span = to - from;
  const large = enlarged();
  if (span > 86_400) return 100 * large;
  const step = (span * ROOMY_PX * large) / width;
  return (step < 1 ? 96 : step < 60 ? 74 : 56) * large;
}

/**
 * Whole numbers alone.
 *
 * @param {uPlot} plot
 * @param {number[]} splits
 */
export function frames(plot, splits) {
  return splits.map((split) => (Number.isInteger(split) ? split.toLocaleString("en") : ""));
}

/**
 * With as many digits as the step has.
 *
 * @param {uPlot} plot
 * @param {number[]} splits
 * @param {number} axis
 * @param {number} space
 * @param {number} step
 */
export function decimals(plot, splits, axis, space, step, factor = 1) {
  let digits = 0;
  // 0.25 has two: a tick that is written at 0.3 and stands at 0.25 is a wrong number.
  while (digits < 9 && Math.abs(step * factor * 10 ** digits - Math.round(step * factor * 10 ** digits)) > 1e-6) digits += 1;
  return splits.map((split) => fixed(split * factor, digits));
}
