// Which tracks a run that goes on still sees, and since when it does not see the others.

import { span, whole } from "../numbers.js";

/** @import { Hello, TrackArrays, TracksHeader } from "../link/types" */

const LEAST_FRAMES = 5; // a track may miss as many and still go on

export class Lives {
  constructor() {
    this.live = false; // the run
    /** @type {number[]} */
    this.starts = []; // of the series, among the frames of the run
    this.now = NaN; // Unix seconds of the newest frame; NaN where frames have no times
    this.newest = -1; // number of the newest frame of the run
    /** @type {Map<number, { frame: number, time: number }>} when each was seen last */
    this.last = new Map();
    this.least = Infinity; // a track that was seen from that frame of the run on goes on
  }

  /** @param {Hello} hello */
  greet({ live, starts }) {
    this.live = live;
    this.starts = starts;
  }

  /**
   * @param {TracksHeader} header
   * @param {TrackArrays} arrays
   */
  update({ n_frames, timeline, memory_frames = LEAST_FRAMES }, { track = new Int32Array(), series, last_frame, last_time_ns }) {
    this.newest = n_frames - 1;
    this.now = timeline[1].at(-1) ?? NaN;
    this.last.clear();
    let newest = -Infinity;
    for (let i = 0; i < track.length; i += 1) {
      const frame = (this.starts[series?.[i] ?? 0] ?? 0) + (last_frame?.[i] ?? NaN);
      if (frame > newest) newest = frame;
      this.last.set(track[i], { frame, time: last_time_ns?.[i] ? last_time_ns[i] / 1e9 : NaN });
    }
    this.least = newest - memory_frames;
  }

  /**
   * Whether a track of a run that goes on is seen no more.
   *
   * @param {number} track
   */
  ended(track) {
    const last = this.last.get(track);
    return this.live && last !== undefined && last.frame < this.least;
  }

  /**
   * "ended 42 s ago" of a track that has ended; nothing of any other.
   *
   * @param {number} track
   */
  words(track) {
    const last = this.last.get(track);
    if (!last || !this.ended(track)) return "";
    const ago = this.now - last.time;
    return `ended ${Number.isFinite(ago) ? span(Math.max(ago, 0)) : `${whole(this.newest - last.frame)} frames`} ago`;
  }
}
