"""Conventional fits of peaks, with standard deviations: what the counts can tell, and how well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError
from streamer.frames.flags import NEIGHBOUR, POOR_FIT, UNTRUSTED
from streamer.frames.peaks import SHAPE
from workers.place.base import PATCH_SIZE, Positions
from workers.place.fit.kernel import EXCESS, FITTED, fit_patches
from workers.place.fit.likelihood import GAUSSIAN, MAX_PEAKS, PSEUDO_VOIGT, workspace
from workers.place.fit.polish import polish_patches

__all__ = [
    "EXCESS",
    "FIT_TRUSTED_PX",
    "Fits",
    "GaussianFit",
    "Noise",
    "PseudoVoigtFit",
    "fit_gaussian",
    "fit_pseudo_voigt",
    "flags_of",
    "polish",
    "polish_table",
]

FIT_TRUSTED_PX = 2.0
"""Distance in pixels from the middle pixel's centre, along each axis, up to which fits are trusted:
they are at the statistical limit there and beyond, but what stands so far from its highest pixel
may be another peak. Networks are trusted in a smaller range, `workers.place.base.TRAINED_PX`."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How counts scatter: ``variance = gain*max(mu, 0) + read_noise**2``; a photon counter's.

    Raises
    ------
    UserError
        Without noise there is nothing to weigh counts by.
    """

    gain: float = 1.0
    """Counts per photon; 0 for noise that does not grow with the counts."""
    read_noise: float = 0.0
    """Standard deviation in counts of a pixel without photons."""

    def __post_init__(self) -> None:
        possible = self.gain >= 0.0 and self.read_noise >= 0.0
        if not (possible and 0.0 < self.gain + self.read_noise < math.inf):
            raise UserError(
                f"gain {self.gain} with read noise {self.read_noise}: "
                "neither may be negative and one must be above 0"
            )


@dataclass(frozen=True, slots=True)
class Fits:
    """The fitted peaks of n patches; each array (n,) unless said otherwise.

    Where several peaks were fitted together, of the one nearest to the patch's middle.
    """

    amplitude: NDArray[np.float64]
    """Counts above the background at the centre."""
    row: NDArray[np.float64]
    """Offset in pixels from the centre of the patch's middle pixel; 0 where nothing was found."""
    col: NDArray[np.float64]
    sigma_major: NDArray[np.float64]
    """Widths in pixels: Gaussian standard deviation, for pseudo-Voigt the same share of the full
    width at half maximum."""
    sigma_minor: NDArray[np.float64]
    angle: NDArray[np.float64]
    """Of the major axis to the column axis, in radians, towards growing rows; -pi/2 to pi/2."""
    eta: NDArray[np.float64]
    """Mixing: 0 Gaussian, 1 Lorentzian."""
    background: NDArray[np.float64]
    """Counts per pixel."""
    covariance: NDArray[np.float64]
    """(n, 2, 2) pixels squared, of row and col; NaN where the fit did not converge."""
    excess: NDArray[np.float64]
    """Poisson deviance, for other noise Pearson's chi-square, above what is to be expected, in
    standard deviations: about standard normal."""
    n_peaks: NDArray[np.int64]
    converged: NDArray[np.bool_]
    """Whether a maximum was reached that is a peak; nothing else holds where not."""
    shape: NDArray[np.float64]
    """(n, 2 * len(SHAPE)), see `workers.place.base.Positions`."""
    single: NDArray[np.float64]
    """(n, 5), see `workers.place.base.Positions`."""

    def __len__(self) -> int:
        return len(self.row)


def fit_gaussian(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    noise: Noise | None = None,
    neighbours: NDArray[np.bool_] | None = None,
    max_peaks: int = MAX_PEAKS,
) -> Fits:
    """Fit rotated Gaussians on a constant background, by maximum likelihood.

    Pixels are integrated over where a width is below 0.7 px. Where one peak does not explain the
    counts, two and then three are fitted together and kept if the counts demand it, see
    `workers.place.fit.joint.ACCEPTED`.

    Parameters
    ----------
    patches
        (n, size, size) raw counts; size is odd, n may be 0.
    valid
        Same shape, False where a pixel must not be used. Pixels that are not finite count as
        invalid too.
    noise
        Of the detector; a photon counter unless said otherwise.
    neighbours
        (n,), True where another peak is known to be in the patch.
    max_peaks
        Peaks to fit at most in a patch, 1 to 3.
    """
    return _fit(patches, valid, noise or Noise(), neighbours, max_peaks, GAUSSIAN)


def polish(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    places: NDArray[np.float64],
    noise: Noise | None = None,
) -> Fits:
    """Fit one Gaussian to each patch, from where it is known to stand roughly.

    The answer is that of `fit_gaussian` with `max_peaks` 1 within a tenth of a standard deviation,
    in half of the time.

    Parameters
    ----------
    places
        (n, 2), offsets along rows and columns from the middle pixel's centre, in pixels.
    patches, valid, noise
        See `fit_gaussian`.
    """
    spoilt = np.zeros(len(patches), np.bool_)
    table, shape = polish_table(patches, valid, places, spoilt, noise or Noise())
    return _as_fits(table, shape, np.full((len(table), 5), np.nan))


