// The axes of the plot: how they look, and from where to where they go.

import { zone } from "../numbers.js";
import { enlarged } from "../wall.js";
import { linear } from "./lines.js";
import { clock, decimals, frames, room } from "./ticks.js";

/** @import { XAxis } from "../link/types" */

const MARGIN = 0.06; // above and below what is drawn

/** Colours of the plot's parts, by their names in the style sheet. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "faint", "grid", "charge", "discharge", "words"];
  const found = names.map((name) => [name, style.getPropertyValue(`--plot-${name}`).trim()]);
  return { ...Object.fromEntries(found), back: style.getPropertyValue("--panel").trim() };
}

/**
 * uPlot's axes: along x, drift on the left, voltage on the right.
 *
 * @param {Record<string, string>} colours from `palette`
 * @param {{ x: XAxis, several: boolean, volts: boolean, factor: () => number }} about whether there
 * are several series, whether voltage is known, and by what values are multiplied when written
 * @returns {uPlot.Axis[]}
 */
export function axes(colours, { x, several, volts, factor }) {
  const large = enlarged();
  const font = `${12 * large}px system-ui, sans-serif`;
  const axis = { stroke: colours.ink, font, labelFont: font, labelSize: 20 * large, ticks: { stroke: colours.grid, size: 5 } };
  const grid = { stroke: colours.grid, width: 1 };
  const along = x === "time" ? `time of day (${zone()})` : several ? "frame of the run" : "frame";
  /** @type {(...about: Parameters<typeof decimals>) => string[]} */
  const values = (plot, splits, place, space, step) => decimals(plot, splits, place, space, step, factor());
  return [
    { ...axis, grid, size: 34 * large, label: along, values: x === "time" ? clock : frames, space: x === "time" ? room : 60 * large },
    { ...axis, grid, size: 62 * large, scale: "y", label: " ", values },
    { ...axis, stroke: colours.faint, grid: { show: false }, side: 1, size: 46 * large, scale: "volts", label: "cell voltage / V", values: decimals, show: volts },
  ];
}

/**
 * From x and the scale of an axis to pixels of the canvas.
 *
 * @param {uPlot} plot
 * @param {string} axis
 */
export function scaleOf({ bbox, scales }, axis) {
  return linear(bbox, ends(scales.x), ends(scales[axis]));
}

/**
 * From where to where an axis goes that shows all.
 *
 * @param {number[][]} extents
 * @param {number} least space above and below
 */
export function padded(extents, least) {
  const low = Math.min(...extents.map(([one]) => one));
  const high = Math.max(...extents.map(([, one]) => one));
  if (!(high >= low)) return [0, 1];
  const pad = Math.max(MARGIN * (high - low), least);
  return [low - pad, high + 2 * pad];
}

/** @param {uPlot.Scale} scale */
export function ends({ min = 0, max = 1 }) {
  return { min, max };
}
