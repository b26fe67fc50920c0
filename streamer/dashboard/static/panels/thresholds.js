// Thresholds: what holds, which peaks others would give on the shown frame, and the change to them.

import { part } from "../dom.js";
import { moment, whole } from "../numbers.js";
import { Overlay } from "../image/overlay.js";

/** @import { PreviewArrays, PreviewHeader, Threshold, ThresholdsHeader } from "../link/types" */
/** @import { Page } from "../panels.js" */

const NAMES = /** @type {const} */ (["minval", "minscore"]);
const WAIT_MS = 250; // while somebody types, nothing is tried out
const HALF_PX = 9;
const [COLOUR, RIM] = ["#ff4fd8", "#000000a0"];
const KEY = "braggstream-control";

const FORM = `
  <fieldset id="thresholds">
    <legend>Thresholds</legend>
    ${NAMES.map(
      (name) => `
    <label>${name} <input type="number" id="${name}" min="0" step="any" inputmode="decimal"> counts</label>
    <label class="check"><input type="checkbox" id="${name}-auto" aria-label="${name} auto"> auto</label>`,
    ).join("")}
    <button type="button" id="try" aria-pressed="false" title="Show the peaks that these would give on the shown frame">Try</button>
    <button type="button" id="apply" title="Have the run find peaks with these from its next frame on">Apply</button>
    <p id="try-words" role="status"></p>
    <p id="holds"></p>
  </fieldset>`;

/** @param {string} name */
const input = (name) => part(name, HTMLInputElement);
/** @param {Threshold} value */
const said = (value) => (value === "auto" ? "auto" : String(value));

export class Thresholds {
  /** @param {Page} page */
  constructor({ image, send, schedule }) {
    this.send = send;
    this.schedule = schedule;
    this.image = image;
    this.section = image.section;
    this.token = control();
    this.run = "";
    /** @type {ThresholdsHeader | null} */
    this.header = null;
    /** @type {{ header: PreviewHeader, arrays: PreviewArrays } | null} */
    this.found = null;
    this.trying = this.edited = this.dirty = false;
    this.told = ""; // what became of a change that was asked for
    this.timer = 0;
    part("image-section").querySelector(".under")?.insertAdjacentHTML("beforeend", FORM);
    this.overlay = new Overlay(image, "tried");
    this.receivers = {
      /** @param {{ run: string }} header */
      hello: (header) => {
        this.run = header.run;
        if (this.trying) this.ask();
      },
      /** @param {ThresholdsHeader} header */
      thresholds: (header) => this.update(header),
      /** @type {(header: PreviewHeader, arrays: PreviewArrays) => void} */
      preview: (header, arrays) => {
        this.found = { header, arrays };
        this.dirty = true;
      },
      image: () => {
        this.dirty ||= this.trying;
      },
    };
    for (const name of NAMES) {
      input(name).addEventListener("input", () => this.edit());
      input(`${name}-auto`).addEventListener("change", () => this.edit());
    }
    part("try").addEventListener("click", () => this.toggle());
    part("apply").addEventListener("click", () => this.apply());
  }

  /** @param {ThresholdsHeader} header */
  update(header) {
    this.header = header;
    if (!this.edited) this.fill(header);
    this.dirty = true;
  }

  /** @param {Record<(typeof NAMES)[number], Threshold>} values */
  fill(values) {
    for (const name of NAMES) {
      input(`${name}-auto`).checked = values[name] === "auto";
      input(name).value = values[name] === "auto" ? "" : String(values[name]);
    }
  }

  /**
   * What stands in the form; null where it is no number.
   *
   * @param {(typeof NAMES)[number]} name
   * @returns {Threshold | null}
   */
  value(name) {
    if (input(`${name}-auto`).checked) return "auto";
    const { value, valueAsNumber } = input(name);
    const least = name === "minval" ? valueAsNumber >= 0 : valueAsNumber > 0;
    return value && least ? valueAsNumber : null;
  }

  edit() {
    this.edited = this.dirty = true;
    this.told = "";
    clearTimeout(this.timer);
    if (this.trying) this.timer = setTimeout(() => this.ask(), WAIT_MS);
    this.schedule();
  }

  toggle() {
    this.trying = !this.trying;
    this.found = null;
    this.ask();
    this.dirty = true;
    this.schedule();
  }

