"""Training a network on simulated patches."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from streamer.config import TrainConfig
from streamer.errors import UserError
from workers.backends import TorchBackend, channels_last, choose_device
from workers.braggnn import ARCHITECTURES, BraggNN, FoldedBraggNN, initialise
from workers.checkpoints import Convention, read_file, save_network, write_file
from workers.evaluation import CASES, Figures, evaluate
from workers.normalisation import normalise
from workers.peaksim import PeakRanges, Peaks, draw_peaks, draw_valid, expected_counts
from workers.positions import NetworkMethod

__all__ = ["train"]

_RANGES = PeakRanges()
_EVALUATIONS = 20
_CHUNK = 256
_PART = 256 * 64
"""Patches times channels whose gradients are computed at once: activations should stay cached."""
_FLOOR_PX = 0.015
"""Error that is good enough, however bright the peak."""


def train(config: TrainConfig, out: Path, console: Console | None = None) -> list[Figures]:
    """Train a network and write its weights to `out`, with a card of how it was made beside it.

    The state is saved beside `out` with the suffix ``.resume`` every `config.save_s` seconds and on
    a keyboard interrupt; when that file exists, training goes on from there and ends with the
    weights it would have had without the stop.

    Parameters
    ----------
    config
        What to train, and on how much.
    out
        File of the weights, ``.pt``; the card has the same name with ``.json``.
    console
        Where to show progress; None for the standard output.

    Returns
    -------
    list
        How far the trained network is from the statistical limit in each case of
        `workers.evaluation.CASES`.

    Raises
    ------
    UserError
        The device does not exist, or the saved state is damaged or of another training.
    KeyboardInterrupt
        After the state was saved.
    """
    run = _Training(config, out)
    with _progress(console) as progress, _deferred_interrupt() as interrupted:
        task = progress.add_task(config.architecture, total=run.steps, loss="", ratio="")
        with ThreadPoolExecutor(1, thread_name_prefix="patches") as pool:
            upcoming = _submit(pool, run)
            saved = time.monotonic()
            while run.step < run.steps:
                batch, upcoming = upcoming.result(), _submit(pool, run, ahead=1)
                loss = run.advance(batch)
                if run.step % run.evaluate_every == 0 or run.step == run.steps:
                    run.record(loss)
                ratios = run.history[-1]["ratios"] if run.history else []
                progress.update(
                    task,
                    completed=run.step,
                    loss=f"{loss:.3f}",
                    ratio=" ".join(f"{ratio:.3f}" for ratio in ratios),
                )
                if interrupted.is_set() or time.monotonic() - saved > config.save_s:
                    run.save()
                    saved = time.monotonic()
                    if interrupted.is_set():
                        upcoming.cancel()
                        raise KeyboardInterrupt
    return run.finish()


class _Training:
    """A training between two steps."""

    def __init__(self, config: TrainConfig, out: Path):
        self.config, self.out = config, out
        self.state_file = out.with_name(out.name + ".resume")
        self.steps = math.ceil(config.patches / config.batch)
        self.evaluate_every = max(1, self.steps // _EVALUATIONS)
        self.device = choose_device(config.device)
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, Any]] = []
        torch.set_num_threads(config.threads)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = BraggNN(ARCHITECTURES[config.architecture])
            initialise(self.network, self.batch(-1).images)
        # The layout that evaluations use too: results depend on it in the last digits.
        self.network = channels_last(self.network).to(self.device)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=config.lr)
        if self.state_file.exists():
            self._resume()

    def batch(self, step: int) -> _Batch:
        """Simulate the patches of a step; the same for every run with the same seed."""
        rng = np.random.default_rng([self.config.seed, step + 1])
        size = self.network.architecture.patch_size
        peaks = draw_peaks(self.config.batch, _RANGES, rng)
        valid = draw_valid(self.config.batch, _RANGES, rng, size)
        patches = rng.poisson(expected_counts(peaks, size)).astype(np.float32)
        return _Batch(
            torch.from_numpy(normalise(patches, valid)).unsqueeze(1),
            torch.from_numpy(np.stack([peaks.row, peaks.col], axis=1).astype(np.float32)),
            torch.from_numpy(_tolerance(peaks)).unsqueeze(1),
        )

    def advance(self, batch: _Batch) -> float:
        """Take one step; return its loss."""
        start = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = _learning_rate(self.step, self.steps, self.config.lr)
        self.optimiser.zero_grad()
        total = 0.0
        part = _PART // self.network.architecture.channels[0]
        if self.device.type != "cpu":
            part = self.config.batch
        for images, offsets, tolerance in zip(
            torch.split(batch.images, part),
            torch.split(batch.offsets, part),
            torch.split(batch.tolerance, part),
            strict=True,
        ):
            answers = FoldedBraggNN(self.network)(images.to(self.device))
            error = (answers - offsets.to(self.device)) / tolerance.to(self.device)
            loss = torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="sum")
            loss = loss / batch.offsets.numel()
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach().item()
        self.optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - start
        return total

    def evaluate(self, n: int, cases: int) -> list[Figures]:
        """Figures of the network as it is now, on patches it never learns from."""
        backend = TorchBackend(self.network, self.device, self.config.threads, chunk=_CHUNK)
        size = self.network.architecture.patch_size
        return evaluate(NetworkMethod(backend, Convention(), size), CASES[:cases], n)

    def record(self, loss: float) -> None:
        """Note the loss and how far the network is from the bound."""
        ratios = [round(figures.ratio, 4) for figures in self.evaluate(n=2000, cases=2)]
        patches = self.step * self.config.batch
        self.history.append({"patches": patches, "loss": round(loss, 5), "ratios": ratios})

    def save(self) -> None:
        """Save all that is needed to go on."""
        state = {
            "recipe": self._recipe(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        write_file(state, self.state_file)

    def _resume(self) -> None:
        state = read_file(self.state_file)
        hint = f"delete {self.state_file} to start anew"
        if state.get("recipe") != self._recipe():
            raise UserError(f"the training that was stopped had other settings; {hint}")
        try:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.history = list(state["history"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"the training that was stopped left no usable state; {hint}") from None

    def _recipe(self) -> dict[str, Any]:
        """Return what decides which weights come out."""
        return self.config.model_dump(mode="json", exclude={"device", "save_s"})

    def finish(self) -> list[Figures]:
        """Write the weights and their card."""
        figures = self.evaluate(n=20_000, cases=len(CASES))
        card = {
            "architecture": asdict(self.network.architecture),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "answers": "offset (row, column) from the centre of the patch's middle pixel, pixels",
            "recipe": self._recipe(),
            "peaks": asdict(_RANGES),
            "seconds": round(self.seconds, 1),
            "torch": torch.__version__,
            "history": self.history,
            "figures": [{**asdict(row), "ratio": row.ratio} for row in figures],
        }
        self.out.parent.mkdir(parents=True, exist_ok=True)
        save_network(self.network, self.out)
        text = json.dumps(card, indent=1) + "\n"
        self.out.with_suffix(".json").write_text(text, encoding="utf-8")
        self.state_file.unlink(missing_ok=True)
        return figures


@dataclass(frozen=True, slots=True)
class _Batch:
    images: Tensor
    """(n, 1, size, size)."""
    offsets: Tensor
    """(n, 2) pixels."""
    tolerance: Tensor
    """(n, 1) pixels, the error that counts as 1."""


def _submit(pool: ThreadPoolExecutor, run: _Training, ahead: int = 0) -> Future[_Batch]:
    return pool.submit(run.batch, run.step + ahead)


def _tolerance(peaks: Peaks) -> NDArray[np.float32]:
    """Roughly the smallest possible error in pixels.

    The sum of the bounds for no background, ``1 / (2 pi A)``, and for nothing but background,
    ``2 B / (pi A**2)``. Weighted so, peaks that cannot be placed well do not drown those that can.
    """
    variance = 1.0 / (2.0 * np.pi * peaks.amplitude)
    variance += 2.0 * peaks.background / (np.pi * peaks.amplitude**2)
    tolerance: NDArray[np.float32] = np.sqrt(variance + _FLOOR_PX**2).astype(np.float32)
    return tolerance


def _learning_rate(step: int, steps: int, highest: float) -> float:
    rise = min(200, max(1, steps // 10))
    if step < rise:
        return highest * (step + 1) / rise
    return highest * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / (steps - rise)))


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  x bound {task.fields[ratio]}"),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turn a keyboard interrupt into an event, so that no step is left half done."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
