"""Frames a second of the whole topology beside the same work in plain loops without transport."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from streamer.config import Config, load_config
from streamer.frames.codecs import decode
from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, PEAKS
from streamer.run.console import PlainView
from streamer.run.execute import execute
from streamer.run.topology import Topology
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.sink.ledger import Ledger
from streamer.sink.tables import Result, Row, as_table, frame_columns, motion_columns, peak_columns
from streamer.sources import open_source
from streamer.tracks.linking import Tracking
from streamer.transport.messages import FramePeaks
from workers.place.methods import patch_size_of

LAUNCH = Path(__file__).parents[2] / "launch.py"
GOAL = 0.70
ROUNDS = 2
_BATCH = 16
_COMMIT = 1000


class _Silent(PlainView):
    def update(self, now):
        pass


def plain_loop(config: Config, path: Path, out: Path, share: int, shares: int, barrier, seconds):
    """Do the work of every stage on a share of the frames; what this costs is the floor."""
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
    correction = Correction()
    events = source.read(1)
    mask = events[0].pixel_mask
    if mask is not None:
        correction = Correction(bad=mask)
        tracking.begin_series(events[0])
    find_in_frame(np.zeros((64, 64), np.uint16), correction=Correction(),
                                  finder=finder, patch_size=method.patch_size)  # fmt: skip
    size = method.patch_size
    for one in (method, fit):
        if one is not None:
            one.place(np.ones((1, size, size), np.float32), np.ones((1, size, size), np.bool_))
    # Each process has frames of its own, as if they had been dealt out beforehand.
    first, last = (source.n_frames * k // shares for k in (share, share + 1))
    reader = source._reader
    barrier.wait()
    start = time.perf_counter()
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

    for begin in range(first, last, _BATCH):
        numbers = range(begin, min(begin + _BATCH, last))
        found = []
        for number in numbers:
            frame = decode(*reader.coded(number))
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
    seconds[share] = time.perf_counter() - start


def plain_loops(config: Config, path: Path, out: Path, processes: int) -> float:
    """Return the seconds that so many processes take for all frames."""
    # Before they are spawned: numpy reads it when it is imported, which they do at once.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(processes)
    seconds = spawn.Array("d", processes)
    workers = [
        spawn.Process(target=plain_loop, args=(config, path, out, i, processes, barrier, seconds))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(seconds)


def topology(config: Config, path: Path, out: Path) -> dict:
    """Run the topology and return the content of its ``run.json``."""
    return execute(
        config,
        str(path),
        out,
        lambda spec: [sys.executable, str(LAUNCH), "node", str(spec)],
        _Silent(Console(quiet=True)),
        patch_size=patch_size_of(config.positions),
    )


def main() -> None:
    """Print the table."""
    console = Console()
    table = Table(title="Whole topology, 512 x 512 uint16 bslz4", title_justify="left")
    for column in ("positions", "frames", "peaks a frame", "processes", "plain loops, frames/s",
                   "topology, frames/s", "ratio", "goal"):  # fmt: skip
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = load_config(None, ["simulate.frames=3000", "simulate.spots=20"])
        path = folder / "cycle_master.h5"
        write_recording(Scene(scene.simulate), path)
        cases = {
            "centroid": ["positions.method=centroid"],
            "braggnn": ["positions.refit=false"],
            "braggnn, two-phase peaks fitted": [],
        }
        for method, settings in cases.items():
            config = load_config(None, settings)
            plan = Topology.plan(config, folder)
            processes = len(plan.nodes)
            best_loops = best_run = 0.0
            summary: dict = {}
            for turn in range(ROUNDS):
                out = folder / f"{method[:7]}-{len(settings)}-{turn}"
                out.mkdir()
                took = plain_loops(config, path, out, processes)
                summary = topology(config, path, out / "run")
                best_loops = max(best_loops, summary["frames"]["done"] / took)
                best_run = max(best_run, summary["rates"]["frames_per_s"])
            frames = summary["frames"]["done"]
            table.add_row(
                method,
                f"{frames:,}",
                f"{summary['peaks'] / frames:.0f}",
                str(processes),
                f"{best_loops:,.0f}",
                f"{best_run:,.0f}",
                f"{best_run / best_loops:.2f}",
                f">= {GOAL:.2f}",
            )
    console.print(table)


if __name__ == "__main__":
    main()