  ask() {
    const [minval, minscore] = NAMES.map((name) => (this.trying ? this.value(name) : null));
    if (minval === null || minscore === null) this.send({ type: "preview", minval: null, minscore: null });
    else this.send({ type: "preview", minval, minscore });
  }

  async apply() {
    const wanted = { minval: this.value("minval"), minscore: this.value("minscore") };
    this.told = "asking the run";
    this.dirty = true;
    this.schedule();
    const place = /\/runs\/[^/]+\/$/.test(location.pathname) ? "../../" : "";
    try {
      const answer = await fetch(`${place}api/runs/${encodeURIComponent(this.run)}/thresholds`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Braggstream-Control": this.token },
        body: JSON.stringify(wanted),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(text.startsWith("{") ? JSON.parse(text).error : text);
      this.told = "asked: they hold from the run's next frame on";
      this.edited = false;
    } catch (error) {
      this.told = `not changed: ${error instanceof Error ? error.message : error}`;
    }
    this.dirty = true;
    this.schedule();
  }

  /** The peaks of the frame that is shown, or null. */
  get shown() {
    const [now, found] = [this.image.header, this.found];
    if (!this.trying || !now || !found) return null;
    return found.header.frame === now.frame && found.header.series === now.series ? found : null;
  }

  draw() {
    this.overlay.draw(this.dirty, (context) => this.mark(context));
    if (!this.dirty) return;
    this.dirty = false;
    const { header, trying } = this;
    const whole = NAMES.every((name) => this.value(name) !== null);
    for (const name of NAMES) input(name).disabled = input(`${name}-auto`).checked;
    part("try").ariaPressed = String(trying);
    part("try", HTMLButtonElement).disabled = !header?.can_try;
    part("apply", HTMLButtonElement).disabled = !(whole && this.token && header?.can_change);
    write("try-words", this.told || (whole || !header ? this.words() : "minval is a number from 0 up, minscore one above 0"));
    write("holds", this.held());
  }

  words() {
    if (!this.trying) return "";
    const { shown } = this;
    if (!shown) return "finding peaks";
    const { why, binning } = shown.header;
    if (why) return `no peaks can be found: ${why}`;
    const count = shown.arrays.row.length;
    const binned = binning > 1 ? `, in pixels binned ${binning} × ${binning} as the run does` : "";
    return `${whole(count)} ${count === 1 ? "peak" : "peaks"} with these on this frame${binned}`;
  }

  held() {
    const { header } = this;
    if (!header) return "";
    const last = header.changes.at(-1);
    const since = last && last.frame !== null ? ` since frame ${whole(last.frame)} of ${last.series} (${moment(last.time_ns / 1e9)})` : "";
    const soon = header.waiting || (last && last.frame === null) ? ", from the next frame that comes" : "";
    const holds = `holds: minval ${said(header.minval)}, minscore ${said(header.minscore)}${since}${soon}`;
    if (!header.can_change) return holds;
    return this.token ? holds : `${holds}. Read only: the address that the run printed for changing thresholds may change them.`;
  }

  /** @param {CanvasRenderingContext2D} context */
  mark(context) {
    const { shown, image } = this;
    if (!shown) return;
    const { row, col } = shown.arrays;
    const path = new Path2D();
    for (let i = 0; i < row.length; i += 1)
      path.rect(image.x(col[i]) - HALF_PX, image.y(row[i]) - HALF_PX, 2 * HALF_PX, 2 * HALF_PX);
    for (const [width, colour] of /** @type {const} */ ([[4, RIM], [1.8, COLOUR]])) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke(path);
    }
  }

  report() {
    const { header, shown } = this;
    return {
      thresholds: header,
      tried: shown && { ...shown.header, row: [...shown.arrays.row], col: [...shown.arrays.col] },
    };
  }
}

/** What lets this page change something: from its address, once; then this tab knows it. */
function control() {
  const given = new URLSearchParams(location.hash.slice(1)).get("control");
  if (!given) return sessionStorage.getItem(KEY) ?? "";
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search); // not for who looks over a shoulder
  return given;
}

/**
 * @param {string} name
 * @param {string} text
 */
function write(name, text) {
  if (part(name).textContent !== text) part(name).textContent = text;
}
