"""Positions, shapes and their standard deviations judged by a simulation that is not the product's.

Nothing of the simulator or the fits is used: profiles are integrated over pixels by quadrature,
derivatives of the bound are differences, and patches are cut where the highest pixel is. The bound
of a row is that of the model which is true there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
from rich.console import Console
from rich.table import Table

from streamer.config import PositionsConfig
from streamer.frames.flags import POOR_FIT, SATURATED, UNTRUSTED
from streamer.frames.peaks import PEAK, SHAPE
from workers.place.methods import make_method
from workers.place.neighbours import Neighbours
from workers.place.refit import doubtful, refit

N_PEAKS = 300
_SIZE, _WIDE = 11, 23
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
JUDGED = ("intensity", "fwhm_major", "fwhm_minor", "angle", "background")
_PLACES = (0, 3, 4, 5, 6)
"""Of those among the parameters: intensity, row, col, both FWHM, angle, background, slopes."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is true of the peaks of a row."""

    name: str
    amplitude: float = 300.0
    background: float = 10.0
    width: float = 1.5
    slope: float = 0.0
    ring: float = 0.0
    gain: float = 1.0
    read_noise: float = 0.0
    edge: bool = False
    gap: bool = False
    dead: bool = False
    clip: float = 1.0
    apart: float = 0.0
    ratio: float = 0.0
    skew: float = 1.0


CASES = (
    *(Case(f"amplitude {a:g} on {b:g}", a, b) for a, b in ((5, 0.02), (30, 0.02), (30, 10))),
    *(Case(f"amplitude {a:g} on {b:g}", a, b) for a, b in ((300, 10), (300, 1e3), (6e4, 10))),
    *(Case(f"width {w:g}", 5000.0, width=w) for w in (0.5, 0.7, 2.5, 4.0)),
    Case("edge", edge=True),
    Case("gap", gap=True),
    Case("dead pixel", dead=True),
    *(Case(f"slope {s:g}", background=40.0, slope=s) for s in (0.5, 1.0, 2.0, 5.0)),
    Case("ring", ring=0.1),
    *(Case(f"gain {g:g}, {r:g}", gain=g, read_noise=r) for g, r in ((0.4, 3), (10, 10), (20, 30))),
    *(Case(f"pair {d:g}, {r:g}", apart=d, ratio=r) for d in (1.5, 2.0, 3.0, 4.0) for r in (0.1, 1)),
    *(Case(f"asymmetric 1:{s:g}", 2000.0, skew=s) for s in (1.3, 2.0)),
    *(Case(f"clipped at {c:g}", 20_000.0, clip=c) for c in (0.4, 0.6, 0.8)),
)


def profile(p, rows, cols, skew=1.0):
    """Expected counts of a peak, (n, rows, cols), from its six parameters, (n, 6)."""
    total, p = 0.0, np.asarray(p)[:, :, None, None]
    wide, thin = p[:, 3] / _FWHM, p[:, 4] / _FWHM
    height = p[:, 0] / (2.0 * np.pi * wide * thin) * 2.0 / (1.0 + skew)
    angle = np.radians(p[:, 5])
    for y, wy in zip(_NODES / 2.0, _WEIGHTS / 2.0, strict=True):
        for x, wx in zip(_NODES / 2.0, _WEIGHTS / 2.0, strict=True):
            dy, dx = rows[:, :, None] + y - p[:, 1], cols[:, None, :] + x - p[:, 2]
            along = dx * np.cos(angle) + dy * np.sin(angle)
            across = dy * np.cos(angle) - dx * np.sin(angle)
            stretched = np.where(along > 0.0, wide * skew, wide)
            r2 = (along / stretched) ** 2 + (across / thin) ** 2
            total = total + wy * wx * height * np.exp(-0.5 * r2)
    return total


def expected(p, rows, cols, case):
    """Counts of all that is in a patch; a neighbour's six parameters come last."""
    mu = profile(p[:, :6], rows, cols, case.skew) + p[:, 6, None, None]
    mu = mu + p[:, 7, None, None] * rows[:, :, None] + p[:, 8, None, None] * cols[:, None, :]
    if case.ring:
        mu = mu + case.ring * case.amplitude * np.exp(-0.5 * (rows[:, :, None] / 1.5) ** 2)
    return mu + profile(p[:, 9:], rows, cols) if case.apart else mu


