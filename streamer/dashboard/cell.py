"""The cell's channel as a message to the page."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.cell.cycles import GUESS
from streamer.dashboard.messages import encode

__all__ = ["cell_message"]

_MOST_READINGS = 5000


def cell_message(
    readings: pa.Table, time_ns: NDArray[np.int64], run_frame: NDArray[np.int64]
) -> bytes:
    """Show the readings of a cell beside the frames.

    Parameters
    ----------
    readings
        Table of `streamer.results.schema.CELL`, in the order of time.
    time_ns, run_frame
        (n,), Unix time in ns of each frame, 0 where not known, and its number in the run.
    """
    times = readings["time_ns"].to_numpy()
    order = np.argsort(time_ns, kind="stable")
    order = order[time_ns[order] > 0]
    frame_times, numbers = time_ns[order], run_frame[order].astype(np.float64)

    def frame_at(moments: NDArray[Any]) -> NDArray[np.float64]:
        """Return the run frame that was taken then, NaN outside of the run."""
        if not len(frame_times):
            return np.full(len(moments), np.nan)
        place = np.searchsorted(frame_times, moments, side="right") - 1
        inside = (place >= 0) & (moments <= frame_times[-1])
        return np.where(inside, numbers[np.maximum(place, 0)], np.nan)

    halves = readings["half_cycle"].to_numpy()
    kinds, sources = readings["kind"].to_pylist(), readings["kind_from"].to_pylist()
    cuts = np.flatnonzero(np.diff(halves)) + 1 if len(halves) else np.empty(0, np.int64)
    bounds = [0, *cuts.tolist(), len(halves)] if len(halves) else []
    half_cycles = []
    for start, stop in pairwise(bounds):
        if halves[start] < 0:
            continue
        ends = times[[start, stop - 1]]
        frames = [None if np.isnan(one) else int(one) for one in frame_at(ends).tolist()]
        half_cycles.append(
            {
                "number": int(halves[start]),
                "kind": kinds[start],
                "guess": sources[start] == GUESS,
                "start": float(ends[0] * 1e-9),
                "stop": float(ends[1] * 1e-9),
                "start_frame": frames[0],
                "stop_frame": frames[1],
            }
        )
    kept = slice(None, None, 1 + len(times) // _MOST_READINGS)
    return encode(
        "cell",
        {"half_cycles": half_cycles},
        {
            "time": times[kept] * 1e-9,
            "frame": frame_at(times[kept]),
            "voltage": readings["voltage_v"].to_numpy()[kept].astype(np.float32),
            "current": readings["current_a"].to_numpy()[kept].astype(np.float32),
            "capacity": readings["capacity_ah"].to_numpy()[kept].astype(np.float32),
        },
    )
