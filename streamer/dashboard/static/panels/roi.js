// A region of interest: a rectangle on the image, and its counts frame by frame.

import { section } from "../dom.js";
import { fixed, whole } from "../numbers.js";
import { box } from "../image/shapes.js";
import { axes, palette } from "../plot/axes.js";
import { hand } from "./saving.js";

/** @import { RoiArrays, RoiHeader, Send, Theme } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Image } from "./image.js" */
/** @import { Series } from "./series.js" */
/** @import { Shape } from "../image/shapes.js" */

/** @typedef {{ row: number, col: number, rows: number, cols: number }} Rectangle */

const NOTHING = { frame: new Float64Array(), time: new Float64Array(), sum: new Float64Array(), pixels: new Float64Array() };
const HEIGHT_PX = 220;
const AXIS_PX = 100; // sums have many digits

export class Roi {
  /**
   * @param {Image} image
   * @param {View} view
   * @param {Series} series
   * @param {() => Theme} theme
   * @param {Send} send
   */
  constructor(image, view, series, theme, send) {
    this.image = image;
    this.view = view;
    this.series = series;
    this.theme = theme;
    this.send = send;
    /** @type {RoiArrays} */
    this.arrays = NOTHING;
    this.why = "";
    this.dirty = false;
    /** @type {uPlot | null} */
    this.plot = null;
    this.made = "";
    const { section: made, bar } = section("roi", "Region of interest");
    this.section = made;
    this.words = bar.appendChild(document.createElement("small"));
    this.mean = document.createElement("select");
    this.host = made.appendChild(document.createElement("div"));
    this.build(bar);
    view.onchange((names) => {
      if (names.has("roi")) this.ask();
      if (["roi", "mean", "x", "theme"].some((name) => names.has(name))) this.dirty = true;
    });
    this.dirty = true;
  }

  /** @param {HTMLElement} bar */
  build(bar) {
    this.words.id = "roi-words";
    bar.appendChild(document.createElement("span")).className = "push";
    this.mean.id = "roi-mean";
    this.mean.ariaLabel = "What of its pixels is drawn";
    this.mean.append(new Option("sum", "sum"), new Option("mean", "mean"));
    this.mean.addEventListener("change", () => this.view.set({ mean: this.mean.value === "mean" }));
    bar.append(this.mean);
    /** @type {[string, string, () => void][]} */
    const buttons = [
      ["roi-csv", "CSV", () => hand("roi.csv", new Blob([this.csv()], { type: "text/csv" }))],
      ["roi-clear", "Remove", () => this.view.set({ roi: null })],
    ];
    for (const [id, words, act] of buttons) {
      const button = bar.appendChild(document.createElement("button"));
      [button.id, button.type, button.textContent] = [id, "button", words];
      button.addEventListener("click", act);
    }
    this.host.id = "roi-plot";
    this.host.role = "img";
    this.host.ariaLabel = "Counts in the region of interest";
    new ResizeObserver(() => {
      this.plot?.setSize({ width: this.host.clientWidth, height: HEIGHT_PX });
    }).observe(this.host);
  }

  /** @param {Shape} shape */
  set(shape) {
    const { shape: size } = this.image;
    if (!size) return;
    const { row, col, rows, cols } = box(shape, size);
    this.view.set({ roi: [row, col, rows, cols].join(".") });
  }

  /** @returns {Rectangle | null} */
  get rectangle() {
    const numbers = (this.view.get("roi") ?? "").split(".").map(Number);
    const [row, col, rows, cols] = numbers;
    return numbers.length === 4 && numbers.every((one) => Number.isInteger(one) && one >= 0) ? { row, col, rows, cols } : null;
  }

  get wanted() {
    return this.rectangle !== null;
  }

  /** Ask for its counts, now and as they come. */
  ask() {
    this.arrays = NOTHING;
    this.why = "";
    this.send({ type: "roi", ...(this.rectangle ?? { row: 0, col: 0, rows: 0, cols: 0 }) });
  }

  /**
   * @param {RoiHeader} header
   * @param {RoiArrays} arrays
   */
  update(header, arrays) {
    const { rectangle } = this;
    if (!rectangle || Object.entries(rectangle).some(([name, value]) => header[/** @type {keyof Rectangle} */ (name)] !== value)) return;
    this.arrays = arrays;
    this.why = header.why;
    this.dirty = true;
  }

  /** The values that are drawn. */
  get values() {
    const { sum, pixels } = this.arrays;
    return this.view.get("mean") ? sum.map((one, i) => (pixels[i] ? one / pixels[i] : NaN)) : sum;
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const { rectangle, arrays, values, view } = this;
    if (!rectangle) return;
    const { row, col, rows, cols } = rectangle;
    const n = arrays.frame.length;
    this.mean.value = view.get("mean") ? "mean" : "sum";
    const hidden = n ? rows * cols - arrays.pixels[n - 1] : 0;
    const held = n || !this.why ? `${whole(n)} ${n === 1 ? "frame" : "frames"}` : this.why;
    const masked = hidden ? `, ${whole(hidden)} of its pixels masked` : "";
    this.words.textContent = `rows ${row} to ${row + rows - 1}, columns ${col} to ${col + cols - 1} · ${held}${masked}`;
    const last = n ? `${fixed(values[n - 1], view.get("mean") ? 3 : 0)} counts on the last` : "no frame yet";
    this.host.ariaLabel = `${view.get("mean") ? "Mean" : "Sum"} of its counts over ${held}: ${last}`;
    if (!this.host.clientWidth) return;
    const x = view.get("x") === "time" && arrays.time.some((time) => time > 0) ? "time" : "frame";
    const plot = this.plot && this.made === `${x} ${this.theme()}` ? this.plot : this.make(x);
    plot.axes[1].label = view.get("mean") ? "mean / counts" : "sum / counts";
    plot.setData([x === "time" ? arrays.time : arrays.frame, values]);
  }

  /** @param {import("../link/types").XAxis} x */
  make(x) {
    this.made = `${x} ${this.theme()}`;
    this.plot?.destroy();
    const colours = palette();
    const about = { x, several: this.series.several, volts: false, factor: () => 1 };
    const [along, up] = axes(colours, about);
    this.plot = new uPlot(
      {
        width: this.host.clientWidth,
        height: HEIGHT_PX,
        padding: [8, 12, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: x === "time" } },
        axes: [along, { ...up, size: AXIS_PX }],
        series: [{}, { scale: "y", stroke: colours.ink, width: 1, points: { show: true, size: 4, fill: colours.ink } }],
      },
      [[], []],
      this.host,
    );
    return this.plot;
  }

  csv() {
    const { frame, time, sum, pixels } = this.arrays;
    const rows = [...frame].map((number, i) => [number, time[i] ? new Date(time[i] * 1000).toISOString() : "", sum[i], pixels[i]].join(","));
    return `${["frame,time_utc,sum_counts,pixels", ...rows].join("\n")}\n`;
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    const { image, rectangle } = this;
    if (!rectangle) return;
    const { row, col, rows, cols } = rectangle;
    const [left, top] = [image.x(col - 0.5), image.y(row - 0.5)];
    for (const [width, colour] of /** @type {const} */ ([[4, "#000000b0"], [1.6, "#7fd4ff"]])) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(left, top, cols * image.scale, rows * image.scale);
    }
  }

  /** For the console and for tests. */
  report() {
    const { frame, time, sum, pixels } = this.arrays;
    return { ...this.rectangle, frame: [...frame], time: [...time], sum: [...sum], pixels: [...pixels], drawn: [...this.values], why: this.why };
  }
}
