"""The panels of the page that show the same to all who look, and what each is told.

A panel is one class in ``static/panels`` and one entry of `PANELS`: the class takes in the messages
that the entry makes, whose type is the panel's name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.dashboard.cell import cell_message
from streamer.dashboard.drifts import units
from streamer.dashboard.messages import encode
from streamer.dashboard.place import geometry, geometry_version
from streamer.dashboard.view import RunView

__all__ = ["PANELS", "Panel", "cell", "thresholds", "tracks"]

_MOMENTS = 200
"""Frames whose times a page knows, so that a click on a moment finds those between."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What a part of the page is told."""

    name: str
    """Type of its messages, not one of those that `streamer.dashboard.messages` has already."""
    version: Callable[[RunView], Hashable]
    """Returns what changes when the message has to be made anew, None while there is nothing to
    tell. It is asked every second and has to be quick."""
    message: Callable[[RunView], bytes]
    """Makes the message, with `streamer.dashboard.messages.encode`."""


def tracks(run: RunView) -> bytes:
    """Tell the table of tracks."""
    archive, table = run.archive, run.tables.tracks
    arrays: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table[name]
        if name == "series":
            places = {name: place for place, name in enumerate(archive.series)}
            arrays[name] = np.array([places.get(one, -1) for one in column.to_pylist()], "i4")
        elif pa.types.is_int32(column.type):
            arrays[name] = column.to_numpy().astype(np.int32)
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            arrays[name] = column.to_numpy().astype(np.float64)
    frames, times = archive.timeline(_MOMENTS)
    header = {
        "n_frames": archive.n_frames,
        "timeline": [frames.tolist(), (times * 1e-9).tolist()],
        "n": table.num_rows,
        "memory_frames": run.config.tracks.memory_frames,
        "radial": run.tables.geometry is not None,
        "units": units(list(arrays)),
    }
    return encode("tracks", header, arrays)


def cell(run: RunView) -> bytes:
    """Tell the cell's channel."""
    archive = run.archive
    return cell_message(run.tables.cell(), archive.frames["time_ns"], archive.run_frames())


def thresholds(run: RunView) -> bytes:
    """Tell which thresholds hold, and whether they can be changed."""
    return encode("thresholds", run.thresholds.content(live=run.state.live))


PANELS = (
    Panel("tracks", lambda run: run.tables.tracks_version, tracks),
    Panel("geometry", geometry_version, geometry),
    Panel("cell", lambda run: run.tables.cell_version or None, cell),
    Panel("thresholds", lambda run: run.thresholds.version(live=run.state.live), thresholds),
)
"""In the order in which they are told."""
