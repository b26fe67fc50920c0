// Figures on their way to files: as PNG or SVG, in the resolution of the detector.

import { hand } from "../panels/saving.js";
import { captionOf, draw, layout } from "./image.js";
import { CanvasPen, SvgPen } from "./pens.js";
import * as plot from "./plot.js";

/** @import { RegionArrays, WholeHeader, Send } from "../link/types" */
/** @import { Detector } from "../panels/detector.js" */
/** @import { Drift } from "../panels/drift.js" */
/** @import { Image } from "../panels/image.js" */
/** @import { Peaks } from "../panels/peaks.js" */
/** @import { View } from "../view.js" */

/** @typedef {"png" | "svg"} Form */

/** @param {Form} form @param {number} width @param {number} height */
const penOf = (form, width, height) => (form === "svg" ? new SvgPen(width, height) : new CanvasPen(width, height));

export class Figures {
  /**
   * @param {Detector} detector
   * @param {Image} image
   * @param {Peaks} peaks
   * @param {View} view
   * @param {Send} send
   * @param {(text: string) => void} problem
   */
  constructor(detector, image, peaks, view, send, problem) {
    this.detector = detector;
    this.image = image;
    this.peaks = peaks;
    this.view = view;
    this.send = send;
    this.problem = problem;
    /** @type {{ form: Form, name: string, title: string } | null} */
    this.wanted = null;
    detector.onwhole = (header, arrays) => this.take(header, arrays);
  }

  /**
   * Save the frame that is shown, once all its pixels are here.
   *
   * @param {Form} form
   * @param {string} name of the file, without what the form adds
   * @param {string} title
   */
  saveImage(form, name, title) {
    const { header } = this.image;
    if (!header) return;
    this.wanted = { form, name, title };
    this.send({ type: "whole", series: header.series, frame: header.frame });
  }

  /**
   * @param {WholeHeader} header
   * @param {RegionArrays} arrays
   */
  async take(header, arrays) {
    const { wanted, image, detector, view } = this;
    this.wanted = null;
    if (!wanted) return;
    if (header.why || !image.header) {
      this.problem(`The image cannot be saved: ${header.why || "there is none"}`);
      return;
    }
    // The run may have gone on: peaks are those of the frame whose pixels came, or none.
    const isSame = image.header.series === header.series && image.header.frame === header.frame;
    const scene = {
      image,
      header,
      arrays,
      peaks: isSame && view.get("peaks") ? this.peaks.arrays : null,
      rings: detector.rings.rings,
      beam: view.get("beam") ? detector.geometry.beam : null,
      title: wanted.title,
      caption: captionOf(isSame ? image.header : { ...image.header, time_ns: 0 }, image, header.thresholds),
      colours: view.get("colours"),
    };
    const { width, height } = layout(scene);
    const pen = penOf(wanted.form, width, height);
    draw(pen, scene);
    const blob = await pen.blob();
    if (blob) hand(`${wanted.name}.${wanted.form}`, blob);
    else this.problem("The image cannot be saved: it is too large for this browser");
  }

  /**
   * Save the curves.
   *
   * @param {Form} form
   * @param {Drift} drift
   * @param {string} name
   * @param {string} title
   */
  async savePlot(form, drift, name, title) {
    const pen = penOf(form, plot.WIDTH, plot.HEIGHT);
    plot.draw(pen, drift, title);
    const blob = await pen.blob();
    if (blob) hand(`${name}.${form}`, blob);
  }
}
