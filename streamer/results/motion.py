"""What all spots of a frame did together, and positions without it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import Config
from streamer.frames.geometry import Geometry
from streamer.results.folder import RunFolder
from streamer.results.schema import MOTION, Columns

__all__ = ["MotionTable", "still", "to_remove"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PLACED = ("row", "col", "row_sigma", "col_sigma")
_FRAME_BITS = 44
"""A frame's key is the number of its series above so many bits of its own."""


def still(peaks: Columns, motion: Columns) -> Columns:
    """Return positions with the common shift and rotation taken out, and their standard deviations.

    What is a change of scale stays: it is a strain of the lattice or another distance. Positions
    are NaN where the motion is.

    Parameters
    ----------
    peaks
        `row`, `col`, `row_sigma`, `col_sigma` in pixels, (n,).
    motion
        Columns `MOTION` of the frames table, (n,).
    """
    about_row, about_col = motion["motion_about_row"], motion["motion_about_col"]
    angle, turn_sigma = np.radians(motion["motion_angle"]), np.radians(motion["motion_angle_sigma"])
    dr = peaks["row"] - about_row - motion["motion_row"]
    dc = peaks["col"] - about_col - motion["motion_col"]
    cosine, sine = np.cos(angle), np.sin(angle)
    dr, dc = dr * cosine - dc * sine, dr * sine + dc * cosine

    def sigma(name: str, lever: Floats) -> Floats:
        shift, turn = motion[f"motion_{name}_sigma"], lever * turn_sigma
        both = 2.0 * motion[f"motion_{name}_angle_correlation"] * shift * turn
        variance = peaks[f"{name}_sigma"] ** 2 + np.maximum(shift**2 + turn**2 + both, 0.0)
        return np.asarray(np.sqrt(variance))

    return {
        "row": about_row + dr,
        "col": about_col + dc,
        "row_sigma": sigma("row", dc),
        "col_sigma": sigma("col", -dr),
    }


class MotionTable:
    """The common motion of the frames of a run, to be looked up.

    Parameters
    ----------
    folder
        Run folder.
    geometry
        What spacings follow from.
    """

    def __init__(self, folder: RunFolder, geometry: Geometry | None = None) -> None:
        self._geometry = geometry
        table = folder.read("frames", ["series", "frame", *MOTION])
        names = table["series"].combine_chunks().dictionary_encode()
        self._series = {name: i for i, name in enumerate(names.dictionary.to_pylist())}
        numbers = names.indices.to_numpy().astype(np.int64)
        keys = (numbers << _FRAME_BITS) + table["frame"].to_numpy()
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._columns = {name: table[name].to_numpy() for name in MOTION}

    def of(self, series: pa.ChunkedArray, frame: Ints) -> Columns:
        """Return the columns `MOTION` of frames, NaN where there is no such frame."""
        names = series.combine_chunks().dictionary_encode()
        known = [self._series.get(name, -1) for name in names.dictionary.to_pylist()]
        numbers = np.array(known, np.int64)[names.indices.to_numpy()]
        keys = (numbers << _FRAME_BITS) + frame
        place = np.searchsorted(self._keys, keys)
        found = place < len(self._keys)
        found[found] = self._keys[place[found]] == keys[found]
        motion = {}
        for name, column in self._columns.items():
            motion[name] = np.full(len(keys), np.nan)
            motion[name][found] = column[self._order[place[found]]]
        return motion

    def remove(self, peaks: pa.Table) -> pa.Table:
        """Return peaks with the common motion taken out of their positions and spacings."""
        motion = self.of(peaks["series"], peaks["frame"].to_numpy())
        changed = still({name: peaks[name].to_numpy() for name in _PLACED}, motion)
        if self._geometry is not None:
            found = self._geometry.locate(*changed.values())
            changed |= {"d": found.d, "d_sigma": found.d_sigma}
        for name, column in changed.items():
            peaks = peaks.set_column(peaks.column_names.index(name), name, pa.array(column))
        return peaks


def to_remove(folder: RunFolder, config: Config, geometry: Geometry | None) -> MotionTable | None:
    """Return what is to be taken out of the drifts of a run; None where it is to be kept."""
    return MotionTable(folder, geometry) if config.tracks.common_motion == "remove" else None
