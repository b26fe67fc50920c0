// What is drawn of the chosen tracks, over the cell's voltage or its capacity in place of time.

import { part, section } from "../dom.js";
import { shownUnit } from "../numbers.js";
import { SidePlot, cut } from "../plot/side.js";

/** @import { Page } from "../panels.js" */
/** @import { Points } from "../plot/points.js" */
/** @import { Piece } from "../plot/side.js" */

const AXES = { voltage: "cell voltage / V", capacity: "capacity / mAh" };
const DASH = [6, 4];
const PAUSE_MS = 500;

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
    const again = () => {
      this.dirty = true;
      schedule();
    };
    this.plot = new SidePlot(host, again);
    this.receivers = { drift: again, cell: again, tracks: again };
    this.pause = PAUSE_MS;
    /** @type {Piece[]} */
    this.pieces = [];
  }

  get wanted() {
    return this.cell.known;
  }

  /** Whether it is voltage or capacity, of which there may be none. */
  get axis() {
    return this.view.get("against") === "capacity" && this.cell.hasCapacity ? "capacity" : "voltage";
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const { drift, axis } = this;
    this.select.options[1].disabled = !this.cell.hasCapacity;
    this.select.value = axis;
    this.pieces = drift.chosen.flatMap((line) => this.pieced(line));
    const factor = shownUnit(drift.unit)[1];
    this.plot.show(this.pieces, { x: "value", label: drift.label, words: AXES[axis], factor, look: this.theme() });
  }

  /**
   * @param {Points} line
   * @returns {Piece[]}
   */
  pieced({ x, y, sigma, track }) {
    const { drift } = this;
    const { values, cycles } = this.cell.over(x, drift.x, this.axis);
    const known = y.map((value, i) => (Number.isFinite(values[i]) ? value : NaN));
    return cut({ x, y: known }, (i) => cycles[i]).map(({ from, to, kind: cycle }) => ({
      x: values.subarray(from, to),
      y: y.subarray(from, to),
      sigma: sigma.subarray(from, to),
      turns: true,
      colour: drift.look(track).colour,
      dash: cycle?.kind === "charge" ? [] : DASH,
      name: drift.name(track),
    }));
  }

  report() {
    const plain = this.pieces.map((piece) => ({ ...piece, x: Array.from(piece.x), y: Array.from(piece.y), sigma: Array.from(piece.sigma) }));
    return { against: this.section.hidden ? null : { axis: this.axis, pieces: plain } };
  }
}
