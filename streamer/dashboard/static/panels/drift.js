// Curves of the chosen tracks, or of all spots together, over the run, with the cell's voltage.

import { part } from "../dom.js";
import { axes, ends, padded, palette, scaleOf } from "../plot/axes.js";
import { lineStyle } from "../plot/colours.js";
import { Curves } from "../plot/curves.js";
import { nameEnds } from "../plot/ends.js";
import { extent, nearest } from "../plot/lines.js";
import { shownUnit } from "../numbers.js";
import { press } from "../plot/keys.js";
import { Points } from "../plot/points.js";
import { QUANTITIES } from "../plot/quantities.js";
import { enlarged } from "../wall.js";

/** @import { Columns, DriftHeader, Theme, XAxis } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Cell } from "./cell.js" */
/** @import { Series } from "./series.js" */

/** @typedef {{ colour: string, dash: number[] }} Look of a line */

const CLICK_MS = 240; // a second click within this time makes it a double click

export class Drift {
  /**
   * @param {HTMLElement} host
   * @param {View} view
   * @param {Cell} cell
   * @param {Series} series
   * @param {() => Theme} theme
   */
  constructor(host, view, cell, series, theme) {
    this.host = host;
    this.section = part("drift-section");
    this.view = view;
    this.cell = cell;
    this.series = series;
    this.theme = theme;
    /** @type {Points[]} */
    this.lines = [];
    this.unit = this.quantity = "";
    this.still = false;
    /** @type {Record<string, string>} */
    this.names = {}; // of lines that are no tracks, by their numbers below 0
    /** @type {XAxis} */
    this.x = "time";
    /** @type {number | null} */
    this.cursor = null; // value of x under the cursor
    /** @type {number | null} */
    this.shown = null; // value of x of the frame that is shown
    /** @type {Record<XAxis, number[]>} */
    this.extent = { time: [], frame: [] }; // of the run: first and last frame, and when they were
    this.oncursor = this.onresize = () => {};
    /** @type {(x: number) => void} */
    this.onshow = () => {};
    /** @type {(from: number | null, to: number | null) => void} */
    this.onselect = () => {};
    /** @type {number | null} */
    this.number = null; // of the message that told the lines last
    /** @type {number | null} */
    this.base = null; // what it built upon
    this.drawn = 0;
    this.dirty = this.fresh = false;
    /** @type {uPlot | null} */
    this.plot = null;
    this.made = ""; // what it was made for
    /** @type {Record<string, string>} */
    this.palette = {};
    this.marker = document.createElement("div");
    this.marker.className = "marker";
    /** @type {Map<number, HTMLElement>} by track */
    this.dots = new Map();
    this.curves = new Curves();
    new ResizeObserver(() => this.resize()).observe(host);
    host.addEventListener("keydown", (event) => press(this, event));
  }

  /**
   * Take in what is new of the lines; false where it builds upon a message that is not here.
   *
   * @param {DriftHeader} header
   * @param {Columns} arrays
   */
  update(header, { x, y, sigma }) {
    const { base, number } = header;
    if (base !== null && base !== this.number) return false;
    const known = new Map((base === null ? [] : this.lines).map((line) => [line.track, line]));
    this.number = null;
    const lines = [];
    let from = 0;
    for (const [track, drop, keep, add] of header.lines) {
      const line = known.get(track) ?? new Points(track);
      const to = from + add;
      const added = { x: x.subarray(from, to), y: y.subarray(from, to), sigma: sigma.subarray(from, to) };
      if (!line.take(drop, keep, added)) return false;
      lines.push(line);
      from = to;
    }
    if (header.x !== this.x) this.cursor = null;
    const { quantity, unit, still = false, names = {} } = header;
    Object.assign(this, { number, base, lines, quantity, unit, still, names, x: header.x });
    this.dirty = this.fresh = true;
    return true;
  }

  /**
   * Mark the frame that the image shows, by its time and its number in the run.
   *
   * @param {number} time
   * @param {number | null} number
   */
  show(time, number) {
    this.shown = this.x === "time" ? time : number;
    if (this.view.get("frame") !== null) this.dirty = true;
  }

