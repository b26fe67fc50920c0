// What pointers and typed numbers draw on the image: shapes of a mask, or a region of interest.

import { part } from "../dom.js";
import { FORMS, read } from "./shapes.js";

/** @import { Place } from "../link/types" */
/** @import { Image } from "../panels/image.js" */
/** @import { Pointers } from "./pointers.js" */
/** @import { Kind, Shape } from "./shapes.js" */

/** @typedef {"move" | "roi" | Kind} ToolName */

const CLOSE_PX = 9; // a click so near to where a polygon began closes it

export class Tools {
  /**
   * @param {Image} image
   * @param {Pointers} pointers
   * @param {(tool: ToolName, shape: Shape) => void} onshape
   * @param {() => void} onchange something is to be drawn
   */
  constructor(image, pointers, onshape, onchange) {
    this.image = image;
    this.pointers = pointers;
    this.onshape = onshape;
    this.onchange = onchange;
    /** @type {ToolName} */
    this.tool = "move";
    /** @type {Place[]} of the shape that is being drawn */
    this.places = [];
    this.select = part("tool", HTMLSelectElement);
    this.input = part("shape", HTMLInputElement);
    this.select.addEventListener("change", () => this.take(/** @type {ToolName} */ (this.select.value)));
    part("shapes", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.type();
    });
    image.host.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.drop();
      if (event.key === "Enter" && this.places.length) this.finish();
    });
    image.host.addEventListener("dblclick", () => this.kind === "polygon" && this.finish());
    this.take("move");
  }

  /**
   * @returns {Kind} of the shapes that are drawn
   */
  get kind() {
    return this.tool === "roi" || this.tool === "move" ? "rectangle" : this.tool;
  }

  /** @param {ToolName} tool */
  take(tool) {
    this.tool = this.select.value = /** @type {ToolName} */ (tool);
    this.drop();
    this.pointers.tool = tool === "move" ? null : this;
    this.input.disabled = part("shape-add", HTMLButtonElement).disabled = tool === "move";
    this.input.placeholder = tool === "move" ? "choose what to draw" : FORMS[this.kind];
    this.say("");
  }

  drop() {
    this.places = [];
    this.onchange();
  }

  /** Take the shape whose numbers were typed. */
  type() {
    const shape = read(this.kind, this.input.value);
    this.say(typeof shape === "string" ? shape : "");
    if (typeof shape === "string") return;
    this.onshape(this.tool, shape);
    this.input.value = "";
  }

  /** @param {string} words */
  say(words) {
    part("shape-words").textContent = words;
    this.input.ariaInvalid = String(words !== "");
  }

  finish() {
    const places = this.places.filter((place, i) => !i || String(place) !== String(this.places[i - 1]));
    if (this.kind !== "polygon" || places.length > 2) this.onshape(this.tool, { kind: this.kind, places });
    this.drop();
  }

  /** @param {Place} place */
  press(place) {
    if (this.kind !== "polygon") this.places = [place, place];
    if (this.kind === "pixel") this.onshape(this.tool, { kind: "pixel", places: [place] });
    this.onchange();
  }

  /** @param {Place} place */
  drag(place) {
    if (this.kind === "polygon") return;
    this.places[1] = place;
    if (this.kind === "pixel") this.onshape(this.tool, { kind: "pixel", places: [place] });
    this.onchange();
  }

  /** @param {Place} place */
  release(place) {
    if (this.kind === "pixel") this.drop();
    else if (this.kind !== "polygon") {
      this.places[1] = place;
      this.finish();
    } else if (this.places.length > 2 && this.isNear(place, this.places[0])) this.finish();
    else this.places.push(place);
    this.onchange();
  }

  /**
   * @param {Place} one
   * @param {Place} other
   */
  isNear(one, other) {
    return Math.hypot(one[0] - other[0], one[1] - other[1]) * this.image.scale < CLOSE_PX;
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    const { image, places } = this;
    if (!places.length) return;
    const [[x1, y1], [x2, y2]] = [places[0], places[places.length - 1]].map(([row, col]) => [image.x(col), image.y(row)]);
    const path = new Path2D();
    if (this.kind === "rectangle") path.rect(Math.min(x1, x2), Math.min(y1, y2), Math.abs(x2 - x1), Math.abs(y2 - y1));
    else if (this.kind === "disc") path.arc(x1, y1, Math.hypot(x2 - x1, y2 - y1), 0, 2 * Math.PI);
    else for (const [i, [row, col]] of places.entries()) {
      const [x, y] = [image.x(col), image.y(row)];
      path[i ? "lineTo" : "moveTo"](x, y);
      path.rect(x - 2.5, y - 2.5, 5, 5);
      path.moveTo(x, y);
    }
    for (const [width, colour] of /** @type {const} */ ([[4, "#000000c0"], [1.6, "#ffffff"]])) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke(path);
    }
  }
}
