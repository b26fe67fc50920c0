// A canvas over the image and below the marks of peaks, drawn anew when the image moves.

import { part, pen } from "../dom.js";

/** @import { Image } from "../panels/image.js" */

/**
 * @typedef {object} Layer
 * @property {(context: CanvasRenderingContext2D) => void} paint in CSS pixels of the image
 */

export class Overlay {
  /**
   * @param {Image} image
   * @param {string} name of the canvas
   */
  constructor(image, name) {
    this.image = image;
    this.canvas = document.createElement("canvas");
    this.canvas.id = name;
    this.canvas.className = "overlay";
    this.canvas.setAttribute("aria-hidden", "true");
    part("pixels").after(this.canvas);
    this.context = pen(this.canvas);
    this.drawn = ""; // what it was drawn for
  }

  /**
   * Draw if anything has changed; in CSS pixels of the image.
   *
   * @param {boolean} dirty
   * @param {(context: CanvasRenderingContext2D) => void} act
   */
  draw(dirty, act) {
    const { image, canvas, context } = this;
    const { width, height } = image.canvas;
    const key = `${width} ${height} ${image.scale} ${image.centre}`;
    if (!dirty && key === this.drawn) return;
    this.drawn = key;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    context.setTransform(image.ratio, 0, 0, image.ratio, 0, 0);
    context.clearRect(0, 0, image.width, image.height);
    act(context);
  }
}
