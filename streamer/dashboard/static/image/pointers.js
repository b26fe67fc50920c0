// Pointers, wheel and keys over the image: what they do to the view, and who else hears of them.

import { around, part } from "../dom.js";

/** @import { Place } from "../link/types" */
/** @import { Image } from "../panels/image.js" */

/** @typedef {{ at: Place, start: Place, moved?: boolean }} Pointer */

/**
 * What takes pointers in place of moving the view, in [row, col] of the detector.
 *
 * @typedef {object} Tool
 * @property {(place: Place) => void} press
 * @property {(place: Place) => void} drag
 * @property {(place: Place) => void} release
 */

const MOVE_SHARE = 0.1; // of what is seen, for an arrow key
const CLICK_PX = 4; // a pointer that moved less was meant to stay
/** @type {Record<string, Place>} */
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Pointers {
  /** @param {Image} image */
  constructor(image) {
    this.image = image;
    /** @type {Map<number, Pointer>} */
    this.pointers = new Map();
    /** @type {Tool | null} */
    this.tool = null;
    /** @type {(x: number, y: number) => void} */
    this.onclick = () => {};
    /** @type {(x: number | null, y: number | null) => void} */
    this.onpoint = () => {};
    /** @type {(down: number, right: number) => void} so many pixels, by keys */
    this.onstep = () => {};
    this.listen();
  }

  /** @param {MouseEvent} event @returns {Place} */
  place(event) {
    const box = this.image.host.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  listen() {
    const { image, pointers } = this;
    const { host } = image;
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      image.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...this.place(event));
    }, { passive: false });
    host.addEventListener("pointerdown", (event) => {
      if (around(event, "button") || event.button) return;
      pointers.set(event.pointerId, { at: this.place(event), start: this.place(event) });
      if (this.drawing) {
        host.setPointerCapture(event.pointerId);
        this.tool?.press(image.at(...this.place(event)));
      }
    });
    host.addEventListener("pointermove", (event) => this.drag(event.pointerId, this.place(event)));
    host.addEventListener("pointerup", (event) => {
      const pointer = pointers.get(event.pointerId);
      if (pointer && this.drawing) this.tool?.release(image.at(...this.place(event)));
      else if (pointer && !pointer.moved) this.onclick(...this.place(event));
      pointers.delete(event.pointerId);
    });
    host.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    host.addEventListener("pointerleave", () => this.onpoint(null, null));
    host.addEventListener("dblclick", (event) => this.tool || around(event, "button") || image.move(0, 0, 1));
    host.addEventListener("keydown", (event) => this.key(event));
    part("zooms").addEventListener("click", (event) => {
      const what = around(event, "button")?.dataset.zoom;
      if (what === "all") image.move(0, 0, 1);
      else if (what) image.zoom(what === "in" ? 1.5 : 1 / 1.5);
    });
  }

  /** Whether pointers draw: two of them always move and zoom. */
  get drawing() {
    return this.tool !== null && this.pointers.size === 1;
  }

  /**
   * Draw, move or zoom with a pointer that is down; else say where it points.
   *
   * @param {number} id
   * @param {Place} place
   */
  drag(id, [x, y]) {
    const { image, pointers } = this;
    const pointer = pointers.get(id);
    if (!pointer || this.drawing) this.onpoint(x, y);
    if (!pointer) return;
    if (this.drawing) {
      pointer.at = [x, y];
      this.tool?.drag(image.at(x, y));
      return;
    }
    const [oldX, oldY] = pointer.at;
    const stayed = Math.hypot(x - pointer.start[0], y - pointer.start[1]) < CLICK_PX;
    if (stayed && !pointer.moved) return;
    if (!pointer.moved) image.host.setPointerCapture(id);
    pointer.moved = true;
    pointer.at = [x, y];
    if (pointers.size === 1) {
      const [row, col] = image.centre;
      image.move(row - (y - oldY) / image.scale, col - (x - oldX) / image.scale);
      return;
    }
    const [other] = [...pointers].filter(([one]) => one !== id).map(([, p]) => p.at);
    const before = Math.hypot(oldX - other[0], oldY - other[1]);
    image.zoom(Math.hypot(x - other[0], y - other[1]) / Math.max(before, 1), ...other);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { image } = this;
    const step = (MOVE_SHARE * Math.min(image.width, image.height)) / image.scale;
    if (event.target !== image.host || event.ctrlKey || event.metaKey) return;
    if (event.key in ARROWS) {
      const [down, right] = ARROWS[event.key];
      if (event.shiftKey) this.onstep(down, right);
      else image.move(image.centre[0] + down * step, image.centre[1] + right * step);
    } else if (event.key === "+" || event.key === "=") image.zoom(1.5);
    else if (event.key === "-") image.zoom(1 / 1.5);
    else if (event.key === "0") image.move(0, 0, 1);
    else return;
    event.preventDefault();
  }
}
