"""The report of a run as it is asked for: by a command, or by the end of the run."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from streamer.errors import UserError
from streamer.report.movie import check_movie, write_movie
from streamer.report.run import MakeFitter, write_report
from streamer.results.folder import RunFolder
from streamer.results.originals import originals
from streamer.results.pixels import Recorded

__all__ = ["report_at_end", "report_run"]

_PATIENCE_S, _PATIENCE_AT_END_S = 15.0, 4.0
"""How long to fit at most: who asks for a report waits longer than who waits for a run's end."""


def report_at_end(folder: Path, make_fitter: MakeFitter) -> Path:
    """Write the report of a run that has just ended into its folder and return its page."""
    return write_report(
        folder,
        folder / "report",
        make_fitter=make_fitter,
        patience_s=_PATIENCE_AT_END_S,
    )


def report_run(
    folder: Path,
    console: Console,
    make_fitter: MakeFitter,
    *,
    out: Path | None = None,
    frames: str | None = None,
    tracks: int = 8,
    movie: Path | None = None,
    movie_frames: int | None = None,
) -> None:
    """Write a report and, if wanted, a movie, and say where they are.

    Parameters
    ----------
    folder
        Run folder; the run may still go on.
    out
        Folder to write to; None takes ``report/`` in the run folder.
    frames
        Numbers of the frames to show, with commas; None spreads them over the run.
    tracks
        Main tracks to draw.
    movie
        File of the movie.
    movie_frames
        Most frames of the movie.

    Raises
    ------
    UserError
        It is no run folder, something that the user gave does not fit, or cannot be written.
    """
    run = RunFolder.open(folder)
    if movie is not None:
        check_movie(movie)
    chosen = _numbers(frames) if frames is not None else None
    with console.status("drawing the report"):
        page = write_report(
            folder,
            out or folder / "report",
            tracks=tracks,
            chosen=chosen,
            make_fitter=make_fitter,
            patience_s=_PATIENCE_S,
        )
    console.print(f"report {page}", highlight=False, soft_wrap=True)
    if movie is not None:
        source = Recorded(*originals(run))
        count = write_movie(run, source, movie, console, movie_frames)
        console.print(f"movie  {movie} of {count:,} frames", highlight=False, soft_wrap=True)


def _numbers(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise UserError(f"--frames {text}: write numbers with commas, such as 10,200") from None
