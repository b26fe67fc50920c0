// From a pixel to scattering angle, azimuth and spacing, and from a spacing to its ring: what
// `streamer.frames.geometry.Geometry` does, for a flat detector.

/** @import { DetectorPlace, GeometryHeader, Place } from "../link/types" */

const STEP = Math.PI / 720; // of azimuth, from point to point of a ring
const LEAST_FORWARD = 1e-3; // rays that run along the detector or away from it never meet it

export class Geometry {
  constructor() {
    /** @type {DetectorPlace | null} */
    this.place = null;
    /** @type {Place | null} where the direct beam meets the detector */
    this.beam = null;
    /** @type {{ d: number, words: string }[]} of the lattice */
    this.rings = [];
  }

  /** @param {GeometryHeader} header */
  update({ place, beam, rings }) {
    Object.assign(this, { place, beam, rings });
  }

  /**
   * Angles in degrees and spacing in angstroms of a place; null where nothing is known.
   *
   * @param {Place} place
   */
  at([row, col]) {
    if (!this.place) return null;
    const { rotation: r, distance_m: z, poni1_m, poni2_m, pixel1_m, pixel2_m, wavelength_a } = this.place;
    const [y, x] = [(row + 0.5) * pixel1_m - poni1_m, (col + 0.5) * pixel2_m - poni2_m];
    const [t1, t2, t3] = [0, 3, 6].map((i) => r[i] * y + r[i + 1] * x + r[i + 2] * z);
    const angle = Math.atan2(Math.hypot(t1, t2), t3);
    const d = wavelength_a === null ? null : wavelength_a / (2 * Math.sin(angle / 2));
    return { two_theta: degrees(angle), chi: degrees(Math.atan2(t1, t2)), d };
  }

  /**
   * The places at which planes of a spacing scatter: lines of [row, col], none where they cannot.
   *
   * @param {number} d
   * @returns {Place[][]}
   */
  ring(d) {
    if (!this.place || this.place.wavelength_a === null) return [];
    const { rotation: r, distance_m, poni1_m, poni2_m, pixel1_m, pixel2_m, wavelength_a } = this.place;
    const sine = wavelength_a / (2 * d);
    if (!(sine > 0 && sine < 1)) return [];
    const angle = 2 * Math.asin(sine);
    /** @type {Place[][]} */
    const lines = [[]];
    for (let chi = 0; chi <= 2 * Math.PI + STEP / 2; chi += STEP) {
      const ray = [Math.sin(angle) * Math.sin(chi), Math.sin(angle) * Math.cos(chi), Math.cos(angle)];
      const [y, x, z] = [0, 1, 2].map((j) => r[j] * ray[0] + r[3 + j] * ray[1] + r[6 + j] * ray[2]);
      if (z < LEAST_FORWARD) {
        if (lines[lines.length - 1].length) lines.push([]);
        continue;
      }
      const along = distance_m / z;
      lines[lines.length - 1].push([
        (y * along + poni1_m) / pixel1_m - 0.5,
        (x * along + poni2_m) / pixel2_m - 0.5,
      ]);
    }
    return lines.filter((line) => line.length > 1);
  }
}

/** @param {number} radians */
const degrees = (radians) => (radians * 180) / Math.PI;
