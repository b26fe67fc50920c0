// What figures are drawn with: the same strokes and words onto a canvas or into an SVG document.

import { pen } from "../dom.js";

/** @typedef {[x: number, y: number]} Point */
/** @typedef {{ size: number, colour: string, align?: "left" | "center" | "right", weight?: number, turned?: boolean }} Look of words */

/**
 * @typedef {object} Pen
 * @property {number} width
 * @property {number} height
 * @property {(x: number, y: number, width: number, height: number, colour: string) => void} box filled
 * @property {(points: Point[], colour: string, width: number, dash?: number[]) => void} line
 * @property {(x: number, y: number, radius: number, colour: string, width: number) => void} circle
 * @property {(words: string, x: number, y: number, look: Look) => void} words around the middle of their height
 * @property {(canvas: HTMLCanvasElement, x: number, y: number, width: number, height: number) => void} picture
 * @property {(x: number, y: number, width: number, height: number) => void} clip what follows, until `unclip`
 * @property {() => void} unclip
 * @property {() => Promise<Blob | null>} blob the file
 */

const FONT = "system-ui, sans-serif";

/** @implements {Pen} */
export class CanvasPen {
  /**
   * @param {number} width
   * @param {number} height
   */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = [width, height];
    this.context = pen(this.canvas);
    this.context.imageSmoothingEnabled = false;
    this.context.textBaseline = "middle";
    this.context.lineJoin = "round";
  }

  /** @type {Pen["box"]} */
  box(x, y, width, height, colour) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, width, height);
  }

  /** @type {Pen["line"]} */
  line(points, colour, width, dash = []) {
    this.stroke(new Path2D(`M${points.map(([x, y]) => `${x},${y}`).join("L")}`), colour, width, dash);
  }

  /** @type {Pen["circle"]} */
  circle(x, y, radius, colour, width) {
    const path = new Path2D();
    path.arc(x, y, radius, 0, 2 * Math.PI);
    this.stroke(path, colour, width, []);
  }

  /**
   * @param {Path2D} path
   * @param {string} colour
   * @param {number} width
   * @param {number[]} dash
   */
  stroke(path, colour, width, dash) {
    this.context.strokeStyle = colour;
    this.context.lineWidth = width;
    this.context.setLineDash(dash);
    this.context.stroke(path);
  }

  /** @type {Pen["words"]} */
  words(words, x, y, { size, colour, align = "left", weight = 400, turned = false }) {
    const { context } = this;
    context.save();
    context.translate(x, y);
    if (turned) context.rotate(-Math.PI / 2);
    context.font = `${weight} ${size}px ${FONT}`;
    context.textAlign = align;
    context.fillStyle = colour;
    context.fillText(words, 0, 0);
    context.restore();
  }

  /** @type {Pen["picture"]} */
  picture(canvas, x, y, width, height) {
    this.context.drawImage(canvas, x, y, width, height);
  }

  /** @type {Pen["clip"]} */
  clip(x, y, width, height) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(x, y, width, height);
    this.context.clip();
  }

  unclip() {
    this.context.restore();
  }

  /** @returns {Promise<Blob | null>} */
  blob() {
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }
}

/** @implements {Pen} */
export class SvgPen {
  /**
   * @param {number} width
   * @param {number} height
   */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    /** @type {string[]} */
    this.parts = [];
    this.clips = 0;
  }

  /** @type {Pen["box"]} */
  box(x, y, width, height, colour) {
    this.parts.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" fill="${colour}"/>`);
  }

  /** @type {Pen["line"]} */
  line(points, colour, width, dash = []) {
    const dashes = dash.length ? ` stroke-dasharray="${dash.map(n).join(" ")}"` : "";
    const places = points.map(([x, y]) => `${n(x)},${n(y)}`).join(" ");
    this.parts.push(`<polyline points="${places}" fill="none" stroke="${colour}" stroke-width="${n(width)}" stroke-linejoin="round"${dashes}/>`);
  }

  /** @type {Pen["circle"]} */
  circle(x, y, radius, colour, width) {
    this.parts.push(`<circle cx="${n(x)}" cy="${n(y)}" r="${n(radius)}" fill="none" stroke="${colour}" stroke-width="${n(width)}"/>`);
  }

  /** @type {Pen["words"]} */
  words(words, x, y, { size, colour, align = "left", weight = 400, turned = false }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const turn = turned ? ` transform="rotate(-90 ${n(x)} ${n(y)})"` : "";
    this.parts.push(
      `<text x="${n(x)}" y="${n(y)}" dy="0.35em" font-family="${FONT}" font-size="${n(size)}" font-weight="${weight}" fill="${colour}" text-anchor="${anchor}"${turn}>${escaped(words)}</text>`,
    );
  }

  /** @type {Pen["picture"]} */
  picture(canvas, x, y, width, height) {
    this.parts.push(
      `<image x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${canvas.toDataURL("image/png")}"/>`,
    );
  }

  /** @type {Pen["clip"]} */
  clip(x, y, width, height) {
    this.clips += 1;
    const id = `clip-${this.clips}`;
    this.parts.push(`<clipPath id="${id}"><rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}"/></clipPath><g clip-path="url(#${id})">`);
  }

  unclip() {
    this.parts.push("</g>");
  }

  async blob() {
    const { width, height } = this;
    const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`;
    return new Blob([head, "\n", this.parts.join("\n"), "\n</svg>\n"], { type: "image/svg+xml" });
  }
}

/**
 * A number with as many digits as one sees.
 *
 * @param {number} value
 */
const n = (value) => String(Number(value.toFixed(2)));

/** @param {string} words */
function escaped(words) {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
