"""What it costs to place a peak, and how well: published BraggNN, ours, fits, scipy; one thread."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import OptimizeWarning, curve_fit

from streamer.config import PositionsConfig
from streamer.simulator.patches import PeakRanges, cramer_rao, draw_peaks, expected_counts
from tests.benchmarks.measure import Table, median, rounds, spread
from workers.place.fit.methods import Fits, fit_gaussian, fit_pseudo_voigt
from workers.place.methods import make_method
from workers.place.network.architecture import WEIGHTS, Architecture
from workers.place.network.backends.choice import available, choose_place, make_backend
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network
from workers.place.network.method import NetworkMethod
from workers.place.network.normalisation import prepare

__all__ = ["tables"]

N_PATCHES, N_SCIPY, ROUNDS = 2048, 100, 5
BATCHES = (64, 256, 1024)
"""Of published BraggNN: the fastest counts."""
SNRS = (100.0, 20.0)
"""Amplitude over the square root of the background, 10 counts per pixel."""
SEPARATIONS = (2.5, 3.0, 4.0)
"""Of pairs, in widths of the first along its major axis; the second is half as high."""
# One thread is timed while it is at work: other programs on the machine do not matter.
CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time

_AXIS = np.arange(11.0) - 5.0
_ROWS, _COLS = (grid.ravel() for grid in np.meshgrid(_AXIS, _AXIS, indexing="ij"))
Answers = np.ndarray
"""(n, 4): rows, columns and their standard deviations."""


def _gaussian(_, amplitude, row, col, a, b, c, background):
    dy, dx = _ROWS - row, _COLS - col
    r2 = np.clip(a * dx * dx + 2.0 * b * dx * dy + c * dy * dy, -50.0, 1000.0)
    return background + amplitude * np.exp(-0.5 * r2)


def _scipy(patches) -> Answers:
    """Fit by least squares with Poisson weights."""
    answers = np.full((len(patches), 4), np.nan)
    for answer, patch in zip(answers, patches, strict=True):
        counts = patch.ravel().astype(np.float64)
        level = np.median(counts)
        start = (counts.max() - level, 0.0, 0.0, 0.5, 0.0, 0.5, level)
        sigma = np.sqrt(np.maximum(counts, 1.0))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OptimizeWarning)
                best, covariance = curve_fit(
                    _gaussian, None, counts, start, sigma=sigma, absolute_sigma=True
                )
        except RuntimeError:
            continue
        answer[:] = *best[1:3], *np.sqrt(np.diag(covariance)[1:3])
    return answers


def _of_fits(fits: Fits) -> Answers:
    sigmas = np.sqrt(np.diagonal(fits.covariance, axis1=1, axis2=2))
    return np.column_stack([fits.row, fits.col, sigmas])


def _of_method(method) -> Callable[[np.ndarray, np.ndarray], Answers]:
    def place(patches, valid):
        placed = method.place(patches, valid)
        return np.column_stack([placed.row, placed.col, placed.row_sigma, placed.col_sigma])

    return place


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to place peaks."""

    name: str
    place: Callable[[np.ndarray, np.ndarray], Answers | None]
    n: int = N_PATCHES
    """Patches that it is given."""


def _ways() -> Iterator[_Way]:
    # The published network as others would run it: its layers one by one. Its weights do not matter
    # for how long it takes.
    plain = BraggNN(Architecture()).eval()

    def eager(size: int):
        def place(patches, valid):
            inputs = prepare(patches, valid)
            images = torch.from_numpy(inputs.images[:, :1].copy())
            with torch.inference_mode():
                for part in torch.split(images, size):
                    plain(part, torch.empty(len(part), 0))

        return place

    for size in BATCHES:
        yield _Way(f"published BraggNN, torch eager, batches of {size}", eager(size))
    for weights in ("braggnn", "compact"):
        for kind in available():
            network, convention = load_network(WEIGHTS / f"{weights}.pt")
            device = choose_place(kind, "auto")
            backend = make_backend(kind, network, convention, device, 1)
            method = NetworkMethod(backend, network.architecture, convention)
            yield _Way(f"`{weights}.pt`, {kind} on {device.type}", _of_method(method))
    told = PositionsConfig(device="cpu", polish=False)
    yield _Way("`compact.pt`, numpy", _of_method(make_method(told, 1)))
    told = PositionsConfig(device="cpu")
    yield _Way(
        "`compact.pt` and steps to the likelihood's maximum: `method: braggnn`",
        _of_method(make_method(told, 1)),
    )
    for name in ("centroid", "moments"):
        method = make_method(PositionsConfig(method=name, device="cpu"), 1)
        if method.patch_size == _AXIS.size:
            yield _Way(f"`method: {name}`", _of_method(method))
    yield _Way("Gaussian fit, one peak", lambda p, v: _of_fits(fit_gaussian(p, v, max_peaks=1)))
    yield _Way(
        "Gaussian fit, up to three: `method: gaussian`", lambda p, v: _of_fits(fit_gaussian(p, v))
    )
    yield _Way(
        "pseudo-Voigt fit: `method: pseudovoigt`", lambda p, v: _of_fits(fit_pseudo_voigt(p, v))
    )
    yield _Way("scipy's curve_fit", lambda p, v: _scipy(p), N_SCIPY)


