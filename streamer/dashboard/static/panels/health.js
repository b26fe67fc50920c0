// The strip on top: whether frames come, and whether any is lost. Words first, colour beside them.

import { part } from "../dom.js";
import { NONE, fixed, rate, span, whole } from "../numbers.js";

/** @import { Health as HealthNow, Hello } from "../link/types" */
/** @import { Page } from "../panels.js" */
/** @import { Stats } from "../link/stats.js" */

const SILENT_S = 5; // a run says something every second
const SLOW = ["failed", "missing", "shed"];

/**
 * @typedef {object} Figure
 * @property {string} name id of what shows it
 * @property {string} words
 * @property {string} [unit]
 * @property {string} [title]
 * @property {string} [kind]
 * @property {(health: HealthNow, stats: Stats) => string} text
 */

/** @type {Figure[]} */
const FIGURES = [
  { name: "in", words: "frames in", unit: "/s", text: (health) => rate(health.frames_in_hz) },
  { name: "out", words: "frames out", unit: "/s", text: (health) => rate(health.frames_out_hz) },
  {
    name: "seen",
    words: "to positions",
    unit: "ms",
    title: "From a frame's arrival to its peaks' positions: provisional, before they are on disk",
    text: (health) => fixed(health.seen_ms, 0),
  },
  {
    name: "latency",
    words: "to disk",
    unit: "ms",
    title: "From a frame's arrival until its peaks are on disk, as they stay",
    text: (health) => fixed(health.latency_ms, 0),
  },
  { name: "backlog", words: "backlog", unit: "frames", text: (health) => whole(health.backlog) },
  { name: "disagreement", words: "model to fit", unit: "px", text: (health) => fixed(health.disagreement_px, 3) },
  { name: "done", words: "frames done", text: (health) => whole(health.frames?.done) },
  {
    name: "dropped",
    words: "page missed",
    title: "Messages that this page was too slow to take or to draw",
    text: (health, stats) => whole((health.dropped ?? 0) + stats.missed),
  },
  { name: "elapsed", words: "elapsed", kind: "wide", text: (health) => span(health.elapsed_s) },
];

/** @param {{ phase?: string }} health */
const how = ({ phase }) => (phase === "done" ? "ended" : `ended: ${phase ?? "unknown"}`);

export class Health {
  /** @param {Page} page */
  constructor({ socket, stats, schedule }) {
    this.element = part("health");
    this.socket = socket;
    this.stats = stats;
    this.receivers = {
      /** @param {Hello} header */
      hello: (header) => this.greet(header),
      /** @param {HealthNow} header */
      health: (header) => this.update(header),
    };
    /** @type {Hello | null} */
    this.hello = null;
    /** @type {HealthNow | null} */
    this.health = null;
    this.dirty = false;
    this.said = ""; // of the state, aloud
    part("figures").append(...FIGURES.map(figure));
    // The strip counts seconds even when nothing comes.
    setInterval(() => {
      this.dirty = true;
      schedule();
    }, 1000);
  }

  /** @param {Hello} hello */
  greet(hello) {
    this.hello = hello;
    const series = hello.series?.length > 1 ? ` · ${hello.series.length} series` : "";
    part("run-words").textContent = `${hello.run}${series} · ${hello.source ?? ""}`;
    part("run-words").title = `${hello.run}: ${hello.source ?? ""} (${hello.software ?? ""})`;
    const list = part("runs", HTMLAnchorElement);
    list.hidden = !hello.listed;
    list.href = /\/runs\/[^/]+\/$/.test(location.pathname) ? "../" : "runs/";
    document.title = `${hello.run} · braggstream`;
    part("title").textContent = document.title;
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
    part("state").title = [this.health?.phase, this.health?.hosts].filter(Boolean).join("\n");
    const { health } = this;
    this.say(level, words);
    if (!health) return;
    const known = this.socket.open;
    this.element.dataset.stale = String(!known);
    for (const { name, text } of FIGURES) this.write(name, text(health, this.stats));
    const lost = SLOW.some((name) => (health.frames?.[name] ?? 0) > 0);
    this.write("lost-words", health.lost || "nothing lost");
    part("lost").dataset.level = lost || health.alarm ? "bad" : health.lost ? "warn" : "good";
  }

  /**
   * Have what has changed in kind read aloud, but not each second that is counted.
   *
   * @param {string} level
   * @param {string} words
   */
  say(level, words) {
    const lost = this.health?.alarm ? "look after it at once" : this.health?.lost ? "something was lost or is late" : "";
    const key = `${level} ${lost}`;
    if (key === this.said) return;
    this.said = key;
    this.write("state-said", [words, lost].filter(Boolean).join("; "));
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

/** @param {Figure} about */
function figure({ name, words, unit, title = "", kind = "" }) {
  const element = document.createElement("div");
  [element.title, element.className] = [title, kind];
  const output = document.createElement("output");
  output.ariaLive = "off"; // figures change each second
  [output.id, output.textContent] = [name, NONE];
  element.appendChild(document.createElement("dt")).textContent = words;
  const value = element.appendChild(document.createElement("dd"));
  value.append(output);
  if (unit) value.appendChild(document.createElement("i")).textContent = unit;
  return element;
}
