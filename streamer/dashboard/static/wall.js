// The page as a picture on a wall: what is to be seen fills the screen, and there is nothing to press.

/** @import { View } from "./view.js" */

const DRAWN_FOR_PX = 1920; // a screen that is wider is looked at from farther away

let scale = 1;

/** How much larger than on a desk all is drawn. */
export const enlarged = () => scale;

/**
 * Fill the screen, where the view says so.
 *
 * @param {View} view
 * @param {() => void} onchange called when the screen has another size
 */
export function hang(view, onchange) {
  if (!view.get("wall")) return;
  const root = document.documentElement;
  const fit = () => {
    scale = Math.max(1, root.clientWidth / DRAWN_FOR_PX);
    root.style.setProperty("--scale", String(scale));
    onchange();
  };
  root.dataset.wall = "";
  addEventListener("resize", fit);
  fit();
}
