// How numbers, moments and flags are written, in one way everywhere.

export const NONE = "–";
const DAY_S = 86_400;
/** @type {Intl.NumberFormat[]} */
const formats = []; // by digits; making one takes longer than using it

/**
 * A number with so many digits after the point; a dash where there is none.
 *
 * @param {number | null | undefined} value
 * @param {number} digits
 */
export function fixed(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  formats[digits] ??= new Intl.NumberFormat("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  const text = formats[digits].format(Math.abs(value));
  // A true minus sign is as wide as a digit, so columns stay columns; -0.00 is not a number.
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text;
}

/**
 * Digits after the point that show a value to two digits of its uncertainty.
 *
 * @param {number} sigma
 */
export function digitsFor(sigma, fallback = 3) {
  if (!(sigma > 0) || !Number.isFinite(sigma)) return fallback;
  return Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(sigma))));
}

/**
 * Value ± sigma, both to two digits of sigma, or fewer.
 *
 * @param {number} value
 * @param {number} sigma
 */
export function measured(value, sigma, unit = "", fewer = 0) {
  if (!Number.isFinite(value)) return NONE;
  if (!Number.isFinite(sigma)) return `${fixed(value, 3)}${unit && ` ${unit}`}`;
  const digits = Math.max(0, digitsFor(sigma) - fewer);
  return `${fixed(value, digits)} ± ${fixed(sigma, digits)}${unit && ` ${unit}`}`;
}

/** @param {number | null | undefined} value */
export function whole(value) {
  return fixed(value, 0);
}

/**
 * Counts, to three digits and then in thousands.
 *
 * @param {number} value
 */
export function counts(value) {
  return Number.isFinite(value) ? whole(value >= 10 ? Math.round(value) : value) : NONE;
}

/** @param {number | null} value */
export function rate(value) {
  return fixed(value, value !== null && value < 10 ? 1 : 0);
}

/**
 * A time span in words: 4.2 s, 3 min 20 s, 2 h 05 min.
 *
 * @param {number} seconds
 */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  if (seconds < 60) return `${fixed(seconds, seconds < 10 ? 1 : 0)} s`;
  const [minutes, rest] = [Math.floor(seconds / 60), Math.floor(seconds % 60)];
  if (minutes < 60) return `${minutes} min ${String(rest).padStart(2, "0")} s`;
  const text = `${Math.floor(minutes / 60) % 24} h ${String(minutes % 60).padStart(2, "0")} min`;
  return seconds < DAY_S ? text : `${Math.floor(seconds / DAY_S)} d ${text}`;
}

let isLocal = false; // times are those of the browser's place, else UTC, as in reports and exports

/** @param {boolean} local */
export function useLocalTime(local) {
  isLocal = local;
}

/** Which clock it is. */
export const zone = () => (isLocal ? "local time" : "UTC");

/**
 * A date whose `getUTC...` give what the clock shows (of Unix seconds).
 *
 * @param {number} seconds
 */
export function wall(seconds) {
  const date = new Date(seconds * 1000);
  return isLocal ? new Date(date.getTime() - date.getTimezoneOffset() * 60_000) : date;
}

/**
 * A moment (Unix seconds) as the clock shows it.
 *
 * @param {number} seconds
 */
export function moment(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  return `${wall(seconds).toISOString().slice(11, 22)}${isLocal ? "" : " UTC"}`;
}

/** @type {[bit: number, words: string][]} */
const FLAGS = [
  [1, "at the edge"],
  [2, "masked pixels"],
  [4, "another peak near"],
  [8, "saturated"],
  [16, "not like one peak"],
  [32, "out of trusted range"],
];

/**
 * What the bits of `flags` say.
 *
 * @param {number} flags
 */
export function flagWords(flags) {
  const words = FLAGS.filter(([bit]) => flags & bit).map(([, text]) => text);
  return words.length ? words.join(", ") : "clean";
}

/**
 * A name of at most so many letters: the middle is left out, since names differ at their ends.
 *
 * @param {string} name
 * @param {number} most
 */
export function shortened(name, most) {
  if (name.length <= most) return name;
  const head = most >> 1;
  return `${name.slice(0, head)}…\u2060${name.slice(head + 1 - most)}`; // no line ends there
}

/** @type {Record<string, [string, number]>} */
const UNITS = { angstrom: ["Å", 1], deg: ["°", 1], 1: ["10⁻⁶", 1e6], "": ["", 1] };

/**
 * How a unit is written, and by what numbers in it are multiplied for that.
 *
 * @param {string} unit
 */
export function shownUnit(unit) {
  return UNITS[unit] ?? [unit, 1];
}
