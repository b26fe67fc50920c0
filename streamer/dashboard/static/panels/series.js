// The series of a run, one behind the other: the number of a frame in the run, and in its series.

import { shortened, whole } from "../numbers.js";

/** @import { Hello } from "../link/types" */
/** @import { Box, Scale } from "../plot/lines.js" */

const MOST_LETTERS = 16;
const LEAST_PX = 8; // between two borders

export class Series {
  constructor() {
    /** @type {string[]} */
    this.names = [];
    /** @type {number[]} */
    this.starts = [];
  }

  /**
   * Know where each series starts in the run.
   *
   * @param {Pick<Hello, "series" | "starts">} hello
   */
  greet({ series, starts }) {
    this.names = series;
    this.starts = starts;
  }

  get several() {
    return this.names.length > 1;
  }

  /**
   * The number in the run of a frame of a series; null where the series is not known.
   *
   * @param {string | null} name
   * @param {number} frame
   */
  number(name, frame) {
    const place = name === null ? -1 : this.names.indexOf(name);
    return place < 0 ? null : this.starts[place] + frame;
  }

  /**
   * {series, frame} of a number in the run; series is null where none is known.
   *
   * @param {number} number
   */
  locate(number) {
    let [low, high] = [0, this.starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= number) low = middle;
      else high = middle;
    }
    return { series: this.names[low] ?? null, frame: number - (this.starts[low] ?? 0) };
  }

  /**
   * "17 in series_2" of a number in the run; nothing where there is one series alone.
   *
   * @param {number | null} number
   */
  words(number) {
    if (!this.several || number === null || !Number.isFinite(number)) return "";
    const { series, frame } = this.locate(number);
    return `${whole(frame)} in ${shortened(series ?? "", MOST_LETTERS)}`;
  }

  /**
   * Draw where series begin, on an axis of frames; where they are too many, nothing.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Box} box
   * @param {Scale} scale
   * @param {string} colour
   */
  borders(context, box, { x0, across }, colour) {
    const ratio = devicePixelRatio || 1;
    const seen = this.starts.slice(1).map((start) => x0 + (start - 0.5) * across);
    const inside = seen.filter((x) => x > box.left && x < box.left + box.width);
    if (inside.length * LEAST_PX * ratio > box.width) return;
    const path = new Path2D();
    for (const x of inside) {
      path.moveTo(x, box.top);
      path.lineTo(x, box.top + box.height);
    }
    context.save();
    context.setLineDash([2 * ratio, 4 * ratio]);
    context.lineWidth = ratio;
    context.strokeStyle = colour;
    context.stroke(path);
    context.restore();
  }
}
