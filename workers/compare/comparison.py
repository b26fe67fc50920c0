"""All position methods beside each other: simulated peaks, a recording, figures and numbers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from streamer.config import Config
from streamer.errors import UserError
from streamer.report.evaluation_figures import (
    Example,
    draw_cases,
    draw_errors_by_frame,
    draw_examples,
)
from streamer.run.progress import progress_bar
from workers.compare.agreement import agreements, clean_peaks, true_positions
from workers.compare.as_run import AsRun
from workers.compare.candidates import REFERENCE, Candidate, candidates
from workers.compare.evaluation import CASES, Case, evaluate
from workers.compare.examples import choose_examples
from workers.compare.findings import (
    CaseFindings,
    PairFindings,
    agreement_table,
    case_tables,
    halves_table,
    numbers,
)
from workers.compare.halves import HalvesFindings, deal, halves_of
from workers.detect.survey import (
    Footage,
    Observations,
    Pair,
    RecordedFootage,
    SimulatedFootage,
    find_peaks,
)
from workers.place.base import BATCH_PATCHES, PATCH_SIZE
from workers.place.fit.methods import Noise, PseudoVoigtFit
from workers.place.methods import METHODS
from workers.place.node import place_peaks

__all__ = ["ALL_CASES", "compare_methods"]

_LORENTZIAN = Case("SNR 100, Gaussian to Lorentzian", replace(CASES[0].peaks, voigt_share=1.0))
ALL_CASES = (*CASES, _LORENTZIAN)
"""The bound of the last is that of Gaussian peaks, a little too low for its own."""

_SEED = 2026
"""Not one that networks are trained with: no method has seen these peaks."""


def compare_methods(
    config: Config,
    out: Path,
    recording: str | None,
    console: Console,
    *,
    peaks: int = 4000,
    frames: int = 120,
    pairs: Sequence[str] = (),
    cases: Sequence[Case] = ALL_CASES,
) -> None:
    """Compare all position methods and write what was found.

    Parameters
    ----------
    config
        Detection, networks, and the simulated charge cycle.
    out
        Folder for `evaluation.json` and the figures; it appears when it is complete.
    recording
        What to find peaks on; None renders the simulated charge cycle.
    console
        Where tables and progress are shown.
    peaks
        Simulated peaks of each case.
    frames
        Frames of the recording to take at most, evenly spread.
    pairs
        Thresholds, each ``MINVAL:MINSCORE``; those of `config` and twice those when empty.
    cases
        Populations of simulated peaks.

    Raises
    ------
    UserError
        Something that the user gave does not fit; nothing was written.
    """
    if min(peaks, frames) < 1:
        raise UserError("--peaks and --frames must be at least 1")
    detect = config.detect
    configured = detect.minval, detect.minscore
    thresholds = list(dict.fromkeys(map(Pair.parse, pairs))) or [
        Pair(*(one if isinstance(one, str) else factor * one for one in configured))
        for factor in ((1.0,) if "auto" in configured else (1.0, 2.0))
    ]
    with _new_folder(out) as folder:
        footage: Footage
        if recording is None:
            footage = SimulatedFootage(config, frames)
        else:
            footage = RecordedFootage(recording, config, frames)
        with progress_bar(console, transient=True) as progress:
            ready = progress.add_task("making the methods ready", total=None)
            methods = candidates(config.positions)
            as_run = _as_run(methods[0], config)
            if as_run is not None:
                methods.append(Candidate(as_run.name, as_run, BATCH_PATCHES))
            progress.update(ready, total=1, completed=1)
            found, lost = _find(footage, thresholds, config, methods, progress)
            on_cases = _on_simulated(methods, cases, peaks, progress)
            task = progress.add_task("placing the recording's peaks", total=len(found))
            on_pairs, examples = [], []
            for observations in found:
                result, chosen = _on_recording(observations, methods, footage.truth, config)
                on_pairs.append(result)
                examples.append(chosen)
                progress.advance(task)
            progress.add_task("drawing", total=None)
            most = int(np.argmax([len(observations) for observations in found]))
            _draw(folder, on_cases, on_pairs, examples[most])
        _write(folder / "evaluation.json", config, footage, lost, on_cases, on_pairs)
    _show(console, footage, lost, on_cases, on_pairs, out)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a folder that appears as `out` when the context is left without an error."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: choose another --out, or remove it first")
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        missing = [parent for parent in (out, *out.parents) if not parent.exists()]
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}") from None
    try:
        yield partial
        partial.replace(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):
            for parent in missing[1:]:
                parent.rmdir()
        raise


def _find(
    footage: Footage,
    pairs: Sequence[Pair],
    config: Config,
    methods: Sequence[Candidate],
    progress: Progress,
) -> tuple[list[Observations], dict[int, str]]:
    task = progress.add_task("finding peaks", total=footage.n_taken)
    sizes = sorted({method.patch_size for method in methods})
    watched = progress.track(footage.frames(), task_id=task)
    found, lost = find_peaks(iter(watched), pairs, config.detect, sizes)
    if len(lost) == footage.n_taken:
        reason = next(iter(lost.values()))
        raise UserError(f"no frame of {footage.name} can be used: {reason}")
    if not any(len(observations) for observations in found):
        raise UserError(
            f"no peaks on {footage.name}: lower detect.minval and detect.minscore, or --pair"
        )
    return found, lost


def _on_simulated(
    methods: Sequence[Candidate], cases: Sequence[Case], peaks: int, progress: Progress
) -> list[CaseFindings]:
    task = progress.add_task("simulated peaks", total=len(cases) * len(methods))
    rows = []
    for number, case in enumerate(cases):
        for method in methods:
            (figures,) = evaluate(method, [case], peaks, _SEED + number)
            rows.append(CaseFindings(figures, method.us_per_peak))
            progress.advance(task)
    return rows


def _on_recording(
    observations: Observations, methods: Sequence[Candidate], truth: pa.Table | None, config: Config
) -> tuple[PairFindings, dict[str, list[Example]]]:
    binning = config.detect.binning
    if (as_run := _as_run(methods[0], config, observations)) is not None:
        # Here it is known what stands beside a peak.
        methods = [*methods[:-1], Candidate(as_run.name, as_run, len(observations) or 1)]
    in_patch = {
        method.name: method.place(
            observations.counts[method.patch_size], observations.valid[method.patch_size]
        )
        for method in methods
    }
    placed = {
        name: place_peaks(observations.peaks, found, binning) for name, found in in_patch.items()
    }
    true = None if truth is None else true_positions(observations, truth)
    clean = clean_peaks(observations.peaks, placed[REFERENCE], binning)
    held = agreements(observations, placed, true, binning)
    halves, why = _halves(observations, methods, config)
    result = PairFindings(observations.pair, len(observations), int(clean.sum()), held, halves, why)
    answers = {name: np.stack([one.row, one.col], axis=1) for name, one in in_patch.items()}
    if true is not None:
        middle = np.stack([observations.peaks["row"], observations.peaks["col"]], axis=1) // binning
        answers["truth"] = (true + 0.5) / binning - 0.5 - middle
    noise = Noise(config.positions.gain, config.positions.read_noise)
    return result, choose_examples(observations, np.flatnonzero(clean), answers, noise)


def _as_run(
    network: Candidate, config: Config, observations: Observations | None = None
) -> AsRun | None:
    """Return what a run makes of a network's answers; None where it makes nothing of them."""
    positions = config.positions
    is_fitted = positions.refit and network.patch_size >= PATCH_SIZE
    if not is_fitted or not METHODS.configure(positions.method, positions.methods).is_network:
        return None
    second = PseudoVoigtFit(Noise(positions.gain, positions.read_noise), network.patch_size)
    if observations is None:
        return AsRun(network, second)
    sizes = np.unique(observations.frame, return_counts=True)[1].tolist()
    return AsRun(network, second, observations.peaks, sizes, config.detect.binning)


