// What keys do to the plot that has the focus.

/** @import { Drift } from "../panels/drift.js" */

const KEY_STEP = 0.01; // of the plot's width

/**
 * @param {Drift} drift
 * @param {KeyboardEvent} event
 */
export function press(drift, event) {
  if (event.target !== drift.host || event.ctrlKey || event.metaKey) return;
  const [from, to] = drift.range;
  const middle = drift.cursor ?? (from + to) / 2;
  /** @param {number} factor */
  const zoom = (factor) => drift.onselect(middle + (from - middle) * factor, middle + (to - middle) * factor);
  const step = (to - from) * KEY_STEP * (event.shiftKey ? 10 : 1);
  if (event.key === "ArrowLeft") drift.move(Math.max(middle - step, from));
  else if (event.key === "ArrowRight") drift.move(Math.min(middle + step, to));
  else if (event.key === "Enter") drift.onshow(middle);
  else if (event.key === "+" || event.key === "=") zoom(0.5);
  else if (event.key === "-") zoom(2);
  else if (event.key === "0" || event.key === "Escape") drift.onselect(null, null);
  else return;
  event.preventDefault();
}
