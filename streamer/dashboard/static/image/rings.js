// Rings of chosen spacings and of the lattice, and the place of the direct beam.

import { part } from "../dom.js";
import { fixed } from "../numbers.js";

/** @import { Place } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Image } from "../panels/image.js" */
/** @import { Geometry } from "./geometry.js" */

/** @typedef {{ d: number, words: string, lines: Place[][] }} Ring */

const ARM_PX = 11; // of the cross at the beam
const COLOUR = "#ffe45c";

export class Rings {
  /**
   * @param {Image} image
   * @param {View} view
   * @param {Geometry} geometry
   */
  constructor(image, view, geometry) {
    this.image = image;
    this.view = view;
    this.geometry = geometry;
    /** @type {Ring[]} */
    this.rings = [];
    this.input = part("rings", HTMLInputElement);
    this.lattice = part("lattice", HTMLInputElement);
    this.beam = part("beam", HTMLInputElement);
    this.input.addEventListener("change", () => view.set({ rings: this.input.value.trim() || null }));
    this.lattice.addEventListener("change", () => view.set({ lattice: this.lattice.checked }));
    this.beam.addEventListener("change", () => view.set({ beam: this.beam.checked }));
    this.settle();
  }

  /** Follow what the user chose and what is known. */
  settle() {
    const { geometry, view, input } = this;
    const knows = geometry.place !== null && geometry.place.wavelength_a !== null;
    input.disabled = !knows;
    if (document.activeElement !== input) input.value = view.get("rings") ?? "";
    [this.lattice.checked, this.beam.checked] = [view.get("lattice"), view.get("beam")];
    this.lattice.disabled = !(knows && geometry.rings.length);
    this.beam.disabled = geometry.beam === null;
    const wrong = spacings(view.get("rings")).some((d) => !(d > 0));
    input.ariaInvalid = String(wrong);
    part("rings-words").textContent = wrong
      ? "Spacings are numbers in Å, such as 2.34 2.03"
      : geometry.place === null
        ? "No rings: the place of the detector is not known (geometry.poni)"
        : knows ? "" : "No rings: the wavelength is not known (geometry.poni)";
    const chosen = spacings(view.get("rings")).filter((d) => d > 0).map((d) => ({ d, words: `${d} Å` }));
    const all = view.get("lattice") ? [...chosen, ...geometry.rings] : chosen;
    this.rings = all.map(({ d, words }) => ({ d, words, lines: geometry.ring(d) }));
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    const { image, geometry } = this;
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const { words, lines } of this.rings) {
      const path = new Path2D();
      for (const line of lines)
        for (const [i, [row, col]] of line.entries()) path[i ? "lineTo" : "moveTo"](image.x(col), image.y(row));
      outlined(context, path);
      const label = lines.flat().find((place) => this.sees(place));
      if (!label) continue;
      context.lineWidth = 3.5;
      context.strokeText(words, image.x(label[1]), image.y(label[0]));
      context.fillStyle = COLOUR;
      context.fillText(words, image.x(label[1]), image.y(label[0]));
    }
    if (!geometry.beam || !this.view.get("beam")) return;
    const [x, y] = [image.x(geometry.beam[1]), image.y(geometry.beam[0])];
    const cross = new Path2D(`M${x - ARM_PX},${y}H${x + ARM_PX}M${x},${y - ARM_PX}V${y + ARM_PX}`);
    cross.arc(x, y, ARM_PX / 2, 0, 2 * Math.PI);
    outlined(context, cross);
  }

  /**
   * Whether a place is well within what is seen.
   *
   * @param {Place} place
   */
  sees([row, col]) {
    const { image } = this;
    const [x, y] = [image.x(col), image.y(row)];
    return x > 30 && y > 12 && x < image.width - 50 && y < image.height - 30;
  }

  /** For the console and for tests. */
  report() {
    const { beam } = this.geometry;
    const words = beam && `beam at row ${fixed(beam[0], 1)}, col ${fixed(beam[1], 1)}`;
    return { rings: this.rings, beamAt: beam, beamWords: words };
  }
}

/** @param {string | null} text */
function spacings(text) {
  return (text ?? "").split(/[\s,;]+/).filter(Boolean).map(Number);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Path2D} path
 */
function outlined(context, path) {
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = "#000000a0";
  context.stroke(path);
  context.lineWidth = 1.2;
  context.strokeStyle = COLOUR;
  context.stroke(path);
  context.strokeStyle = "#000000a0";
}
