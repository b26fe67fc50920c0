"""What it costs that nothing is lost and nobody listens: spool, checkpoint and encryption."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from streamer.config import load_config
from streamer.results.folder import RunFolder
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.benchmarks.long_runs import open_sink, results
from tests.benchmarks.pipeline import topology

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


def main() -> None:
    """Print the table."""
    table = Table(title="Price of delivery", title_justify="left")
    for column in ("what", "frames/s", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        path = folder / "cycle_master.h5"
        scene = load_config(None, ["simulate.frames=2000", "simulate.spots=20"])
        write_recording(Scene(scene.simulate), path)
        # In turns, so that a machine that is busy for a while is so for all.
        turns = [
            [_whole(path, folder / f"{i}-{turn}", words) for i, words in enumerate(CASES.values())]
            for turn in range(ROUNDS)
        ]
        best = [max(rates) for rates in zip(*turns, strict=True)]
        for what, rate in zip(CASES, best, strict=True):
            table.add_row(f"whole topology, {what}", f"{rate:,.0f}", f"{rate / best[0]:.2f}")
        sinks = [
            [_sink(folder / f"sink-{every}-{turn}", every) for every in (NEVER, 64)]
            for turn in range(ROUNDS)
        ]
        best = [max(rates) for rates in zip(*sinks, strict=True)]
        for what, rate in zip(("without", "with"), best, strict=True):
            words = f"sink alone, 20 peaks, {what} checkpoint"
            table.add_row(words, f"{rate:,.0f}", f"{rate / best[0]:.2f}")
    Console().print(table)


def _whole(path: Path, out: Path, words: list[str]) -> float:
    """Return the frames a second of the whole topology."""
    config = load_config(None, [*PROCESSING, *words])
    return topology(config, path, out)["rates"]["frames_per_s"]


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


if __name__ == "__main__":
    main()
