// A mask that is drawn on the image, and saved as a file that a run takes.

import { part } from "../dom.js";
import { Mask } from "../image/mask.js";
import { whole } from "../numbers.js";
import { hand } from "./saving.js";

/** @import { Send } from "../link/types" */
/** @import { Image } from "./image.js" */
/** @import { Shape } from "../image/shapes.js" */

const FILE = "mask.npy";
const MASKED = 1 | 2 | 4; // marks of pixels that a run does not use now

export class Masking {
  /**
   * @param {Image} image
   * @param {Send} send
   * @param {() => void} onchange
   */
  constructor(image, send, onchange) {
    this.image = image;
    this.mask = new Mask(image);
    this.onchange = onchange;
    this.erase = part("erase", HTMLInputElement);
    /** @type {Record<string, () => void>} */
    const clicks = {
      "mask-run": () => image.header && send({ type: "mask", series: image.header.series, frame: image.header.frame }),
      "mask-undo": () => this.mask.undo(),
      "mask-clear": () => this.mask.clear(),
      "mask-save": () => hand(FILE, this.mask.file()),
    };
    for (const [name, act] of Object.entries(clicks))
      part(name).addEventListener("click", () => {
        act();
        this.changed();
      });
    this.changed();
  }

  /** @param {Shape} shape */
  fill(shape) {
    this.mask.fill(shape, !this.erase.checked);
    this.changed();
  }

  /**
   * Take in what is masked now.
   *
   * @param {{ why: string }} header
   * @param {{ marks: Uint8Array }} arrays
   */
  update({ why }, { marks }) {
    this.mask.add(marks, MASKED);
    this.changed();
    if (why) part("mask-words").textContent = why;
  }

  changed() {
    const { count, changes } = this.mask;
    part("mask-undo", HTMLButtonElement).disabled = !changes.length;
    part("mask-clear", HTMLButtonElement).disabled = part("mask-save", HTMLButtonElement).disabled = !count;
    part("mask-words").textContent = count
      ? `${whole(count)} ${count === 1 ? "pixel" : "pixels"} masked. Save it, then run with --set detect.mask=${FILE}`
      : "Nothing is masked here yet";
    this.onchange();
  }
}
