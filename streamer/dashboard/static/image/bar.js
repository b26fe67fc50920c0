// The colour bar, with numbers.

import { part, pen } from "../dom.js";
import { counts } from "../numbers.js";
import { sample } from "../plot/colours.js";

/** @import { View } from "../view.js" */
/** @import { Image } from "../panels/image.js" */

const ENOUGH = 5;
const APART = 0.09; // of the bar, from number to number at least
const LAST = 0.18; // and from the one before the last, which stands wholly to the left of its place

export class Bar {
  /**
   * @param {Image} image
   * @param {View} view
   */
  constructor(image, view) {
    this.image = image;
    this.view = view;
    this.element = part("bar");
    this.context = pen(part("ramp", HTMLCanvasElement));
    this.key = "";
  }

  draw() {
    const { image, view } = this;
    const ticks = ticksOf(image);
    const key = `${view.get("colours")} ${ticks.map(({ at, words }) => `${at.toFixed(4)} ${words}`)}`;
    if (key === this.key) return;
    this.key = key;
    for (let i = 0; i < 256; i += 1) {
      this.context.fillStyle = `rgb(${sample(view.get("colours"), i / 255)})`;
      this.context.fillRect(i, 0, 1, 1);
    }
    const ends = [ticks[0], ticks[ticks.length - 1]];
    this.element.ariaLabel = ticks.length
      ? `Colours from ${ends[0].words} to ${ends[1].words} counts, logarithmic`
      : "Colours of counts";
    part("bar-numbers").replaceChildren(
      ...ticks.map(({ at, words }) => {
        const tick = document.createElement("span");
        tick.style.left = `${100 * at}%`;
        tick.textContent = words;
        return tick;
      }),
    );
  }
}

/**
 * Where numbers stand along the colours, from 0 to 1, and what they say: both ends and round numbers.
 *
 * @param {Image} image
 */
export function ticksOf(image) {
  if (!image.header) return [];
  const [low, high] = image.levels;
  const [first, last] = [image.counts(low), image.counts(high)];
  /** @param {number} value */
  const place = (value) => (image.level(value) - low) / Math.max(high - low, 1e-6);
  /** @param {number[]} digits */
  const ticks = (digits) => {
    const found = [{ at: 0, value: first, words: counts(first) }];
    for (let decade = -3; decade < 10; decade += 1)
      for (const digit of digits) {
        const value = Number((digit * 10 ** decade).toPrecision(2));
        const at = place(value);
        if (value > first && at < 1 - LAST && at - found[found.length - 1].at > APART)
          found.push({ at, value, words: value < 1 ? String(value) : counts(value) });
      }
    return [...found, { at: 1, value: last, words: counts(last) }];
  };
  const few = ticks([1, 2, 5]);
  return few.length < ENOUGH ? ticks([1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]) : few;
}
