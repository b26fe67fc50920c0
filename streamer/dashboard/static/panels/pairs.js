// Two of the chosen reflections compared: what one has more than the other, or how many times as much.

import { part, section } from "../dom.js";
import { measured, shownUnit } from "../numbers.js";
import { nearest } from "../plot/lines.js";
import { SidePlot, cut } from "../plot/side.js";

/** @import { Page } from "../panels.js" */
/** @import { Piece } from "../plot/side.js" */

/** @typedef {{ x: ArrayLike<number>, y: ArrayLike<number>, sigma: ArrayLike<number> }} Line */
/** @typedef {{ x: number[], y: number[], sigma: number[] }} Made a line that is worked out */
/** @typedef {{ key: string, name: string, lines: Line[] }} Choice */

const TOLD = 3; // standard deviations from 0 of what is divided by
const PAUSE_MS = 500;
const NEAR = 0.75; // of the usual step: what is farther apart was not seen together

export class Pairs {
  /** @param {Page} page */
  constructor({ view, drift, theme, schedule }) {
    this.view = view;
    this.drift = drift;
    this.theme = theme;
    this.follows = ["tracks", "quantity", "x", "theme", "zone", "from", "to", "span"];
    this.dirty = false;
    this.pause = PAUSE_MS;
    const { section: around, bar } = section("pairs", "Two compared");
    this.section = around;
    bar.insertAdjacentHTML(
      "beforeend",
      `<select id="pair-one" aria-label="First"></select>
      <select id="pair-how" aria-label="How"><option value="difference">minus</option><option value="ratio">divided by</option></select>
      <select id="pair-other" aria-label="Second"></select><output id="pair-words" aria-live="off"></output>`,
    );
    this.one = part("pair-one", HTMLSelectElement);
    this.how = part("pair-how", HTMLSelectElement);
    this.other = part("pair-other", HTMLSelectElement);
    this.words = part("pair-words");
    const again = () => {
      this.dirty = true;
      schedule();
    };
    for (const select of [this.one, this.how, this.other]) select.addEventListener("change", again);
    const host = around.appendChild(document.createElement("div"));
    host.className = "side";
    this.plot = new SidePlot(host, again);
    this.receivers = { drift: again };
    this.drawn = {}; // what was chosen when it was drawn
    /** @type {Made} */
    this.line = { x: [], y: [], sigma: [] };
  }

  get wanted() {
    return this.choices().length > 1;
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const choices = this.choices();
    offer(this.one, choices, 0);
    offer(this.other, choices, 1);
    const [one, other] = [this.one, this.other].map((select) => choices.find(({ key }) => key === select.value) ?? choices[0]);
    const isRatio = this.how.value === "ratio";
    this.line = compared(joined(one.lines), joined(other.lines), isRatio);
    this.drawn = { one: one.key, how: this.how.value, other: other.key };
    const { x, y, sigma } = this.line;
    const [unit, factor] = isRatio ? ["", 1] : shownUnit(this.drift.unit);
    const last = y.findLastIndex((value) => Number.isFinite(value));
    this.words.textContent = last < 0 ? "never seen together" : measured(y[last] * factor, sigma[last] * factor, unit);
    const colour = this.theme() === "dark" ? "#f0a330" : "#0072b2";
    const pieces = cut({ x, y }).map(({ from, to }) => ({
      x: x.slice(from, to), y: y.slice(from, to), sigma: sigma.slice(from, to), turns: true, colour, dash: [], name: "",
    }));
    const label = isRatio ? "ratio" : `difference${unit && ` / ${unit}`}`;
    const time = this.drift.x === "time";
    this.plot.show(pieces, { x: this.drift.x, label, words: time ? `time of day (${this.view.get("zone") === "utc" ? "UTC" : "local time"})` : "frame", factor, look: this.theme() });
  }

  /**
   * The reflections that are drawn, with the lines of their spots.
   *
   * @returns {Choice[]}
   */
  choices() {
    /** @type {Map<string, Choice>} */
    const found = new Map();
    for (const line of this.drift.chosen) {
      const { track } = line;
      if (!line.x.length) continue;
      const key = track < 0 ? `line ${track}` : `${this.view.reflections.get(track) ?? track}`;
      const one = found.get(key);
      if (one) one.lines.push(line);
      else found.set(key, { key, name: track < 0 ? this.drift.name(track) : key, lines: [line] });
    }
    return [...found.values()];
  }

  report() {
    return { pair: this.section.hidden ? null : { ...this.drawn, ...this.line } };
  }
}

/**
 * Offer choices, and keep what was chosen as long as it is there.
 *
 * @param {HTMLSelectElement} select
 * @param {Choice[]} choices
 * @param {number} usual place of what is chosen at first
 */
function offer(select, choices, usual) {
  const now = select.value;
  const names = choices.map(({ key, name }) => `${key} ${name}`).join();
  if (select.dataset.names !== names) {
    select.dataset.names = names;
    select.replaceChildren(...choices.map(({ key, name }) => new Option(name, key)));
    select.value = choices.some(({ key }) => key === now) ? now : choices[usual].key;
  }
}

/**
 * Spots of one reflection as one line: where there are several at once, their weighted mean.
 *
 * @param {Line[]} lines
 * @returns {Line}
 */
function joined(lines) {
  if (lines.length === 1) return lines[0];
  const points = lines.flatMap(({ x, y, sigma }) => Array.from(x, (at, i) => ({ at, y: y[i], sigma: sigma[i] })));
  points.sort((one, other) => one.at - other.at);
  /** @type {Made} */
  const line = { x: [], y: [], sigma: [] };
  for (let i = 0, end = 0; i < points.length; i = end) {
    while (end < points.length && points[end].at === points[i].at) end += 1;
    const here = points.slice(i, end).filter((point) => Number.isFinite(point.y));
    const weights = here.map(({ sigma }) => (sigma > 0 ? 1 / sigma ** 2 : NaN));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const isKnown = Number.isFinite(total) && total > 0;
    const mean = isKnown
      ? here.reduce((sum, { y }, k) => sum + weights[k] * y, 0) / total
      : here.reduce((sum, { y }) => sum + y, 0) / here.length;
    line.x.push(points[i].at);
    line.y.push(mean);
    line.sigma.push(isKnown ? total ** -0.5 : NaN);
  }
  return line;
}

/**
 * The difference or the ratio of two lines where both were seen, with its standard deviation.
 *
 * @param {Line} one
 * @param {Line} other
 * @param {boolean} isRatio
 * @returns {Made}
 */
function compared(one, other, isRatio) {
  const steps = Array.from(other.x, (x, i) => x - other.x[i - 1]).slice(1).sort((a, b) => a - b);
  const reach = NEAR * (steps[steps.length >> 1] ?? 0);
  /** @type {Made} */
  const line = { x: [], y: [], sigma: [] };
  Array.from(one.x, (x, i) => {
    const k = nearest(other.x, x);
    if (k < 0 || Math.abs(other.x[k] - x) > reach) return;
    const [a, b, sa, sb] = [one.y[i], other.y[k], one.sigma[i], other.sigma[k]];
    const isTold = !isRatio || Math.abs(b) > TOLD * sb;
    line.x.push(x);
    line.y.push(!isTold ? NaN : isRatio ? a / b : a - b);
    line.sigma.push(isRatio ? Math.hypot(sa / b, (a * sb) / b ** 2) : Math.hypot(sa, sb));
  });
  return line;
}
