"""The compiled heart of the fits: one patch after the other into a row of a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.border import border_level
from workers.place.fit.beginning import begin
from workers.place.fit.fisher_matrix import invert
from workers.place.fit.fisher_scoring import fisher_scoring, narrow, settle
from workers.place.fit.goodness import goodness
from workers.place.fit.joint import (
    add_peak,
    are_apart,
    nearest,
    position_covariance,
    put_known,
)
from workers.place.fit.likelihood import (
    GAUSSIAN,
    LEVEL,
    PSEUDO_VOIGT,
    TILTED,
    Workspace,
    gather,
)
from workers.place.fit.residuals import bump, drop_dead, tails, tilt, warp
from workers.place.fit.shape import describe

__all__ = ["EXCESS", "FITTED", "STEEP", "conclude", "fit_patches"]

EXCESS = 3.29
"""Largest `Fits.excess` of a good fit: of clean single peaks, 1 in 2000 lies above."""
_SUSPECT = 2.0
"""`excess` above which tails or another peak are looked for: 2 % of clean single peaks."""
STEEP = 6.0
"""`tilt` from which the background has slopes: 5 % of level ones (chi-square of 2), whom that costs
a few per cent of their precision."""
_CLEAR = 0.0
"""`excess` below which nothing else is looked for, which saves half of the time of looking: the
deviance that another peak explains is 2 standard deviations of all, and hides 1 in 50."""
_SURE = 200.0
"""By how much peaks that are known to be there must lower the deviance, for no other model to be
asked: tails, and what else could be said for one peak alone, are worth less."""
_NEARLY = 10.0
"""By how much another peak must lower the deviance for there to be doubt whether it is there."""
_DOUBT, _EVIDENT = 0.5, 60.0
"""Where one peak and two are both likely, the position's standard deviation has half of the
distance between both answers, and the less of it the more evidence there is beyond the second
number. Spots of real crystals, which are no Gaussians, are taken for one peak in one half of their
photons and for two in the other with evidence of 31 to 100."""
_WARPED = 21.7
"""`warp` above which another peak is looked for: 1 % of clean single peaks (chi-square of 9)."""
_BULGED = 3.4
"""`bump` above which another peak is looked for: 1 % of clean single peaks."""
_TAILED = 10.8
"""By how much tails must lower the deviance: by chance with probability 0.1 % (chi-square of 1)."""
_SECOND_ORDER = 8.0
"""The inverse Fisher matrix is the first term of the covariance of a maximum-likelihood estimate,
in powers of the position's variance over the peak's squared width. This is the second term's
factor, measured on 36 x 20,000 simulated peaks: 6 to 10 where the term matters, for amplitudes of
0.4 to 8 times the background."""
_UNKNOWN = 0.25
"""Ratio of these two from which there is no telling whether there is a peak."""
FITTED = np.dtype(
    [
        (name, np.float64)
        for name in (
            "amplitude",
            "row",
            "col",
            "a",
            "b",
            "c",
            "eta",
            "background",
            "row_variance",
            "covariance",
            "col_variance",
            "excess",
        )
    ]
    + [(name, np.int64) for name in ("n_peaks", "converged")]
)
"""What is known of a fitted patch; see `workers.place.fit.methods.Fits`."""


@njit(cache=True, nogil=True, error_model="numpy")
def fit_patches(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    neighbours: NDArray[np.bool_],
    others: NDArray[np.float64],
    work: Workspace,
    gain: float,
    variance: float,
    each: int,
    max_peaks: int,
    table: NDArray[np.void],
    shape: NDArray[np.float64],
    single: NDArray[np.float64],
) -> None:
    """Fit peaks to each patch and fill its row of `table`, of dtype `FITTED`.

    Parameters
    ----------
    patches, valid, neighbours, others, max_peaks
        See `workers.place.fit.methods.fit_gaussian`.
    work
        Memory for patches of this size.
    gain, variance
        Of the noise, see `workers.place.fit.likelihood`.
    each
        `GAUSSIAN` or `PSEUDO_VOIGT`.
    table
        (n,), filled with zeros.
    shape, single
        (n, 2 * len(SHAPE)) and (n, 5), filled with NaN; see `workers.place.base.Positions`.
    """
    n, size, _ = patches.shape
    best = work.best
    for i in range(n):
        row = table[i]
        row.row_variance = row.covariance = row.col_variance = math.nan
        m = gather(work, patches[i], valid[i], gain > 0.0 and variance == 0.0)
        work.ground[0] = LEVEL
        begin(work, m, border_level(patches[i], valid[i]), gain, variance)
        converged, loss, _ = fisher_scoring(work, m, 1, GAUSSIAN, size, gain, variance)
        alive = drop_dead(work, m, gain, variance) if converged else m
        if alive < m:
            m = alive
            converged, loss, _ = fisher_scoring(work, m, 1, GAUSSIAN, size, gain, variance)
        beside = others[i, : max_peaks - 1]
        if converged and len(beside) > 0 and math.isfinite(beside[0, 0]):
            _note_single(work, GAUSSIAN, loss, single[i])
            n_peaks, excess = _fit_known(
                work, m, patches[i], beside, each, size, gain, variance, single[i]
            )
            if n_peaks > 1:
                row.excess, row.n_peaks = excess, n_peaks
                conclude(work, m, n_peaks, each, size, gain, variance, row, shape[i])
                _doubt(row, single[i])
                continue
            single[i] = math.nan
        n_peaks, kind = 1, each
        tilted, on_slope = False, math.inf
        if converged and not neighbours[i] and tilt(work, m, gain, variance) > STEEP:
            work.points.level[:] = best
            work.ground[0] = TILTED
            best[GAUSSIAN + 1 : GAUSSIAN + TILTED] = 0.0
            tilted, lower, _ = fisher_scoring(work, m, 1, GAUSSIAN, size, gain, variance)
            tilted &= loss - lower > STEEP
            if tilted:
                work.points.tilted[:] = best
                on_slope = goodness(work, m, GAUSSIAN + TILTED, gain, variance)[2]
            else:
                best[:] = work.points.level
                work.ground[0] = LEVEL
                settle(work, m, 1, GAUSSIAN, size, gain, variance)
        _, _, excess = goodness(work, m, GAUSSIAN + work.ground[0], gain, variance)
        suspect = neighbours[i] or not converged or excess > _SUSPECT
        if max_peaks > 1 and each == GAUSSIAN and not suspect and excess > _CLEAR:
            suspect = warp(work, m, gain, variance) > _WARPED
            suspect = suspect or bump(work, m, size, gain, variance)[0] > _BULGED
        if tilted and suspect:
            # Whatever else there may be is looked for on level ground: its flank may be the slope.
            best[:] = work.points.level
            work.ground[0] = LEVEL
            settle(work, m, 1, GAUSSIAN, size, gain, variance)
            _, _, excess = goodness(work, m, GAUSSIAN + LEVEL, gain, variance)
        plain = tilted and not suspect
        tailed = (each == PSEUDO_VOIGT and not plain) or (
            converged and suspect and max_peaks > 1 and tails(work, m, gain, variance) > _TAILED / 2
        )
        if tailed:
            work.points.candidate[:] = best
            best[7], best[6] = best[6], 0.2
            tailed, other, _ = fisher_scoring(work, m, 1, PSEUDO_VOIGT, size, gain, variance)
            if each == PSEUDO_VOIGT:
                converged, loss = tailed, other
            elif tailed and loss - other > _TAILED:
                # Tails are not a second peak: two Gaussians must do better than one pseudo-Voigt.
                loss, kind = other, PSEUDO_VOIGT
                work.points.tailed[:] = best
            if kind == PSEUDO_VOIGT:
                _, _, excess = goodness(work, m, kind + 1, gain, variance)
                suspect = excess > _SUSPECT or neighbours[i] or not converged
            if each == GAUSSIAN and (kind == GAUSSIAN or suspect):
                best[:] = work.points.candidate
                settle(work, m, 1, each, size, gain, variance)
        if suspect and converged and max_peaks > 1:
            _note_single(work, kind, loss, single[i])
        doubt = False
        while suspect and n_peaks < max_peaks:
            accepted, loss, explained = add_peak(work, m, n_peaks, each, size, gain, variance, loss)
            if not accepted:
                doubt = n_peaks == 1 and explained > _NEARLY
                if doubt:
                    other = nearest(work.points.candidate, 2, each)
                    single[i, :2] = work.points.candidate[other + 1 : other + 3]
                    single[i, 4] = explained
                break
            converged, n_peaks, kind = True, n_peaks + 1, each
            _, _, excess = goodness(work, m, n_peaks * each + 1, gain, variance)
            suspect = excess > EXCESS
        if n_peaks == 1 and plain:
            kind = GAUSSIAN
        elif n_peaks == 1 and tilted and on_slope < excess:
            kind, excess, work.ground[0] = GAUSSIAN, on_slope, TILTED
            best[:] = work.points.tilted
            settle(work, m, 1, kind, size, gain, variance)
        elif n_peaks == 1 and kind != each:
            best[:] = work.points.tailed
            settle(work, m, 1, kind, size, gain, variance)
        if n_peaks > 1:
            single[i, 4] -= loss
        elif not doubt:
            single[i] = math.nan
        row.excess, row.n_peaks = excess, n_peaks
        if converged:
            conclude(work, m, n_peaks, kind, size, gain, variance, row, shape[i])
            _doubt(row, single[i])
        if n_peaks == 1:
            single[i] = math.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _note_single(work: Workspace, kind: int, loss: float, single: NDArray[np.float64]) -> None:
    """Keep what one peak alone would be, with its loss in place of the evidence for more."""
    single[0], single[1], single[4] = work.best[1], work.best[2], loss
    single[2] = single[3] = math.nan
    if invert(work, kind + 1):
        single[2], single[3] = math.sqrt(work.inverse[1, 1]), math.sqrt(work.inverse[2, 2])


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_known(
    work: Workspace,
    m: int,
    patch: NDArray[np.float32],
    others: NDArray[np.float64],
    each: int,
    size: int,
    gain: float,
    variance: float,
    single: NDArray[np.float64],
) -> tuple[int, float]:
    """Fit a peak with those that are known to be beside it, after it was fitted alone.

    Where they explain the counts, `single` is told how much better that is, and `best`, `expected`
    and `fisher` are theirs. Otherwise all is as it was.

    Returns
    -------
    n_peaks, excess
        1 peak where the counts are not explained.
    """
    work.points.level[:] = work.best
    n_peaks = put_known(work, patch, others, each)
    known, loss, _ = fisher_scoring(work, m, n_peaks, each, size, gain, variance)
    if known and single[4] - loss > _SURE and are_apart(work, n_peaks, each):
        _, _, excess = goodness(work, m, n_peaks * each + 1, gain, variance)
        if excess < _SUSPECT:
            single[4] -= loss
            return n_peaks, excess
    work.best[:] = work.points.level
    settle(work, m, 1, GAUSSIAN, size, gain, variance)
    return 1, math.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _doubt(row: Any, other: NDArray[np.float64]) -> None:
    """Widen a position's variances by as much doubt as there is about how many peaks there are.

    Parameters
    ----------
    other
        Where the other number of peaks has this one, and last the evidence for more; NaN where
        there is no doubt.
    """
    if other[4] > 0.0:
        doubt = _DOUBT * min(1.0, (_EVIDENT / other[4]) ** 2)
        down, right = doubt * (other[0] - row.row), doubt * (other[1] - row.col)
        row.row_variance += down * down
        row.col_variance += right * right
        row.covariance += down * right


@njit(cache=True, nogil=True, error_model="numpy")
def conclude(
    work: Workspace,
    m: int,
    n_peaks: int,
    kind: int,
    size: int,
    gain: float,
    variance: float,
    row: Any,
    shape: NDArray[np.float64],
) -> None:
    """Write what was fitted to a row of the table and to one of shapes, if there is a peak."""
    best, last = work.best, n_peaks * kind
    first = nearest(best, n_peaks, kind)
    fine = narrow(work, n_peaks, kind)
    # A background that came out at its limit is not known any better for that.
    work.fixed[last : last + work.ground[0]] = False
    if not invert(work, last + work.ground[0]):
        return
    describe(work, m, n_peaks, kind, first, fine, gain, variance, shape)
    along_rows, both, along_cols = position_covariance(
        work, m, n_peaks, kind, size, gain, variance, first
    )
    det = best[first + 3] * best[first + 5] - best[first + 4] ** 2
    faint = math.sqrt(max(along_rows * along_cols - both * both, 0.0) * det)
    if not faint < _UNKNOWN:
        shape[:] = math.nan
        return
    row.amplitude, row.row, row.col = best[first], best[first + 1], best[first + 2]
    row.a, row.b, row.c = best[first + 3], best[first + 4], best[first + 5]
    row.eta = best[first + 6] if kind == PSEUDO_VOIGT else 0.0
    row.background = best[last]
    correction = 1.0 + _SECOND_ORDER * faint
    row.row_variance, row.col_variance = correction * along_rows, correction * along_cols
    row.covariance, row.converged = correction * both, 1
