// Lines through points: what of them lies in a window, and their shapes.

const [MOST_STEPS, LEAST_STEPS] = [200, 4];
const GAP = 6.5; // times the usual step: a track may miss five frames

/**
 * Points sorted in x; NaN in y interrupts the line.
 *
 * @typedef {object} Line
 * @property {ArrayLike<number>} x
 * @property {ArrayLike<number>} y
 * @property {ArrayLike<number>} [sigma]
 * @property {number} [gap] points farther apart in x are not joined
 * @property {boolean} [turns] x goes up and down, and all of the line is shown
 */

/** @typedef {{ left: number, top: number, width: number, height: number }} Box */

/** @typedef {ReturnType<typeof linear>} Scale from `linear` */

/**
 * Index of the value nearest to x in a sorted array; -1 where there is none.
 *
 * @param {ArrayLike<number>} xs
 * @param {number} x
 */
export function nearest(xs, x) {
  if (!xs.length) return -1;
  let [low, high] = [0, xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return x - xs[low] <= xs[high] - x ? low : high;
}

/**
 * First and last index of what lies in [from, to], one more on either side.
 *
 * @param {ArrayLike<number>} xs
 * @param {number} from
 * @param {number} to
 */
export function within(xs, from, to) {
  if (!xs.length) return [0, -1];
  let first = nearest(xs, from);
  let last = nearest(xs, to);
  if (first > 0 && xs[first] >= from) first -= 1;
  if (last < xs.length - 1 && xs[last] <= to) last += 1;
  return [first, last];
}

/**
 * First and last index of what of a line may lie in [from, to].
 *
 * @param {Pick<Line, "x" | "turns">} line
 * @param {number} from
 * @param {number} to
 */
export function inside({ x, turns }, from, to) {
  return turns ? [0, x.length - 1] : within(x, from, to);
}

/**
 * Lowest and highest y ± sigma in [from, to]; [Infinity, -Infinity] where there is nothing.
 *
 * @param {Line} line
 * @param {number} from
 * @param {number} to
 */
export function extent(line, from, to) {
  let [low, high] = [Infinity, -Infinity];
  const { x, y, sigma } = line;
  const [first, last] = inside(line, from, to);
  for (let i = first; i <= last; i += 1) {
    if (x[i] < from || x[i] > to || Number.isNaN(y[i])) continue;
    const half = sigma && sigma[i] >= 0 && sigma[i] < Infinity ? sigma[i] : 0;
    if (y[i] - half < low) low = y[i] - half;
    if (y[i] + half > high) high = y[i] + half;
  }
  return [low, high];
}

/**
 * Whether there are so many points that a `Raster` draws the line sooner than its shapes are drawn.
 *
 * @param {Pick<Line, "x" | "turns">} line
 * @param {Scale} scale
 */
export function isDense(line, { from, to, across }) {
  const [first, last] = inside(line, from, to);
  return last - first > ((to - from) * across) / 2;
}

/**
 * Return the shapes of a line in canvas pixels: `stroke`, the path through its points; `band`, its
 * sigma; `points`, where they are far enough apart to be seen one by one.
 *
 * @param {Line} line
 * @param {Scale} scale
 */
export function shapes(line, { x0, y0, across, below, from, to }) {
  const { x, y, sigma, gap = Infinity } = line;
  const [first, last] = inside(line, from, to);
  const [stroke, band, points] = [new Path2D(), new Path2D(), new Path2D()];
  const sparse = last - first < ((to - from) * across) / 8;
  /** @type {[number, number, number][]} */
  let run = [];
  for (let i = first; i <= last; i += 1) {
    if (Number.isNaN(y[i]) || (i > first && x[i] - x[i - 1] > gap)) {
      enclose(band, run);
      run = [];
    }
    if (Number.isNaN(y[i])) continue;
    const [place, height] = [x0 + x[i] * across, y0 - y[i] * below];
    if (run.length) stroke.lineTo(place, height);
    else stroke.moveTo(place, height);
    run.push([place, height, sigma && sigma[i] < Infinity ? sigma[i] * below : 0]);
    if (sparse) {
      points.moveTo(place + 2.2, height);
      points.arc(place, height, 2.2, 0, 2 * Math.PI);
    }
  }
  enclose(band, run);
  return { stroke, band, points: sparse ? points : null };
}

/**
 * How far apart points of a line may be to be joined: a few times as far as they mostly are.
 *
 * @param {ArrayLike<number>} x sorted
 */
export function usualGap(x) {
  const steps = [];
  const every = Math.max(1, Math.floor(x.length / MOST_STEPS));
  for (let i = every; i < x.length; i += every) steps.push(x[i] - x[i - 1]);
  if (steps.length < LEAST_STEPS) return Infinity;
  steps.sort((one, other) => one - other);
  return GAP * steps[steps.length >> 1];
}

/**
 * A scale from values to canvas pixels: x0 + x across, y0 - y below, in a box.
 *
 * @param {Box} box
 * @param {{ min: number, max: number }} x
 * @param {{ min: number, max: number }} y
 */
export function linear(box, x, y) {
  const across = box.width / (x.max - x.min);
  const below = box.height / (y.max - y.min);
  const [x0, y0] = [box.left - x.min * across, box.top + y.max * below];
  return { x0, y0, across, below, from: x.min, to: x.max };
}

/**
 * @param {Path2D} path
 * @param {[x: number, y: number, half: number][]} run
 */
function enclose(path, run) {
  // One point alone: a bar.
  if (run.length === 1) path.rect(run[0][0] - 1, run[0][1] - run[0][2], 2, 2 * run[0][2]);
  if (run.length < 2) return;
  run.forEach(([x, y, half], i) => (i ? path.lineTo(x, y - half) : path.moveTo(x, y - half)));
  for (const [x, y, half] of run.reverse()) path.lineTo(x, y + half);
  path.closePath();
}
