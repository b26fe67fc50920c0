// The strip on top: whether frames come, and whether any is lost. Words first, colour beside them.

import { part } from "../dom.js";
import { fixed, rate, span, whole } from "../numbers.js";

/** @import { Health as HealthNow, Hello } from "../link/types" */
/** @import { Socket } from "../link/socket.js" */
/** @import { Stats } from "../link/stats.js" */

const SILENT_S = 5; // a run says something every second
const SLOW = ["failed", "missing", "shed"];

/** @param {{ phase?: string }} health */
const how = ({ phase }) => (phase === "done" ? "ended" : `ended: ${phase ?? "unknown"}`);

export class Health {
  /**
   * @param {HTMLElement} element
   * @param {Socket} socket
   * @param {Stats} stats
   */
  constructor(element, socket, stats) {
    this.element = element;
    this.socket = socket;
    this.stats = stats;
    /** @type {Hello | null} */
    this.hello = null;
    /** @type {HealthNow | null} */
    this.health = null;
    this.dirty = false;
  }

  /** @param {Hello} hello */
  greet(hello) {
    this.hello = hello;
    const series = hello.series?.length > 1 ? ` · ${hello.series.length} series` : "";
    part("run-words").textContent = `${hello.run}${series} · ${hello.source ?? ""}`;
    part("run-words").title = `${hello.run}: ${hello.source ?? ""} (${hello.software ?? ""})`;
    document.title = `${hello.run} · braggstream`;
    this.dirty = true;
  }

  /** @param {HealthNow} health */
  update(health) {
    this.health = health;

    this.dirty = true;
  }

  /**
   * [level, words] of how the run stands.
   *
   * @returns {[level: string, words: string]}
   */
  state() {
    const { socket, hello, health } = this;
    const ended = health && health.live === false;
    if (!socket.open && ended) return ["ended", `${how(health)}, not connected`];
    if (!socket.open) {
      const wait = socket.retryIn > 0.5 ? `, again in ${Math.ceil(socket.retryIn)} s` : ", trying";
      return socket.everOpen ? ["bad", `connection lost${wait}`] : ["waiting", `no connection yet${wait}`];
    }
    if (!hello) return ["waiting", "connecting"];
    if (ended || !hello.live) return ["ended", how(health ?? { phase: hello.state })];
    if (!health) return ["waiting", "waiting for the run"];
    if (health.stale_s > SILENT_S) return ["bad", `run silent for ${span(health.stale_s)}`];
    if (!((health.frames_in_hz ?? 0) > 0) && !((health.frames_out_hz ?? 0) > 0)) return ["waiting", "waiting for frames"];
    return ["live", "live"];
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const [level, words] = this.state();
    this.write("state-words", words);
    part("state").dataset.level = level;
    part("state").title = this.health?.phase ?? "";
    const { health } = this;
    if (!health) return;
    const known = this.socket.open;
    this.element.dataset.stale = String(!known);
    this.write("in", rate(health.frames_in_hz));
    this.write("out", rate(health.frames_out_hz));
    this.write("latency", fixed(health.latency_ms, 0));
    this.write("backlog", whole(health.backlog));
    this.write("disagreement", fixed(health.disagreement_px, 3));
    this.write("done", whole(health.frames?.done));
    this.write("elapsed", span(health.elapsed_s));
    this.write("dropped", whole((health.dropped ?? 0) + this.stats.missed));
    const lost = SLOW.some((name) => (health.frames?.[name] ?? 0) > 0);
    this.write("lost-words", health.lost || "nothing lost");
    part("lost").dataset.level = lost ? "bad" : health.lost ? "warn" : "good";
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  write(name, text) {
    const output = part(name);
    if (output.textContent !== text) output.textContent = text;
  }
}
