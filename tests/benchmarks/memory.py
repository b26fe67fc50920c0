"""The largest memory of each node, at small frames and at those of 16 million pixels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from streamer.config import load_config
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.benchmarks.measure import ROLES, Table, compile_kernels, run_topology
from tests.benchmarks.topology import FIXED

__all__ = ["CASES", "tables"]

CASES = ((512, 512, 1000, 4), (4148, 4362, 16, 12))
"""Rows, columns, frames, and how often a run goes through them."""
_WINDOWS_MIB = (1024, 256)


def tables(
    n_rounds: int | None = None, cases: tuple[tuple[int, int, int, int], ...] = CASES
) -> Iterator[Table]:
    """Yield the table; the largest of rounds counts."""
    compile_kernels()
    table = Table(
        "Largest memory of a node, MiB",
        ("frames", "`transport.window_mib`", "ingest", "each detector", "each GPU worker", "sink"),
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        for rows, cols, n_frames, loops in cases:
            path = folder / f"{rows}_master.h5"
            words = [f"simulate.{key}={n}" for key, n in (("rows", rows), ("cols", cols))]
            scene = load_config(None, [*words, f"simulate.frames={n_frames}"])
            write_recording(Scene(scene.simulate), path)
            for window in _WINDOWS_MIB:
                told = [
                    f"transport.window_mib={window}",
                    f"source.loop={loops}",
                    "report.auto=false",
                ]
                peaks = [
                    run_topology(
                        load_config(None, [*FIXED, *told]), path, folder / f"{rows}-{window}-{turn}"
                    ).peak_mib
                    for turn in range(n_rounds or 1)
                ]
                sizes = (max(one[role] for one in peaks) for role in ROLES)
                table.add(f"{rows} x {cols}", window, *(f"{size:,.0f}" for size in sizes))
    yield table
