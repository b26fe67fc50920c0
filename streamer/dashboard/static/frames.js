// Which frame is shown: the newest as it comes, or one of the run's, paused.

import { moment, whole } from "./numbers.js";

const SEND_MS = 60; // while the slider moves, a frame is asked for no more often

export class Frames {
  constructor(root, view, send) {
    const part = (name) => root.querySelector(`#${name}`);
    Object.assign(this, { view, send, part, last: 0, header: null, live: true });
    this.slider = part("scroll");
    part("pause").addEventListener("click", () => this.toggle());
    part("live").addEventListener("click", () => this.go(null));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    for (const button of root.querySelectorAll("[data-step]"))
      button.addEventListener("click", () => this.step(Number(button.dataset.step)));
    view.onchange((names) => {
      if (names.has("frame") || names.has("series")) this.ask();
    });
  }

  greet(hello) {
    this.live = hello.live;
    this.grow(hello.n_frames);
  }

  /** The run has at least so many frames. */
  grow(count) {
    if (!(count - 1 > this.last)) return;
    this.last = count - 1;
    this.dirty = true;
  }

  update(header) {
    this.header = header;
    this.grow(header.frame + 1);
    this.dirty = true;
  }

  get paused() {
    return this.view.get("frame") !== null;
  }

  go(frame) {
    if (frame !== null && !Number.isFinite(frame)) return;
    const wanted = frame === null ? null : Math.min(Math.max(Math.round(frame), 0), this.last);
    this.view.set({ frame: wanted, series: wanted === null ? null : (this.header?.series ?? null) });
    this.dirty = true;
  }

  toggle() {
    this.go(this.paused ? null : (this.header?.frame ?? this.last));
  }

  step(by) {
    this.go((this.view.get("frame") ?? this.header?.frame ?? this.last) + by);
  }

  ask() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.show();
    }, SEND_MS);
  }

  show() {
    this.send({ type: "show", frame: this.view.get("frame"), series: this.view.get("series") });
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const { header, paused } = this;
    this.slider.max = this.last;
    const shown = this.view.get("frame") ?? header?.frame ?? this.last;
    this.slider.value = shown;
    this.slider.ariaValueText = `frame ${shown} of ${this.last + 1}`;
    this.part("pause").textContent = paused ? "Go on" : "Pause";
    this.part("pause").ariaPressed = String(paused);
    this.part("live").disabled = !paused;
    this.part("live").textContent = this.live ? "Live" : "Last";
    const badge = this.part("badge");
    badge.dataset.mode = paused ? "paused" : this.live ? "live" : "ended";
    badge.textContent = paused ? "paused" : this.live ? "newest" : "last frame";
    this.part("moment").textContent = header
      ? `frame ${whole(header.frame)} of ${whole(this.last + 1)} · ${moment(header.time_ns / 1e9)}`
      : "–";
  }
}
