// The strip on top: whether frames come, and whether any is lost. Words first, colour beside them.

import { fixed, rate, span, whole } from "../numbers.js";

const SILENT_S = 5; // a run says something every second
const SLOW = ["failed", "missing", "shed"];

const how = ({ phase }) => (phase === "done" ? "ended" : `ended: ${phase ?? "unknown"}`);

export class Health {
  constructor(element, socket, stats) {
    const part = (name) => element.querySelector(`#${name}`);
    Object.assign(this, { element, part, socket, stats, hello: null, health: null });
  }

  greet(hello) {
    this.hello = hello;
    const series = hello.series?.length > 1 ? ` · ${hello.series.length} series` : "";
    this.part("run-words").textContent = `${hello.run}${series} · ${hello.source ?? ""}`;
    this.part("run-words").title = `${hello.run}: ${hello.source ?? ""} (${hello.software ?? ""})`;
    document.title = `${hello.run} · braggstream`;
    this.dirty = true;
  }

  update(health) {
    this.health = health;
    this.heardAt = performance.now();
    this.dirty = true;
  }

  /** [level, words] of how the run stands. */
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
    if (!(health.frames_in_hz > 0) && !(health.frames_out_hz > 0)) return ["waiting", "waiting for frames"];
    return ["live", "live"];
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    const [level, words] = this.state();
    this.write("state-words", words);
    this.part("state").dataset.level = level;
    this.part("state").title = this.health?.phase ?? "";
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
    const lost = SLOW.some((name) => health.frames?.[name] > 0);
    this.write("lost-words", health.lost || "nothing lost");
    this.part("lost").dataset.level = lost ? "bad" : health.lost ? "warn" : "good";
  }

  write(name, text) {
    const part = this.part(name);
    if (part.textContent !== text) part.textContent = text;
  }
}
