"""Peaks brought to the likelihood's maximum by one plain loop; nothing is the product's.

Sums over pixels are in float32, so that vectors hold twice as many.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tests.benchmarks.floor_find import SIZE
from tests.benchmarks.floor_network import FAST, exponential, prepare

__all__ = ["POOR", "SHAPE", "place"]

SHAPE = (
    "intensity", "background", "fwhm_major", "fwhm_minor", "angle", "eta", "asymmetry",
    "centre_row", "centre_col",
)  # fmt: skip
_F = np.float32
_ZERO, _HALF, _ONE, _TWO = _F(0.0), _F(0.5), _F(1.0), _F(2.0)
_PIXELS, _LANES = SIZE * SIZE, 128
_MIDDLE = SIZE // 2
_MOST = 10
"""Parameters: amplitude, row, column, precisions a, b, c, background, its slopes, one to try."""
_STEPS, _LAST, _WORSE = 8, 0.1, 4.0
_STEEP = 6.0
POOR = 16
_UNTRUSTED = 32
_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _model(rows, cols, p, n_parameters, mu, slopes):
    """Write expected counts and their derivatives."""
    amplitude, row, col = _F(p[0]), _F(p[1]), _F(p[2])
    a, b, c, level = _F(p[3]), _F(p[4]), _F(p[5]), _F(p[6])
    for k in range(_LANES):
        dy, dx = rows[k] - row, cols[k] - col
        slopes[0, k] = exponential(-_HALF * (a * dx * dx + _TWO * b * dx * dy + c * dy * dy))
    for k in range(_LANES):
        mu[k] = level + amplitude * slopes[0, k]
    if n_parameters > 7:
        gy, gx = _F(p[7]), _F(p[8])
        for k in range(_LANES):
            mu[k] = max(mu[k] + gy * rows[k] + gx * cols[k], _F(1e-4))
    for k in range(_LANES):
        slopes[1, k] = amplitude * slopes[0, k] * (b * (cols[k] - col) + c * (rows[k] - row))
    for k in range(_LANES):
        slopes[2, k] = amplitude * slopes[0, k] * (a * (cols[k] - col) + b * (rows[k] - row))
    for k in range(_LANES):
        slopes[3, k] = -_HALF * amplitude * slopes[0, k] * (cols[k] - col) * (cols[k] - col)
    for k in range(_LANES):
        slopes[4, k] = -amplitude * slopes[0, k] * (cols[k] - col) * (rows[k] - row)
    for k in range(_LANES):
        slopes[5, k] = -_HALF * amplitude * slopes[0, k] * (rows[k] - row) * (rows[k] - row)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _score(data, used, mu, slopes, first, n_parameters, gradient, fisher, weighted):
    """Write gradient and Fisher matrix (lower triangle) from the parameter `first` on."""
    for i in range(first, n_parameters):
        for k in range(_LANES):
            weighted[k] = used[k] * slopes[i, k] / mu[k]
        total = _ZERO
        for k in range(_LANES):
            total += weighted[k] * (data[k] - mu[k])
        gradient[i] = total
        for j in range(i + 1):
            total = _ZERO
            for k in range(_LANES):
                total += weighted[k] * slopes[j, k]
            fisher[i, j] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _factorise(fisher, n, factor):
    """Write the Cholesky factor; False where there is none."""
    for i in range(n):
        for j in range(i + 1):
            total = fisher[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j]
            elif total > 1e-6 * fisher[i, i]:
                factor[i, i] = math.sqrt(total)
            else:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(factor, n, x):
    for i in range(n):
        total = x[i]
        for k in range(i):
            total -= factor[i, k] * x[k]
        x[i] = total / factor[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _back(factor, n, x):
    for i in range(n - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * x[k]
        x[i] = total / factor[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(work, p, n):
    """Go up to the maximum; False where the steps do not lead to one."""
    data, used, rows, cols, mu, slopes, weighted, gradient, fisher, factor, step = work
    before = np.inf
    for _ in range(_STEPS):
        _model(rows, cols, p, n, mu, slopes)
        _score(data, used, mu, slopes, 0, n, gradient, fisher, weighted)
        if not _factorise(fisher, n, factor):
            return False
        step[:n] = gradient[:n]
        _forward(factor, n, step)
        gain = 0.0
        for i in range(n):
            gain += step[i] * step[i]
        _back(factor, n, step)
        share = 1.0
        while not _possible(p, step, share, n):
            share *= 0.5
            if share < 1e-3:
                return False
        for i in range(n):
            p[i] += share * step[i]
        if not gain < _WORSE * before:
            return False
        if gain < _LAST:
            return True
        before = gain
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _possible(p, step, share, n):
    amplitude, background = p[0] + share * step[0], p[6] + share * step[6]
    a, b, c = p[3] + share * step[3], p[4] + share * step[4], p[5] + share * step[5]
    furthest = max(abs(p[1] + share * step[1]), abs(p[2] + share * step[2]))
    root = math.hypot(0.5 * (a - c), b)
    flattest, sharpest = 0.5 * (a + c) - root, 0.5 * (a + c) + root
    shaped = flattest > 1.0 / _PIXELS and sharpest < 11.0
    return amplitude > 0.0 and background > 1e-4 and furthest < 7.5 and shaped


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _begin(data, used, rows, cols, level, p):
    """Take height and shape from the moments about a place, in a window 2 px wide."""
    total = down = right = rr = rc = cc = _ZERO
    row, col, ground = _F(p[1]), _F(p[2]), _F(level)
    for k in range(_LANES):
        dy, dx = rows[k] - row, cols[k] - col
        w = used[k] * exponential(-_F(0.125) * (dy * dy + dx * dx)) * (data[k] - ground)
        total += w
        down += w * dy
        right += w * dx
        rr += w * dy * dy
        rc += w * dy * dx
        cc += w * dx * dx
    a, b, c, height = 0.44, 0.0, 0.44, math.sqrt(max(level, 0.1))
    if total > 0.0:
        vy = rr / total - (down / total) ** 2
        vx = cc / total - (right / total) ** 2
        both = rc / total - down * right / total**2
        det = vy * vx - both * both
        if det > 0.0 and vy > 0.0:
            a, b, c = vy / det - 0.25, -both / det, vx / det - 0.25
        mean, root = 0.5 * (a + c), math.hypot(0.5 * (a - c), b)
        high, low = min(max(mean + root, 0.1), 2.5), min(max(mean - root, 0.1), 2.5)
        stretch = 0.5 * (high - low) / root if root > 0.0 else 0.0
        half = 0.5 * stretch * (a - c)
        b *= stretch
        a, c = 0.5 * (high + low) + half, 0.5 * (high + low) - half
        wide = math.sqrt((a + 0.25) * (c + 0.25) - b * b)
        height = max(height, total * wide / (2.0 * math.pi))
    p[0], p[3], p[4], p[5], p[6] = height, a, b, c, max(level, 0.05)


@njit(cache=True, nogil=True, error_model="numpy")
def _level(patch, valid):
    """Median of the border."""
    border, n = np.empty(4 * SIZE, np.float32), 0
    for i in range(SIZE):
        for j in range(0, SIZE, 1 if i in (0, SIZE - 1) else SIZE - 1):
            if valid[i, j]:
                place = n
                while place > 0 and border[place - 1] > patch[i, j]:
                    border[place] = border[place - 1]
                    place -= 1
                border[place] = patch[i, j]
                n += 1
    return 0.5 * (float(border[(n - 1) // 2]) + float(border[n // 2])) if n else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(counts, valid, answers, guess, turns, placed, flags, shape):
    """Fill the (n, 4) rows, columns and their sigmas, the flags and the shapes of patches."""
    data, used = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    rows, cols = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    for k in range(_PIXELS):
        rows[k], cols[k] = k // SIZE - _MIDDLE, k % SIZE - _MIDDLE
    mu, weighted = np.empty(_LANES, np.float32), np.empty(_LANES, np.float32)
    slopes = np.empty((_MOST, _LANES), np.float32)
    slopes[6] = _ONE
    gradient, step = np.empty(_MOST), np.empty(_MOST)
    fisher, factor = np.empty((_MOST, _MOST)), np.empty((_MOST, _MOST))
    work = (data, used, rows, cols, mu, slopes, weighted, gradient, fisher, factor, step)
    inverse, p, level_p = np.empty((_MOST, _MOST)), np.zeros(_MOST), np.zeros(_MOST)
    for k in range(len(counts)):
        swap = turns[k] & 4
        for axis in range(2):
            at = 1 - axis if swap else axis
            turned = turns[k] & (2 if axis else 1)
            placed[k, axis] = -answers[k, at] if turned else answers[k, at]
            log = min(max(answers[k, 2 + at], -6.0), 6.0)
            placed[k, 2 + axis] = guess[k] * math.exp(log)
        unlike = turns[k] < 0 or answers[k, 4] > 0.0
        flags[k] = POOR if unlike else 0
        shape[k] = np.nan
        usable = 0
        for i in range(SIZE):
            for j in range(SIZE):
                data[SIZE * i + j] = counts[k, i, j]
                used[SIZE * i + j] = valid[k, i, j]
                usable += valid[k, i, j]
        height, beside = counts[k, _MIDDLE, _MIDDLE], _ZERO
        level = _level(counts[k], valid[k])
        for i in range(_MIDDLE - 1, _MIDDLE + 2):
            for j in range(_MIDDLE - 1, _MIDDLE + 2):
                if valid[k, i, j] and (i != _MIDDLE or j != _MIDDLE):
                    beside = max(beside, counts[k, i, j])
        alone = height - level > 30.0 and beside - level < 0.08 * (height - level)
        p[1], p[2] = placed[k, 0], placed[k, 1]
        n = 7
        if usable <= n or alone:
            continue
        _begin(data, used, rows, cols, level, p)
        if not _climb(work, p, n):
            continue
        slopes[7], slopes[8] = rows, cols
        _score(data, used, mu, slopes, 7, 9, gradient, fisher, weighted)
        if _factorise(fisher, 9, factor):
            step[:] = gradient
            _forward(factor, 9, step)
            if step[7] ** 2 + step[8] ** 2 > _STEEP:
                level_p[:] = p
                p[7] = p[8] = 0.0
                n = 9
                if not _climb(work, p, n):
                    p[:] = level_p
                    n = 7
                    _climb(work, p, n)
        chi2 = 0.0
        for q in range(_PIXELS):
            chi2 += used[q] * (data[q] - mu[q]) ** 2 / mu[q]
        freedom = usable - n
        excess = ((chi2 / freedom) ** (1.0 / 3.0) - 1.0 + 2.0 / (9.0 * freedom)) / math.sqrt(
            2.0 / (9.0 * freedom)
        )
        _factorise(fisher, n, factor)
        for i in range(n):
            inverse[i, :n] = 0.0
            inverse[i, i] = 1.0
            _forward(factor, n, inverse[i])
            _back(factor, n, inverse[i])
        placed[k, 0], placed[k, 1] = p[1], p[2]
        placed[k, 2], placed[k, 3] = math.sqrt(inverse[1, 1]), math.sqrt(inverse[2, 2])
        far = max(abs(p[1]), abs(p[2]))
        flags[k] = POOR if (unlike and far <= 1.0) or excess > 3.29 else 0
        if far > 2.0:
            flags[k] |= _UNTRUSTED
        _describe(work, p, n, usable, inverse, shape[k])


@njit(cache=True, nogil=True, error_model="numpy")
def _along(v, x, y, z):
    """Return the variance of a sum of the three precisions."""
    total = x * x * v[3, 3] + y * y * v[4, 4] + z * z * v[5, 5]
    return total + 2.0 * (x * y * v[3, 4] + x * z * v[3, 5] + y * z * v[4, 5])


@njit(cache=True, nogil=True, error_model="numpy")
def _describe(work, p, n, usable, v, shape):
    """Write what a peak looks like, each quantity with its standard deviation."""
    data, used, rows, cols, mu, slopes, weighted, gradient, fisher, factor, step = work
    a, b, c = p[3], p[4], p[5]
    det = a * c - b * b
    volume = 2.0 * math.pi / math.sqrt(det)
    intensity = p[0] * volume
    step[:] = 0.0
    step[0] = volume
    by_det = -0.5 * intensity / det
    step[3], step[4], step[5] = by_det * c, -2.0 * by_det * b, by_det * a
    total = 0.0
    for i in range(6):
        for j in range(6):
            total += step[i] * step[j] * v[i, j]
    shape[0], shape[1] = intensity, math.sqrt(total)
    shape[2], shape[3] = p[6], math.sqrt(v[6, 6] + 1.0 / usable**2)
    mean, root = 0.5 * (a + c), math.hypot(0.5 * (a - c), b)
    angle = 0.5 * math.atan2(-2.0 * b, c - a)
    x, y = math.cos(angle), math.sin(angle)
    for at, value, e, f in ((4, mean - root, x, y), (6, mean + root, -y, x)):
        width2 = 1.0 / value - 1.0 / 12.0
        if width2 > 0.0:
            width = math.sqrt(width2)
            spread = math.sqrt(_along(v, e * e, 2.0 * e * f, f * f))
            shape[at], shape[at + 1] = _FWHM * width, _FWHM * 0.5 / (width * value**2) * spread
    turn = math.sqrt(_along(v, -x * y, x * x - y * y, x * y)) / max(2.0 * root, 1e-30)
    if turn < 0.2:
        shape[8], shape[9] = math.degrees(angle), math.degrees(turn)
    # A Gaussian has no Lorentzian share; the asymmetry is one more parameter, tried at 0.
    for k in range(_LANES):
        u = (cols[k] - _F(p[2])) * _F(x) + (rows[k] - _F(p[1])) * _F(y)
        slopes[n, k] = _F(p[0] * (mean - root)) * slopes[0, k] * u * abs(u)
    _score(data, used, mu, slopes, n, n + 1, gradient, fisher, weighted)
    if _factorise(fisher, n + 1, factor):
        step[:] = gradient
        _forward(factor, n + 1, step)
        sigma = 1.0 / factor[n, n]
        if sigma < 0.5 and abs(step[n] * sigma) < 1.0:
            shape[12], shape[13] = step[n] * sigma, sigma
    down = right = down2 = right2 = held_down = held_right = 0.0
    for k in range(_PIXELS):
        dy, dx = rows[k] - p[1], cols[k] - p[2]
        if used[k] > 0.0 and a * dx * dx + 2.0 * b * dx * dy + c * dy * dy < 9.0:
            more = data[k] - mu[k]
            down += dy * more
            right += dx * more
            down2 += dy * dy * mu[k]
            right2 += dx * dx * mu[k]
            held_down += dy * slopes[1, k]
            held_right += dx * slopes[2, k]
    beyond_down = max(1.0 - (held_down / intensity) ** 2, 0.0) * v[1, 1]
    beyond_right = max(1.0 - (held_right / intensity) ** 2, 0.0) * v[2, 2]
    shape[14] = p[1] + down / intensity
    shape[15] = math.sqrt(down2 / intensity**2 + beyond_down)
    shape[16] = p[2] + right / intensity
    shape[17] = math.sqrt(right2 / intensity**2 + beyond_right)


def place(network, counts, valid):
    """Return (n, 4) offsets and sigmas, (n,) flags and (n, 18) shapes of peaks in patches."""
    n = len(counts)
    x, guess, turns = prepare(counts, valid)
    placed, flags = np.empty((n, 4)), np.empty(n, np.int32)
    shape = np.empty((n, 2 * len(SHAPE)))
    _fit(counts, valid, network(x), guess, turns, placed, flags, shape)
    return placed, flags, shape
