"""Conventional fits beside the statistical limit and scipy, on one thread, in one run."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import OptimizeWarning, curve_fit

from streamer.simulator.patches import PeakRanges, cramer_rao, draw_peaks, expected_counts
from workers.place.fit.methods import Fits, fit_gaussian, fit_pseudo_voigt

N_PATCHES, N_SCIPY = 4000, 300
SNRS = (100.0, 20.0, 5.0)
"""Amplitude over the square root of the background, 10 counts per pixel."""
ROUNDS = 5
SEPARATIONS = (2.5, 3.0, 4.0)
"""Of pairs, in widths of the first along its major axis; the second is half as high."""

_AXIS = np.arange(11.0) - 5.0
_ROWS, _COLS = (grid.ravel() for grid in np.meshgrid(_AXIS, _AXIS, indexing="ij"))


def _gaussian(_, amplitude, row, col, a, b, c, background):
    dy, dx = _ROWS - row, _COLS - col
    r2 = np.clip(a * dx * dx + 2.0 * b * dx * dy + c * dy * dy, -50.0, 1000.0)
    return background + amplitude * np.exp(-0.5 * r2)


def _scipy(patches):
    """Row, col and their standard deviations, (n, 4), by least squares with Poisson weights."""
    answers = np.full((len(patches), 4), np.nan)
    for answer, patch in zip(answers, patches, strict=True):
        counts = patch.ravel().astype(np.float64)
        level = np.median(counts)
        start = (counts.max() - level, 0.0, 0.0, 0.5, 0.0, 0.5, level)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OptimizeWarning)
                best, covariance = curve_fit(
                    _gaussian,
                    None,
                    counts,
                    start,
                    sigma=np.sqrt(np.maximum(counts, 1.0)),
                    absolute_sigma=True,
                )
        except RuntimeError:
            continue
        answer[:] = *best[1:3], *np.sqrt(np.diag(covariance)[1:3])
    return answers


def _columns(fits: Fits):
    sigmas = np.sqrt(np.diagonal(fits.covariance, axis1=1, axis2=2))
    return np.column_stack([fits.row, fits.col, sigmas])


def _population(snr):
    amplitude = snr * 10.0**0.5
    return PeakRanges(
        amplitude=(amplitude, amplitude),
        background=(10.0, 10.0),
        width=(1.0, 2.0),
        offset=0.5,
        voigt_share=0.0,
    )


def _pairs() -> Table:
    """Time the fit of two peaks to a patch."""
    table = Table(title="Two peaks in a patch")
    for heading in ("SNR", "widths apart", "taken for two", "pull", "µs a patch"):
        table.add_column(heading, justify="right")
    for snr in SNRS[:2]:
        for separation in SEPARATIONS:
            rng = np.random.default_rng(int(10 * separation))
            first = draw_peaks(N_PATCHES, _population(snr), rng)
            sign = rng.choice([-1.0, 1.0], N_PATCHES)
            apart = sign * separation * first.major
            second = replace(
                first,
                row=first.row + apart * np.sin(first.angle),
                col=first.col + apart * np.cos(first.angle),
                amplitude=0.5 * first.amplitude,
                background=np.zeros(N_PATCHES),
            )
            expected = expected_counts(first) + expected_counts(second)
            # Of peaks outside the patch too little is seen to compare.
            inside = np.maximum(np.abs(second.row), np.abs(second.col)) <= 4.5
            patches = rng.poisson(expected[inside]).astype(np.float32)
            valid = np.ones(patches.shape, np.bool_)
            seconds = np.inf
            for _ in range(ROUNDS):
                start = time.perf_counter()
                fits = fit_gaussian(patches, valid)
                seconds = min(seconds, time.perf_counter() - start)
            answers = _columns(fits)
            errors = answers[:, :2] - np.column_stack([first.row, first.col])[inside]
            two = (fits.n_peaks > 1) & (np.hypot(*errors.T) < 1.0)
            table.add_row(
                f"{snr:.0f}",
                f"{separation}",
                f"{(fits.n_peaks > 1).mean():.1%}",
                f"{(errors / answers[:, 2:])[two].std():.3f}",
                f"{1e6 * seconds / len(patches):,.0f}",
            )
    return table


def main() -> None:
    """Print the tables."""
    candidates = {
        "Gaussian": lambda patches, valid: _columns(fit_gaussian(patches, valid)),
        "Gaussian, one peak": lambda patches, valid: _columns(
            fit_gaussian(patches, valid, max_peaks=1)
        ),
        "pseudo-Voigt": lambda patches, valid: _columns(fit_pseudo_voigt(patches, valid)),
        "scipy curve_fit": lambda patches, valid: _scipy(patches[:N_SCIPY]),
    }
    table = Table(
        title="Error of fits over the Cramér-Rao bound; pull is the standard deviation of error "
        "over its stated sigma"
    )
    table.add_column("SNR", justify="right")
    table.add_column("fit")
    for heading in ("RMSE / bound", "pull", "> 1 px", "µs a peak"):
        table.add_column(heading, justify="right")
    for snr in SNRS:
        rng = np.random.default_rng(int(snr))
        peaks = draw_peaks(N_PATCHES, _population(snr), rng)
        patches = rng.poisson(expected_counts(peaks)).astype(np.float32)
        valid = np.ones(patches.shape, np.bool_)
        bound = cramer_rao(peaks, valid)
        truth = np.column_stack([peaks.row, peaks.col])
        seconds = dict.fromkeys(candidates, np.inf)
        answers = {}
        # Rounds, so that other load on the machine hits all alike; the first one compiles.
        for number in range(ROUNDS + 1):
            for name, work in candidates.items():
                if number > 1 and "scipy" in name:
                    continue
                start = time.perf_counter()
                answers[name] = work(patches, valid)
                if number > 0:
                    seconds[name] = min(seconds[name], time.perf_counter() - start)
        for name, answer in answers.items():
            n = len(answer)
            errors = answer[:, :2] - truth[:n]
            near = np.hypot(*errors.T) < 1.0
            ratio = np.sqrt((errors[near] ** 2).mean() / (bound[:n][near] ** 2).mean())
            pull = np.nanstd((errors / answer[:, 2:])[near])
            far = 1.0 - near.mean()
            table.add_row(
                f"{snr:.0f}",
                name,
                f"{ratio:.3f}",
                f"{pull:.3f}",
                f"{far:.1%}",
                f"{1e6 * seconds[name] / n:,.0f}",
            )
    console = Console()
    console.print(table, _pairs(), width=max(console.width, 80))


if __name__ == "__main__":
    main()
