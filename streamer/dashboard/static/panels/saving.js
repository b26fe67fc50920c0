// What is plotted, as CSV with units and errors; and how files reach the user.

/** @import { Drift } from "./drift.js" */
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
 * Hand a file to the user.
 *
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
