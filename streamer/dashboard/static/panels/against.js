// What is drawn of the chosen tracks, over the cell's voltage or its capacity in place of time.

import { part, section } from "../dom.js";
import { shownUnit } from "../numbers.js";
import { SidePlot, cut } from "../plot/side.js";

/** @import { Page } from "../panels.js" */
/** @import { Piece } from "../plot/side.js" */

const AXES = { voltage: "cell voltage / V", capacity: "capacity / mAh" };
const DASH = [6, 4];

export class Against {
  /** @param {Page} page */
  constructor({ view, drift, cell, theme, schedule }) {
    this.view = view;
    this.drift = drift;
    this.cell = cell;
    this.theme = theme;
    this.follows = ["tracks", "quantity", "x", "theme", "from", "to", "span", "against"];
    this.dirty = false;
    const { section: around, bar } = section("against", "Over the cell");
    this.section = around;
    this.section.hidden = true;
    bar.insertAdjacentHTML(
      "beforeend",
      `<select id="against" aria-label="Voltage or capacity"><option value="voltage">over voltage</option>
      <option value="capacity">over capacity</option></select><span class="note">charge solid, discharge and rest dashed</span>`,
    );
    this.select = part("against", HTMLSelectElement);
    this.select.value = view.get("against");
    this.select.addEventListener("change", () => {
      view.set({ against: this.select.value === "capacity" ? "capacity" : "voltage" });
    });
    const host = around.appendChild(document.createElement("div"));
    host.className = "side";
    this.plot = new SidePlot(host, () => {
      this.dirty = true;
      schedule();
    });
    const again = () => {
      this.dirty = true;
    };
    this.receivers = { drift: again, cell: again, tracks: again };
    /** @type {Piece[]} */
    this.pieces = [];
  }

  /** Whether it is voltage or capacity, of which there may be none. */
  get axis() {
    return this.view.get("against") === "capacity" && this.cell.hasCapacity ? "capacity" : "voltage";
  }

  draw() {
    if (!this.dirty || !this.plot.isDue()) return;
    this.dirty = false;
    this.section.hidden = !this.cell.known;
    if (this.section.hidden) return;
    const { drift, axis } = this;
    this.select.options[1].disabled = !this.cell.hasCapacity;
    this.select.value = axis;
    this.pieces = drift.chosen.flatMap((line) => this.pieced(line));
    const factor = shownUnit(drift.unit)[1];
    this.plot.show(this.pieces, { x: "value", label: drift.label, words: AXES[axis], factor, look: this.theme() });
  }

  /**
   * @param {import("../plot/points.js").Points} line
   * @returns {Piece[]}
   */
  pieced(line) {
    const { cell, drift } = this;
    const cells = Array.from(line.x, (x) => cell.between(x, drift.x, this.axis));
    const known = { x: line.x, y: line.y.map((y, i) => (Number.isFinite(cells[i].value) ? y : NaN)), sigma: line.sigma };
    return cut(known, (i) => cells[i]?.kind).map(({ from, to, kind }) => ({
      x: cells.slice(from, to).map(({ value }) => value),
      y: [...line.y.subarray(from, to)],
      sigma: [...line.sigma.subarray(from, to)],
      colour: drift.look(line.track).colour,
      dash: kind === "charge" ? [] : DASH,
      name: drift.name(line.track),
    }));
  }

  report() {
    return { against: this.section.hidden ? null : { axis: this.axis, pieces: this.pieces } };
  }
}
