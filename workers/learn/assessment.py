"""How a network stands on recorded peaks that it has not learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from streamer.frames.flags import POOR_FIT
from workers.compare.evaluation import CASES, Figures, evaluate
from workers.learn.examples import noisy_counts
from workers.learn.labels import Labels, draw_like, integrated_counts
from workers.place.base import PositionMethod
from workers.place.fit.methods import Noise, fit_gaussian

__all__ = ["Assessment", "Judge", "Simulated", "assessment_table", "grew_worse"]

_N_SIMULATED = 4000
_CELL = 16
"""Pixels; peaks nearer to each other than about this, on whichever frame, are mostly one spot."""
_FAR = 25.0
"""Square of the most standard deviations that a single peak counts as off, 5."""
_WRONG_SIGMA = math.log(3.0) ** 2
"""The same of a standard deviation: three times too large or too small."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """Against the truth, on simulated peaks like the recorded ones."""

    rmse_over_fit: float
    """Root mean square error in units of the fit's on the same patches."""
    pull: float
    """Standard deviation of (found - true) / sigma: 1 when sigma is what it says."""
    poor: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a network makes of n held-out peaks, and of simulated ones."""

    error: NDArray[np.float64]
    """(n, 2) pixels, network less fit."""
    sigma: NDArray[np.float64]
    """(n, 2) pixels, the network's; NaN where it knows none."""
    fit_sigma: NDArray[np.float64]
    poor: NDArray[np.bool_]
    place: NDArray[np.int64]
    """(n,), the same number for peaks that stand at about the same place of the detector."""
    simulated: Simulated
    cases: list[Figures]
    """On the first of `workers.compare.evaluation.CASES`, so that forgetting shows."""

    def figures(self) -> dict[str, float]:
        """Return the figures of the held-out peaks, distances in pixels."""
        distance = np.hypot(*self.error.T)
        combined = np.hypot(self.sigma, self.fit_sigma)
        row_bias, col_bias = self.error.mean(axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            return {
                "p50": float(np.percentile(distance, 50, method="nearest")),
                "p95": float(np.percentile(distance, 95, method="nearest")),
                "rmse": float(np.sqrt(np.mean(self.error**2))),
                "over_combined_sigma": float(np.sqrt(np.mean((self.error / combined) ** 2))),
                "row_bias": float(row_bias),
                "col_bias": float(col_bias),
                "sigma_over_fit": float(np.median(self.sigma / self.fit_sigma)),
                "poor": float(self.poor.mean()),
            }

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "held_out": _plain(self.figures()),
            "simulated": _plain(asdict(self.simulated)),
            "cases": [_plain({**asdict(case), "ratio": case.ratio}) for case in self.cases],
        }


class Judge:
    """Finds how methods stand on the same peaks.

    Parameters
    ----------
    labels
        Peaks that no method has learnt from.
    noise
        Of the detector.
    seed
        Of the simulated peaks.
    """

    def __init__(self, labels: Labels, noise: Noise, seed: int):
        self._labels = labels
        rng = np.random.default_rng([seed, 2])
        self._peaks = draw_like(labels.peaks, _N_SIMULATED, 0.5, rng)
        expected = integrated_counts(self._peaks, labels.counts.shape[-1])
        self._counts = noisy_counts(expected, noise, rng)
        self._valid = np.ones(expected.shape, np.bool_)
        fits = fit_gaussian(self._counts, self._valid, noise, max_peaks=1)
        self._truth = np.stack([self._peaks.row, self._peaks.col], axis=1)
        error = np.stack([fits.row, fits.col], axis=1) - self._truth
        self._rmse = float(np.sqrt(np.mean(error[fits.converged] ** 2)))
        cells = labels.pixel // _CELL
        self._place = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)

    def __call__(self, method: PositionMethod) -> Assessment:
        """Place all peaks by a method."""
        labels = self._labels
        placed = method.place(labels.counts, labels.valid)
        drawn = method.place(self._counts, self._valid)
        error = np.stack([drawn.row, drawn.col], axis=1) - self._truth
        sigma = np.stack([drawn.row_sigma, drawn.col_sigma], axis=1)
        return Assessment(
            error=np.stack([placed.row, placed.col], axis=1) - labels.offsets,
            sigma=np.stack([placed.row_sigma, placed.col_sigma], axis=1),
            fit_sigma=labels.sigma,
            poor=(placed.flags & POOR_FIT) != 0,
            place=self._place,
            simulated=Simulated(
                float(np.sqrt(np.mean(error**2))) / self._rmse,
                float(np.std(error / sigma)),
                float(np.mean((drawn.flags & POOR_FIT) != 0)),
            ),
            cases=evaluate(method, CASES[:2]),
        )


