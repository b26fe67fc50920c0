// Which frame is shown: the newest as it comes, or one of the run's, paused. Frames are counted
// through the run; the view and the server know each by its series and its number there.

import { part } from "../dom.js";
import { moment, whole } from "../numbers.js";

/** @import { Hello, ImageHeader, Send, Stacked } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Series } from "./series.js" */

const STACKS = { sum: "sum", highest: "highest counts" };
const SEND_MS = 60; // while the slider moves, a frame is asked for no more often

export class Frames {
  /**
   * @param {View} view
   * @param {Series} series
   * @param {Send} send
   */
  constructor(view, series, send) {
    this.view = view;
    this.section = part("image-section");
    this.series = series;
    this.send = send;
    this.last = 0; // number in the run of its last frame
    /** @type {ImageHeader | null} */
    this.header = null;
    this.live = true;
    this.dirty = false;
    this.timer = 0;
    this.slider = part("scroll", HTMLInputElement);
    this.stack = part("stack", HTMLSelectElement);
    this.stack.addEventListener("change", () => view.set({ stack: /** @type {Stacked} */ (this.stack.value) || null }));
    part("pause").addEventListener("click", () => this.toggle());
    part("live").addEventListener("click", () => this.go(null));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    for (const button of part("frames").querySelectorAll("button"))
      if (button.dataset.step) button.addEventListener("click", () => this.step(Number(button.dataset.step)));
    view.onchange((names) => {
      if (["frame", "series", "stack"].some((name) => names.has(name))) this.ask();
      if (names.has("stack")) this.dirty = true;
    });
  }

  /** @param {Hello} hello */
  greet(hello) {
    this.live = hello.live;
    this.last = Math.max(hello.n_frames - 1, this.number ?? 0);
    this.dirty = true;
  }

  /**
   * The run has at least so many frames.
   *
   * @param {number} count
   */
  grow(count) {
    if (!(count - 1 > this.last)) return;
    this.last = count - 1;
    this.dirty = true;
  }

  /** @param {ImageHeader} header */
  update(header) {
    this.header = header;
    this.grow((this.number ?? -1) + 1);
    this.dirty = true;
  }

  /** Number in the run of the frame that the image shows; null where there is none. */
  get number() {
    return this.header && this.series.number(this.header.series, this.header.frame);
  }

  /** Number in the run of the frame that was chosen, or else that is shown. */
  get current() {
    const { series, frame } = this.view.state;
    return (frame === null ? null : this.series.number(series, frame)) ?? this.number ?? this.last;
  }

  get paused() {
    return this.view.get("frame") !== null;
  }

  /**
   * Show a frame of the run; null the newest.
   *
   * @param {number | null} number
   */
  go(number) {
    if (number === null) this.view.set({ frame: null, series: null });
    else if (Number.isFinite(number))
      this.view.set(this.series.locate(Math.min(Math.max(Math.round(number), 0), this.last)));
    this.dirty = true;
  }

  toggle() {
    this.go(this.paused ? null : this.current);
  }

  /** @param {number} by */
  step(by) {
    this.go(this.current + by);
  }

  ask() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.show();
    }, SEND_MS);
  }

  show() {
    const { frame, series, stack } = this.view.state;
    this.send({ type: "show", frame, series, ...(stack && { stack }) });
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const { header, paused, current, number, series } = this;
    this.slider.max = String(this.last);
    this.slider.value = String(current);
    this.slider.ariaValueText = joined(`frame ${current} of ${this.last + 1}`, series.words(current));
    part("pause").textContent = paused ? "Go on" : "Pause";
    part("pause").ariaPressed = String(paused);
    part("live", HTMLButtonElement).disabled = !paused;
    part("live").textContent = this.live ? "Live" : "Last";
    part("peak").ariaLive = paused ? "polite" : "off"; // else it speaks with each frame
    const badge = part("badge");
    badge.dataset.mode = paused ? "paused" : this.live ? "live" : "ended";
    const newest = header?.provisional ? "provisional" : "newest";
    const last = number !== null && number < this.last ? "last picture" : "last frame";
    badge.textContent = paused ? "paused" : this.live ? newest : last;
    badge.title = header?.provisional ? "Its peaks as they were found: they are not on disk yet" : "";
    const at = header && `frame ${whole(number ?? header.frame)} of ${whole(this.last + 1)}`;
    part("moment").textContent = header ? joined(at, series.words(number), moment(header.time_ns / 1e9)) : "–";
    this.stack.value = this.view.get("stack") ?? "";
    if (header?.stack) {
      badge.textContent = STACKS[header.stack];
      part("moment").textContent = `of ${whole(header.frame)} ${header.frame === 1 ? "frame" : "frames"}`;
    }
    part("moment").title = header && series.several ? header.series : "";
  }
}

/** @param {...(string | null)} words */
function joined(...words) {
  return words.filter(Boolean).join(" · ");
}
