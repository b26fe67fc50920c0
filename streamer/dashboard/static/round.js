// When the parts of the page are drawn: once for each picture of the browser at most, what nobody
// sees now and then, and what takes long only so often.

/** ms from one drawing to the next of what is not in sight: whoever keeps the whole page as a picture sees it. */
const UNSEEN_MS = 5000;
/** ms in which what is in sight comes first when the page is opened. */
const FIRST_MS = 1000;

/**
 * @typedef {object} Part
 * @property {boolean} dirty whether it is to be drawn anew
 * @property {() => void} draw called for each picture in which it is in sight, and now and then
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
    this.wakes = 0; // moment for which the timer is set
    /** @type {Map<Part, number>} when it was drawn last while it was dirty */
    this.drawn = new Map();
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
    const begun = performance.now() + FIRST_MS - UNSEEN_MS;
    for (const one of parts) if (one.section) this.drawn.set(one, begun);
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
    if (!wanted) return false;
    const isSeen = !section || this.seen.has(section);
    if (!dirty) return isSeen;
    const next = (this.drawn.get(part) ?? 0) + (isSeen ? pause : UNSEEN_MS);
    if (now < next) {
      this.wake(next - now);
      return false;
    }
    this.drawn.set(part, now);
    return isSeen || Boolean(section?.getClientRects().length); // on the wall some have no place
  }

  /**
   * Look again after a while.
   * @param {number} ms
   */
  wake(ms) {
    const at = performance.now() + ms;
    if (this.timer && at >= this.wakes) return;
    clearTimeout(this.timer);
    this.wakes = at;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.schedule();
    }, ms);
  }

  /** On paper there is more than on the screen. */
  drawAll() {
    for (const part of this.parts) if (part.wanted ?? true) part.draw();
  }
}
