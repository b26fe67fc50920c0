// What the cell did: its voltage, and the half-cycles as shades behind the drift.

import { fixed } from "../numbers.js";
import { isDense, nearest, shapes } from "../plot/lines.js";
import { enlarged } from "../wall.js";

/** @import { CellArrays, CellHeader, HalfCycle, XAxis } from "../link/types" */
/** @import { Box, Scale } from "../plot/lines.js" */
/** @import { Raster } from "../plot/raster.js" */

/**
 * @typedef {object} CellLine the voltage over x
 * @property {Float64Array} x
 * @property {Float32Array} y
 * @property {Float32Array} current
 */

const FAR = 0.02; // of the readings' span: farther away the voltage is not said

export class Cell {
  constructor() {
    this.time = this.frame = new Float64Array();
    this.voltage = this.current = new Float32Array();
    /** @type {Float32Array} */
    this.capacity = new Float32Array();
    /** @type {(HalfCycle & { words: string })[]} */
    this.halfCycles = [];
    /** @type {CellLine | null} */
    this.byFrame = null;
  }

  /**
   * @param {CellHeader} header
   * @param {CellArrays} arrays
   */
  update(header, arrays) {
    Object.assign(this, arrays);
    this.capacity = arrays.capacity ?? new Float32Array();
    /** @type {Record<string, number>} */
    const numbers = { charge: 0, discharge: 0 };
    this.halfCycles = header.half_cycles.map((cycle) => {
      const number = cycle.kind in numbers ? ` ${(numbers[cycle.kind] += 1)}` : "";
      return { ...cycle, words: cycle.kind + number + (cycle.guess ? " (a guess)" : "") };
    });
    // Before the first frame and after the last one there are readings without a frame number.
    const known = [];
    for (let i = 0; i < this.frame.length; i += 1) if (this.frame[i] >= 0) known.push(i);
    this.byFrame = {
      x: Float64Array.from(known, (i) => this.frame[i]),
      y: Float32Array.from(known, (i) => this.voltage[i]),
      current: Float32Array.from(known, (i) => this.current[i]),
    };
  }

  get hasCapacity() {
    return this.capacity.some(Number.isFinite);
  }

  /**
   * Voltage in V or capacity in mAh at moments or frames, between readings, and which half-cycle each
   * is in; NaN outside of the readings, and undefined in none.
   *
   * @param {ArrayLike<number>} at sorted
   * @param {XAxis} x
   * @param {"voltage" | "capacity"} axis
   * @returns {{ values: Float64Array, cycles: (HalfCycle | undefined)[] }}
   */
  over(at, x, axis) {
    const xs = x === "time" ? this.time : this.frame;
    const readings = axis === "voltage" ? this.voltage : this.capacity;
    const factor = axis === "voltage" ? 1 : 1000;
    const values = new Float64Array(at.length).fill(NaN);
    /** @type {(HalfCycle | undefined)[]} */
    const cycles = [];
    const known = this.halfCycles.filter((one) => this.ends(one, x).some((end) => end !== null));
    const bounds = known.map((one) => this.ends(one, x));
    let [above, cycle] = [0, 0];
    for (let i = 0; i < at.length; i += 1) {
      // Before the first frame there are readings without a number.
      while (above < xs.length && !(xs[above] >= at[i])) above += 1;
      const below = above - 1;
      if (above < xs.length && xs[above] === at[i]) values[i] = factor * readings[above];
      else if (above < xs.length && below >= 0) {
        const share = (at[i] - xs[below]) / (xs[above] - xs[below]);
        values[i] = factor * (readings[below] + share * (readings[above] - readings[below]));
      }
      while (cycle < bounds.length && isBefore(bounds[cycle][1], at[i])) cycle += 1;
      const isIn = cycle < bounds.length && at[i] >= (bounds[cycle][0] ?? -Infinity);
      cycles.push(isIn ? known[cycle] : undefined);
    }
    return { values, cycles };
  }

  get known() {
    return this.time.length > 0;
  }

  /**
   * Voltage as a line over time or frame.
   *
   * @param {XAxis} x
   * @returns {CellLine}
   */
  line(x) {
    if (x === "time" || !this.byFrame)
      return { x: this.time, y: this.voltage, current: this.current };
    return this.byFrame;
  }

  /**
   * Start and end of a half-cycle in units of x; the last one may still go on.
   *
   * @param {HalfCycle} cycle
   * @param {XAxis} x
   */
  ends(cycle, x) {
    return x === "time" ? [cycle.start, cycle.stop] : [cycle.start_frame, cycle.stop_frame];
  }

  /**
   * {voltage, current, words} at a moment or frame; null where nothing is known.
   *
   * @param {number} value
   * @param {XAxis} x
   */
  at(value, x) {
    const line = this.line(x);
    const index = nearest(line.x, value);
    if (index < 0) return null;
    const reach = FAR * (line.x[line.x.length - 1] - line.x[0]) + 1;
    if (Math.abs(line.x[index] - value) > reach) return null;
    const cycle = this.halfCycles.find((one) => {
      const [start, stop] = this.ends(one, x);
      return start !== null && value >= start && (stop === null || value <= stop);
    });
    return {
      voltage: line.y[index],
      current: line.current[index],
      words: cycle?.words ?? "rest",
    };
  }

  /**
   * Shade the half-cycles; called before the lines are drawn.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Box} box
   * @param {Scale} scale
   * @param {XAxis} x
   * @param {Record<string, string>} colours
   */
  shade(context, box, scale, x, colours) {
    context.save();
    const ratio = (devicePixelRatio || 1) * enlarged();
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "top";
    for (const cycle of this.halfCycles) {
      const [start, stop] = this.ends(cycle, x);
      if (start === null || !(cycle.kind in colours)) continue;
      const left = Math.max(scale.x0 + start * scale.across, box.left);
      const right = Math.min(stop === null ? box.left + box.width : scale.x0 + stop * scale.across, box.left + box.width);
      if (right <= left) continue;
      context.fillStyle = colours[cycle.kind];
      context.fillRect(left, box.top, right - left, box.height);
      const short = cycle.kind;
      const words = [cycle.words, short].find(
        (text) => context.measureText(text).width + 12 * ratio < right - left,
      );
      context.fillStyle = colours.words;
      if (words) context.fillText(words, left + 6 * ratio, box.top + 5 * ratio);
    }
    context.restore();
  }

  /**
   * Draw the voltage.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Raster} raster
   * @param {Scale} scale
   * @param {XAxis} x
   * @param {string} colour
   */
  draw(context, raster, scale, x, colour) {
    const ratio = devicePixelRatio || 1;
    const line = this.line(x);
    if (isDense(line, scale)) {
      raster.line(raster.trace(line, scale), colour, 1.2 * ratio);
      return;
    }
    context.save();
    context.lineWidth = 1.2 * ratio;
    context.strokeStyle = colour;
    context.stroke(shapes(line, scale).stroke);
    context.restore();
  }

  /**
   * "3.912 V, charge 1" at a moment or frame.
   *
   * @param {number} value
   * @param {XAxis} x
   */
  words(value, x) {
    const found = this.at(value, x);
    if (!found) return "";
    return `${fixed(found.voltage, 3)} V, ${found.words}`;
  }
}

/**
 * Whether a half-cycle stopped before a moment or frame; one that goes on did not.
 *
 * @param {number | null} stop
 * @param {number} at
 */
const isBefore = (stop, at) => stop !== null && stop < at;
