"""Training a network on simulated patches."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from streamer.config import TrainConfig
from streamer.errors import UserError
from streamer.run.progress import progress_bar
from streamer.simulator.patches import PeakRanges
from workers.compare.evaluation import CASES, Figures, evaluate
from workers.learn.examples import Examples, draw_examples
from workers.learn.muon import Muon
from workers.learn.objective import loss_of
from workers.place.network.architecture import ARCHITECTURES
from workers.place.network.backends.device import choose_device
from workers.place.network.backends.eager import TorchBackend, channels_last
from workers.place.network.braggnn import BraggNN, FoldedBraggNN, initialise
from workers.place.network.checkpoints import read_file, save_network, start_from, write_file
from workers.place.network.method import NetworkMethod

__all__ = ["RANGES", "THREADS", "Learner", "learn", "train", "write_card"]

RANGES = PeakRanges(
    voigt_share=0.3, edge_share=0.25, edge_near_share=0.5, corner_share=0.25, hot_share=0.15
)
"""What the peaks are drawn from that networks learn from."""
_EVALUATIONS = 20
_CHUNK = 256
_SAVE_S = 30.0
"""How often the state is saved, so that a training that was stopped can go on."""
THREADS = 1
"""Of the CPU for the network: sums in another order would make other weights. One more simulates
patches."""
_PART = 256 * 64
"""Patches times channels whose gradients are computed at once: activations should stay cached."""
_MUON_RATE = 2.0
"""Learning rate of the matrices, in units of that of the other parameters."""


def train(config: TrainConfig, out: Path, console: Console | None = None) -> list[Figures]:
    """Train a network and write its weights to `out`, with a card of how it was made beside it.

    The state is saved beside `out` with the suffix ``.resume`` every half minute and on
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
        `workers.compare.evaluation.CASES`.

    Raises
    ------
    UserError
        The device does not exist, or the saved state is damaged or of another training.
    KeyboardInterrupt
        After the state was saved.
    """
    run = _Training(config, out)
    learner = run.learner
    with progress_bar(console) as progress, _deferred_interrupt() as interrupted:
        task = progress.add_task(config.architecture, total=learner.steps)
        saved = time.monotonic()
        with closing(learn(learner, run.batch)) as losses:
            for loss in losses:
                if learner.step % run.evaluate_every == 0 or learner.step == learner.steps:
                    run.record(loss)
                ratios = run.history[-1]["ratios"] if run.history else []
                progress.update(
                    task,
                    completed=learner.step,
                    note=" ".join([f"loss {loss:.3f}  x bound", *(f"{x:.3f}" for x in ratios)]),
                )
                if interrupted.is_set() or time.monotonic() - saved > _SAVE_S:
                    run.save()
                    saved = time.monotonic()
                    if interrupted.is_set():
                        raise KeyboardInterrupt
    return run.finish()


class Learner:
    """A network that learns, between two steps.

    Parameters
    ----------
    network
        Moved to the device.
    config
        Device, learning rate and number of patches.

    Raises
    ------
    UserError
        The device does not exist.
    """

    def __init__(self, network: BraggNN, config: TrainConfig):
        torch.set_num_threads(THREADS)
        self.device = choose_device(config.device)
        # The layout that evaluations use too: results depend on it in the last digits.
        self.network = channels_last(network).to(self.device)
        self.optimisers = _optimisers(self.network, config.lr)
        self.steps = math.ceil(config.patches / config.batch)
        self.step, self.seconds = 0, 0.0

    def advance(self, examples: Examples) -> float:
        """Take one step; return its loss."""
        start = time.monotonic()
        share = _share_of_rate(self.step, self.steps)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = share * optimiser.defaults["lr"]
        self.network.zero_grad()
        total = 0.0
        part = n = len(examples.spoilt)
        if self.device.type == "cpu" and self.network.architecture.channels:
            part = _PART // self.network.architecture.channels[0]
        arrays = (
            examples.inputs.images,
            examples.inputs.scales,
            examples.inputs.guess[:, None],
            examples.offsets,
            examples.spoilt,
            examples.measured,
        )
        for pieces in zip(*(torch.split(torch.from_numpy(a), part) for a in arrays), strict=True):
            images, scales, *known = (piece.to(self.device) for piece in pieces)
            loss = loss_of(FoldedBraggNN(self.network)(images, scales), *known) / n
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

    def method(self) -> NetworkMethod:
        """Return what places peaks with the network as it is now."""
        backend = TorchBackend(self.network, self.device, THREADS, chunk=_CHUNK)
        return NetworkMethod(backend, self.network.architecture)


def learn(learner: Learner, batch: Callable[[int], Examples]) -> Generator[float, None, None]:
    """Take the steps that are left and yield the loss after each.

    Parameters
    ----------
    learner
        What learns.
    batch
        Makes the examples of a step, in a thread of its own, while the one before is taken.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="patches") as pool:
        upcoming = pool.submit(batch, learner.step)
        try:
            while learner.step < learner.steps:
                examples = upcoming.result()
                upcoming = pool.submit(batch, learner.step + 1)
                yield learner.advance(examples)
        finally:
            upcoming.cancel()


