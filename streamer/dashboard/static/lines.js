// Lines through thousands of points, as shapes with no more corners than the plot has columns.

/** Index of the value nearest to x in a sorted array; -1 where there is none. */
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

/** First and last index of what lies in [from, to], one more on either side. */
export function within(xs, from, to) {
  if (!xs.length) return [0, -1];
  let first = nearest(xs, from);
  let last = nearest(xs, to);
  if (first > 0 && xs[first] >= from) first -= 1;
  if (last < xs.length - 1 && xs[last] <= to) last += 1;
  return [first, last];
}

/** Lowest and highest y ± sigma in [from, to]; [Infinity, -Infinity] where there is nothing. */
export function extent(line, from, to) {
  let [low, high] = [Infinity, -Infinity];
  const { x, y, sigma } = line;
  const [first, last] = within(x, from, to);
  for (let i = first; i <= last; i += 1) {
    if (x[i] < from || x[i] > to || Number.isNaN(y[i])) continue;
    const half = sigma && sigma[i] >= 0 && sigma[i] < Infinity ? sigma[i] : 0;
    if (y[i] - half < low) low = y[i] - half;
    if (y[i] + half > high) high = y[i] + half;
  }
  return [low, high];
}

// Of each column: its place, the lowest and highest point in it, the same with sigma, the last point.
let [at, low, high, up, down, end] = Array.from({ length: 6 }, () => new Float32Array(4096));

/**
 * Return the shapes of a line in canvas pixels: `stroke`, the path through its points, or, where
 * there are more points than columns, `body`, what such a path would cover, which is many times
 * quicker to fill than the path is to stroke; `band`, its sigma; `points`, where they are far
 * enough apart to be seen one by one.
 *
 * @param line {x, y, sigma}, sorted in x; NaN in y interrupts it
 * @param scale from `linear`
 * @param thick width of the line in canvas pixels
 * @param dash lengths of its dashes and gaps; none where it is whole
 */
export function shapes(line, scale, thick = 1, dash = []) {
  const { x, y, sigma } = line;
  const { x0, y0, across, below } = scale;
  const [first, last] = within(x, scale.from, scale.to);
  const width = (scale.to - scale.from) * across;
  const dense = last - first > width / 2;
  const sparse = last - first < width / 8;
  const [stroke, body, band, points] = [new Path2D(), new Path2D(), new Path2D(), new Path2D()];
  let n = 0;
  if (last - first >= at.length)
    [at, low, high, up, down, end] = Array.from({ length: 6 }, () => new Float32Array(2 * (last - first)));

  const finish = () => {
    if (!n) return;
    if (!dense || wider(n, thick)) outline(band, n, up, down, 0, []);
    if (dense) outline(body, n, low, high, thick / 2, dash);
    n = 0;
  };

  for (let i = first; i <= last; i += 1) {
    const value = y[i];
    if (value !== value) {
      finish();
      continue;
    }
    const exact = x0 + x[i] * across;
    const place = dense ? Math.round(exact) : exact;
    const height = y0 - value * below;
    const half = sigma && sigma[i] < Infinity ? sigma[i] * below : 0;
    if (!dense && n) stroke.lineTo(place, height);
    else if (!dense) stroke.moveTo(place, height);
    if (n === 0 || place !== at[n - 1]) {
      [at[n], low[n], high[n], up[n], down[n]] = [place, height, height, height - half, height + half];
      n += 1;
      if (n > 1 && dense) join(n - 2, (end[n - 2] + height) / 2);
    } else {
      if (height < low[n - 1]) low[n - 1] = height;
      if (height > high[n - 1]) high[n - 1] = height;
      if (height - half < up[n - 1]) up[n - 1] = height - half;
      if (height + half > down[n - 1]) down[n - 1] = height + half;
    }
    end[n - 1] = height;
    if (sparse) {
      points.moveTo(place + 2.2, height);
      points.arc(place, height, 2.2, 0, 2 * Math.PI);
    }
  }
  finish();
  return { stroke: dense ? null : stroke, body: dense ? body : null, band, points: sparse ? points : null };
}

/** A scale from values to canvas pixels: x0 + x across, y0 - y below, in a box. */
export function linear(box, x, y) {
  const across = box.width / (x.max - x.min);
  const below = box.height / (y.max - y.min);
  const [x0, y0] = [box.left - x.min * across, box.top + y.max * below];
  return { x0, y0, across, below, from: x.min, to: x.max };
}

// Neighbouring columns meet halfway, else a steep line would fall into pieces.
function join(i, middle) {
  if (middle < low[i]) low[i] = middle;
  if (middle > high[i]) high[i] = middle;
  if (middle < low[i + 1]) low[i + 1] = middle;
  if (middle > high[i + 1]) high[i + 1] = middle;
}

// A band that the line itself covers would be drawn for nothing.
function wider(n, thick) {
  for (let i = 0; i < n; i += 1) if (up[i] < low[i] - thick || down[i] > high[i] + thick) return true;
  return false;
}

function outline(path, n, top, bottom, more, [on, off]) {
  let [start, stop] = [0, n];
  while (start < n) {
    if (on) {
      stop = start + 1;
      while (stop < n && at[stop] - at[start] < on) stop += 1;
    }
    piece(path, start, stop, top, bottom, more);
    if (!on) return;
    const next = at[start] + on + off;
    start = stop;
    while (start < n && at[start] < next) start += 1;
  }
}

function piece(path, start, stop, top, bottom, more) {
  // One point alone: a bar.
  if (stop - start < 2) {
    path.rect(at[start] - 1, top[start] - more, 2, bottom[start] - top[start] + 2 * more);
    return;
  }
  path.moveTo(at[start], top[start] - more);
  for (let i = start + 1; i < stop; i += 1) path.lineTo(at[i], top[i] - more);
  for (let i = stop - 1; i >= start; i -= 1) path.lineTo(at[i], bottom[i] + more);
  path.closePath();
}
