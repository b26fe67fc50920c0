// The list of runs: asked for again and again, so that runs come, go on and end before one's eyes.

import { part } from "../dom.js";
import { span, whole } from "../numbers.js";

/**
 * @typedef {object} Run
 * @property {string} name
 * @property {string} state
 * @property {boolean} live
 * @property {string} started
 * @property {number} elapsed_s
 * @property {Record<string, number>} frames
 * @property {number} peaks
 * @property {string} source
 */

const AGAIN_MS = 2000;
const MOST_SHOWN = 500;

const search = part("search", HTMLInputElement);
const began = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });
/** @type {Run[]} */
let runs = [];
let shown = "";

const theme = new URLSearchParams(location.search).get("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => {
  document.documentElement.dataset.theme = theme ?? (dark.matches ? "dark" : "light");
};

/** Ask for all runs, and for them again a little later. */
async function ask() {
  try {
    const answer = await fetch("runs.json");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    runs = (await answer.json()).runs;
    draw();
  } catch (error) {
    part("none").textContent = `The list cannot be had (${error instanceof Error ? error.message : error}), trying again.`;
  }
  setTimeout(ask, AGAIN_MS);
}

function draw() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = runs.filter((run) => {
    const text = `${run.name} ${run.source} ${run.state} ${run.started}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const content = JSON.stringify(found.slice(0, MOST_SHOWN));
  part("count").textContent = words.length ? `${whole(found.length)} of ${whole(runs.length)}` : whole(runs.length);
  part("none").textContent = found.length > MOST_SHOWN ? `The newest ${MOST_SHOWN} of these are shown.` : found.length ? "" : "There is no such run.";
  if (!runs.length) part("none").textContent = "There is no run yet; the first will appear here by itself.";
  if (content === shown) return; // what somebody is about to click stays
  shown = content;
  part("runs").replaceChildren(...found.slice(0, MOST_SHOWN).map(row));
}

/** @param {Run} run */
function row(run) {
  const made = document.createElement("tr");
  const link = document.createElement("a");
  link.href = `${encodeURIComponent(run.name)}/`;
  link.textContent = run.name;
  made.insertCell().append(link);
  const state = made.insertCell();
  state.textContent = run.live ? `live: ${run.state}` : run.state;
  const { done, ...others } = run.frames;
  const lost = Object.values(others).reduce((sum, n) => sum + n, 0);
  const isWell = !lost && (run.state === "done" || run.state.startsWith("stopped"));
  made.dataset.level = run.live && !lost ? "live" : isWell ? "good" : "bad";
  for (const text of [whole(done), whole(lost), whole(run.peaks)]) number(made, text);
  const when = Date.parse(run.started);
  made.insertCell().textContent = Number.isFinite(when) ? began.format(when) : "–";
  number(made, span(run.elapsed_s));
  const source = made.insertCell();
  source.className = "source";
  source.textContent = source.title = run.source;
  return made;
}

/**
 * @param {HTMLTableRowElement} made
 * @param {string} text
 */
function number(made, text) {
  const cell = made.insertCell();
  cell.className = "number";
  cell.textContent = text;
}

search.addEventListener("input", draw);
dark.addEventListener("change", dress);
dress();
ask();
