"""Which thresholds suit a recording: peaks a frame against both, and the two numbers to use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from streamer.config import Config
from streamer.errors import UserError
from workers.detect.adaptive import AdaptivePeaks
from workers.detect.base import found_by
from workers.detect.choice import finder_of
from workers.detect.survey import RecordedFootage

__all__ = ["tune"]

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def tune(config: Config, recording: str, picture: Path, frames: int, console: Console) -> None:
    """Print a table of peaks against both thresholds and draw it.

    Parameters
    ----------
    picture
        PNG to write.
    frames
        Most frames to look at, evenly spread.

    Raises
    ------
    UserError
        The recording cannot be read, or none of its frames can be used.
    """
    detect = config.detect
    footage = RecordedFootage(recording, config, frames)
    adaptive = finder_of(detect.model_copy(update={"minval": "auto", "minscore": "auto"}))
    kept, told, counts = [], [], []
    for _, pixels, correction in footage.frames():
        if isinstance(pixels, str):
            continue
        image, _ = correction(pixels)
        found = found_by(adaptive, image)
        if isinstance(found, AdaptivePeaks):
            one = found.thresholds()
            # Of a peak that stands alone the score counts from 0, not from the background.
            told.append((one.minval, max(one.background, 0.0) + one.minscore))
        kept.append(image)
        counts.append(len(found))
    if not told:
        raise UserError(f"no frame of {recording} can be used")
    minval, minscore = (float(f"{value:.3g}") for value in np.max(told, axis=0).tolist())
    if not 0.0 < max(minval, minscore) < np.inf:
        raise UserError(f"{recording} has no background to tell noise by")
    minval, minscore = max(minval, 0.0), max(minscore, 1e-12)
    rows = [factor * minval for factor in _FACTORS]
    cols = [factor * minscore for factor in _FACTORS]
    peaks = np.zeros((len(rows), len(cols)))
    for i, row in enumerate(rows):
        finder = finder_of(detect.model_copy(update={"minval": row, "minscore": cols[0]}))
        scores = [found_by(finder, image).score for image in kept]
        for j, col in enumerate(cols):
            peaks[i, j] = np.mean([np.count_nonzero(score >= col) for score in scores])
    table = Table(title=f"Peaks a frame, {len(kept)} frames", title_justify="left", box=box.SIMPLE)
    table.add_column("minval \\ minscore", justify="right")
    for col in cols:
        table.add_column(f"{col:g}", justify="right")
    for row, line in zip(rows, peaks, strict=True):
        table.add_row(f"{row:g}", *(f"{value:,.1f}" for value in line))
    console.print(table)
    _draw(peaks, rows, cols, picture)
    for words in (
        f"auto finds {np.mean(counts):,.1f} peaks a frame",
        f"as numbers: --set detect.minval={minval:g} --set detect.minscore={minscore:g}",
        f"picture {picture}",
    ):
        console.print(words, highlight=False, soft_wrap=True, markup=False)


def _draw(peaks: NDArray[np.float64], rows: list[float], cols: list[float], picture: Path) -> None:
    # Whoever reads the table alone would wait for it, too.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(np.log10(peaks + 0.1), origin="lower", aspect="auto", cmap="viridis")
    figure.colorbar(image, label="log10 of peaks a frame + 0.1")
    axes.set_xticks(range(len(cols)), [f"{value:g}" for value in cols])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.set_xlabel("detect.minscore (counts)")
    axes.set_ylabel("detect.minval (counts)")
    try:
        figure.savefig(picture, dpi=120)
    except OSError as error:
        raise UserError(f"{picture} cannot be written: {error.strerror}") from None
