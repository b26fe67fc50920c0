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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamer.config import TrainConfig
from streamer.errors import UserError
from workers.backends import TorchBackend, channels_last, choose_device
from workers.braggnn import ARCHITECTURES, BraggNN, FoldedBraggNN, initialise
from workers.checkpoints import read_file, save_network, start_from, write_file
from workers.evaluation import CASES, Figures, evaluate
from workers.examples import Examples, draw_examples
from workers.muon import Muon
from workers.objective import loss_of
from workers.peaksim import PeakRanges
from workers.positions import NetworkMethod

__all__ = ["train"]

_RANGES = PeakRanges(voigt_share=0.3, edge_share=0.2, corner_share=0.25, hot_share=0.15)
_EVALUATIONS = 20
_CHUNK = 256
_PART = 256 * 64
"""Patches times channels whose gradients are computed at once: activations should stay cached."""
_MUON_RATE = 2.0
"""Learning rate of the matrices, in units of that of the other parameters."""


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
            first = self.batch(-1).inputs
            initialise(self.network, torch.from_numpy(first.images), torch.from_numpy(first.scales))
            if config.start is not None:
                start_from(self.network, config.start)
        # The layout that evaluations use too: results depend on it in the last digits.
        self.network = channels_last(self.network).to(self.device)
        self.optimisers = _optimisers(self.network, config.lr)
        if self.state_file.exists():
            self._resume()

    def batch(self, step: int) -> Examples:
        """Simulate the patches of a step; the same for every run with the same seed."""
        rng = np.random.default_rng([self.config.seed, step + 1])
        size = self.network.architecture.patch_size
        return draw_examples(self.config.batch, size, _RANGES, rng)

    def advance(self, examples: Examples) -> float:
        """Take one step; return its loss."""
        start = time.monotonic()
        share = _share_of_rate(self.step, self.steps)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = share * optimiser.defaults["lr"]
        self.network.zero_grad()
        total = 0.0
        n = self.config.batch
        part = n
        if self.device.type == "cpu" and self.network.architecture.channels:
            part = _PART // self.network.architecture.channels[0]
        arrays = (
            examples.inputs.images,
            examples.inputs.scales,
            examples.inputs.guess,
            examples.offsets,
            examples.spoilt,
        )
        for pieces in zip(*(torch.split(torch.from_numpy(a), part) for a in arrays), strict=True):
            images, scales, guess, offsets, spoilt = (piece.to(self.device) for piece in pieces)
            answers = FoldedBraggNN(self.network)(images, scales)
            loss = loss_of(answers, guess.unsqueeze(1), offsets, spoilt) / n
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach().item()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        # One step of numbers that are not finite would spoil the network for good.
        if torch.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - start
        return total

    def evaluate(self, n: int, cases: int) -> list[Figures]:
        """Figures of the network as it is now, on patches it never learns from."""
        backend = TorchBackend(self.network, self.device, self.config.threads, chunk=_CHUNK)
        return evaluate(NetworkMethod(backend, self.network.architecture), CASES[:cases], n)

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
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        write_file(state, self.state_file)

    def _resume(self) -> None:
        state = read_file(self.state_file)
        hint = f"delete {self.state_file} to start anew"
        if state.get("recipe") != self._recipe():
            raise UserError(f"the training that was stopped had other settings; {hint}")
        try:
            self.network.load_state_dict(state["network"])
            for optimiser, known in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(known)
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.history = list(state["history"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"the training that was stopped left no usable state; {hint}") from None

    def _recipe(self) -> dict[str, Any]:
        """Return what decides which weights come out."""
        recipe = self.config.model_dump(mode="json", exclude={"device", "save_s"})
        return {**recipe, "start": self.config.start and self.config.start.name}

    def finish(self) -> list[Figures]:
        """Write the weights and their card."""
        figures = self.evaluate(n=20_000, cases=len(CASES))
        card = {
            "architecture": asdict(self.network.architecture),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "answers": "workers.braggnn.Architecture",
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


def _submit(pool: ThreadPoolExecutor, run: _Training, ahead: int = 0) -> Future[Examples]:
    return pool.submit(run.batch, run.step + ahead)


def _optimisers(network: BraggNN, lr: float) -> list[torch.optim.Optimizer]:
    """Make Muon for the matrices and Adam for the rest, the last layers among it."""
    ends = [network.dense_layers[-1]]
    if network.branch_layers is not None:
        ends.append(network.branch_layers[-1])
    last = {id(parameter) for layer in ends for parameter in layer.parameters()}
    matrices = [p for p in network.parameters() if p.dim() > 1 and id(p) not in last]
    others = [p for p in network.parameters() if p.dim() == 1 or id(p) in last]
    return [
        Muon(matrices, lr=_MUON_RATE * lr),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def _share_of_rate(step: int, steps: int) -> float:
    rise = min(300, max(1, steps // 10))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / (steps - rise)))


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
