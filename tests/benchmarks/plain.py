"""The work of a run in plain loops that call the product's own functions, without transport."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from streamer.config import Config
from streamer.frames.codecs import decode
from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, PEAKS
from streamer.sink.ledger import Ledger
from streamer.sink.tables import Result, Row, as_table, frame_columns, motion_columns, peak_columns
from streamer.sources import open_source
from streamer.tracks.linking import Tracking
from streamer.transport.messages import FramePeaks
from tests.benchmarks.loops import run_loops

__all__ = ["plain_loop", "run_plain"]

_BATCH = 16
_COMMIT = 1000


def plain_loop(
    config: Config, path: Path, out: Path, share: int, shares: int, barrier, loops: int = 1
) -> None:
    """Do the work of every stage on a share of the frames, several times, and say what it took."""
    from streamer.tracks.kernels import compile_tracks
    from workers.detect.choice import make_finder
    from workers.detect.correction import Correction
    from workers.detect.node import find_in_frame
    from workers.place.fit.methods import PseudoVoigtFit
    from workers.place.methods import make_method
    from workers.place.neighbours import Neighbours
    from workers.place.node import place_peaks
    from workers.place.refit import doubtful, refit

    method = make_method(config.positions, 1)
    fit = PseudoVoigtFit() if method.name == "braggnn" and config.positions.refit else None
    finder = make_finder("topology", config.detect.minval, config.detect.minscore)
    folder = RunFolder.create(out / f"loop-{share}")
    tracking, ledger = Tracking(config, folder), Ledger()
    source = open_source(str(path), config.source)
    series = source.read(1)[0]
    correction = Correction.for_series(series, None, None, 1, None)
    tracking.begin_series(series)
    find_in_frame(np.zeros((64, 64), np.uint16), correction=Correction(),
                                  finder=finder, patch_size=method.patch_size)  # fmt: skip
    size = method.patch_size
    for one in (method, fit):
        if one is not None:
            one.place(np.ones((1, size, size), np.float32), np.ones((1, size, size), np.bool_))
    compile_tracks()
    # Each process has frames of its own, as if they had been dealt out beforehand.
    first, last = (source.n_frames * k // shares for k in (share, share + 1))
    reader = source._reader
    barrier.wait()
    start, used = time.perf_counter(), time.process_time()
    rows, part = [], 0

    def commit():
        nonlocal rows, part
        names = ["1"]
        frames, peaks = frame_columns(rows, names), peak_columns(rows, names)
        peaks |= tracking.locate(peaks)
        frames |= motion_columns(frames["n_peaks"], tracking.follow(peaks))
        folder.write_part(
            part,
            as_table(frames, names, FRAMES, reason=[row.reason for row in rows]),
            as_table(peaks, names, PEAKS),
            upto=0,
            next_track=tracking.next_track,
            note=tracking.note(),
        )
        tracking.commit(names, peaks)
        rows, part = [], part + 1

    for begin in range(first, first + loops * (last - first), _BATCH):
        numbers = range(begin, min(begin + _BATCH, first + loops * (last - first)))
        found = []
        for number in numbers:
            frame = decode(*reader.coded(first + (number - first) % (last - first)))
            found.append(find_in_frame(frame, correction, finder, size))
        peaks = np.concatenate([table for table, _ in found])
        counts = np.concatenate([patches.counts for _, patches in found])
        valid = np.concatenate([patches.valid for _, patches in found])
        placed = method.place(counts, valid)
        if fit is not None:
            sizes = [len(table) for table, _ in found]
            near = Neighbours(peaks, sizes)
            placed = refit(placed, counts, valid, doubtful(placed, peaks, near), fit, near)
        positions = place_peaks(peaks, placed)
        at = 0
        for number, (table, _) in zip(numbers, found, strict=True):
            where = positions[at : at + len(table)]
            at += len(table)
            ledger.enter("1", number)
            tracks = tracking.link(number, table, where)
            head = FramePeaks(number, "1", number, 0, time.time_ns(), len(table))
            result = Result(head, table, where)
            rows.append(Row("1", number, 0, "done", "", head.received_ns, result, tracks))
        if len(rows) >= _COMMIT:
            commit()
    if rows:
        commit()
    said = {
        "frames": loops * (last - first),
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - used,
    }
    (out / f"loop-{share}.json").write_text(json.dumps(said))


def run_plain(
    config: Config, path: Path, out: Path, processes: int, loops: int = 1
) -> tuple[float, float]:
    """Return frames a second of so many processes, and CPU milliseconds a frame."""
    said = run_loops(plain_loop, (config, path), out, processes, loops)
    frames = sum(one["frames"] for one in said)
    cpu_ms = 1e3 * sum(one["cpu"] for one in said) / frames
    return frames / max(one["seconds"] for one in said), cpu_ms