def polish_table(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    places: NDArray[np.float64],
    spoilt: NDArray[np.bool_],
    noise: Noise,
) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """Return what `polish` finds as (n,) of `workers.place.fit.kernel.FITTED`, and shapes.

    Parameters
    ----------
    spoilt
        (n,), see `workers.place.fit.polish.polish_patches`.
    """
    table, shape, _ = _empty(len(patches))
    polish_patches(
        np.ascontiguousarray(patches, np.float32),
        np.ascontiguousarray(valid, np.bool_),
        np.ascontiguousarray(places, np.float64),
        spoilt,
        workspace(patches.shape[1]),
        float(noise.gain),
        float(noise.read_noise) ** 2,
        table,
        shape,
    )
    return table, shape


def fit_pseudo_voigt(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    noise: Noise | None = None,
    neighbours: NDArray[np.bool_] | None = None,
    max_peaks: int = MAX_PEAKS,
) -> Fits:
    """Fit rotated pseudo-Voigt peaks, starting from Gaussian ones; see `fit_gaussian`."""
    return _fit(patches, valid, noise or Noise(), neighbours, max_peaks, PSEUDO_VOIGT)


def flags_of(fits: Fits) -> NDArray[np.int32]:
    """Return `NEIGHBOUR`, `POOR_FIT` and `UNTRUSTED` where they apply, see `GaussianFit.place`."""
    flags = np.zeros(len(fits), np.int32)
    flags[fits.n_peaks > 1] |= NEIGHBOUR
    flags[~fits.converged | (fits.excess > EXCESS)] |= POOR_FIT
    flags[np.maximum(np.abs(fits.row), np.abs(fits.col)) > FIT_TRUSTED_PX] |= UNTRUSTED
    return flags


class GaussianFit:
    """Maximum likelihood of a rotated Gaussian; as precise as the counts allow.

    Parameters
    ----------
    noise
        Of the detector; a photon counter unless said otherwise.
    patch_size
        Pixels along each axis of the patches. Of two peaks in one smaller than `PATCH_SIZE`,
        standard deviations come out too small: by a fifth with 9 pixels, by half with 7.
    """

    name = "gaussian"
    patch_size = PATCH_SIZE
    _each = GAUSSIAN

    def __init__(self, noise: Noise | None = None, patch_size: int = PATCH_SIZE):
        self._noise = noise or Noise()
        self.patch_size = patch_size

    def place(
        self,
        patches: NDArray[np.float32],
        valid: NDArray[np.bool_],
        others: NDArray[np.float64] | None = None,
    ) -> Positions:
        """Place one peak in each patch; see `workers.place.base.PositionMethod.place`.

        `NEIGHBOUR` is set where several peaks were fitted, `POOR_FIT` where the fit did not
        converge or does not explain the counts, `UNTRUSTED` beyond `FIT_TRUSTED_PX`.

        Parameters
        ----------
        others
            (n, MAX_PEAKS - 1, 3), what else is known to stand in a patch or near it, nearest first:
            rows and columns from the middle, counts at the top; NaN after the last. A fit that
            begins with them and explains the counts asks no further.
        """
        fits = _fit(patches, valid, self._noise, None, MAX_PEAKS, self._each, others)
        flags = flags_of(fits)
        return Positions(
            fits.row,
            fits.col,
            np.sqrt(fits.covariance[:, 0, 0]),
            np.sqrt(fits.covariance[:, 1, 1]),
            flags,
            (flags & POOR_FIT) != 0,
            fits.shape,
            fits.single,
        )


class PseudoVoigtFit(GaussianFit):
    """Maximum likelihood of a rotated pseudo-Voigt peak; see `GaussianFit`."""

    name = "pseudovoigt"
    _each = PSEUDO_VOIGT


def _fit(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    noise: Noise,
    neighbours: NDArray[np.bool_] | None,
    max_peaks: int,
    each: int,
    others: NDArray[np.float64] | None = None,
) -> Fits:
    n, size, _ = patches.shape
    table, shape, single = _empty(n)
    fit_patches(
        np.ascontiguousarray(patches, np.float32),
        np.ascontiguousarray(valid, np.bool_),
        np.zeros(n, np.bool_) if neighbours is None else np.ascontiguousarray(neighbours),
        np.full((n, MAX_PEAKS - 1, 3), np.nan) if others is None else others,
        workspace(size),
        float(noise.gain),
        float(noise.read_noise) ** 2,
        each,
        max_peaks,
        table,
        shape,
        single,
    )
    return _as_fits(table, shape, single)


def _empty(n: int) -> tuple[NDArray[np.void], NDArray[np.float64], NDArray[np.float64]]:
    return np.zeros(n, FITTED), np.full((n, 2 * len(SHAPE)), np.nan), np.full((n, 5), np.nan)


def _as_fits(
    table: NDArray[np.void], shape: NDArray[np.float64], single: NDArray[np.float64]
) -> Fits:
    n = len(table)
    a, b, c = table["a"], table["b"], table["c"]
    mean, root = 0.5 * (a + c), np.hypot(0.5 * (a - c), b)
    parts = ("row_variance", "covariance", "covariance", "col_variance")
    covariance = np.stack([table[part] for part in parts], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        major, minor = 1.0 / np.sqrt(mean - root), 1.0 / np.sqrt(mean + root)
    return Fits(
        amplitude=table["amplitude"].copy(),
        row=table["row"].copy(),
        col=table["col"].copy(),
        sigma_major=major,
        sigma_minor=minor,
        # The minor axis is the one along which the precision is largest.
        angle=0.5 * np.arctan2(-2.0 * b, c - a),
        eta=table["eta"].copy(),
        background=table["background"].copy(),
        covariance=covariance.reshape(n, 2, 2),
        excess=table["excess"].copy(),
        n_peaks=table["n_peaks"].astype(np.int64),
        converged=table["converged"] > 0.0,
        shape=shape,
        single=single,
    )
