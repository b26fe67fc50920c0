// The values under the cursor of the drift plot: of each line with its error, and of the cell.

import { NONE, measured, moment, shownUnit, whole } from "../numbers.js";

/** @import { Drift } from "./drift.js" */
/** @import { Lives } from "./lives.js" */

/** @typedef {{ item: HTMLElement, line: HTMLElement, number: HTMLElement, value: HTMLElement }} Chip of a line */

export class Readout {
  /**
   * @param {HTMLElement} element
   * @param {Drift} drift
   * @param {Lives} lives
   */
  constructor(element, drift, lives) {
    this.lives = lives;
    this.element = element;
    this.drift = drift;
    /** @type {Map<number, Chip>} */
    this.chips = new Map();
    this.where = element.appendChild(document.createElement("p"));
    this.list = element.appendChild(document.createElement("ul"));
    drift.oncursor = () => this.update();
  }

  update() {
    const { drift } = this;
    const values = drift.values();
    const at = drift.cursor ?? Math.max(...values.map((one) => one.x));
    const cell = drift.cell.words(at, drift.x);
    const number = Math.round(at);
    const when = drift.x === "time" ? [moment(at)] : [`frame ${whole(number)}`, drift.series.words(number)];
    const words = values.length
      ? [drift.cursor === null ? "newest" : "cursor", ...(Number.isFinite(at) ? when : [NONE]), cell]
      : ["No track chosen: click a peak, or take one from the table."];
    this.where.textContent = words.filter(Boolean).join(" · ");
    const chips = values.map((value) => this.chip(value));
    if (chips.length !== this.list.childElementCount || chips.some((chip, i) => chip !== this.list.children[i]))
      this.list.replaceChildren(...chips);
  }

  /** @param {{ track: number, y: number, sigma: number }} value */
  chip({ track, y, sigma }) {
    const { item, line, number, value } = this.chips.get(track) ?? this.made(track);
    const { colour, dash } = this.drift.look(track);
    const name = this.drift.name(track);
    if (number.textContent !== name) number.textContent = name;
    line.style.borderTop = `3px ${dash.length ? "dashed" : "solid"} ${colour}`;
    const [unit, factor] = shownUnit(this.drift.unit);
    const ended = this.drift.cursor === null ? this.lives.words(track) : "";
    const text = measured(y * factor, sigma * factor, unit) + (ended && `, ${ended}`);
    if (value.textContent !== text) value.textContent = text;
    return item;
  }

  /** @param {number} track */
  made(track) {
    const [item, number] = [document.createElement("li"), document.createElement("b")];
    const chip = { item, number, line: document.createElement("i"), value: document.createElement("span") };
    item.dataset.track = String(track);
    item.append(chip.line, number, chip.value);
    this.chips.set(track, chip);
    return chip;
  }
}
