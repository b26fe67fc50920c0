"""Patches per second of our inference beside plain torch, on one thread, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from workers.backends import TorchBackend
from workers.checkpoints import WEIGHTS, load_network
from workers.normalisation import normalise
from workers.peaksim import PeakRanges, draw_peaks, draw_valid, expected_counts
from workers.positions import NetworkMethod

N_PATCHES = 4096
BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
SECONDS = 15.0
"""For each architecture."""


def rates(contenders: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Patches per second of each: the best of many rounds over all of them.

    Rounds, so that other load on the machine hits all alike.
    """
    best = dict.fromkeys(contenders, float("inf"))
    end = time.perf_counter() + seconds
    first = True
    while first or time.perf_counter() < end:
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            elapsed = time.perf_counter() - start
            if not first:
                best[name] = min(best[name], elapsed)
        if first:
            first, end = False, max(end, time.perf_counter() + 0.1)
    return {name: N_PATCHES / elapsed for name, elapsed in best.items()}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    ranges = PeakRanges()
    counts = expected_counts(draw_peaks(N_PATCHES, ranges, rng))
    patches = rng.poisson(counts).astype(np.float32)
    valid = draw_valid(N_PATCHES, ranges, rng)
    images = normalise(patches, valid)
    batch = torch.from_numpy(images).unsqueeze(1)

    table = Table(
        title="Patches/s on one thread: plain torch, ours, ours with normalisation and flags",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("network")
    headings = (
        "plain /s",
        "batch",
        "ours /s",
        "ratio",
        "chunk",
        "place() /s",
        "ratio",
        "apart, px",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for name in ("braggnn", "compact"):
        network, convention = load_network(WEIGHTS / f"{name}.pt")
        plain, _ = load_network(WEIGHTS / f"{name}.pt")
        backend = TorchBackend(network, torch.device("cpu"), 1)
        method = NetworkMethod(backend, convention, 11)

        def eager(size: int, plain: torch.nn.Module = plain) -> torch.Tensor:
            with torch.inference_mode():
                return torch.cat([plain(part) for part in torch.split(batch, size)])

        contenders: dict[str, Callable[[], object]] = {
            f"{size}": lambda size=size, eager=eager: eager(size) for size in BATCHES
        }
        contenders["ours"] = lambda backend=backend: backend(images)
        contenders["whole"] = lambda method=method: method.place(patches, valid)
        found = rates(contenders, SECONDS)
        size = max(BATCHES, key=lambda size: found[f"{size}"])
        reference = found[f"{size}"]
        difference = np.abs(backend(images) - eager(size).numpy()).max()
        table.add_row(
            name,
            f"{reference:,.0f}",
            f"{size}",
            f"{found['ours']:,.0f}",
            f"{found['ours'] / reference:.2f}",
            f"{backend.chunk}",
            f"{found['whole']:,.0f}",
            f"{found['whole'] / reference:.2f}",
            f"{difference:.0e}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
