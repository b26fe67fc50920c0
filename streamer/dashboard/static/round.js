// When the parts of the page are drawn: once for each picture of the browser at most, what nobody
// sees not at all, and what takes long only so often.

/**
 * @typedef {object} Part
 * @property {boolean} dirty whether it is to be drawn anew
 * @property {() => void} draw called for each picture in which it is in sight
 * @property {HTMLElement} [section] where it is; without one it is always in sight
 * @property {boolean} [wanted] whether there is anything to be seen in its section
 * @property {number} [pause] ms from one drawing to the next, at least
 */

export class Round {
  /**
   * @param {() => void} before called in each round, before parts are drawn
   * @param {() => void} after
   */
  constructor(before, after) {
    this.before = before;
    this.after = after;
    /** @type {Part[]} */
    this.parts = [];
    this.pending = false;
    this.timer = 0;
    /** @type {Map<Part, number>} when what pauses may be drawn again */
    this.next = new Map();
    /** @type {Set<Element>} */
    this.seen = new Set();
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries)
        if (isIntersecting) this.seen.add(target);
        else this.seen.delete(target);
      this.schedule();
    });
    addEventListener("beforeprint", () => this.drawAll());
  }

  /** @param {Part[]} parts in the order in which they are drawn */
  begin(parts) {
    this.parts = parts;
    for (const { section } of parts) if (section) this.sight.observe(section);
    this.schedule();
  }

  /** Have everything drawn anew. */
  renew() {
    for (const part of this.parts) part.dirty = true;
    this.schedule();
  }

  /** Have what is dirty drawn with the browser's next picture. */
  schedule = () => {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.turn());
  };

  turn() {
    this.pending = false;
    this.before();
    const now = performance.now();
    for (const part of this.parts) if (this.isDue(part, now)) part.draw();
    this.after();
  }

  /**
   * @param {Part} part
   * @param {number} now
   */
  isDue(part, now) {
    const { section, wanted = true, dirty, pause = 0 } = part;
    if (section && section.hidden === wanted) section.hidden = !wanted;
    if (section && !(wanted && this.seen.has(section))) return false;
    if (!pause) return true;
    const next = this.next.get(part) ?? 0;
    if (dirty && now < next) {
      this.timer ||= setTimeout(() => {
        this.timer = 0;
        this.schedule();
      }, next - now);
      return false;
    }
    if (dirty) this.next.set(part, now + pause);
    return true;
  }

  /** On paper there is more than on the screen. */
  drawAll() {
    for (const part of this.parts) if (part.wanted ?? true) part.draw();
  }
}
