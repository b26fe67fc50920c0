// Lines with more points than the plot has columns, pixel by pixel: what a path through them would
// cover, had many times sooner than a browser without a graphics card fills such a path. They are
// drawn from the front to the back: what is there already stays on top.

import { pen } from "../dom.js";
import { inside } from "./lines.js";

/** @import { Box, Line, Scale } from "./lines.js" */

/** @typedef {[start: number, stop: number][]} Runs of columns */

const COLUMNS = /** @type {const} */ (["at", "low", "high", "up", "down"]);

export class Raster {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = pen(this.canvas);
    this.columns = this.reserved(4096);
    this.left = this.top = this.used = 0;
    this.bare = 0;
    this.data = new ImageData(1, 1);
    this.words = new Uint32Array(this.data.data.buffer);
    this.marks = new Uint32Array(1); // which band coloured a pixel last
    this.mark = this.bands = 0;
  }

  /**
   * Begin with nothing, in a box of the canvas that it is for.
   *
   * @param {Box} box
   */
  clear({ left, top, width, height }) {
    Object.assign(this, { left: Math.round(left), top: Math.round(top), used: 0 });
    [width, height] = [Math.max(Math.round(width), 1), Math.max(Math.round(height), 1)];
    if (this.data.width !== width || this.data.height !== height) {
      [this.canvas.width, this.canvas.height] = [width, height];
      this.data = new ImageData(width, height);
      this.words = new Uint32Array(this.data.data.buffer);
      this.marks = new Uint32Array(width * height);
    } else this.words.fill(0);
  }

  /**
   * Return the runs of a line, [start, stop] each, in the columns kept here.
   *
   * @param {Line} line
   * @param {Scale} scale
   */
  trace(line, scale) {
    const { x, y, sigma, gap = Infinity } = line;
    const { x0, y0, across, below } = scale;
    const [first, last] = inside(line, scale.from, scale.to);
    this.reserve(last - first + 1);
    const { at, low, high, up, down } = this.columns;
    /** @type {Runs} */
    const runs = [];
    let [start, n, end] = [this.used, this.used, 0];
    const finish = () => {
      if (n > start) runs.push([start, n]);
      start = n;
    };
    for (let i = first; i <= last; i += 1) {
      const value = y[i];
      if (value !== value || (i > first && x[i] - x[i - 1] > gap)) finish();
      if (value !== value) continue;
      const place = Math.round(x0 + x[i] * across) - this.left;
      const height = y0 - value * below - this.top;
      const half = sigma && sigma[i] < Infinity ? sigma[i] * below : 0;
      if (n === start || place !== at[n - 1]) {
        at[n] = place;
        low[n] = high[n] = height;
        up[n] = height - half;
        down[n] = height + half;
        n += 1;
        if (n - start > 1) this.join(n - 2, (end + height) / 2);
      } else {
        if (height < low[n - 1]) low[n - 1] = height;
        if (height > high[n - 1]) high[n - 1] = height;
        if (height - half < up[n - 1]) up[n - 1] = height - half;
        if (height + half > down[n - 1]) down[n - 1] = height + half;
      }
      end = height;
    }
    finish();
    this.used = n;
    return runs;
  }

  /**
   * Draw the sigma of a line, unless the line itself covers it. Where a line turns back upon itself
   * its band is no denser.
   *
   * @param {Runs} runs
   * @param {string} colour
   * @param {number} alpha
   * @param {number} thick
   */
  band(runs, colour, alpha, thick) {
    const { up, down } = this.columns;
    this.dip(colour);
    this.mark = this.bands += 1;
    for (const [start, stop] of runs)
      if (this.isWider(start, stop, thick)) this.fill(start, stop, up, down, 0, alpha);
    this.mark = 0;
  }

  /**
   * Draw a line.
   *
   * @param {Runs} runs
   * @param {string} colour
   * @param {number} thick its width
   * @param {number[]} dash lengths of its dashes and gaps; none where it is whole
   */
  line(runs, colour, thick, [on, off] = []) {
    const { at, low, high } = this.columns;
    this.dip(colour);
    for (const [from, end] of runs) {
      let [start, stop] = [from, end];
      while (start < end) {
        if (on) {
          stop = start + 1;
          while (stop < end && Math.abs(at[stop] - at[start]) < on) stop += 1;
        }
        this.fill(start, stop, low, high, thick / 2, 1);
        const begin = at[start];
        start = stop;
        while (start < end && Math.abs(at[start] - begin) < on + off) start += 1;
      }
    }
  }

  /**
   * Put all on the canvas that it is for.
   *
   * @param {CanvasRenderingContext2D} context
   */
  show(context) {
    this.context.putImageData(this.data, 0, 0);
    context.drawImage(this.canvas, this.left, this.top);
  }

  /** @param {number} room */
  reserved(room) {
    const column = () => new Float32Array(room);
    return { at: column(), low: column(), high: column(), up: column(), down: column() };
  }

  /** @param {number} count */
  reserve(count) {
    const old = this.columns;
    if (this.used + count <= old.at.length) return;
    this.columns = this.reserved(2 * (this.used + count));
    for (const name of COLUMNS) this.columns[name].set(old[name]);
  }

  /**
   * Neighbouring columns meet halfway, else a steep line would fall into pieces.
   *
   * @param {number} i
   * @param {number} middle
   */
  join(i, middle) {
    const { low, high } = this.columns;
    if (middle < low[i]) low[i] = middle;
    if (middle > high[i]) high[i] = middle;
    if (middle < low[i + 1]) low[i + 1] = middle;
    if (middle > high[i + 1]) high[i + 1] = middle;
  }

  /**
   * @param {number} start
   * @param {number} stop
   * @param {number} thick
   */
  isWider(start, stop, thick) {
    const { low, high, up, down } = this.columns;
    for (let i = start; i < stop; i += 1) if (up[i] < low[i] - thick || down[i] > high[i] + thick) return true;
    return false;
  }

  /**
   * Bytes r, g, b, a: a word on the little-endian machines that browsers run on.
   *
   * @param {string} colour
   */
  dip(colour) {
    const value = parseInt(colour.slice(1), 16);
    this.bare = ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
  }

  /**
   * Each column of pixels lies between two of the line's, or more of them do.
   *
   * @param {number} start
   * @param {number} stop
   * @param {Float32Array} top
   * @param {Float32Array} bottom
   * @param {number} more
   * @param {number} alpha
   */
  fill(start, stop, top, bottom, more, alpha) {
    const { at } = this.columns;
    if (stop - start < 2) {
      // One point alone: a bar.
      for (const x of [at[start] - 1, at[start]]) this.span(x, top[start] - more, bottom[start] + more, alpha);
      return;
    }
    for (let n = start; n < stop - 1; n += 1) {
      const i = at[n] < at[n + 1] ? n : n + 1; // on the left
      const j = 2 * n + 1 - i;
      const gap = at[j] - at[i];
      const [rise, fall] = [(top[j] - top[i]) / gap, (bottom[j] - bottom[i]) / gap];
      const end = Math.min(gap, this.data.width - at[i]);
      for (let k = Math.max(0, -at[i]); k < end; k += 1)
        this.span(at[i] + k, top[i] + rise * (k + 0.5) - more, bottom[i] + fall * (k + 0.5) + more, alpha);
    }
  }

  /**
   * @param {number} x
   * @param {number} from
   * @param {number} to
   * @param {number} alpha
   */
  span(x, from, to, alpha) {
    const { width, height } = this.data;
    if (x < 0 || x >= width) return;
    const top = Math.max(from, 0);
    const bottom = Math.min(to, height);
    if (!(bottom > top)) return;
    const first = Math.floor(top);
    const last = Math.ceil(bottom) - 1;
    let place = first * width + x;
    if (first === last) {
      this.blend(place, alpha * (bottom - top));
      return;
    }
    this.blend(place, alpha * (first + 1 - top));
    for (let row = first + 1; row < last; row += 1) this.blend((place += width), alpha);
    this.blend(place + width, alpha * (bottom - last));
  }

  /**
   * Colour what shines through of a pixel.
   *
   * @param {number} place
   * @param {number} alpha
   */
  blend(place, alpha) {
    const { words, bare, mark } = this;
    if (mark) {
      if (this.marks[place] === mark) return;
      this.marks[place] = mark;
    }
    const old = words[place];
    const was = old >>> 24;
    if (was === 255) return;
    if (was === 0) {
      words[place] = bare | ((255 * alpha + 0.5) << 24);
      return;
    }
    const added = alpha * (255 - was);
    const whole = was + added;
    const share = added / whole;
    /** @param {number} shift */
    const mixed = (shift) => {
      const value = (old >>> shift) & 255;
      return (value + share * (((bare >>> shift) & 255) - value) + 0.5) << shift;
    };
    words[place] = ((whole + 0.5) << 24) | (mixed(16) & 0xff0000) | (mixed(8) & 0xff00) | (mixed(0) & 0xff);
  }
}
