"""What it costs that nothing is lost and nobody listens: spool, checkpoint and encryption."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from streamer.config import load_config
from streamer.results.folder import RunFolder
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.benchmarks.long_runs import open_sink, results
from tests.benchmarks.measure import Table, rounds, run_topology, spread

ROUNDS = 3
SINK_FRAMES = 60_000
NEVER = 1 << 60
TCP, PLAIN = "transport.scheme=tcp", "insecure=true"
SPOOL = "overload=spool"
CASES = {
    "ipc": [],
    "ipc, spool": [SPOOL],
    "tcp": [TCP, PLAIN],
    "tcp, CURVE": [TCP],
    "tcp, CURVE, spool": [TCP, SPOOL],
}
PROCESSING = ["positions.method=centroid", "detect.minval=40", "detect.minscore=60"]


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the table."""
    n_rounds = n_rounds or ROUNDS
    table = Table("Price of delivery", ("what", "frames/s", "of the first"))
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        path = folder / "cycle_master.h5"
        scene = load_config(None, ["simulate.frames=2000", "simulate.spots=20"])
        write_recording(Scene(scene.simulate), path)
        runs = {
            what: lambda turn, i=i, words=words: _whole(path, folder / f"{i}-{turn}", words)
            for i, (what, words) in enumerate(CASES.items())
        }
        _add(table, rounds(n_rounds, runs), "whole topology, {}")
        sinks = {
            what: lambda turn, every=every: _sink(folder / f"sink-{every}-{turn}", every)
            for what, every in (("without", NEVER), ("with", 64))
        }
        _add(table, rounds(n_rounds, sinks), "sink alone, 20 peaks, {} checkpoint")
    yield table


def _add(table: Table, found: dict[str, list[float]], words: str) -> None:
    """Add a row for each way, and how it compares with the first of them."""
    first = next(iter(found.values()))
    for what, rates in found.items():
        ratios = [rate / other for rate, other in zip(rates, first, strict=True)]
        table.add(words.format(what), spread(rates), spread(ratios, ".2f"))


def _whole(path: Path, out: Path, words: list[str]) -> float:
    """Return the frames a second of the whole topology."""
    config = load_config(None, [*PROCESSING, *words])
    return run_topology(config, path, out).rate


def _sink(out: Path, every: int) -> float:
    """Return the frames a second of a sink that writes a checkpoint after so many parts."""
    with mock.patch("streamer.sink.checkpoint.EVERY", every):
        sink = open_sink(RunFolder.create(out), load_config())
        began = time.monotonic()
        for seq, result in enumerate(results(SINK_FRAMES)):
            sink._arrive(seq, result)
            if seq % 64 == 63:
                sink.step()
        took = time.monotonic() - began
        sink.close()
    return SINK_FRAMES / took
