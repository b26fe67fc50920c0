"""The report of a run: a page and its figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from matplotlib.figure import Figure

from streamer.cell.cycles import GUESS
from streamer.config import Config
from streamer.errors import UserError
from streamer.report.against_figure import draw_over_cell, draw_quiver
from streamer.report.agreement_figure import draw_agreement, measure_agreement
from streamer.report.contents import (
    METHODS,
    add_facts,
    add_ledger,
    add_reflections,
    add_run,
    index_words,
)
from streamer.report.drift_figure import draw_drift, draw_motion
from streamer.report.frame_figure import Picture, choose_examples, draw_frames, draw_patches
from streamer.report.lattice_figure import draw_lattice
from streamer.report.material import Fitter, Material, Refit, Shot, gather, pixels_of
from streamer.report.page import Page
from streamer.report.shape_figure import draw_shapes
from streamer.report.style import save_figure
from streamer.results.folder import RunFolder, write_atomically
from streamer.results.originals import originals
from streamer.results.pixels import Recorded

__all__ = ["write_report"]

logger = logging.getLogger(__name__)

MakeFitter = Callable[[Config], Fitter]
"""Returns what fits peaks as a run of that configuration saw them."""

_MOTION = {
    "keep": "with the shift and rotation that all spots share",
    "remove": "without the shift and rotation that all spots share",
}
_COMPARED = 48
_SHOWN = 6
_PATCHES = 6

_QUIVER = (
    "Each reflection, from where its newest spot is, as far as that has moved from where the first "
    "one was, and as many times longer as is said above. Coloured: the main reflections. Faint: "
    "less than three standard deviations. What does not look like a peak is left out."
)
_OVER = (
    "The main reflections over the cell: spacings, from where each was first, where wavelength and "
    "geometry are known, with the first lattice parameter where a lattice is given; else drifts. "
    "Solid: charge; dashed: discharge. Each point is the mean of the frames that fall on it."
)
_SHAPES = (
    "The peaks of the same spots: integrated intensity above the background, and full widths at "
    "half maximum as they were measured, in angles where the detector's place is known. Bands: one "
    "standard error of each observation, or of the mean of those that fall on one point."
)


def write_report(
    path: Path,
    out: Path,
    *,
    tracks: int = 8,
    chosen: Sequence[int] | None = None,
    make_fitter: MakeFitter | None = None,
    patience_s: float = 10.0,
) -> Path:
    """Write ``report.html`` and, in ``figures/``, its figures as PNG and PDF.

    The page needs nothing beside it. A report that is there is replaced.

    Parameters
    ----------
    path
        Run folder; the run may still go on.
    out
        Folder to write to, made if it is not there.
    tracks
        Main reflections to draw, at most 8.
    chosen
        Numbers of the frames to show; None: a few, spread over the run.
    make_fitter
        Gives what patches and errors come from; without it there are none.
    patience_s
        How long to fit at most.

    Returns
    -------
    page
        Path of the page.

    Raises
    ------
    UserError
        It is no run folder, it has no such frame, or the report cannot be written.
    """
    folder = RunFolder.open(path)
    material, shown, compared = gather(folder, tracks, _SHOWN, _COMPARED, chosen)
    figures = out / "figures"
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {figures}: {error.strerror}") from None
    begun = material.summary["started"][:10]
    page = Page(
        f"Run {Path(*path.resolve().parts[-2:])}",
        f"Bragg peaks of {material.summary['source']}, {begun}. Positions are in detector pixels, "
        "an integer is the centre of a pixel; times are UTC.",
    )
    add_facts(page, material)

    def add(figure: Figure, name: str, caption: str) -> None:
        page.figure(save_figure(figure, figures, name), caption)

    page.heading("Drift")
    if material.main:
        add(draw_drift(material), "drift", _drift_caption(material))
        add_reflections(page, material)
    else:
        page.note("No track was seen on enough frames.")
    quiver = draw_quiver(material)
    if quiver is not None:
        add(quiver, "quiver", _QUIVER)
    over = draw_over_cell(material)
    if over is not None:
        add(over, "over-cell", _OVER)
    lattice = draw_lattice(material)
    if lattice is not None:
        add(lattice, "lattice", _lattice_caption(material))
    shapes = draw_shapes(material, {one.name: one.tracks for one in material.main})
    if shapes is not None:
        add(shapes, "shapes", _SHAPES)
    motion = draw_motion(material)
    if motion is not None:
        add(motion, "motion", _motion_caption(material))
    for line in material.summary.get("advice", []):
        page.note(f"Look: {line}.")
    recorded = Recorded(*originals(material.folder))
    with closing(recorded):
        page.heading("Detection")
        if shown:
            pictures, why = _pictures(material, recorded, shown)
            main = {track: i for i, one in enumerate(material.main) for track in one.tracks}
            add(draw_frames(pictures, main), "frames", _frames_caption(shown, why))
        else:
            page.note("No frame is done.")
        _add_fits(page, add, material, recorded, compared, make_fitter, patience_s)
    page.heading("Ledger")
    add_ledger(page, material)
    page.heading("Run")
    add_run(page, material)
    target = out / "report.html"
    try:
        write_atomically(target, page.html())
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from None
    return target


def _pictures(
    material: Material, recorded: Recorded, shown: Sequence[Shot]
) -> tuple[list[Picture], str]:
    """Return what is shown of frames, and why there are no pixels of the last that has none."""
    names: list[str] = material.frames["series"].unique().to_pylist()
    pictures, why = [], ""
    for shot in shown:
        pixels, mask = pixels_of(recorded, shot)
        where = f"{shot.series}, frame" if len(names) > 1 else "frame"
        title = f"{where} {shot.frame:,}: {len(shot.peaks['row'])} peaks"
        if isinstance(pixels, str):
            why = pixels
            pictures.append(Picture(shot, None, None, title))
        else:
            pictures.append(Picture(shot, pixels, mask, title))
    return pictures, why


def _add_fits(
    page: Page,
    add: Callable[[Figure, str, str], None],
    material: Material,
    recorded: Recorded,
    compared: Sequence[Shot],
    make_fitter: MakeFitter | None,
    patience_s: float,
) -> None:
    """Add what is learnt from fitting a sample of the peaks."""
    page.heading("Positions beside conventional fits")
    if make_fitter is None:
        page.note("Not compared.")
        return
    try:
        pairs, why = _fitted(material, recorded, compared, make_fitter(material.config), patience_s)
    except (UserError, ValueError) as error:
        pairs, why = [], str(error)
    if not pairs:
        page.note(f"No peaks could be fitted: {why or 'none of the frames has one'}.")
        return
    method = METHODS.get(material.config.positions.method, material.config.positions.method)
    # Patches come from the frame in the middle of the run.
    shot, refit = sorted(pairs, key=lambda pair: pair[0].time_ns)[len(pairs) // 2]
    examples = choose_examples(shot, refit, _PATCHES)
    if examples:
        add(
            draw_patches(examples, method),
            "patches",
            "Peaks from strong to faint, and where they were placed. Above: the patch (square root "
            "of the counts, grey where masked). Below: the two answers enlarged, ellipses are one "
            "standard error of each. Clean peaks only.",
        )
    found = measure_agreement(pairs)
    if len(found.distance) < 2:
        page.note("Too few clean peaks to compare.")
        return
    p50, p75, p95 = found.percentiles
    same = f", and {found.n_same:,} that the run placed by such a fit itself" * (found.n_same > 0)
    add(
        draw_agreement(found, method),
        "agreement",
        f"Distance of the run's positions from a maximum-likelihood Gaussian fit. "
        f"{len(found.distance):,} clean peaks on {len(pairs)} frames spread over the run: median "
        f"{p50:.4f} px, 75th percentile {p75:.4f} px, 95th {p95:.4f} px. What stays below the "
        f"dashed line is less than the counts themselves leave open. {found.n_left_out:,} peaks "
        f"that either flags are left out{same}.",
    )


def _fitted(
    material: Material,
    recorded: Recorded,
    compared: Sequence[Shot],
    fit: Fitter,
    patience_s: float,
) -> tuple[list[tuple[Shot, Refit]], str]:
    """Fit the peaks of frames until time is up; and say why frames could not be had."""
    pairs: list[tuple[Shot, Refit]] = []
    why = ""
    stop = time.monotonic() + patience_s
    for shot in _evenly(compared):
        if pairs and time.monotonic() > stop:
            break
        if not len(shot.peaks["row"]):
            continue
        pixels, mask = pixels_of(recorded, shot)
        if isinstance(pixels, str):
            why = pixels
            if not pairs:
                break  # where one is not there, none is
            continue
        pairs.append((shot, fit(pixels, mask, shot.peaks["peak_row"], shot.peaks["peak_col"])))
    return pairs, why


def _evenly(shots: Sequence[Shot]) -> list[Shot]:
    """Return all in an order of which any beginning is spread over the whole."""
    n = len(shots)
    order = sorted(range(n), key=lambda i: (i * 0.6180339887498949) % 1.0)
    return [shots[i] for i in order]


def _drift_caption(material: Material) -> str:
    kind = "Radial drift and strain" if material.geometry is not None else "Drift"
    shades = " Shaded: charge and discharge." if material.cell.num_rows else ""
    if GUESS in material.cell["kind_from"].unique().to_pylist():
        shades = (
            " Shaded: charge and discharge, guessed by the slope of the voltage: the file of the"
            " cell has no current."
        )
    return (
        f"{kind} of the main reflections, each named beside its end: all their spots, also those "
        "that one splits into. The larger a point, the larger the share of the intensity. Bands: "
        "one standard error of each observation, or of the mean of those that fall on one point."
        f"{shades} Counted from the reference position of each reflection's first spot, "
        f"{_MOTION[material.config.tracks.common_motion]}."
    )


def _lattice_caption(material: Material) -> str:
    return (
        "Unit cell of each phase, by least squares over all reflections whose lattice planes are "
        f"known: {index_words(material)}. Bars: one standard error. Phase 0 is the one that "
        "reflections begin in."
    )


def _motion_caption(material: Material) -> str:
    return (
        "What all spots of a frame did together. Shift along rows and columns, rotation from the "
        "columns' axis towards the rows' axis, and scale, about the direct beam or, where that is "
        "not known, the middle of the first spots; bands as above. A beam that drifts or a sample "
        "that moves does this. Drift and strain above are told "
        f"{_MOTION[material.config.tracks.common_motion]}."
    )


def _frames_caption(shown: Sequence[Shot], why: str) -> str:
    spread = "Frames with their peaks. " if len(shown) > 1 else "A frame with its peaks. "
    pixels = "Counts are on a logarithmic scale, masked pixels grey."
    if why:
        pixels = f"Without pixels: {why}."
    return f"{spread}{pixels}"
