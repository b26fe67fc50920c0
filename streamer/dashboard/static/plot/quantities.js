// What can be drawn over time or frames, and how it is called.

/** @type {Record<string, string>} */
const DRIFTS = {
  radial: "radial drift",
  distance: "distance from reference",
  row: "drift in row",
  col: "drift in column",
  d: "lattice spacing d",
  strain: "strain",
};

/** @type {Record<string, string>} */
const OTHERS = {
  intensity: "intensity",
  fwhm_radial: "width in 2θ (FWHM)",
  fwhm_azimuthal: "width in azimuth (FWHM)",
  fwhm_major: "width along major axis (FWHM)",
  fwhm_minor: "width along minor axis (FWHM)",
  background: "background",
  asymmetry: "asymmetry",
  motion_shift: "all spots: shift",
  motion_angle: "all spots: rotation",
  motion_scale: "all spots: scale",
  lattice_a: "lattice parameter a",
  lattice_b: "lattice parameter b",
  lattice_c: "lattice parameter c",
  lattice_alpha: "lattice angle α",
  lattice_beta: "lattice angle β",
  lattice_gamma: "lattice angle γ",
};

/** @type {Record<string, string>} */
export const QUANTITIES = { ...DRIFTS, ...OTHERS };

/**
 * What to draw and what to offer, of what is wished for and what the run has by now.
 *
 * Others than drifts are known only when there are peaks: a link that asks for them can be early.
 *
 * @param {string | null} wish
 * @param {string[]} has
 * @returns {{ quantity: string | null, offered: string[] }}
 */
export function settle(wish, has) {
  const known = has.filter((name) => name in QUANTITIES);
  if (wish !== null && known.includes(wish)) return { quantity: wish, offered: known };
  if (wish !== null && wish in OTHERS) return { quantity: wish, offered: [...known, wish] };
  return { quantity: known[0] ?? null, offered: known };
}
