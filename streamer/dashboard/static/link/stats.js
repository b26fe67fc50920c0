// How this page keeps up: what came, what was drawn, how long that took.

/** @import { Socket } from "./socket.js" */

const KEPT = 256;
const SPAN_MS = 2000;

export class Stats {
  /** @param {Socket} socket */
  constructor(socket) {
    this.socket = socket;
    this.drawn = 0;
    this.missed = 0; // images that a newer one replaced before they could be drawn
    this.bad = 0;
    this.latencies = new Float64Array(KEPT);
    this.moments = new Float64Array(KEPT);
    this.count = 0;
  }

  /**
   * An update was drawn that had come at `at`.
   *
   * @param {number} at
   */
  add(at) {
    const now = performance.now();
    this.latencies[this.count % KEPT] = now - at;
    this.moments[this.count % KEPT] = now;
    this.count += 1;
    this.drawn += 1;
  }

  /** For tests and the curious. */
  report() {
    const known = this.latencies.slice(0, Math.min(this.count, KEPT)).sort();
    /** @param {number} p */
    const share = (p) => (known.length ? known[Math.min(known.length - 1, Math.floor(p * known.length))] : null);
    const since = performance.now() - SPAN_MS;
    const recent = this.moments.slice(0, Math.min(this.count, KEPT)).filter((at) => at > since);
    return {
      received: this.socket.received,
      drawn: this.drawn,
      bad: this.bad,
      latency_ms: { p50: share(0.5), p95: share(0.95) },
      fps: (recent.length * 1000) / SPAN_MS,
    };
  }
}
