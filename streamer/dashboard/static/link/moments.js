// Which frame was taken when: known for some frames, even enough between them.

export class Moments {
  constructor() {
    /** @type {number[]} */
    this.frames = [];
    /** @type {number[]} */
    this.times = [];
  }

  /**
   * Know frames of the run and when they were taken (Unix seconds, sorted).
   *
   * @param {[frames: number[], times: number[]]} timeline
   */
  update([frames, times]) {
    this.frames = frames;
    this.times = times;
  }

  /**
   * The frame of the run taken nearest to a moment; null where no frame is known.
   *
   * @param {number} time
   */
  frameAt(time) {
    const { frames, times } = this;
    if (!times.length) return null;
    const above = times.findIndex((one) => one >= time);
    if (above <= 0) return above ? frames[frames.length - 1] : frames[0];
    const below = above - 1;
    const share = (time - times[below]) / (times[above] - times[below]);
    return Math.round(frames[below] + share * (frames[above] - frames[below]));
  }
}
