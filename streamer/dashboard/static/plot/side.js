// A plot beside the curves: pieces of lines with their bands, in any order of x.

import { enlarged } from "../wall.js";
import { palette, padded, scaleOf } from "./axes.js";
import { Curves } from "./curves.js";
import { nameEnds } from "./ends.js";
import { extent, usualGap } from "./lines.js";
import { clock, decimals, frames, room } from "./ticks.js";

/** @import { Curve } from "./curves.js" */

/**
 * @typedef {Curve & { sigma: ArrayLike<number>, name: string }} Piece of a line, without a gap
 */

/** @typedef {{ x: "time" | "frame" | "value", label: string, words: string, factor: number, look: string }} About a plot */

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
    this.curves = new Curves();
    /** @type {Record<string, string>} */
    this.palette = {};
    new ResizeObserver(() => {
      this.plot?.setSize({ width: host.clientWidth, height: host.clientHeight });
      onresize();
    }).observe(host);
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
    const x = padded(pieces.map((piece) => extent({ x: piece.x, y: piece.x, turns: true }, -Infinity, Infinity)), 1e-9);
    const y = padded(pieces.map((piece) => extent(piece, -Infinity, Infinity)), 1e-9);
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
    this.curves.draw(plot, this.pieces);
    const named = this.pieces.map((piece) => ({ ...piece, key: piece.name }));
    nameEnds(ctx, bbox, scaleOf(plot, "y"), named.filter(({ x }) => isRising(x)), this.palette.back);
  }
}

/** @param {ArrayLike<number>} x */
function isRising(x) {
  for (let i = 1; i < x.length; i += 1) if (x[i] < x[i - 1]) return false;
  return true;
}

/**
 * Cut a line where values are not known, where it has a gap, and where somebody else says so.
 *
 * @template [T=unknown]
 * @param {{ x: ArrayLike<number>, y: ArrayLike<number> }} line sorted in x
 * @param {(i: number) => T} [kind] changes where the line is to be cut
 * @returns {{ from: number, to: number, kind: T | undefined }[]}
 */
export function cut({ x, y }, kind) {
  const gap = usualGap(x);
  const found = [];
  let from = 0;
  for (let i = 0; i <= x.length; i += 1) {
    const ends = i === x.length || Number.isNaN(y[i]);
    if (ends || (i > from && (x[i] - x[i - 1] > gap || kind?.(i) !== kind?.(i - 1)))) {
      if (i > from) found.push({ from, to: i, kind: kind?.(from) });
      from = ends ? i + 1 : i;
    }
  }
  return found;
}
