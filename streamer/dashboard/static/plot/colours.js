// Colours: maps for counts, lines that the colour-blind can tell apart, kinds of peaks.

/** @import { Theme } from "../link/types" */

// Support points, evenly spaced from low to high; between them colours are interpolated.
/** @type {Record<string, string>} */
const MAPS = {
  viridis:
    "440154 482173 433e85 38598c 2d708e 25858e 1e9b8a 2ab07f 52c569 86d549 c2df23 fde725",
  magma: "000004 120d31 331067 59157e 7e2482 a3307e c83e73 e95462 f97b5d fea973 fed395 fcfdbf",
  grey: "000000 ffffff",
  "grey, inverted": "ffffff 000000",
};
export const MAP_NAMES = Object.keys(MAPS);

/** Colour of pixels that are masked: in no map. */
export const MASKED = { dark: "#2c3d4f", light: "#b9c7d6" };

const LINES = {
  dark: ["#56b4e9", "#f0a330", "#2fc796", "#f2e66b", "#f07f4f", "#e291c0", "#8f9bff", "#ccdedb"],
  light: ["#0072b2", "#c58100", "#00805c", "#6a106d", "#af3e1a", "#5a4fcf", "#3693a8", "#23373b"],
};
const DASHES = [[], [7, 4], [2, 3]];

/**
 * Colour and dashes of the line in a slot: colours first, then again dashed.
 *
 * @param {number} slot
 * @param {Theme} theme
 */
export function lineStyle(slot, theme) {
  const lines = LINES[theme];
  const round = Math.floor(slot / lines.length) % DASHES.length;
  return { colour: lines[slot % lines.length], dash: DASHES[round] };
}

/** Kinds of peaks: flags that they carry, the words, a colour and a shape. The first that fits. */
export const KINDS = [
  { bits: 8, words: "saturated", colour: "#ff5fa2", shape: "diamond" },
  { bits: 16 | 32, words: "doubtful position", colour: "#ff9d3c", shape: "circle" },
  { bits: 1 | 2, words: "edge or mask", colour: "#7fd4ff", shape: "square" },
  { bits: 4, words: "another peak near", colour: "#ffe45c", shape: "cross" },
  { bits: 0, words: "clean", colour: "#ffffff", shape: "plus" },
];

/** @param {number} flags */
export function kindOf(flags) {
  return KINDS.findIndex((kind) => kind.bits === 0 || flags & kind.bits);
}

/**
 * Return [r, g, b] of a colour map at a place from 0 to 1.
 *
 * @param {string} name
 * @param {number} place
 */
export function sample(name, place) {
  const stops = (MAPS[name] ?? MAPS.viridis).split(" ");
  const at = Math.min(Math.max(place, 0), 1) * (stops.length - 1);
  const left = Math.min(Math.floor(at), stops.length - 2);
  const [one, two] = [rgb(stops[left]), rgb(stops[left + 1])];
  return one.map((value, channel) => Math.round(value + (two[channel] - value) * (at - left)));
}

/**
 * Fill the table that turns levels 0..255 into pixels: 0 is masked, the levels from `low` to `high`
 * span the colour map.
 * @param {Uint32Array} table
 * @param {string} name
 * @param {number} low
 * @param {number} high
 * @param {Theme} theme
 */
export function fillTable(table, name, low, high, theme) {
  const span = Math.max(high - low, 1e-6);
  for (let level = 1; level < 256; level += 1)
    table[level] = packed(sample(name, (level - low) / span));
  table[0] = packed(rgb(MASKED[theme].slice(1)));
}

// ImageData holds bytes r, g, b, a: as a word on the little-endian machines that browsers run on.
/** @param {number[]} colour */
function packed([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** @param {string} hex */
function rgb(hex) {
  const value = parseInt(hex, 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
