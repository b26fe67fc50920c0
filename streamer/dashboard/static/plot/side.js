// A plot beside the curves: pieces of lines with their bands, in any order of x.

import { enlarged } from "../wall.js";
import { palette, padded, scaleOf } from "./axes.js";
import { nameEnds } from "./ends.js";
import { extent, usualGap } from "./lines.js";
import { clock, decimals, frames, room } from "./ticks.js";

/**
 * @typedef {object} Piece of a line, without a gap
 * @property {number[]} x
 * @property {number[]} y
 * @property {number[]} sigma
 * @property {string} colour
 * @property {number[]} dash
 * @property {string} name
 */

/** @typedef {{ x: "time" | "frame" | "value", label: string, words: string, factor: number, look: string }} About a plot */

const BAND = 0.2;
const PAUSE_MS = 500; // what it shows is worked out no more often

export class SidePlot {
  /**
   * @param {HTMLElement} host
   * @param {() => void} onresize
   */
  constructor(host, onresize) {
    this.host = host;
    /** @type {uPlot | null} */
    this.plot = null;
    /** @type {Piece[]} */
    this.pieces = [];
    this.made = "";
    this.onresize = onresize;
    this.next = this.timer = 0;
    /** @type {Record<string, string>} */
    this.palette = {};
    new ResizeObserver(() => {
      this.plot?.setSize({ width: host.clientWidth, height: host.clientHeight });
      onresize();
    }).observe(host);
  }

  /** Whether it is time to draw again; if not, it is asked for again when it is. */
  isDue() {
    const now = performance.now();
    if (now < this.next) {
      this.timer ||= setTimeout(() => {
        this.timer = 0;
        this.onresize();
      }, this.next - now);
      return false;
    }
    this.next = now + PAUSE_MS;
    return true;
  }

  /**
   * @param {Piece[]} pieces
   * @param {About} about
   */
  show(pieces, about) {
    if (!this.host.clientWidth) return;
    this.pieces = pieces;
    const key = JSON.stringify([about, enlarged()]);
    if (key !== this.made) this.make(about);
    this.made = key;
    const xs = pieces.map(({ x }) => extent({ x: x.map((_, i) => i), y: x }, 0, x.length));
    const x = padded(xs, 1e-9);
    const y = padded(pieces.map(({ y: values, sigma }) => extent({ x: values.map((_, i) => i), y: values, sigma }, 0, values.length)), 1e-9);
    this.plot?.batch(() => {
      this.plot?.setScale("x", { min: x[0], max: x[1] });
      this.plot?.setScale("y", { min: y[0], max: y[1] });
      this.plot?.redraw(false, true);
    });
  }

  /** @param {About} about */
  make({ x, label, words, factor }) {
    this.plot?.destroy();
    this.palette = palette();
    const large = enlarged();
    const font = `${12 * large}px system-ui, sans-serif`;
    const axis = {
      stroke: this.palette.ink, font, labelFont: font, labelSize: 20 * large,
      grid: { stroke: this.palette.grid, width: 1 }, ticks: { stroke: this.palette.grid, size: 5 },
    };
    const along = { time: clock, frame: frames, value: decimals }[x];
    /** @type {(...about: Parameters<typeof decimals>) => string[]} */
    const values = (plot, splits, place, space, step) => decimals(plot, splits, place, space, step, factor);
    this.plot = new uPlot(
      {
        width: this.host.clientWidth,
        height: this.host.clientHeight,
        padding: [8, 16, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false, auto: false }, y: { auto: false } },
        axes: [
          { ...axis, size: 34 * large, label: words, values: along, space: x === "time" ? room : 60 * large },
          { ...axis, size: 62 * large, scale: "y", label, values },
        ],
        series: [{}, { scale: "y", paths: () => null, points: { show: false } }],
        hooks: { draw: [(plot) => this.draw(plot)] },
      },
      [[0, 1], [0, 0]],
      this.host,
    );
  }

  /** @param {uPlot} plot */
  draw(plot) {
    const { ctx, bbox } = plot;
    const scale = scaleOf(plot, "y");
    const ratio = (devicePixelRatio || 1) * enlarged();
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = 1.6 * ratio;
    for (const { x, y, sigma, colour, dash } of this.pieces) {
      const at = x.map((value) => scale.x0 + value * scale.across);
      const [line, band] = [new Path2D(), new Path2D()];
      at.forEach((place, i) => line.lineTo(place, scale.y0 - y[i] * scale.below));
      if (at.length === 1) line.arc(at[0], scale.y0 - y[0] * scale.below, 2 * ratio, 0, 2 * Math.PI);
      for (const way of [1, -1])
        for (let k = 0; k < at.length; k += 1) {
          const i = way > 0 ? k : at.length - 1 - k;
          const half = sigma[i] >= 0 && sigma[i] < Infinity ? sigma[i] : 0;
          band.lineTo(at[i], scale.y0 - (y[i] + way * half) * scale.below);
        }
      ctx.globalAlpha = BAND;
      ctx.fillStyle = colour;
      ctx.fill(band);
      ctx.globalAlpha = 1;
      ctx.strokeStyle = colour;
      ctx.setLineDash(dash.map((length) => length * ratio));
      ctx.stroke(line);
    }
    ctx.restore();
    ctx.setLineDash([]);
    const named = this.pieces.map((piece) => ({ ...piece, key: piece.name }));
    nameEnds(ctx, bbox, scale, named.filter(({ x }) => x.every((value, i) => !i || value >= x[i - 1])), this.palette.back);
  }
}

/**
 * Cut a line where values are not known, where it has a gap, and where somebody else says so.
 *
 * @param {{ x: ArrayLike<number>, y: ArrayLike<number>, sigma: ArrayLike<number> }} line sorted in x
 * @param {(i: number) => unknown} kind changes where the line is to be cut
 * @returns {{ from: number, to: number, kind: unknown }[]}
 */
export function cut({ x, y }, kind = () => "") {
  const gap = usualGap(x);
  const found = [];
  let from = 0;
  for (let i = 0; i <= x.length; i += 1) {
    const ends = i === x.length || Number.isNaN(y[i]);
    if (ends || (i > from && (x[i] - x[i - 1] > gap || kind(i) !== kind(i - 1)))) {
      if (i > from) found.push({ from, to: i, kind: kind(from) });
      from = ends ? i + 1 : i;
    }
  }
  return found;
}