def _halves(
    observations: Observations, methods: Sequence[Candidate], config: Config
) -> tuple[list[HalvesFindings], str]:
    """Return how methods agree with themselves, by population, or why that cannot be told."""
    halves = {}
    for size, counts in observations.counts.items():
        valid = observations.valid[size]
        dealt = deal(counts, valid, config.positions.gain, np.random.default_rng(_SEED))
        if isinstance(dealt, str):
            return [], dealt
        halves[size] = dealt
    found = [
        one
        for method in methods
        for one in halves_of(
            method, halves[method.patch_size], observations.valid[method.patch_size]
        )
    ]
    return sorted(found, key=lambda one: one.population, reverse=True), ""


def _draw(
    folder: Path,
    cases: Sequence[CaseFindings],
    pairs: Sequence[PairFindings],
    examples: dict[str, list[Example]],
) -> None:
    names = list(dict.fromkeys(row.figures.case for row in cases))
    ratios: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for row in cases:
        ratios.setdefault(row.figures.method, []).append(row.figures.ratio)
        times.setdefault(row.figures.method, []).append(row.us_per_peak)
    draw_cases(folder / "simulated_peaks.png", names, ratios, times)
    wanted = {(one.reference, one.population) for pair in pairs for one in pair.agreements}
    for reference, population in sorted(wanted):
        against = "the truth" if reference == "truth" else "the Gaussian fit"
        which = "clean peaks" if population == "clean" else "all peaks"
        draw_errors_by_frame(
            folder / f"error_by_frame_{reference}_{population}.png",
            f"Distance from {against}, {which}",
            {
                str(pair.pair): {
                    one.method: (one.frame, one.percentiles_of_frame)
                    for one in pair.agreements
                    if (one.reference, one.population) == (reference, population)
                }
                for pair in pairs
            },
        )
    draw_examples(folder / "examples.png", examples, REFERENCE)


def _write(
    path: Path,
    config: Config,
    footage: Footage,
    lost: dict[int, str],
    cases: Sequence[CaseFindings],
    pairs: Sequence[PairFindings],
) -> None:
    content = {
        "software": {"name": "braggstream", "version": version("braggstream")},
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "recording": footage.name,
        "frames_taken": footage.n_taken,
        "frames_lost": {str(number): reason for number, reason in lost.items()},
        **numbers(cases, pairs),
        "figures": sorted(one.name for one in path.parent.glob("*.png")),
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _show(
    console: Console,
    footage: Footage,
    lost: dict[int, str],
    cases: Sequence[CaseFindings],
    pairs: Sequence[PairFindings],
    out: Path,
) -> None:
    for table in case_tables(cases):
        console.print(table)
    for reference in (REFERENCE, "truth"):
        if any(one.reference == reference for pair in pairs for one in pair.agreements):
            console.print(agreement_table(pairs, reference))
    if any(pair.halves for pair in pairs):
        console.print(halves_table(pairs))
    elif pairs:
        console.print(
            f"No standard deviation was tried on halves of the photons of {footage.name}: "
            f"{pairs[0].no_halves}",
            highlight=False,
            markup=False,
        )
    counts = ", ".join(
        f"{one.n_peaks:,} peaks ({one.n_clean:,} clean) with {one.pair}" for one in pairs
    )
    unused = f", {len(lost):,} of them unusable ({next(iter(lost.values()))})" if lost else ""
    console.print(
        f"{footage.name}, {footage.n_taken:,} frames{unused}: {counts}\n"
        f"figures and evaluation.json in {out}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