def draw(case, n, rng):
    """True parameters, counts, and valid pixels of n patches of a case."""
    wide = case.width * rng.uniform(1.05, 1.3, n)
    p = np.zeros((n, 15 if case.apart else 9))
    p[:, 1:3] = rng.uniform(-0.5, 0.5, (n, 2))
    p[:, 3], p[:, 4] = wide * _FWHM, case.width * _FWHM
    p[:, 0] = case.amplitude * 2.0 * np.pi * wide * case.width * 0.5 * (1.0 + case.skew)
    p[:, 5], p[:, 6] = rng.uniform(-90.0, 90.0, n), case.background
    p[:, 7] = case.slope
    if case.slope:
        p[:, 6] = max(case.background, 12.0 * case.slope)
    if case.apart:
        p[:, 9:] = p[:, :6]
        p[:, 9] *= case.ratio
        where = rng.uniform(0.0, 2.0 * np.pi, n)
        p[:, 10] += case.apart * case.width * np.sin(where)
        p[:, 11] += case.apart * case.width * np.cos(where)
    axis = np.broadcast_to(np.arange(_WIDE) - _WIDE // 2.0, (n, _WIDE))
    mu = expected(p, axis, axis, case)
    counts = case.gain * rng.poisson(mu / case.gain) + rng.normal(0.0, case.read_noise, mu.shape)
    near = counts[:, _WIDE // 2 - 2 : _WIDE // 2 + 3, _WIDE // 2 - 2 : _WIDE // 2 + 3]
    top, left = np.divmod(near.reshape(n, -1).argmax(axis=1), 5)
    shift = np.stack([top - 2, left - 2], axis=1)
    if case.ring:
        shift[:, 0] = 0
    p[:, 1:3] -= shift
    p[:, 6] += p[:, 7] * shift[:, 0]
    if case.apart:
        p[:, 10:12] -= shift
        # Asked for is the peak nearest to the patch's middle.
        other = np.hypot(p[:, 10], p[:, 11]) < np.hypot(p[:, 1], p[:, 2])
        p[other, :6], p[other, 9:] = p[other, 9:], p[other, :6]
    at = np.arange(_SIZE) + _WIDE // 2 - _SIZE // 2
    rows, cols = at + shift[:, :1], at + shift[:, 1:]
    cut = counts[np.arange(n)[:, None, None], rows[:, :, None], cols[:, None, :]]
    valid = cut < case.amplitude * case.clip + case.background if case.clip < 1.0 else cut == cut
    valid[:, :3] &= not case.edge
    valid[:, :, 7:9] &= not case.gap
    if case.dead:
        cut[:, 5, 7] = 0.0
    return p, cut.astype(np.float32), valid


def bound(p, valid, case):
    """Cramér-Rao bound, (n, parameters), standard deviations."""
    axis = np.broadcast_to(np.arange(_SIZE) - _SIZE // 2.0, (len(p), _SIZE))
    free = [i for i in range(p.shape[1]) if i not in (7, 8) or case.slope or case.ring]
    slopes = []
    for i in free:
        h = np.zeros_like(p)
        h[:, i] = 1e-4 * np.maximum(np.abs(p[:, i]), 1.0)
        rise = expected(p + h, axis, axis, case) - expected(p - h, axis, axis, case)
        slopes.append(rise / (2.0 * h[:, i, None, None]))
    weight = valid / (case.gain * expected(p, axis, axis, case) + case.read_noise**2)
    if case.dead:
        weight[:, 5, 7] = 0.0
    fisher = np.einsum("inrc,jnrc,nrc->nij", slopes, slopes, weight)
    sigma = np.full(p.shape, np.nan)
    sigma[:, free] = np.sqrt(np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2))
    return sigma


@cache
def _made(method, gain, read_noise):
    told = PositionsConfig(method=method, device="cpu", gain=gain, read_noise=read_noise)
    return make_method(told, 1)


def place(method, case, counts, valid):
    """Place as a run does, the second opinion included."""
    placed = _made(method, case.gain, case.read_noise).place(counts, valid)
    if method == "gaussian":
        return placed
    peaks = np.zeros(len(counts), PEAK)
    peaks["flags"] = SATURATED if case.clip < 1.0 else 0
    again = doubtful(placed, peaks, Neighbours(peaks, [1] * len(counts)))
    fit = _made("gaussian", case.gain, case.read_noise)
    return refit(placed, counts, valid, again, fit)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N_PEAKS
    table = Table(
        "case", "method", "RMSE/bound", "pull", "in 1.96", "silent > 5", "flagged", *JUDGED
    )
    for case in CASES:
        p, counts, valid = draw(case, n, np.random.default_rng(7))
        limit = bound(p, valid, case)
        for method in ("braggnn", "gaussian"):
            got = place(method, case, counts, valid)
            error = np.stack([got.row, got.col], axis=1) - p[:, 1:3]
            sigma = np.stack([got.row_sigma, got.col_sigma], axis=1)
            ok = (got.flags & (POOR_FIT | UNTRUSTED)) == 0
            z = np.abs(error / sigma)
            told = z[ok & np.isfinite(z).all(axis=1)]
            if not len(told):
                table.add_row(case.name, method, "", "", "", "", "1.000")
                continue
            ratio = np.sqrt(np.mean((error[ok] / limit[ok, 1:3]) ** 2))
            parts = [
                f"{ratio:.2f}",
                f"{np.sqrt(np.mean(told**2)):.2f}",
                f"{np.mean(told < 1.96):.3f}",
            ]
            parts += [
                f"{np.mean((z > 5.0).any(axis=1) & (got.flags == 0)):.3f}",
                f"{1.0 - ok.mean():.3f}",
            ]
            for name, i in zip(JUDGED, _PLACES, strict=True):
                if got.shape is None:
                    break
                found, known = got.shape[:, 2 * SHAPE.index(name) :][:, :2].T
                off = found - p[:, i]
                if name == "angle":
                    off = (off + 90.0) % 180.0 - 90.0
                use = ok & np.isfinite(off) & np.isfinite(known) & (known > 0.0)
                if use.any():
                    best = np.sqrt(np.mean((off[use] / limit[use, i]) ** 2))
                    parts.append(
                        f"{best:.2f}, {np.sqrt(np.mean((off[use] / known[use]) ** 2)):.2f}"
                    )
                else:
                    parts.append("")
            table.add_row(case.name, method, *parts)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
