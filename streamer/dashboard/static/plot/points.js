// The points of a line, which grows at its end and may lose its beginning.

/** @import { Columns } from "../link/types" */

import { usualGap } from "./lines.js";

const LEAST_ROOM = 256;

export class Points {
  /** @param {number} track whose drift they are */
  constructor(track) {
    this.track = track;
    this.start = this.count = 0;
    this.room = columns(LEAST_ROOM);
    const { x, y, sigma } = cut(this.room, 0, 0);
    this.x = x;
    this.y = y;
    this.sigma = sigma;
    this.gap = Infinity; // points farther apart in x are not joined
  }

  /**
   * Drop the first points, keep so many of the rest, and add others behind them.
   *
   * @param {number} drop
   * @param {number} keep
   * @param {Columns} added
   * @returns false where there are not so many points, and nothing is done
   */
  take(drop, keep, added) {
    if (drop + keep > this.count) return false;
    this.start += drop;
    this.count = keep + added.x.length;
    if (this.start + this.count > this.room.x.length) this.make(keep);
    put(this.room, added, this.start + keep);
    Object.assign(this, cut(this.room, this.start, this.start + this.count));
    this.gap = usualGap(this.x);
    return true;
  }

  /**
   * Room for as many again, so that a point more seldom moves the others.
   *
   * @param {number} keep
   */
  make(keep) {
    const room = columns(2 * this.count + LEAST_ROOM);
    put(room, cut(this.room, this.start, this.start + keep), 0);
    this.room = room;
    this.start = 0;
  }
}

/** @param {number} room */
function columns(room) {
  return { x: new Float64Array(room), y: new Float32Array(room), sigma: new Float32Array(room) };
}

/**
 * @param {Columns} columns
 * @param {number} from
 * @param {number} to
 */
function cut({ x, y, sigma }, from, to) {
  return { x: x.subarray(from, to), y: y.subarray(from, to), sigma: sigma.subarray(from, to) };
}

/**
 * @param {Columns} columns
 * @param {Columns} added
 * @param {number} at
 */
function put(columns, added, at) {
  columns.x.set(added.x, at);
  columns.y.set(added.y, at);
  columns.sigma.set(added.sigma, at);
}
