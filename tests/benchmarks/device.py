"""How long a detector worker takes for a coded frame, on a CUDA device beside the CPU.

Run as ``python -m tests.benchmarks.device``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame
from streamer.simulator.stream_v2 import encode_bslz4
from tests.benchmarks.finder import Case
from workers.detect.bright import BrightReader, Reader
from workers.detect.correction import Correction
from workers.detect.device.making import make_device_reader
from workers.detect.node import PeakTable, find_in_frame
from workers.detect.topology import TopologyFinder

__all__ = ["main"]

MINVAL, MINSCORE, PATCH = 40, 60, 11
SIZES = (512, 1024, 2048, 4096)
ROUNDS = 10


def main() -> None:
    """Print the table; without a device it says what was not measured."""
    table = Table(title="Coded frame to patches, uint16 bslz4, ms", box=box.SIMPLE, pad_edge=False)
    for heading in ("size", "peaks", "CPU", "CUDA", "ratio", "same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for size in SIZES:
        table.add_row(*_measure(size))
    console = Console()
    console.print(table)
    where = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "there is no device"
    console.print(f"CUDA: {where}. Best of {ROUNDS} alternating rounds over four frames.")
    # The CPU waits for a device, so its own time alone would tell nothing.
    console.print("Time on the clock: on a machine that does other things beside, it means little.")


def _measure(size: int) -> tuple[str, ...]:
    correction = Correction(saturation=60000.0)
    case = Case(size, 30, 5, MINVAL, goal_ratio=0, goal_passes=None)
    frames = [_coded(case, seed) for seed in range(4)]
    finder = TopologyFinder(MINVAL, MINSCORE)

    def look(reader: Reader, frame: Frame) -> PeakTable:
        bright = reader(frame, correction, finder.lowest)
        if bright is not None:
            return find_in_frame(bright.pixels, correction, finder, PATCH, bright=bright)
        pixels = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        return find_in_frame(pixels, correction, finder, PATCH)

    on_cpu = partial(look, BrightReader())
    expected = on_cpu(frames[0])
    row = f"{size}", f"{len(expected[0])}"
    try:
        on_device = partial(look, make_device_reader(0))
    except UserError:
        cpu = min(_best(on_cpu, frames) for _ in range(ROUNDS))
        return *row, f"{1e3 * cpu:.2f}", "not measured", "-", "-"

    ours = on_device(frames[0])
    same = np.array_equal(ours[0], expected[0]) and all(
        np.array_equal(getattr(ours[1], name), getattr(expected[1], name))
        for name in ("counts", "valid", "flags", "intensity")
    )
    rounds = [(_best(on_cpu, frames), _best(on_device, frames)) for _ in range(ROUNDS)]
    cpu, cuda = np.min(rounds, axis=0).tolist()
    times = f"{1e3 * cpu:.2f}", f"{1e3 * cuda:.2f}", f"{cpu / cuda:.1f}"
    return *row, *times, "yes" if same else "NO"


def _coded(case: Case, seed: int) -> Frame:
    pixels = case.frame(seed)
    return Frame(
        series="s",
        frame=seed,
        time_ns=0,
        shape=pixels.shape,
        dtype=pixels.dtype.str,
        encoding="bslz4",
        data=memoryview(encode_bslz4(pixels)),
    )


def _best(function: Callable[[Frame], object], frames: list[Frame]) -> float:
    """Return the seconds of the quickest frame, after each was seen once."""
    for frame in frames:
        function(frame)
    times = []
    for frame in frames:
        start = perf_counter()
        function(frame)
        times.append(perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