  /** What is plotted, as plain numbers. */
  report() {
    const { quantity, unit, x, range, cursor, number, base, drawn } = this;
    /** @param {Points} line */
    const plain = ({ track, x: at, y, sigma }) => ({ track, x: [...at], y: [...y], sigma: [...sigma] });
    return { quantity, unit, x, range, cursor, number, base, drawn, lines: this.chosen.map(plain) };
  }

  /** What the y axis shows, with its unit. */
  get label() {
    const [unit] = shownUnit(this.unit);
    const without = this.still ? ", common motion removed" : "";
    return `${QUANTITIES[this.quantity] ?? this.quantity}${without}${unit && ` / ${unit}`}`;
  }

  /** The lines that are chosen now: what came may be older than the choice. */
  get chosen() {
    return this.lines.filter(({ track }) => track < 0 || this.view.slots.has(track));
  }

  /**
   * How a line is called.
   *
   * @param {number} track
   */
  name(track) {
    return this.names[track] ?? String(track);
  }

  /**
   * How a line looks.
   *
   * @param {number} track
   */
  look(track) {
    return lineStyle(track < 0 ? -1 - track : (this.view.slots.get(track) ?? 0), this.theme());
  }

  /** First and last x of the run, as far as they are known. */
  get whole() {
    let [from, to] = [Infinity, -Infinity];
    const known = this.lines.filter((line) => line.x.length);
    const run = { x: this.extent[this.x] };
    for (const { x } of known.length || run.x.length ? [run, ...known] : [this.cell.line(this.x)]) {
      if (!x.length) continue;
      from = Math.min(from, x[0]);
      to = Math.max(to, x[x.length - 1]);
    }
    if (!(to >= from)) return [0, 1];
    return to > from ? [from, to] : [from - 0.5, to + 0.5];
  }

  get range() {
    const [first, last] = this.whole;
    const { from, to, span, frame } = this.view.state;
    if (from !== null && to !== null && to > from) return [from, to];
    if (span === null || last - first < span) {
      const pad = 0.01 * (last - first);
      return [first - pad, last + pad];
    }
    // Scrolled back, the window stands around the frame that is shown.
    const end = frame === null || this.shown === null ? last : Math.min(this.shown + span / 2, last);
    return [end - span, end + 0.01 * span];
  }

  draw() {
    if (!this.dirty || !this.host.clientWidth) return;
    this.dirty = false;
    const [from, to] = this.range;
    const plot = this.plot && this.made === this.kind ? this.plot : this.make();
    const y = padded(this.chosen.map((line) => extent(line, from, to)), 1e-6);
    const volts = padded([extent(this.cell.line(this.x), from, to)], 0.02);
    plot.axes[1].label = this.label;
    plot.batch(() => {
      plot.setScale("x", { min: from, max: to });
      plot.setScale("y", { min: y[0], max: y[1] });
      plot.setScale("volts", { min: volts[0], max: volts[1] });
      plot.redraw(false, true);
    });
    this.mark();
    this.oncursor();
    if (this.fresh) this.drawn += 1;
    this.fresh = false;
  }

  /** What a plot is made anew for. */
  get kind() {
    return `${this.x} ${this.view.get("zone")} ${this.theme()} ${this.cell.known} ${this.series.several} ${enlarged()}`;
  }

