// Buttons, lists, sliders and keys: what the user does to the view with them.

import { around, part, pen } from "../dom.js";
import { KINDS, MAP_NAMES } from "../plot/colours.js";
import { counts, zone } from "../numbers.js";
import { trace } from "./peaks.js";

/** @import { Theme, XAxis } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Frames } from "./frames.js" */
/** @import { Image } from "./image.js" */

/** @typedef {[value: string | number, words: string]} Entry of a list */

/** @type {Record<XAxis, Entry[]>} */
const SPANS = {
  time: [[60, "last minute"], [300, "last 5 min"], [1800, "last 30 min"], [7200, "last 2 h"], [28_800, "last 8 h"]],
  frame: [[100, "last 100"], [1000, "last 1,000"], [10_000, "last 10,000"]],
};
const LISTS = /** @type {const} */ (["colours", "quantity", "x"]);

/** @param {string} name */
const list = (name) => part(name, HTMLSelectElement);
/** @param {string} name */
const input = (name) => part(name, HTMLInputElement);

export class Controls {
  /**
   * @param {View} view
   * @param {Image} image
   * @param {Frames} frames
   * @param {() => Theme} theme
   * @param {Record<string, () => void>} saves what the buttons that save do, by their id
   */
  constructor(view, image, frames, theme, saves) {
    this.view = view;
    this.image = image;
    this.frames = frames;
    this.theme = theme;
    this.fill(list("colours"), MAP_NAMES.map((name) => [name, name]));
    if (!MAP_NAMES.includes(view.get("colours"))) view.set({ colours: MAP_NAMES[0] });
    this.lists();
    this.sliders();
    this.buttons(saves);
    this.keys();
    legend(part("kinds"));
    this.follow(new Set(["x", "colours", "zoom"]));
    view.onchange((names) => this.follow(names));
  }

  /**
   * Offer the quantities that the run knows.
   *
   * @param {Entry[]} entries
   */
  offer(entries) {
    this.fill(list("quantity"), entries);
    list("quantity").value = this.view.get("quantity") ?? "";
  }

  /**
   * @param {HTMLSelectElement} select
   * @param {Entry[]} entries
   */
  fill(select, entries) {
    const key = JSON.stringify(entries);
    if (select.dataset.entries === key) return; // it may be open
    select.dataset.entries = key;
    select.replaceChildren(...entries.map(([value, words]) => new Option(words, String(value))));
  }

  /** @param {Set<string>} names */
  follow(names) {
    const { view } = this;
    if (names.has("x")) this.fill(list("span"), [["", "whole run"], ...SPANS[view.get("x")]]);
    if (names.has("x") || names.has("span")) list("span").value = String(view.get("span") ?? "");
    for (const name of LISTS) if (names.has(name)) list(name).value = view.get(name) ?? "";
    part("zone").textContent = zone();
    part("zoom-reset").hidden = view.get("from") === null;
    this.image.host.style.touchAction = view.get("zoom") > 1 ? "none" : "pan-y";
    this.levels();
  }

  lists() {
    const { view } = this;
    for (const name of LISTS)
      list(name).addEventListener("change", () => {
        const more = name === "x" ? { span: null, from: null, to: null } : {};
        view.set({ ...more, [name]: list(name).value });
      });
    list("span").addEventListener("change", () => {
      const span = list("span").value;
      view.set({ span: span ? Number(span) : null, from: null, to: null });
    });
    const peaks = input("peaks");
    peaks.checked = view.get("peaks");
    peaks.addEventListener("change", () => view.set({ peaks: peaks.checked }));
  }

  sliders() {
    for (const [end, name] of ["low", "high"].entries())
      input(name).addEventListener("input", () => {
        const place = Number(input(name).value);
        this.view.set({ [name]: place === end ? null : this.image.counts(1 + 254 * place) });
      });
  }

  /** Show the levels: those chosen, or those that the newest frame suggests. */
  levels() {
    for (const [index, name] of ["low", "high"].entries()) {
      const level = this.image.levels[index];
      if (document.activeElement !== part(name)) input(name).value = String((level - 1) / 254);
      const words = this.image.header ? counts(this.image.counts(level)) : "–";
      if (part(`${name}-words`).textContent !== words) part(`${name}-words`).textContent = words;
    }
  }

  /** @param {Record<string, () => void>} saves */
  buttons(saves) {
    const { view } = this;
    const clicks = {
      "levels-auto": () => view.set({ low: null, high: null }),
      "zoom-reset": () => view.set({ from: null, to: null }),
      zone: () => view.set({ zone: view.get("zone") === "utc" ? "local" : "utc" }),
      help: () => part("keys", HTMLDialogElement).showModal(),
      "keys-close": () => part("keys", HTMLDialogElement).close(),
      theme: () => view.set({ theme: this.theme() === "dark" ? "light" : "dark" }),
      ...saves,
    };
    for (const [name, act] of Object.entries(clicks)) part(name).addEventListener("click", act);
  }

  keys() {
    const { frames } = this;
    /** @type {Record<string, () => void>} */
    const acts = {
      " ": () => frames.toggle(),
      l: () => frames.go(null),
      ",": () => frames.step(-1),
      ".": () => frames.step(1),
      t: () => part("theme").click(),
      z: () => part("zone").click(),
      "?": () => part("help").click(),
    };
    document.addEventListener("keydown", (event) => {
      const busy = around(event, "button, select, summary, textarea, input:not([type=range])");
      if (busy || event.ctrlKey || event.metaKey || event.altKey || !(event.key in acts)) return;
      acts[event.key]();
      event.preventDefault();
    });
  }
}

/** @param {HTMLElement} host */
function legend(host) {
  for (const { words, shape, colour } of KINDS.toReversed()) {
    const item = host.appendChild(document.createElement("li"));
    const canvas = item.appendChild(document.createElement("canvas"));
    canvas.width = canvas.height = 36;
    const context = pen(canvas);
    const path = new Path2D();
    trace(path, shape, 18, 18, 11);
    context.lineWidth = 7;
    context.strokeStyle = "#000000a0";
    context.stroke(path);
    context.lineWidth = 3.5;
    context.strokeStyle = colour;
    context.stroke(path);
    item.append(words);
  }
}
