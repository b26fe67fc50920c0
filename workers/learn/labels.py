"""Recorded peaks that a conventional fit has placed: to learn from, and to be judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError
from streamer.simulator.patches import Peaks, expected_counts
from workers.detect.survey import Observations
from workers.place.base import PATCH_SIZE, TRAINED_PX
from workers.place.fit.fisher_scoring import NARROW
from workers.place.fit.methods import EXCESS, Noise, fit_gaussian

__all__ = ["Labels", "draw_like", "held_out", "integrated_counts", "label"]

_LARGEST_SIGMA = 0.25
"""Pixels; where a fit knows less than this about a position, its label teaches nothing."""
_SCATTER = 0.2
"""By how much the logarithms of amplitude and background are spread when peaks are drawn anew."""
_LEAST_BACKGROUND = 0.01
"""Counts; a fit may find none at all, but some pixel must be the lowest."""
_NODES = ((-math.sqrt(0.6) / 2, 5 / 18), (0.0, 8 / 18), (math.sqrt(0.6) / 2, 5 / 18))
"""3-point Gauss-Legendre rule on a pixel from -0.5 to 0.5."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Clean peaks of a recording, and what the fit says of them; n of each."""

    frame: NDArray[np.int64]
    """(n,), number of the frame."""
    pixel: NDArray[np.int32]
    """(n, 2), row and column of the peak's brightest pixel."""
    counts: NDArray[np.float32]
    """(n, size, size)."""
    valid: NDArray[np.bool_]
    offsets: NDArray[np.float64]
    """(n, 2) pixels, row and column from the centre of the middle pixel."""
    sigma: NDArray[np.float64]
    """(n, 2) pixels, their standard deviations."""
    peaks: Peaks
    """What was fitted."""

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Labels:
        """Return some of them."""
        arrays = {name: getattr(self, name)[which] for name in Labels.__slots__ if name != "peaks"}
        return Labels(**arrays, peaks=_take(self.peaks, which))


def label(observations: Observations, noise: Noise, size: int = PATCH_SIZE) -> Labels:
    """Fit the peaks that were found and keep those whose fit can be believed.

    Nothing may be wrong with the patch (edge, masked pixels, neighbour, saturation): what such
    patches need is learnt from simulated ones, whose truth is known. One peak, a Gaussian or where
    the counts demand it a pseudo-Voigt, must explain the counts, stand in the range that networks
    answer in, and be bright enough to be placed.

    Raises
    ------
    UserError
        The noise is none.
    """
    clean = np.flatnonzero(observations.peaks["flags"] == 0)
    counts, valid = observations.counts[size][clean], observations.valid[size][clean]
    fits = fit_gaussian(counts, valid, noise, max_peaks=2)
    offsets = np.stack([fits.row, fits.col], axis=1)
    sigma = np.sqrt(np.diagonal(fits.covariance, axis1=1, axis2=2))
    with np.errstate(invalid="ignore"):
        good = fits.converged & (fits.n_peaks == 1) & (fits.excess <= EXCESS)
        good &= (np.abs(offsets) <= TRAINED_PX).all(axis=1) & (sigma < _LARGEST_SIGMA).all(axis=1)
    peaks = observations.peaks[clean]
    fitted = Peaks(
        row=fits.row,
        col=fits.col,
        amplitude=fits.amplitude,
        background=np.maximum(fits.background, _LEAST_BACKGROUND),
        major=fits.sigma_major,
        minor=fits.sigma_minor,
        angle=fits.angle,
        eta=fits.eta,
    )
    pixel = np.stack([peaks["row"], peaks["col"]], axis=1)
    found = Labels(observations.frame[clean], pixel, counts, valid, offsets, sigma, fitted)
    return found.take(good)


def held_out(frame: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose the peaks to keep for the judgement: those of one unbroken stretch of frames.

    Neighbouring frames show the same spots at nearly the same places, with other noise. Held out
    one by one, frames would have twins among those that are learnt from, and what was only learnt
    by heart would look like skill. A stretch has twins at its two ends alone; within it spots have
    drifted, appeared and gone.

    Parameters
    ----------
    frame
        (n,), frame of each peak, ascending.
    share
        Part of the peaks to hold out, as near as whole frames allow.
    rng
        Chooses among stretches that fit alike.

    Returns
    -------
    NDArray
        (n,), True where a peak is held out; neither all nor none.

    Raises
    ------
    UserError
        There are fewer than two frames with peaks.
    """
    numbers, counts = np.unique(frame, return_counts=True)
    if len(numbers) < 2:
        raise UserError(
            "clean peaks on fewer than two frames: one part is to learn from, another to be judged "
            "by; take more frames (train.frames), or a longer recording"
        )
    upto = np.concatenate([[0], np.cumsum(counts)])
    target = share * len(frame)
    first = np.arange(len(numbers))
    last = np.maximum(np.searchsorted(upto, upto[first] + target), first + 1)
    last = np.minimum(last, len(numbers))
    size = upto[last] - upto[first]
    misfit = np.where(size < len(frame), np.abs(np.log(size / target)), np.inf)
    start = rng.choice(np.flatnonzero(misfit <= misfit.min() + 0.2))
    return np.asarray(np.isin(frame, numbers[start : last[start]]))


def draw_like(fitted: Peaks, n: int, reach: float, rng: np.random.Generator) -> Peaks:
    """Draw `n` peaks like those that were fitted, their centres anew: a parametric bootstrap.

    Each is one of those, so that brightness, background, widths and direction belong together as
    they do on the detector, a little brighter or fainter.

    Parameters
    ----------
    fitted
        At least one.
    reach
        Furthest distance of the centre from that of the middle pixel along each axis, in pixels.
    """
    drawn = _take(fitted, rng.integers(0, len(fitted), n))
    row, col = rng.uniform(-reach, reach, (2, n))
    brighter, lighter = np.exp(_SCATTER * rng.standard_normal((2, n)))
    return replace(
        drawn,
        row=row,
        col=col,
        amplitude=drawn.amplitude * brighter,
        background=drawn.background * lighter,
    )


def integrated_counts(peaks: Peaks, size: int) -> NDArray[np.float64]:
    """Return counts without noise, (n, size, size), narrow peaks integrated over the pixels."""
    counts = expected_counts(peaks, size)
    narrow = np.flatnonzero(np.minimum(peaks.major, peaks.minor) < NARROW)
    if len(narrow):
        few = _take(peaks, narrow)
        counts[narrow] = sum(
            down * along * expected_counts(replace(few, row=few.row - y, col=few.col - x), size)
            for y, down in _NODES
            for x, along in _NODES
        )
    return counts


def _take(peaks: Peaks, which: NDArray[np.bool_] | NDArray[np.intp]) -> Peaks:
    return Peaks(**{name: getattr(peaks, name)[which] for name in Peaks.__slots__})
