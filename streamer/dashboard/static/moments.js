// Which frame was taken when: known for some frames, even enough between them.

const MOST = 5000;

export class Moments {
  constructor() {
    this.seen = new Map();
  }

  /** A frame was seen to be taken at a moment (Unix seconds). */
  add(frame, time) {
    this.seen.set(frame, time);
    if (this.seen.size > MOST) this.seen.delete(this.seen.keys().next().value);
  }

  /** The frame taken nearest to a moment; null where no frame is known. */
  frameAt(time, tracks, cell) {
    let [below, above] = [null, null];
    const weigh = (frame, at) => {
      if (at <= time && (!below || at > below.at)) below = { frame, at };
      if (at >= time && (!above || at < above.at)) above = { frame, at };
    };
    for (const [frame, at] of this.seen) weigh(frame, at);
    const { first_frame: first, last_frame: last, first_time_ns: start, last_time_ns: stop } = tracks;
    for (let i = 0; first && i < first.length; i += 1) {
      weigh(first[i], start[i] / 1e9);
      weigh(last[i], stop[i] / 1e9);
    }
    for (let i = 0; i < cell.time.length; i += 1) if (cell.frame[i] >= 0) weigh(cell.frame[i], cell.time[i]);
    if (!below && !above) return null;
    [below, above] = [below ?? above, above ?? below];
    const share = above.at > below.at ? (time - below.at) / (above.at - below.at) : 0;
    return Math.round(below.frame + share * (above.frame - below.frame));
  }
}
