// What stands over and around the image: pixels in full resolution, the cursor, rings, colour bar.

import { Bar } from "../image/bar.js";
import { Cursor } from "../image/cursor.js";
import { Geometry } from "../image/geometry.js";
import { Overlay } from "../image/overlay.js";
import { Region } from "../image/region.js";
import { Rings } from "../image/rings.js";
import { Tools } from "../image/tools.js";
import { Masking } from "./masking.js";
import { Roi } from "./roi.js";

/** @import { GeometryHeader, Place, PointHeader, RegionArrays, RegionHeader, Send, Theme, WholeHeader } from "../link/types" */
/** @import { View } from "../view.js" */
/** @import { Image } from "./image.js" */
/** @import { Layer } from "../image/overlay.js" */
/** @import { Series } from "./series.js" */
/** @import { Pointers } from "../image/pointers.js" */

export class Detector {
  /**
   * @param {object} page
   * @param {View} page.view
   * @param {Image} page.image
   * @param {Pointers} page.pointers
   * @param {Series} page.series
   * @param {() => Theme} page.theme
   * @param {Send} page.send
   * @param {() => void} page.schedule
   */
  constructor({ view, image, pointers, series, theme, send, schedule }) {
    this.image = image;
    this.section = image.section;
    this.schedule = schedule;
    this.geometry = new Geometry();
    this.region = new Region(image, view, send);
    image.region = this.region;
    this.region.onready = schedule;
    this.rings = new Rings(image, view, this.geometry);
    this.cursor = new Cursor(image, this.region, this.geometry, send);
    this.bar = new Bar(image, view);
    const redraw = () => {
      this.dirty = true;
      schedule();
    };
    this.masking = new Masking(image, send, redraw);
    this.roi = new Roi(image, view, series, theme, send);
    this.tools = new Tools(image, pointers, (tool, shape) => {
      if (tool === "roi") this.roi.set(shape);
      else this.masking.fill(shape);
    }, redraw);
    /** @type {Layer[]} from below to above */
    this.layers = [this.masking.mask, this.rings, this.roi, this.tools, this.cursor];
    this.overlay = new Overlay(image, "overlay");
    this.follows = ["zoom", "row", "col", "rings", "lattice", "beam", "roi", "theme"];
    pointers.onstep = (down, right) => {
      this.cursor.step(down, right);
      redraw();
    };
    /** @type {(header: WholeHeader, arrays: RegionArrays) => void} */
    this.onwhole = () => {};
    /** @type {Record<string, (header: any, arrays: any) => void>} */
    this.receivers = {
      hello: () => {
        this.region.renew();
        if (this.roi.rectangle) this.roi.ask();
      },
      /** @type {(header: WholeHeader, arrays: RegionArrays) => void} */
      whole: (header, arrays) => this.onwhole(header, arrays),
      /** @type {Roi["update"]} */
      roi: (header, arrays) => this.roi.update(header, arrays),
      /** @param {GeometryHeader} header */
      geometry: (header) => {
        this.geometry.update(header);
        this.dirty = true;
      },
      /** @type {(header: RegionHeader, arrays: RegionArrays) => void} */
      region: (header, arrays) => this.region.update(header, arrays),
      /** @type {Masking["update"]} */
      mask: (header, arrays) => this.masking.update(header, arrays),
      /** @param {PointHeader} header */
      point: (header) => this.cursor.update(header),
    };
    view.onchange((names) => {
      if (["rings", "lattice", "beam"].some((name) => names.has(name))) this.dirty = true;
    });
    this.dirty = true;
    this.moved = false; // by keys
  }

  /** @param {Place | null} place under the pointer */
  point(place) {
    if (this.cursor.byKeys) this.moved = true;
    this.cursor.point(place);
  }

  /** @param {Place | null} place */
  pointAt = (place) => {
    this.point(place);
    this.schedule();
  };

  draw() {
    if (this.dirty) {
      this.rings.settle();
      this.region.ask();
    }
    this.overlay.draw(this.dirty || this.moved, (context) => {
      for (const layer of this.layers) layer.paint(context);
    });
    this.dirty = this.moved = false;
    this.cursor.draw();
    this.bar.draw();
  }

  /** For the console and for tests. */
  report() {
    const { header } = this.region;
    return {
      cursor: this.cursor.report(),
      region: header && { ...header, size: this.region.size, shown: this.region.isOf(this.image.header) },
      /** @param {Place} pixel */
      read: (pixel) => this.region.read(pixel),
      point: this.pointAt,
      roiSeries: this.roi.report(),
      masked: this.masking.mask.count,
      ...this.rings.report(),
    };
  }
}