def _population(snr: float) -> PeakRanges:
    amplitude = snr * 10.0**0.5
    return PeakRanges(
        amplitude=(amplitude, amplitude),
        background=(10.0, 10.0),
        width=(1.0, 2.0),
        offset=0.5,
        voigt_share=0.0,
    )


def _judged(answers: Answers | None, truth, bound) -> list[str]:
    """Return the error over the Cramér-Rao bound and the pull."""
    if answers is None:
        return ["", ""]
    n = len(answers)
    errors = answers[:, :2] - truth[:n]
    near = np.hypot(*errors.T) < 1.0
    ratio = np.sqrt((errors[near] ** 2).mean() / (bound[:n][near] ** 2).mean())
    sigmas = answers[:, 2:][near]
    pull = np.nanstd(errors[near] / sigmas) if np.isfinite(sigmas).any() else np.nan
    return [f"{ratio:.2f}", f"{pull:.2f}" if np.isfinite(pull) else ""]


def _single(n_rounds: int) -> Table:
    heads = [f"{what}, SNR {snr:.0f}" for snr in SNRS for what in ("RMSE over the bound", "pull")]
    table = Table(
        "Peaks placed on one thread, from counts to positions",
        ("what", "µs a peak", "faster than published BraggNN", *heads),
    )
    cases = []
    for snr in SNRS:
        rng = np.random.default_rng(int(snr))
        peaks = draw_peaks(N_PATCHES, _population(snr), rng)
        patches = rng.poisson(expected_counts(peaks)).astype(np.float32)
        valid = np.ones(patches.shape, np.bool_)
        truth = np.column_stack([peaks.row, peaks.col])
        cases.append((patches, valid, truth, cramer_rao(peaks, valid)))
    ways = list(_ways())
    answers = {
        way.name: [way.place(case[0][: way.n], case[1][: way.n]) for case in cases] for way in ways
    }  # which compiles

    def timed(way: _Way) -> Callable[[int], float]:
        def run(turn: int) -> float:
            patches, valid = cases[turn % len(cases)][:2]
            began = CLOCK()
            way.place(patches[: way.n], valid[: way.n])
            return 1e6 * (CLOCK() - began) / way.n

        return run

    found = rounds(n_rounds, {way.name: timed(way) for way in ways})
    published = min(
        (way.name for way in ways[: len(BATCHES)]), key=lambda name: median(found[name])
    )
    for way in ways:
        if way in ways[: len(BATCHES)] and way.name != published:
            continue
        judged = [
            cell
            for answer, (_, _, truth, bound) in zip(answers[way.name], cases, strict=True)
            for cell in _judged(answer, truth, bound)
        ]
        ratios = [
            theirs / ours for theirs, ours in zip(found[published], found[way.name], strict=True)
        ]
        table.add(way.name, spread(found[way.name], ",.1f"), spread(ratios, ",.1f"), *judged)
    table.note = (
        f"{N_PATCHES:,} simulated Gaussian peaks on 10 counts of background, widths of 1 to 2 px "
        f"({N_SCIPY} for scipy). The bound is Cramér and Rao's; the pull is the standard deviation "
        "of error over stated sigma. Where counts are few, a network that knows where peaks can be "
        "may beat the bound."
    )
    return table


def _pairs(n_rounds: int) -> Table:
    table = Table(
        "Two peaks in a patch, fitted together",
        ("SNR", "widths apart", "taken for two", "pull", "µs a patch"),
    )
    for snr in SNRS:
        for separation in SEPARATIONS:
            rng = np.random.default_rng(int(10 * separation))
            first = draw_peaks(N_PATCHES, _population(snr), rng)
            apart = rng.choice([-1.0, 1.0], N_PATCHES) * separation * first.major
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
            took = []
            for _ in range(n_rounds):
                began = CLOCK()
                fits = fit_gaussian(patches, valid)
                took.append(1e6 * (CLOCK() - began) / len(patches))
            answers = _of_fits(fits)
            errors = answers[:, :2] - np.column_stack([first.row, first.col])[inside]
            two = (fits.n_peaks > 1) & (np.hypot(*errors.T) < 1.0)
            table.add(
                f"{snr:.0f}", separation, f"{(fits.n_peaks > 1).mean():.1%}",
                f"{(errors / answers[:, 2:])[two].std():.2f}", spread(took),
            )  # fmt: skip
    return table


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the tables."""
    torch.set_num_threads(1)
    yield _single(n_rounds or ROUNDS)
    yield _pairs(min(n_rounds or ROUNDS, 3))
