// Shapes on the detector and the pixels in them. A pixel is in a shape if its centre is.

/** @import { Place } from "../link/types" */

/** @typedef {"rectangle" | "disc" | "polygon" | "pixel"} Kind */
/** @typedef {{ kind: Kind, places: Place[] }} Shape a disc has its centre and a place on its edge */
/** @typedef {[row: number, from: number, to: number]} Span of columns, one behind the last included */

/** How the numbers of a shape are typed. */
export const FORMS = {
  rectangle: "row column rows columns",
  disc: "row column radius",
  polygon: "row column, row column, row column, …",
  pixel: "row column",
};

/**
 * The shape that was typed; a string that says what is wrong.
 *
 * @param {Kind} kind
 * @param {string} text
 * @returns {Shape | string}
 */
export function read(kind, text) {
  const numbers = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  const [row, col, size, more] = numbers;
  const count = { rectangle: 4, disc: 3, polygon: Math.max(6, numbers.length + (numbers.length % 2)), pixel: 2 }[kind];
  if (numbers.length !== count || !numbers.every(Number.isFinite)) return `Give numbers: ${FORMS[kind]}`;
  if (kind === "rectangle") {
    if (size < 1 || more < 1) return "A rectangle has one row and one column at least";
    return { kind, places: [[row, col], [row + size - 1, col + more - 1]] };
  }
  if (kind === "disc") return { kind, places: [[row, col], [row, col + size]] };
  /** @type {Place[]} */
  const places = [];
  for (let i = 0; i < numbers.length; i += 2) places.push([numbers[i], numbers[i + 1]]);
  return { kind, places };
}

/**
 * Rows and columns of a rectangle, whole pixels, as far as the detector goes.
 *
 * @param {Shape} shape
 * @param {Place} size
 */
export function box({ places: [one, other] }, size) {
  const [rows, cols] = [0, 1].map((axis) => {
    const [low, high] = [one[axis], other[axis]].sort((a, b) => a - b).map(Math.round);
    const from = Math.min(Math.max(low, 0), size[axis] - 1);
    return [from, Math.min(Math.max(high, from), size[axis] - 1) + 1];
  });
  return { row: rows[0], col: cols[0], rows: rows[1] - rows[0], cols: cols[1] - cols[0] };
}

/**
 * The pixels in a shape.
 *
 * @param {Shape} shape
 * @param {Place} size rows and columns of the detector
 * @returns {Span[]}
 */
export function spans(shape, size) {
  const { kind, places } = shape;
  if (kind === "polygon") return inside(places, size);
  const [centre, edge] = places;
  if (kind === "disc") {
    const radius = Math.hypot(edge[0] - centre[0], edge[1] - centre[1]);
    return rowsOf(centre[0] - radius, centre[0] + radius, size).flatMap((row) => {
      const half = Math.sqrt(Math.max(0, radius ** 2 - (row - centre[0]) ** 2));
      return clipped(row, centre[1] - half, centre[1] + half, size);
    });
  }
  const { row, col, rows, cols } = box(kind === "pixel" ? { kind, places: [centre, centre] } : shape, size);
  if (kind === "pixel" && (Math.round(centre[0]) !== row || Math.round(centre[1]) !== col)) return [];
  return Array.from({ length: rows }, (_, i) => [row + i, col, col + cols]);
}

/**
 * Between the edges of a polygon, row by row.
 *
 * @param {Place[]} places
 * @param {Place} size
 */
function inside(places, size) {
  const ends = places.map(([row]) => row);
  return rowsOf(Math.min(...ends), Math.max(...ends), size).flatMap((row) => {
    const crossings = [];
    for (const [i, [r1, c1]] of places.entries()) {
      const [r2, c2] = places[(i + 1) % places.length];
      if (r1 <= row !== r2 <= row) crossings.push(c1 + ((row - r1) / (r2 - r1)) * (c2 - c1));
    }
    crossings.sort((a, b) => a - b);
    /** @type {Span[]} */
    const found = [];
    for (let i = 0; i + 1 < crossings.length; i += 2) found.push(...clipped(row, crossings[i], crossings[i + 1], size));
    return found;
  });
}

/**
 * @param {number} from
 * @param {number} to
 * @param {Place} size
 */
function rowsOf(from, to, [rows]) {
  const [first, last] = [Math.max(Math.ceil(from), 0), Math.min(Math.floor(to), rows - 1)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}

/**
 * @param {number} row
 * @param {number} from
 * @param {number} to
 * @param {Place} size
 * @returns {Span[]}
 */
function clipped(row, from, to, [, cols]) {
  const [first, stop] = [Math.max(Math.ceil(from), 0), Math.min(Math.floor(to) + 1, cols)];
  return stop > first ? [[row, first, stop]] : [];
}
