// Buttons, lists, sliders and keys: what the user does to the view with them.

import { KINDS, MAP_NAMES, sample } from "../plot/colours.js";
import { counts } from "../numbers.js";
import { trace } from "./peaks.js";

const SPANS = {
  time: [[60, "last minute"], [300, "last 5 min"], [1800, "last 30 min"], [7200, "last 2 h"], [28_800, "last 8 h"]],
  frame: [[100, "last 100"], [1000, "last 1,000"], [10_000, "last 10,000"]],
};
const part = (name) => document.getElementById(name);

export class Controls {
  /** @param saves what the buttons that save do, by their id */
  constructor(view, image, frames, theme, saves) {
    Object.assign(this, { view, image, frames, theme });
    this.fill(part("colours"), MAP_NAMES.map((name) => [name, name]));
    if (!MAP_NAMES.includes(view.get("colours"))) view.set({ colours: MAP_NAMES[0] });
    this.lists();
    this.sliders();
    this.buttons(saves);
    this.keys();
    legend(part("kinds"));
    this.follow(new Set(["x", "colours", "zoom"]));
    view.onchange((names) => this.follow(names));
  }

  /** Offer the quantities that the run knows. */
  offer(entries) {
    this.fill(part("quantity"), entries);
    part("quantity").value = this.view.get("quantity");
  }

  fill(select, entries) {
    const key = JSON.stringify(entries);
    if (select.dataset.entries === key) return; // it may be open
    select.dataset.entries = key;
    select.replaceChildren(...entries.map(([value, words]) => new Option(words, value)));
  }

  follow(names) {
    const { view } = this;
    if (names.has("x")) this.fill(part("span"), [["", "whole run"], ...SPANS[view.get("x")]]);
    if (names.has("x") || names.has("span")) part("span").value = view.get("span") ?? "";
    for (const name of ["colours", "quantity", "x"]) if (names.has(name)) part(name).value = view.get(name);
    part("zoom-reset").hidden = view.get("from") === null;
    this.image.host.style.touchAction = view.get("zoom") > 1 ? "none" : "pan-y";
    if (names.has("colours")) this.ramp();
    this.levels();
  }

  lists() {
    const { view } = this;
    for (const name of ["colours", "quantity", "x"])
      part(name).addEventListener("change", (event) => {
        const more = name === "x" ? { span: null, from: null, to: null } : {};
        view.set({ ...more, [name]: event.target.value });
      });
    part("span").addEventListener("change", (event) =>
      view.set({ span: event.target.value ? Number(event.target.value) : null, from: null, to: null }));
    for (const name of ["peaks", "long"]) {
      part(name).checked = view.get(name);
      part(name).addEventListener("change", (event) => view.set({ [name]: event.target.checked }));
    }
  }

  sliders() {
    for (const [name, end] of [["low", 0], ["high", 1]])
      part(name).addEventListener("input", (event) => {
        const place = Number(event.target.value);
        this.view.set({ [name]: place === end ? null : this.image.counts(1 + 254 * place) });
      });
  }

  /** Show the levels: those chosen, or those that the newest frame suggests. */
  levels() {
    for (const [name, index] of [["low", 0], ["high", 1]]) {
      const level = this.image.levels[index];
      if (document.activeElement !== part(name)) part(name).value = (level - 1) / 254;
      const words = this.image.header ? counts(this.image.counts(level)) : "–";
      if (part(`${name}-words`).textContent !== words) part(`${name}-words`).textContent = words;
    }
  }

  ramp() {
    const context = part("ramp").getContext("2d");
    for (let i = 0; i < 256; i += 1) {
      context.fillStyle = `rgb(${sample(this.view.get("colours"), i / 255)})`;
      context.fillRect(i, 0, 1, 1);
    }
  }

  buttons(saves) {
    const { view } = this;
    const clicks = {
      "levels-auto": () => view.set({ low: null, high: null }),
      "zoom-reset": () => view.set({ from: null, to: null }),
      theme: () => view.set({ theme: this.theme() === "dark" ? "light" : "dark" }),
      ...saves,
    };
    for (const [name, act] of Object.entries(clicks)) part(name).addEventListener("click", act);
  }

  keys() {
    const { frames } = this;
    const acts = {
      " ": () => frames.toggle(),
      l: () => frames.go(null),
      ",": () => frames.step(-1),
      ".": () => frames.step(1),
      t: () => part("theme").click(),
    };
    document.addEventListener("keydown", (event) => {
      const busy = event.target.closest("button, select, textarea, input:not([type=range])");
      if (busy || event.ctrlKey || event.metaKey || event.altKey || !(event.key in acts)) return;
      acts[event.key]();
      event.preventDefault();
    });
  }
}

function legend(list) {
  for (const { words, shape, colour } of KINDS.toReversed()) {
    const item = list.appendChild(document.createElement("li"));
    const canvas = item.appendChild(document.createElement("canvas"));
    canvas.width = canvas.height = 36;
    const context = canvas.getContext("2d");
    const path = new Path2D();
    trace(path, shape, 18, 18, 11);
    for (const [width, style] of [[7, "#000000a0"], [3.5, colour]]) {
      [context.lineWidth, context.strokeStyle] = [width, style];
      context.stroke(path);
    }
    item.append(words);
  }
}
