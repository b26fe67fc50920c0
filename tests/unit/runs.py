"""A small run folder, made up, that reports and exports are tested with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from streamer.config import Config
from streamer.frames.geometry import Geometry
from streamer.results.folder import RunFolder
from streamer.results.schema import CELL, FRAMES, MOTION, PEAKS, SHAPES
from streamer.tracks.catalogue import TrackCatalogue

BEGIN = 1_700_000_000_123_456_789
STEP = 20_000_000
FRAMES_PER_SERIES, PER_FRAME = 30, 5
GEOMETRY = Geometry.from_beam(
    (20.0, 24.0), distance_m=0.09, pixel_m=(75e-6, 75e-6), wavelength_a=0.62, source="made up"
)
SPOTS = np.array([[8.0, 9.0], [30.0, 12.0], [40.0, 44.0], [12.0, 50.0], [25.0, 33.0]])


def make_run(
    path: Path, *, geometry: bool = True, cell: bool = True, source: str = "gone.npy",
    timed: bool = True, place: Geometry = GEOMETRY,
) -> RunFolder:  # fmt: skip
    """Make a run of two series in four parts, with one frame missing and one failed."""
    folder = RunFolder.create(path)
    rng = np.random.default_rng(7)
    book = TrackCatalogue(reference_frames=3)
    known = place if geometry else None
    part = 0
    for s, series in enumerate(("first", "second")):
        for half in range(2):
            numbers = np.arange(half * 15, half * 15 + 15)
            done = numbers[(numbers != 7) & (numbers != 20)]
            peaks = _peaks(series, s, done, rng, known)
            times = _times(s, numbers)
            if not timed:
                peaks = peaks.set_column(
                    peaks.column_names.index("time_ns"), PEAKS.field("time_ns"),
                    pa.array(np.zeros(len(peaks), np.int64)),
                )  # fmt: skip
                times *= 0
            states = ["done" if n in done else ("missing", "failed")[int(n == 20)] for n in numbers]
            frames = pa.table(
                {
                    "series": [series] * 15,
                    "frame": numbers,
                    "time_ns": times,
                    "state": states,
                    "reason": ["" if one == "done" else f"it was {one}, so" for one in states],
                    "n_peaks": np.where(np.isin(numbers, done), PER_FRAME, 0).astype(np.int32),
                    "latency_ms": np.where(np.isin(numbers, done), 12.5, np.nan),
                    "count": np.ones(15, np.int64),
                    **dict.fromkeys(MOTION, np.full(15, np.nan)),
                },
                schema=FRAMES,
            )
            folder.write_part(part, frames, peaks, upto=part, next_track=10)
            columns = {name: peaks[name].to_numpy(zero_copy_only=False) for name in PEAKS.names}
            columns["series"] = np.zeros(len(peaks), np.int64)
            book.extend([series], columns)
            part += 1
    folder.write_tracks(book.measure(known))
    if known is not None:
        folder.write_geometry(known)
    if cell:
        folder.write_cell(_cell())
    book_of = {
        "announced": 30, "received": 29, "done": 28, "failed": 1, "missing": 1, "shed": 0,
        "missing_frames": [[7, 7]], "end": "end",
    }  # fmt: skip
    folder.write_summary(
        {
            "software": {"name": "braggstream", "version": "0.0"},
            "state": "done",
            "source": source,
            "out": str(path),
            "started": "2023-11-14T22:13:20.123+00:00",
            "ended": "2023-11-14T22:13:30.456+00:00",
            "elapsed_s": 10.3,
            "frames": {"done": 56, "failed": 2, "missing": 2, "shed": 0, "total": 60},
            "series": {"first": book_of, "second": book_of},
            "peaks": 280,
            "tracks": 10,
            "rates": {"frames_per_s": 50.0, "peaks_per_s": 250.0, "latency_ms_median": 12.5},
            "stages": {"ingest": {"MB/s": 1.0}},
            "disagreement_px": 0.01,
            "delivery": {"redelivered": 0, "duplicates": 0, "restarts": 0, "ignored": ""},
        }
    )
    (path / "config.yaml").write_text(Config().to_yaml())
    return folder


def _times(series: int, frames: np.ndarray) -> np.ndarray:
    return BEGIN + (series * FRAMES_PER_SERIES + frames) * STEP


def _peaks(
    series: str, s: int, frames: np.ndarray, rng: np.random.Generator, place: Geometry | None
) -> pa.Table:
    frame = np.repeat(frames, PER_FRAME)
    spot = np.tile(np.arange(PER_FRAME), len(frames))
    row, col = (
        SPOTS[spot, axis] + 0.02 * frame * (axis + 1) + rng.normal(0, 0.01, len(spot))
        for axis in (0, 1)
    )
    sigma = np.where(spot == 4, np.nan, 0.01)
    unknown = np.full(len(spot), np.nan)
    found = place.locate(row, col, sigma, sigma) if place is not None else None
    angles = ("two_theta", "chi", "q", "d", "d_sigma")
    return pa.table(
        {
            "series": [series] * len(spot),
            "frame": frame,
            "time_ns": _times(s, frame),
            "peak_row": np.rint(row).astype(np.int32),
            "peak_col": np.rint(col).astype(np.int32),
            "score": 1000.0 - 100.0 * spot,
            **{name: np.full(len(spot), 1.0 + at / 64) for at, name in enumerate(SHAPES)},
            "intensity": 5000.0 - 100.0 * spot + 0.1,
            "row": row,
            "col": col,
            "row_sigma": sigma,
            "col_sigma": sigma,
            "flags": np.where(spot == 3, 16, 0).astype(np.int32),
            "track": 5 * s + spot,
            **{name: unknown if found is None else getattr(found, name) for name in angles},
        },
        schema=PEAKS,
    )


def _cell() -> pa.Table:
    n = 60
    half = np.where(np.arange(n) < 5, -1, np.where(np.arange(n) < 30, 0, 1))
    return pa.table(
        {
            "time_ns": BEGIN + np.arange(n) * STEP,
            "voltage_v": 4.0 + 0.01 * np.arange(n),
            "current_a": np.array([0.0, 0.003, -0.003])[np.where(half < 0, 0, half + 1)],
            "capacity_ah": np.full(n, np.nan),
            "half_cycle": half.astype(np.int32),
            "kind": np.array(["rest", "charge", "discharge"])[np.where(half < 0, 0, half + 1)],
            "kind_from": ["current"] * len(half),
        },
        schema=CELL,
    )
