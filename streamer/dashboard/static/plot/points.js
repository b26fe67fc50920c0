// The points of a line, which grows at its end and may lose its beginning.

const COLUMNS = { x: Float64Array, y: Float32Array, sigma: Float32Array };
const LEAST_ROOM = 256;

export class Points {
  /** @param track whose drift they are */
  constructor(track) {
    this.track = track;
    this.start = this.count = 0;
    this.make(0);
    this.look();
  }

  /**
   * Drop the first points, keep so many of the rest, and add others behind them.
   *
   * @param added {x, y, sigma}
   * @returns false where there are not so many points, and nothing is done
   */
  take(drop, keep, added) {
    if (drop + keep > this.count) return false;
    this.start += drop;
    this.count = keep + added.x.length;
    if (this.start + this.count > this.room.x.length) this.make(keep);
    for (const name in COLUMNS) this.room[name].set(added[name], this.start + keep);
    this.look();
    return true;
  }

  // Room for as many again, so that a point more seldom moves the others.
  make(keep) {
    const room = {};
    for (const [name, Kind] of Object.entries(COLUMNS)) {
      room[name] = new Kind(2 * this.count + LEAST_ROOM);
      if (keep) room[name].set(this.room[name].subarray(this.start, this.start + keep));
    }
    this.room = room;
    this.start = 0;
  }

  look() {
    for (const name in COLUMNS) this[name] = this.room[name].subarray(this.start, this.start + this.count);
  }
}
