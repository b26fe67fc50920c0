"""How far a method is from the statistical limit, on simulated patches with known truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.simulator.patches import (
    PeakRanges,
    Peaks,
    cramer_rao,
    draw_peaks,
    draw_valid,
    expected_counts,
)
from workers.place.base import PositionMethod

__all__ = ["CASES", "Case", "Figures", "evaluate"]


@dataclass(frozen=True, slots=True)
class Case:
    """A population of peaks."""

    name: str
    peaks: PeakRanges
    second: tuple[float, float] | None = None
    """Amplitude of a second peak as a share of the first one's, and how many of the first one's
    largest widths it stands away, in any direction; None for one peak."""


def _case(name: str, snr: float, offset: float = 0.5, hot: float = 0.0, edge: float = 0.0) -> Case:
    """Gaussian peaks of widths 1 to 2 px on background 10; SNR is amplitude / sqrt(background)."""
    amplitude, background = snr * np.sqrt(10.0), 10.0
    return Case(
        name,
        PeakRanges(
            amplitude=(amplitude, amplitude),
            background=(background, background),
            width=(1.0, 2.0),
            offset=offset,
            voigt_share=0.0,
            hot_share=hot,
            edge_share=edge,
        ),
    )


def _cut(name: str, pixels: int) -> Case:
    """Peaks at one edge of the frame, `pixels` rows or columns beyond the peak's own pixel."""
    peaks = _case(name, 100.0, edge=1.0).peaks
    return Case(name, replace(peaks, edge_pixels=(pixels, pixels), corner_share=0.0))


_BRIGHT = PeakRanges(
    amplitude=(2e3, 3e4), offset=0.5, voigt_share=0.0, hot_share=0.0, edge_share=0.0
)

CASES = (
    _case("SNR 100", 100.0),
    _case("SNR 20", 20.0),
    _case("SNR 5", 5.0),
    _case("SNR 1000", 1000.0),
    _case("SNR 100, offsets to 1 px", 100.0, offset=1.0),
    _case("SNR 100, hot pixels", 100.0, hot=1.0),
    _case("SNR 100, frame edge", 100.0, edge=1.0),
    Case("bright, widths 0.7 to 3", _BRIGHT),
    _cut("SNR 100, 1 px from the edge", 1),
    _cut("SNR 100, on the last pixel", 0),
    replace(_case("SNR 100, second peak", 100.0), second=(0.5, 2.5)),
)
"""What methods are compared on."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How well a method did in a case; all but the ratio and the share in pixels."""

    method: str
    case: str
    n: int
    rmse: float
    """Root mean square error along one axis, both axes together, without outliers."""
    bound: float
    """Root mean square of the Cramér-Rao bound along one axis."""
    row_bias: float
    col_bias: float
    p50: float
    """Percentiles of the distance from the truth."""
    p75: float
    p95: float
    outliers: float
    """Share of peaks placed more than 1 px off."""
    pull: float = math.nan
    """Standard deviation of (found - true) / sigma, both axes together, without outliers: 1 when
    sigma is what it says; NaN where the method gives none."""
    poor: float = math.nan
    """Share of peaks flagged `POOR_FIT`."""

    @property
    def ratio(self) -> float:
        """Root mean square error over bound: 1 is the best an unbiased method can do."""
        return self.rmse / self.bound


def evaluate(
    method: PositionMethod, cases: Sequence[Case] = CASES, n: int = 4000, seed: int = 1
) -> list[Figures]:
    """Place simulated peaks with Poisson noise and compare with the truth.

    Parameters
    ----------
    method
        What to evaluate.
    cases
        Populations of peaks.
    n
        Peaks of each case.
    seed
        Same seed, same patches, for every method with the same patch size.
    """
    figures = []
    for number, case in enumerate(cases):
        rng = np.random.default_rng([seed, number])
        peaks = draw_peaks(n, case.peaks, rng)
        valid = draw_valid(n, case.peaks, rng, method.patch_size)
        expected = expected_counts(peaks, method.patch_size)
        if case.second is not None:
            expected += _second(peaks, case.second, rng, method.patch_size)
        patches = rng.poisson(expected).astype(np.float32)
        # What a masked pixel holds must not matter: give it what hot pixels hold.
        patches[~valid] = 1e6
        found = method.place(patches, valid)
        error = np.stack([found.row - peaks.row, found.col - peaks.col], axis=1)
        sigma = np.stack([found.row_sigma, found.col_sigma], axis=1)
        distance = np.hypot(error[:, 0], error[:, 1])
        near = distance <= 1.0
        p50, p75, p95 = np.percentile(distance, (50, 75, 95))
        figures.append(
            Figures(
                method=method.name,
                case=case.name,
                n=n,
                rmse=float(np.sqrt(np.mean(error[near] ** 2))) if near.any() else float("inf"),
                bound=float(np.sqrt(np.mean(cramer_rao(peaks, valid) ** 2))),
                row_bias=float(error[:, 0].mean()),
                col_bias=float(error[:, 1].mean()),
                p50=float(p50),
                p75=float(p75),
                p95=float(p95),
                outliers=float(1.0 - near.mean()),
                pull=_spread(error[near] / sigma[near]),
                poor=float(np.mean((found.flags & POOR_FIT) != 0)),
            )
        )
    return figures


def _second(
    peaks: Peaks, second: tuple[float, float], rng: np.random.Generator, size: int
) -> NDArray[np.float64]:
    """Return the counts of second peaks of the same shape, without background."""
    share, widths = second
    angle = rng.uniform(0.0, 2.0 * np.pi, len(peaks))
    apart = widths * np.maximum(peaks.major, peaks.minor)
    return expected_counts(
        replace(
            peaks,
            row=peaks.row + apart * np.sin(angle),
            col=peaks.col + apart * np.cos(angle),
            amplitude=share * peaks.amplitude,
            background=np.zeros(len(peaks)),
        ),
        size,
    )


def _spread(pulls: NDArray[np.float64]) -> float:
    known = pulls[np.isfinite(pulls)]
    return float(known.std()) if len(known) else math.nan