  make() {
    this.made = this.kind;
    this.plot?.destroy();
    this.dots.clear();
    this.palette = palette();
    const nothing = { paths: () => null, points: { show: false } };
    const { several } = this.series;
    const volts = this.cell.known;
    const factor = () => shownUnit(this.unit)[1];
    const plot = new uPlot(
      {
        width: this.host.clientWidth,
        height: this.host.clientHeight,
        padding: [8, volts ? 0 : 12, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 5 } },
        scales: {
          x: { time: this.x === "time", auto: false },
          y: { auto: false },
          volts: { auto: false },
        },
        axes: axes(this.palette, { x: this.x, several, volts, factor }),
        series: [{}, { scale: "y", ...nothing }, { scale: "volts", ...nothing }],
        hooks: {
          drawAxes: [(plot) => this.behind(plot)],
          draw: [(plot) => this.before(plot)],
          setCursor: [(plot) => this.point(plot)],
          setSelect: [(plot) => this.select(plot)],
        },
      },
      [[0, 1], [0, 0], [0, 0]],
      this.host,
    );
    plot.over.append(this.marker);
    this.listen(plot.over);
    this.plot = plot;
    return plot;
  }

  /** @param {HTMLElement} over */
  listen(over) {
    let timer = 0;
    /** @type {number | null} */
    let start = null;
    over.addEventListener("pointerdown", (event) => (start = event.clientX));
    over.addEventListener("click", (event) => {
      if (!this.plot || (start !== null && Math.abs(event.clientX - start) > 4)) return;
      const x = this.plot.posToVal(event.clientX - over.getBoundingClientRect().left, "x");
      clearTimeout(timer);
      timer = setTimeout(() => this.onshow(x), CLICK_MS);
    });
    // Before uPlot's own answer, which would put the scale to its dummy data.
    over.addEventListener("dblclick", (event) => {
      clearTimeout(timer);
      event.stopImmediatePropagation();
      this.onselect(null, null);
    }, true);
  }

  /** @param {number} value */
  move(value) {
    this.plot?.setCursor({ left: this.plot.valToPos(value, "x"), top: 1 });
  }

  /** @param {uPlot} plot */
  point(plot) {
    const { left } = plot.cursor;
    this.cursor = left === null || left === undefined || left < 0 ? null : plot.posToVal(left, "x");
    this.mark();
    this.oncursor();
  }

  /** @param {uPlot} plot */
  select(plot) {
    const { left, width } = plot.select;
    if (width < 5) return;
    this.onselect(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  /** {track, x, y, sigma} of each chosen line nearest to the cursor, else of its newest point. */
  values() {
    return this.chosen.map(({ track, x, y, sigma }) => {
      const index = this.cursor === null ? x.length - 1 : nearest(x, this.cursor);
      return index < 0
        ? { track, x: NaN, y: NaN, sigma: NaN }
        : { track, x: x[index], y: y[index], sigma: sigma[index] };
    });
  }

  /** Small HTML parts above the canvas: they move without the plot being drawn again. */
  mark() {
    const { plot } = this;
    if (!plot) return;
    const { min: first, max: last } = ends(plot.scales.x);
    /** @param {number} value */
    const place = (value) => plot.valToPos(value, "x");
    /**
     * @param {number | null} value
     * @returns {value is number}
     */
    const visible = (value) => value !== null && value >= first && value <= last;
    const { shown } = this;
    const paused = this.view.get("frame") !== null && visible(shown);
    this.marker.hidden = !paused;
    if (paused) this.marker.style.transform = `translateX(${place(shown)}px)`;
    const wanted = this.cursor === null ? [] : this.values();
    for (const { track, x, y } of wanted) {
      let dot = this.dots.get(track);
      if (!dot) {
        dot = plot.over.appendChild(document.createElement("div"));
        dot.className = "dot";
        this.dots.set(track, dot);
      }
      dot.hidden = !visible(x) || !Number.isFinite(y);
      dot.style.borderColor = this.look(track).colour;
      dot.style.transform = `translate(${place(x)}px, ${plot.valToPos(y, "y")}px)`;
    }
    for (const [track, dot] of this.dots)
      if (!wanted.some((one) => one.track === track)) dot.hidden = true;
  }

  /** @param {uPlot} plot */
  behind(plot) {
    const { ctx, bbox } = plot;
    const scale = scaleOf(plot, "y");
    this.cell.shade(ctx, bbox, scale, this.x, this.palette);
    if (this.x === "frame") this.series.borders(ctx, bbox, scale, this.palette.faint);
  }

  /** @param {uPlot} plot */
  before(plot) {
    const { ctx, bbox } = plot;
    const curves = this.chosen.map(({ x, y, sigma, gap, track }) => ({ x, y, sigma, gap, ...this.look(track) }));
    this.curves.draw(plot, curves, (raster) => {
      this.cell.draw(ctx, raster, scaleOf(plot, "volts"), this.x, this.palette.faint);
    });
    const named = this.chosen.map(({ track, x, y }) => {
      const key = track < 0 ? `${track}` : `slot ${this.view.slots.get(track)}`;
      return { x, y, key, name: this.name(track), colour: this.look(track).colour };
    });
    nameEnds(ctx, bbox, scaleOf(plot, "y"), named, this.palette.back);
  }

  resize() {
    this.plot?.setSize({ width: this.host.clientWidth, height: this.host.clientHeight });
    this.dirty = true;
    this.onresize();
  }
}
