// The values under the cursor of the drift plot: of each line with its error, and of the cell.

import { lineStyle } from "../plot/colours.js";
import { NONE, measured, moment, shownUnit, whole } from "../numbers.js";

export class Readout {
  constructor(element, drift, view, theme) {
    Object.assign(this, { element, drift, view, theme, chips: new Map() });
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

  chip({ track, y, sigma }) {
    let chip = this.chips.get(track);
    if (!chip) {
      chip = document.createElement("li");
      chip.dataset.track = track;
      chip.append(document.createElement("i"), document.createElement("b"), document.createElement("span"));
      chip.children[1].textContent = track;
      this.chips.set(track, chip);
    }
    const { colour, dash } = lineStyle(this.view.slots.get(track), this.theme());
    chip.children[0].style.borderTop = `3px ${dash.length ? "dashed" : "solid"} ${colour}`;
    const [unit, factor] = shownUnit(this.drift.unit);
    const text = measured(y * factor, sigma * factor, unit);
    if (chip.children[2].textContent !== text) chip.children[2].textContent = text;
    return chip;
  }
}
