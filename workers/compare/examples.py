"""A few peaks of a recording that show how differently peaks look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.report.evaluation_figures import Example
from workers.detect.survey import Observations
from workers.place.fit.methods import GaussianFit, Noise, fit_gaussian

__all__ = ["choose_examples"]

_N_EXAMPLES, _N_EXAMINED = 3, 2000
_SAME_SPOT_PX = 25.0
_SIZE = GaussianFit.patch_size


def choose_examples(
    observations: Observations,
    clean: NDArray[np.intp],
    answers: dict[str, NDArray[np.float64]],
    noise: Noise,
) -> dict[str, list[Example]]:
    """Choose peaks that are sharp, elongated and broad by the widths of a Gaussian fit.

    Parameters
    ----------
    observations
        n peaks, with patches of the size that fits want.
    clean
        Numbers of the peaks to choose from; the brighter half of them is looked at.
    answers
        By method, (n, 2) offsets from the middle of each patch in pixels; NaN where unknown.
    noise
        Of the detector.

    Returns
    -------
    examples
        By kind, at most three each, no spot twice.
    """
    peaks = observations.peaks
    brightness = peaks["intensity"][clean]
    chosen = clean[brightness >= np.median(brightness)] if len(clean) else clean
    chosen = chosen[:: 1 + len(chosen) // _N_EXAMINED]
    counts, valid = observations.counts[_SIZE], observations.valid[_SIZE]
    fits = fit_gaussian(counts[chosen], valid[chosen], noise)
    major, minor = fits.sigma_major, fits.sigma_minor
    ranks = {"sharp": -major * minor, "elongated": major / minor, "broad": minor}
    taken: list[int] = []
    rows: dict[str, list[Example]] = {}
    for kind, rank in ranks.items():
        rows[kind] = []
        for i in _distinct(np.argsort(-rank, kind="stable"), chosen, peaks, taken):
            k = int(chosen[i])
            at = {name: (float(one[k, 0]), float(one[k, 1])) for name, one in answers.items()}
            title = (
                f"frame {observations.frame[k]}, row {peaks['row'][k]}, column {peaks['col'][k]}: "
                f"widths {major[i]:.2f} and {minor[i]:.2f} px, {peaks['intensity'][k]:,.0f} counts"
            )
            known = {name: where for name, where in at.items() if np.isfinite(where).all()}
            rows[kind].append(Example(title, counts[k], valid[k], known))
    return rows


def _distinct(
    order: NDArray[np.intp], chosen: NDArray[np.intp], peaks: NDArray[np.void], taken: list[int]
) -> list[int]:
    """Return the first few of an order that are not the same spot on another frame."""
    picked: list[int] = []
    for i in order.tolist():
        one = peaks[chosen[i]]
        apart = np.hypot(peaks["row"][taken] - one["row"], peaks["col"][taken] - one["col"])
        if (apart > _SAME_SPOT_PX).all():
            taken.append(int(chosen[i]))
            picked.append(i)
            if len(picked) == _N_EXAMPLES:
                break
    return picked