def grew_worse(before: Assessment, after: Assessment) -> str | None:
    """Say in what one network is worse than another on the same held-out peaks; None if it is not.

    Three things must not grow: the distance from the fit in units of the fit's sigma, how far the
    network's own sigma is from the fit's (in the logarithm), and the share of these clean peaks
    that is flagged as poor. Each is compared peak by peak and has grown if the mean change is more
    than two standard errors above 0, and more than what matters at all. The standard error takes
    peaks at the same place of the detector as one witness: on neighbouring frames they are one
    spot, and a network errs on it in the same way each time.
    """
    place = before.place
    for name, of, relative, absolute in _MEASURES:
        old, new = of(before), of(after)
        grown = (new - old).mean()
        chance = 2.0 * _standard_error(new - old, place)
        if grown > max(chance, relative * old.mean() + absolute):
            return f"{name} grew from {old.mean():.3g} to {new.mean():.3g}"
    return None


def assessment_table(assessments: Mapping[str, Assessment]) -> Table:
    """Lay assessments out for the terminal, a column for each."""
    table = Table(title="Before and after")
    for heading in ("peaks", "figure"):
        table.add_column(heading)
    for name in assessments:
        table.add_column(name, justify="right")
    columns = [_cells(assessment) for assessment in assessments.values()]
    group = ""
    for peaks, figure in columns[0]:
        cells = [column[peaks, figure] for column in columns]
        table.add_row("" if peaks == group else peaks, figure, *cells)
        group = peaks
    return table


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Round, and write None for what is not a number."""
    return {
        name: value if not isinstance(value, float) else round(value, 5) if value == value else None
        for name, value in values.items()
    }


def _cells(assessment: Assessment) -> dict[tuple[str, str], str]:
    figures, simulated = assessment.figures(), assessment.simulated
    held = "held out, from the fit"
    like = "simulated like them, from the truth"
    cells = {
        (held, "p50, px"): _short(figures["p50"], ".4f"),
        (held, "p95, px"): _short(figures["p95"], ".4f"),
        (held, "RMSE, px"): _short(figures["rmse"], ".4f"),
        (held, "RMSE / both sigmas"): _short(figures["over_combined_sigma"], ".3f"),
        (held, "bias row, px"): _short(figures["row_bias"], "+.4f"),
        (held, "bias col, px"): _short(figures["col_bias"], "+.4f"),
        (held, "sigma / the fit's"): _short(figures["sigma_over_fit"], ".3f"),
        (held, "poor fit"): _short(figures["poor"], ".1%"),
        (like, "RMSE / the fit's"): _short(simulated.rmse_over_fit, ".3f"),
        (like, "pull"): _short(simulated.pull, ".3f"),
        (like, "poor fit"): _short(simulated.poor, ".1%"),
    }
    for case in assessment.cases:
        name = f"{case.case}, counted photons"
        cells[name, "RMSE / bound"] = _short(case.ratio, ".3f")
        cells[name, "pull"] = _short(case.pull, ".3f")
        cells[name, "poor fit"] = _short(case.poor, ".1%")
    return cells


def _short(value: float, pattern: str) -> str:
    """Write a number; what went out of all bounds must not burst the table."""
    return format(value, pattern if abs(value) < 100.0 else ".1e")


def _distance(assessment: Assessment) -> NDArray[np.float64]:
    """Mean square over both axes, (n,); a peak that is lost counts no more than one far off."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.mean((assessment.error / assessment.fit_sigma) ** 2, axis=1)
    return np.asarray(np.nan_to_num(np.minimum(square, _FAR), nan=_FAR))


def _sigma(assessment: Assessment) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.mean(np.log(assessment.sigma / assessment.fit_sigma) ** 2, axis=1)
    return np.asarray(np.nan_to_num(np.minimum(square, _WRONG_SIGMA), nan=_WRONG_SIGMA))


def _poor(assessment: Assessment) -> NDArray[np.float64]:
    return assessment.poor.astype(np.float64)


_MEASURES: tuple[tuple[str, Callable[[Assessment], NDArray[np.float64]], float, float], ...] = (
    ("the mean square distance from the fit in units of its sigma", _distance, 0.02, 0.0),
    ("the mean square of the logarithm of sigma over the fit's", _sigma, 0.02, 0.0),
    ("the share flagged as a poor fit", _poor, 0.0, 0.005),
)
"""What must not grow, peak by peak, and the part of it, or the amount, that does not matter."""


def _standard_error(change: NDArray[np.float64], place: NDArray[np.int64]) -> float:
    """Return the standard error of a mean over peaks of which those at one place go together."""
    sums = np.bincount(place, change - change.mean())
    return float(np.sqrt(np.sum(sums**2))) / len(change)
