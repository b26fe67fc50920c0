// What is plotted, as files: CSV with units and errors, PNG as it is seen.

import { pen } from "../dom.js";

/** @import { Drift } from "./drift.js" */
/** @import { Image } from "./image.js" */
/** @import { Peaks } from "./peaks.js" */
/** @import { Series } from "./series.js" */

// A float32 is given back exactly by nine digits.
/** @param {number} [value] */
const single = (value = NaN) => (Number.isFinite(value) ? String(Number(value.toPrecision(9))) : "");

/** @param {string} text */
const cited = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/**
 * The plotted lines, one row a point, with what the cell did at that moment.
 *
 * @param {Drift} drift
 * @param {Series} series
 */
export function csv(drift, series) {
  const tail = drift.unit && drift.unit !== "1" ? `_${drift.unit}` : "";
  const time = drift.x === "time";
  const places = series.several ? ["run_frame", "series", "frame"] : ["frame"];
  const head = ["track", ...(time ? ["time_utc", "time_unix_s"] : places)];
  head.push(`${drift.quantity}${tail}`, `${drift.quantity}_sigma${tail}`);
  if (drift.cell.known) head.push("cell_voltage_v", "cell_current_a", "half_cycle");
  const rows = [head.join(",")];
  for (const { track, x, y, sigma } of drift.chosen) {
    for (let i = 0; i < x.length; i += 1) {
      const row = [drift.name(track), ...(time ? [new Date(x[i] * 1000).toISOString(), x[i]] : [x[i]])];
      if (!time && series.several) {
        const { series: name, frame } = series.locate(x[i]);
        row.push(cited(name ?? ""), frame);
      }
      row.push(single(y[i]), single(sigma[i]));
      if (drift.cell.known) {
        const cell = drift.cell.at(x[i], drift.x);
        row.push(single(cell?.voltage), single(cell?.current), cell?.words ?? "");
      }
      rows.push(row.join(","));
    }
  }
  return `${rows.join("\n")}\n`;
}

/**
 * The drift plot on its background, with the run's name and the lines' numbers above it.
 *
 * @param {Drift} drift
 * @param {string} title
 */
export function driftCanvas(drift, title) {
  if (!drift.plot) return null;
  const source = drift.plot.ctx.canvas;
  const ratio = devicePixelRatio || 1;
  const [canvas, context] = blank(source.width, source.height + 34 * ratio);
  context.fillStyle = drift.palette.ink;
  context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.fillText(title, 12 * ratio, 18 * ratio);
  let right = canvas.width - 12 * ratio;
  context.textAlign = "right";
  for (const { track } of drift.chosen.toReversed()) {
    context.fillStyle = drift.look(track).colour;
    context.fillText(drift.name(track), right, 18 * ratio);
    right -= context.measureText(drift.name(track)).width + 12 * ratio;
  }
  context.drawImage(source, 0, 34 * ratio);
  return canvas;
}

/**
 * The image and its marks.
 *
 * @param {Image} image
 * @param {Peaks} peaks
 */
export function imageCanvas(image, peaks) {
  const [canvas, context] = blank(image.canvas.width, image.canvas.height);
  context.drawImage(image.canvas, 0, 0);
  context.drawImage(peaks.canvas, 0, 0);
  return canvas;
}

/**
 * Hand a file to the user; nothing where there is nothing to save.
 *
 * @param {string} name
 * @param {string | HTMLCanvasElement | null} content
 */
export function save(name, content) {
  if (typeof content === "string") hand(name, new Blob([content], { type: "text/csv" }));
  else content?.toBlob((blob) => blob && hand(name, blob), "image/png");
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {[HTMLCanvasElement, CanvasRenderingContext2D]}
 */
function blank(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = pen(canvas);
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
  context.fillRect(0, 0, width, height);
  return [canvas, context];
}

/**
 * @param {string} name
 * @param {Blob} blob
 */
export function hand(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
