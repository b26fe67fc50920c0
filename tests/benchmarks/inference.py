"""Peaks per second of our networks, by every backend, beside plain torch and the fit, in one run.

One thread. Ratios are of counts to positions, normalisation included, where a network is ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from streamer.simulator.patches import draw_peaks, draw_valid, expected_counts
from workers.compare.evaluation import CASES
from workers.place.fit.methods import GaussianFit
from workers.place.network.architecture import WEIGHTS, Architecture
from workers.place.network.backends.choice import available, choose_place, make_backend
from workers.place.network.backends.self_check import SelfCheck
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network
from workers.place.network.method import NetworkMethod
from workers.place.network.normalisation import prepare

N_PATCHES = 4096
BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
SECONDS = 45.0
# One thread is timed while it is at work: other programs on the machine do not matter.
CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time


def rates(candidates: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Patches per second of each: the best of many rounds over all of them.

    Rounds, so that other load on the machine hits all alike.
    """
    best = dict.fromkeys(candidates, float("inf"))
    end = time.perf_counter() + seconds
    first = True
    while first or time.perf_counter() < end:
        for name, work in candidates.items():
            start = CLOCK()
            work()
            elapsed = CLOCK() - start
            if not first:
                best[name] = min(best[name], elapsed)
        if first:
            first, end = False, max(end, time.perf_counter() + 0.1)
    return {name: N_PATCHES / elapsed for name, elapsed in best.items()}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    ranges = CASES[0].peaks
    counts = expected_counts(draw_peaks(N_PATCHES, ranges, rng))
    patches = rng.poisson(counts).astype(np.float32)
    valid = draw_valid(N_PATCHES, ranges, rng)
    inputs = prepare(patches, valid)
    scales = torch.from_numpy(inputs.scales)

    # The published network as others would run it: its layers one by one, in batches of any size.
    plain = BraggNN(Architecture()).eval()
    batch = torch.from_numpy(inputs.images[:, :1].copy())

    def eager(size: int) -> None:
        with torch.inference_mode():
            for images, numbers in zip(
                torch.split(batch, size), torch.split(scales[:, :0], size), strict=True
            ):
                plain(images, numbers)

    candidates: dict[str, Callable[[], object]] = {
        f"{size}": lambda size=size: eager(size) for size in BATCHES
    }
    fit = GaussianFit()
    candidates["fit"] = lambda: fit.place(patches, valid)
    candidates["prepare"] = lambda: prepare(patches, valid)
    names = {"fit": "Gaussian maximum-likelihood fit", "prepare": "normalisation alone"}
    off = {}
    for weights in ("braggnn", "compact"):
        for kind in available():
            network, convention = load_network(WEIGHTS / f"{weights}.pt")
            check = SelfCheck(network, convention, N_PATCHES)
            device = choose_place(kind, "auto")
            backend = make_backend(kind, network, convention, device, 1)
            method = NetworkMethod(backend, network.architecture, convention)
            key = f"{weights} {kind}"
            off[key] = check.deviation(backend).px
            names[key] = f"{weights}.pt, {kind} on {device.type}, chunks of {backend.chunk}"
            candidates[key] = lambda backend=backend: backend(inputs.images, inputs.scales)
            candidates[f"{key} place"] = lambda method=method: method.place(patches, valid)
    found = rates(candidates, SECONDS)
    best = max(BATCHES, key=lambda size: found[f"{size}"])
    plain_rate, fit_rate = found[f"{best}"], found["fit"]
    names = {f"{best}": f"published BraggNN, plain torch, batches of {best}", **names}

    table = Table(title="Peaks placed on one thread", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("what")
    for heading in (
        "peaks/s",
        "with normalisation",
        "us a peak",
        "x plain published",
        "x Gaussian fit",
        "largest deviation, px",
    ):
        table.add_column(heading, justify="right")
    for key, text in names.items():
        place = found.get(f"{key} place")
        rate = place or found[key]
        table.add_row(
            text,
            f"{found[key]:,.0f}",
            f"{place:,.0f}" if place else "-",
            f"{1e6 / rate:.2f}",
            f"{rate / plain_rate:.1f}",
            f"{rate / fit_rate:.1f}",
            f"{off[key]:.1e}" if key in off else "-",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
