"""Answers about one run, made of what its page shows. Everything here is for the view's thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from streamer.dashboard.api import answers
from streamer.dashboard.archive import STATES
from streamer.dashboard.drifts import units
from streamer.dashboard.messages import Lines
from streamer.dashboard.requests import Watch
from streamer.dashboard.thresholds import RefusedError
from streamer.dashboard.view import RunView

__all__ = ["frame", "pixels", "status", "thresholds", "track", "tracks"]

_MOST_PIXELS = 1 << 18
_PATIENCE_S = 10.0


def status(view: RunView) -> answers.Status:
    """Say how a run stands."""
    hello, health = view.hello(), view.health()
    names = {"phase", "frames", "peaks", "elapsed_s", "frames_in_hz", "frames_out_hz",
             "latency_ms", "backlog", "disagreement_px", "stale_s", "lost", "alarm"}  # fmt: skip
    series = zip(hello["series"], hello["starts"], strict=True)
    return answers.Status(
        name=hello["run"],
        live=hello["live"],
        **{name: hello[name] for name in ("started", "source", "software", "shape", "quantities")},
        n_frames=hello["n_frames"],
        series=[answers.Series(name=name, start=start) for name, start in series],
        **{name: health[name] for name in names},
    )


def tracks(view: RunView) -> answers.Tracks:
    """Return all tracks."""
    table = view.tables.tracks
    rows = table.to_pylist()
    return answers.Tracks(
        units=units(table.column_names),
        tracks=[
            answers.Track(track=row["track"], reflection=row["reflection"], columns=row)
            for row in rows
        ],
    )


def track(
    view: RunView,
    number: int,
    quantity: str | None,
    x: Literal["time", "frame"],
    points: int,
) -> answers.Curve:
    """Return a quantity of a track over the run.

    Raises
    ------
    RefusedError
        There is no such track or quantity, or it takes too long to read.
    """
    offered = [one for one in view.hello()["quantities"] if not one.startswith("motion_")]
    if quantity is None:
        quantity = offered[0]
    if quantity not in offered:
        raise RefusedError(400, f"no quantity {quantity}: there are {', '.join(offered)}")
    if number not in view.tables.references:
        raise RefusedError(404, f"there is no track {number}, by now")
    watch = msgspec.convert(
        {"type": "watch", "tracks": (number,), "quantity": quantity, "x": x, "points": points},
        Watch,
    )
    until = time.monotonic() + _PATIENCE_S
    while True:
        lines = view.drift(watch)
        if not isinstance(lines, Lines):
            raise RefusedError(400, f"{quantity} is not known in this run")
        if lines.is_whole:
            break
        if time.monotonic() > until:
            raise RefusedError(503, "the run is still being read: ask again")
    curve, header = lines.curves[number], lines.header
    return answers.Curve(
        track=number,
        quantity=str(header["quantity"]),
        label=str(header["label"]),
        unit=str(header["unit"]),
        x_is=header["x"],
        x=curve.x.tolist(),
        y=curve.y.tolist(),
        sigma=curve.sigma.tolist(),
    )


def frame(view: RunView, series: str | None, number: int) -> answers.Frame:
    """Return the peaks of a frame.

    Raises
    ------
    RefusedError
        There is none.
    """
    key = view.frames.key_of(series, number)
    peaks = view.frames.peaks(key)
    if peaks is None:
        raise _no_frame(key)
    row = view.archive.find(*key)
    return answers.Frame(
        series=key[0],
        frame=number,
        settled=row is not None,
        state=None if row is None else STATES[view.archive.frames["state"][row]],
        peaks=[_peak(peaks, i) for i in range(len(peaks["row"]))],
    )


def _peak(columns: Mapping[str, Any], i: int) -> answers.Peak:
    of = {name: columns[name][i].item() for name in ("row", "col", "row_sigma", "col_sigma")}
    number = int(columns["track"][i])
    return answers.Peak(
        **of,
        score=float(columns["score"][i]),
        flags=int(columns["flags"][i]),
        track=None if number < 0 else number,
    )


def pixels(
    view: RunView,
    series: str | None,
    number: int,
    row: int,
    col: int,
    rows: int | None,
    cols: int | None,
) -> answers.Pixels:
    """Return counts of a frame.

    Raises
    ------
    RefusedError
        There is no such frame or part, its pixels are not at hand, or they are too many.
    """
    key = view.frames.key_of(series, number)
    if not view.frames.is_known(key):
        raise _no_frame(key)
    counts = view.frames.counts(key)
    if isinstance(counts, str):
        raise RefusedError(404, counts)
    whole = counts.pixels.shape
    wanted = (
        slice(row, whole[0] if rows is None else min(row + rows, whole[0])),
        slice(col, whole[1] if cols is None else min(col + cols, whole[1])),
    )
    part = counts.pixels[wanted]
    if not part.size:
        raise RefusedError(400, f"no pixels there: a frame has {whole[0]} x {whole[1]}")
    if part.size > _MOST_PIXELS:
        raise RefusedError(
            400, f"{part.size:,} pixels are more than {_MOST_PIXELS:,}: give rows and cols"
        )
    bad = np.zeros(part.shape, np.bool_) if counts.mask is None else counts.mask[wanted].copy()
    if part.dtype.kind == "u":
        bad |= part == np.iinfo(part.dtype).max
    else:
        bad |= ~np.isfinite(part)
    content = part.astype(object)
    content[bad] = None
    return answers.Pixels(
        series=key[0],
        frame=number,
        row=row,
        col=col,
        shape=[int(whole[0]), int(whole[1])],
        dtype=part.dtype.name,
        counts=content.tolist(),
    )


def thresholds(view: RunView) -> answers.Thresholds:
    """Return the thresholds of a run."""
    content = view.thresholds.content(live=view.state.live)
    return msgspec.convert(content, answers.Thresholds)


def _no_frame(key: tuple[str, int]) -> RefusedError:
    return RefusedError(404, f"there is no frame {key[1]} of {key[0] or 'the run'}, by now")