def write_card(learner: Learner, out: Path, content: dict[str, Any]) -> None:
    """Write how a network was made beside its weights `out`."""
    network = learner.network
    card = {
        "architecture": asdict(network.architecture),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "answers": "workers.place.network.architecture.Architecture",
        "seconds": round(learner.seconds, 1),
        "torch": torch.__version__,
        **content,
    }
    text = json.dumps(card, indent=1) + "\n"
    out.with_suffix(".json").write_text(text, encoding="utf-8")


class _Training:
    """A training between two steps."""

    def __init__(self, config: TrainConfig, out: Path):
        self.config, self.out = config, out
        self.state_file = out.with_name(out.name + ".resume")
        self.history: list[dict[str, Any]] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = BraggNN(ARCHITECTURES[config.architecture])
            self._size = network.architecture.patch_size
            first = self.batch(-1).inputs
            initialise(network, torch.from_numpy(first.images), torch.from_numpy(first.scales))
            if config.start is not None:
                start_from(network, config.start)
        self.learner = Learner(network, config)
        self.evaluate_every = max(1, self.learner.steps // _EVALUATIONS)
        if self.state_file.exists():
            self._resume()

    def batch(self, step: int) -> Examples:
        """Simulate the patches of a step; the same for every run with the same seed."""
        rng = np.random.default_rng([self.config.seed, step + 1])
        return draw_examples(self.config.batch, self._size, RANGES, rng)

    def evaluate(self, n: int, cases: int) -> list[Figures]:
        """Figures of the network as it is now, on patches it never learns from."""
        return evaluate(self.learner.method(), CASES[:cases], n)

    def record(self, loss: float) -> None:
        """Note the loss and how far the network is from the bound."""
        ratios = [round(figures.ratio, 4) for figures in self.evaluate(n=2000, cases=2)]
        patches = self.learner.step * self.config.batch
        self.history.append({"patches": patches, "loss": round(loss, 5), "ratios": ratios})

    def save(self) -> None:
        """Save all that is needed to go on."""
        learner = self.learner
        state = {
            "recipe": self._recipe(),
            "step": learner.step,
            "seconds": learner.seconds,
            "history": self.history,
            "network": learner.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in learner.optimisers],
        }
        write_file(state, self.state_file)

    def _resume(self) -> None:
        state, learner = read_file(self.state_file), self.learner
        hint = f"delete {self.state_file} to start anew"
        if state.get("recipe") != self._recipe():
            raise UserError(f"the training that was stopped had other settings; {hint}")
        try:
            learner.network.load_state_dict(state["network"])
            for optimiser, known in zip(learner.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(known)
            learner.step, learner.seconds = int(state["step"]), float(state["seconds"])
            self.history = list(state["history"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"the training that was stopped left no usable state; {hint}") from None

    def _recipe(self) -> dict[str, Any]:
        """Return what decides which weights come out."""
        recipe = self.config.model_dump(mode="json", exclude={"device"})
        return {**recipe, "start": self.config.start and self.config.start.name}

    def finish(self) -> list[Figures]:
        """Write the weights and their card."""
        figures = self.evaluate(n=20_000, cases=len(CASES))
        card = {
            "recipe": self._recipe(),
            "peaks": asdict(RANGES),
            "history": self.history,
            "figures": [{**asdict(row), "ratio": row.ratio} for row in figures],
        }
        self.out.parent.mkdir(parents=True, exist_ok=True)
        save_network(self.learner.network, self.out)
        write_card(self.learner, self.out, card)
        self.state_file.unlink(missing_ok=True)
        return figures


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
