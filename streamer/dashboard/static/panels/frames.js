// Which frame is shown: the newest as it comes, or one of the run's, paused. Frames are counted
// through the run; the view and the server know each by its series and its number there.

import { moment, whole } from "../numbers.js";

const SEND_MS = 60; // while the slider moves, a frame is asked for no more often

export class Frames {
  constructor(root, view, series, send) {
    const part = (name) => root.querySelector(`#${name}`);
    Object.assign(this, { view, series, send, part, last: 0, header: null, live: true });
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
    this.last = Math.max(hello.n_frames - 1, this.number ?? 0);
    this.dirty = true;
  }

  /** The run has at least so many frames. */
  grow(count) {
    if (!(count - 1 > this.last)) return;
    this.last = count - 1;
    this.dirty = true;
  }

  update(header) {
    this.header = header;
    this.grow(this.number + 1);
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

  /** Show a frame of the run; null the newest. */
  go(number) {
    if (number === null) this.view.set({ frame: null, series: null });
    else if (Number.isFinite(number))
      this.view.set(this.series.locate(Math.min(Math.max(Math.round(number), 0), this.last)));
    this.dirty = true;
  }

  toggle() {
    this.go(this.paused ? null : this.current);
  }

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
    this.send({ type: "show", frame: this.view.get("frame"), series: this.view.get("series") });
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const { header, paused, current, number, series } = this;
    this.slider.max = this.last;
    this.slider.value = current;
    this.slider.ariaValueText = joined(`frame ${current} of ${this.last + 1}`, series.words(current));
    this.part("pause").textContent = paused ? "Go on" : "Pause";
    this.part("pause").ariaPressed = String(paused);
    this.part("live").disabled = !paused;
    this.part("live").textContent = this.live ? "Live" : "Last";
    const badge = this.part("badge");
    badge.dataset.mode = paused ? "paused" : this.live ? "live" : "ended";
    badge.textContent = paused ? "paused" : this.live ? "newest" : "last frame";
    const at = header && `frame ${whole(number ?? header.frame)} of ${whole(this.last + 1)}`;
    this.part("moment").textContent = at ? joined(at, series.words(number), moment(header.time_ns / 1e9)) : "–";
    this.part("moment").title = header && series.several ? header.series : "";
  }
}

function joined(...words) {
  return words.filter(Boolean).join(" · ");
}
