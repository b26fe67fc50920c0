"""The folder that a run of many frames leaves, written in minutes: parts, tracks, checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml

from streamer.config import Config
from streamer.frames.geometry import Geometry
from streamer.results.folder import RunFolder
from streamer.results.merging import AT_ONCE, NOTES
from streamer.results.parts import Span, publish
from streamer.results.schema import FRAMES, MOTION, PEAKS, SHAPES
from streamer.run.summary import summarise
from streamer.sink.account import Account
from streamer.sink.checkpoint import Checkpoint
from streamer.sink.tables import as_table
from streamer.tracks.linker import anchors
from streamer.tracks.linking import Tracking

__all__ = ["SERIES", "write_long_run"]

SERIES = "long_1"
RATE_HZ = 500.0
SPOTS, LASTING = 20, 8
"""Spots of a frame, and how many of them are seen from the first frame to the last."""
_PART = 200
"""Frames of a part."""
_LIVES = 40
"""Tracks that follow each other at each spot that does not last."""
_SIZE = 256
_START_NS = 1_790_000_000_000_000_000
_UPTO, _NEXT_TRACK = b"braggstream.upto", b"braggstream.next_track"


def write_long_run(path: Path, n_frames: int) -> RunFolder:
    """Write the folder of a run that ended, as its sink leaves it, with a checkpoint.

    Parameters
    ----------
    n_frames
        Frames; each has `SPOTS` peaks.
    """
    rng = np.random.default_rng(10)
    pixels = path.with_name(f"{SERIES}.npy")
    np.lib.format.open_memmap(pixels, "w+", np.uint16, (n_frames, _SIZE, _SIZE))  # full of holes
    config = Config.model_validate(
        {"geometry": {"distance_m": 0.5, "beam_row": 128.0, "beam_col": 128.0, "pixel_m": 75e-6,
                      "wavelength_a": 0.35}}
    )  # fmt: skip
    folder = RunFolder.create(path)
    (path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    geometry = Geometry.from_config(config.geometry)
    tracking, account = Tracking(config, folder), Account()
    spots = rng.uniform(12.0, _SIZE - 12.0, (SPOTS, 2))
    speed = rng.normal(0.0, 1.0 / n_frames, (SPOTS, 2))  # a pixel over the run
    n_parts = -(-n_frames // _PART)
    for first in range(0, n_parts, AT_ONCE):
        last = min(first + AT_ONCE, n_parts) - 1
        whole = last - first + 1 == AT_ONCE
        spans = [Span(first, last)] if whole else [Span(i, i) for i in range(first, last + 1)]
        for span in spans:
            start, stop = _PART * span.first, min(_PART * (span.last + 1), n_frames)
            frames, peaks = _rows(rng, start, stop, n_frames, spots, speed)
            peaks |= {
                name: getattr(location, name)
                for location in [geometry.locate(*(peaks[one] for one in _PLACE))]
                for name in ("two_theta", "chi", "q", "d", "d_sigma")
            }
            peaks |= dict.fromkeys(SHAPES, np.full(len(peaks["row"]), np.nan))
            tracking.catalogue.extend([SERIES], peaks)
            account.enter(SERIES, start, stop - start)
            known = int(peaks["track"].max()) + 1
            _publish(folder, span, frames, peaks, stop, known)
        if whole:
            tracking._linker.tracker.next_track = known
            _resume(tracking, stop, peaks)
            counts = {"done": stop}
            state = {"account": account.state(), "frames": counts, "peaks": SPOTS * stop}
            checkpoint = Checkpoint(folder, config)
            checkpoint.write(last, stop, state | {"tracking": tracking.state()})
    table = tracking.catalogue.measure(geometry)
    folder.write_tracks(table)
    ended = _START_NS / 1e9 + n_frames / RATE_HZ
    summary = summarise(folder, str(pixels), _START_NS / 1e9, ended, None, "done")
    summary["tracks"] = len(table)
    folder.write_summary(summary)
    return folder


_PLACE = ("row", "col", "row_sigma", "col_sigma")


def _rows(rng, start, stop, n_frames, spots, speed):
    """Return the columns of both tables for frames that follow each other."""
    n = stop - start
    number = np.arange(start, stop)
    times = _START_NS + np.round(number * (1e9 / RATE_HZ)).astype(np.int64)
    frames = {
        "series": np.zeros(n, np.int32),
        "frame": number,
        "time_ns": times,
        "state": np.full(n, b"done", "S8"),
        "n_peaks": np.full(n, SPOTS, np.int32),
        "latency_ms": rng.uniform(20.0, 400.0, n),
        "count": np.ones(n, np.int64),
        **dict.fromkeys(MOTION, np.full(n, np.nan)),
    }
    frame, spot = np.repeat(number, SPOTS), np.tile(np.arange(SPOTS), n)
    life = np.where(spot < LASTING, 0, frame * _LIVES // n_frames)
    noise = rng.normal(0.0, 0.02, (2, len(frame)))
    row, col = spots[spot].T + speed[spot].T * frame + noise
    intensity = rng.gamma(4.0, 500.0, len(frame))
    sigma = 0.02 * np.sqrt(2000.0 / intensity)
    peaks = {
        "series": np.zeros(len(frame), np.int32),
        "frame": frame,
        "time_ns": np.repeat(times, SPOTS),
        "peak_row": np.rint(row).astype(np.int32),
        "peak_col": np.rint(col).astype(np.int32),
        "score": np.rint(intensity / 5.0),
        "intensity": intensity,
        "row": row,
        "col": col,
        "row_sigma": sigma,
        "col_sigma": 1.1 * sigma,
        "flags": np.where(rng.random(len(frame)) < 0.02, 4, 0).astype(np.int32),
        "track": (spot + SPOTS * life).astype(np.int64),
    }
    return frames, peaks


def _publish(folder, span, frames, peaks, upto, next_track):
    """Write the file of a part, or of parts that were merged."""
    said = {_UPTO: str(upto).encode(), _NEXT_TRACK: str(next_track).encode()}
    reasons = [""] * len(frames["frame"])
    tables = {
        "frames": as_table(frames, [SERIES], FRAMES, reason=reasons),
        "peaks": as_table(peaks, [SERIES], PEAKS),
    }
    if len(span) == 1:
        folder.write_part(
            span.first, tables["frames"], tables["peaks"], upto=upto, next_track=next_track
        )
        return
    said[NOTES] = json.dumps(['{"parents": [], "merged": []}'] * len(span)).encode()

    def write(name, path):
        pq.write_table(tables[name].replace_schema_metadata(said), path, row_group_size=1 << 18)

    publish(folder.path, span, write)


def _resume(tracking, stop, peaks):
    """Have the tracker know the newest frames of a file."""
    frames = peaks["frame"]
    for place in range(max(stop - tracking.memory_frames, int(frames[0])), stop):
        rows = slice(*np.searchsorted(frames, [place, place + 1]))
        one = {name: column[rows] for name, column in peaks.items()}
        where, flagged = anchors(one, one["peak_row"], one["peak_col"])
        tracking._linker.tracker.resume(place, where, one["track"], flagged)


def main() -> None:
    """Write one, where and as long as the command line says."""
    write_long_run(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
