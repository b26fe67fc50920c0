// What is drawn over the image and below the marks of peaks: layers, one over the other.

import { part, pen } from "../dom.js";

/** @import { Image } from "../panels/image.js" */

/**
 * @typedef {object} Layer
 * @property {(context: CanvasRenderingContext2D) => void} paint in CSS pixels of the image
 */

export class Overlay {
  /**
   * @param {Image} image
   * @param {Layer[]} layers
   */
  constructor(image, layers) {
    this.image = image;
    this.layers = layers;
    this.canvas = part("overlay", HTMLCanvasElement);
    this.context = pen(this.canvas);
    this.dirty = true;
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const { canvas, context, image } = this;
    if (canvas.width !== image.canvas.width || canvas.height !== image.canvas.height)
      [canvas.width, canvas.height] = [image.canvas.width, image.canvas.height];
    context.setTransform(image.ratio, 0, 0, image.ratio, 0, 0);
    context.clearRect(0, 0, image.width, image.height);
    for (const layer of this.layers) layer.paint(context);
  }
}
