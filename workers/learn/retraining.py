"""Retraining a network on the peaks of a recording.

A network that was trained on simulated peaks is as exact as the conventional fit where a detector
and a sample look like the simulation. Where they do not (narrower or broader spots, another gain,
shapes that are a little off) it can learn from the recording. A step's patches are

- half: peaks drawn anew from the parameters that the fit found on the recording, with fresh
  centres and fresh noise (a parametric bootstrap), some masked, cut or spoilt as in ordinary
  training. Their truth is known, so they teach position, sigma and what a poor fit is;
- a quarter: the recorded patches themselves, with the fit's position. They teach where the fit puts
  peaks whose shape no model has. The fit made its errors from these very counts, and the network
  learns to repeat them, which is meant: the fit is as exact as the counts allow. But the distance
  from it is then far smaller than the true error of either, so sigma learns nothing from them, or
  it would believe itself far too exact;
- a quarter: the peaks of ordinary training, so that the rest is not forgotten.

On real stills the first and last alone brought the median distance from the fit on held-out frames
from 0.036 to 0.027 px, with the recorded patches it came to 0.020 px; a half of those instead of a
quarter was no better. The pull on simulated peaks like the recorded ones stayed at 1.00 throughout.
Nine in ten of those held-out peaks stand where another frame has one that was learnt from; the
others, on spots never seen, came from 0.056 to 0.040 px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from streamer.config import Config, SourceConfig, TrainConfig, load_config
from streamer.errors import RunError, UserError
from streamer.results.folder import RunFolder
from streamer.run.progress import progress_bar
from streamer.simulator.patches import draw_valid
from streamer.sources import open_source
from streamer.sources.files.address import is_live
from workers.detect.survey import Observations, Pair, RecordedFootage, find_peaks
from workers.learn.assessment import Assessment, Judge, assessment_table, grew_worse
from workers.learn.examples import Examples, draw_examples, join, measured_examples, simulate
from workers.learn.labels import Labels, draw_like, held_out, integrated_counts, label
from workers.learn.training import RANGES, THREADS, Learner, learn, write_card
from workers.place.base import TRAINED_PX
from workers.place.fit.methods import Noise
from workers.place.network.architecture import ARCHITECTURES, WEIGHTS, Convention
from workers.place.network.backends.device import choose_device
from workers.place.network.backends.eager import TorchBackend
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network, save_network
from workers.place.network.method import NetworkMethod

__all__ = ["recording_of", "retrain"]

_START = {"compact": "compact.pt", "published": "braggnn.pt"}
_FEWEST, _FEWEST_HELD = 200, 30
"""Clean peaks without which nothing is learnt, and those without which nothing is judged."""
_HELD = 0.2
"""Share of the clean peaks to hold out."""


def recording_of(origin: str) -> tuple[str, Path | None]:
    """Return the recording to learn from and, behind a run folder, the run's configuration.

    Parameters
    ----------
    origin
        Recording, as for `streamer.sources.open_source`, or run folder. A run that was attached to
        a stream has a recording where it kept one (`source.record`).

    Raises
    ------
    UserError
        There are no frames behind it: it is a live stream, or a run that was attached to one.
    """
    remedy = "record the stream and give --from the recording"
    if is_live(origin):
        raise UserError(f"--from {origin} is a live stream: {remedy}")
    folder = Path(origin)
    if not (folder / "run.json").is_file():
        return origin, None
    source = str(RunFolder.open(folder).read_summary()["source"])
    if not source:
        raise UserError(f"{folder}: its run.json is damaged; give --from the recording")
    settings = folder / "config.yaml"
    if is_live(source):
        kept = load_config(settings).source.record
        if kept is None:
            raise UserError(f"{folder} was attached to {source} and kept no frames: {remedy}")
        source = str(kept)
    try:
        open_source(source, SourceConfig()).close()
    except UserError as error:
        raise UserError(f"{folder}: what this run read is gone ({error}); give --from it") from None
    return source, settings


def retrain(config: Config, recording: str, out: Path, console: Console) -> None:
    """Fine-tune a network on a recording; write weights and card unless it got worse.

    What is compared are peaks of frames that nothing was learnt from, see
    `workers.learn.assessment.grew_worse`: with the network at the start and, where `out` holds one
    already, with that one. Same recording and configuration, same weights.

    Parameters
    ----------
    config
        Sections `train` (where `start` stands for the weights that come with the project unless it
        is set), `detect`, `source`, and the noise of `positions`.
    recording
        What to find peaks on.
    out
        File of the weights, ``.pt``; the card has the same name with ``.json``.
    console
        Where progress and the table are shown.

    Raises
    ------
    UserError
        Something that the user gave does not fit, or there is too little to learn from.
    RunError
        The network got worse; nothing was written.
    """
    train = config.train
    noise = Noise(config.positions.gain, config.positions.read_noise)
    start = train.start or WEIGHTS / _START[train.architecture]
    network = _own_network(start)
    size = network.architecture.patch_size
    rivals = {"before": _method(network, Convention(), train)}
    if out.exists():
        rivals[out.name] = _method(*_to_replace(out, size), train)
    with progress_bar(console) as progress:
        observations, n_frames = _find(config, recording, size, progress)
        labels = label(observations, noise, size)
        test = _split(labels, len(observations), recording, train)
        taught, held = labels.take(~test), labels.take(test)
        judge = Judge(held, noise, train.seed)
        assessments = {name: judge(method) for name, method in rivals.items()}
        learner = Learner(network, train)
        task = progress.add_task("learning", total=learner.steps)
        with closing(learn(learner, _mixture(taught, train, noise, size))) as losses:
            for loss in losses:
                progress.update(task, completed=learner.step, note=f"loss {loss:.3f}")
        assessments["after"] = judge(learner.method())
    console.print(assessment_table(assessments))
    numbers = np.unique(held.frame)
    console.print(
        f"{recording}: {len(labels):,} clean peaks of {len(observations):,} on "
        f"{n_frames:,} frames; learnt from {len(taught):,}, held out the {len(held):,} of frames "
        f"{numbers[0]} to {numbers[-1]}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for name in rivals:
        reason = grew_worse(assessments[name], assessments["after"])
        if reason is not None:
            than = "before" if name == "before" else f"that of {name}"
            raise RunError(f"{out} was not written, the network is worse than {than}: {reason}")
    _write(
        learner,
        out,
        train,
        start,
        assessments,
        {
            "recording": recording,
            "frames": n_frames,
            "found": len(observations),
            "learnt_from": len(taught),
            "held_out": len(held),
            "held_out_frames": [int(numbers[0]), int(numbers[-1])],
            "detect": config.detect.model_dump(mode="json"),
            "noise": asdict(noise),
            "fitted": _percentiles(taught),
        },
    )


def _own_network(path: Path) -> BraggNN:
    network, _ = load_network(path)
    if network.architecture not in ARCHITECTURES.values():
        raise UserError(f"{path} is of another make: retraining starts from weights made by train")
    return network.requires_grad_(True)


def _to_replace(path: Path, size: int) -> tuple[BraggNN, Convention]:
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name the file of the weights")
    network, convention = load_network(path)
    pixels = network.architecture.patch_size
    if pixels != size:
        raise UserError(f"{path} holds a network for patches of {pixels} pixels: use another --out")
    return network, convention


def _method(network: BraggNN, convention: Convention, config: TrainConfig) -> NetworkMethod:
    # The same chunks as while training, so that results are the same to the last digit.
    backend = TorchBackend(network, choose_device(config.device), THREADS, chunk=256)
    return NetworkMethod(backend, network.architecture, convention)


def _find(
    config: Config, recording: str, size: int, progress: Progress
) -> tuple[Observations, int]:
    """Find the peaks of the recording; return also the number of frames taken."""
    # What is played again, or is still to come, has nothing new to teach.
    source = config.source.model_copy(update={"loop": 1, "follow": False})
    detect = config.detect
    footage = RecordedFootage(
        recording, config.model_copy(update={"source": source}), config.train.frames
    )
    task = progress.add_task("finding peaks", total=footage.n_taken)
    (observations,), lost = find_peaks(
        iter(progress.track(footage.frames(), task_id=task)),
        [Pair(detect.minval, detect.minscore)],
        detect,
        [size],
    )
    if len(lost) == footage.n_taken:
        raise UserError(f"no frame of {recording} can be used: {next(iter(lost.values()))}")
    if not len(observations):
        raise UserError(f"no peaks on {recording}: lower detect.minval and detect.minscore")
    return observations, footage.n_taken - len(lost)


def _split(labels: Labels, found: int, recording: str, config: TrainConfig) -> NDArray[np.bool_]:
    """Choose the peaks to hold out."""
    few = f"{len(labels):,} of {found:,} peaks on {recording} are clean and well fitted"
    if len(labels) < _FEWEST:
        raise UserError(
            f"{few}, {_FEWEST} are needed: take more frames (train.frames), and see that "
            "positions.gain and positions.read_noise are the detector's"
        )
    test = held_out(labels.frame, _HELD, np.random.default_rng([config.seed, 1]))
    if not _FEWEST_HELD <= np.count_nonzero(test) <= len(labels) - _FEWEST // 2:
        raise UserError(f"{few}, but nearly all on one frame: take more frames (train.frames)")
    return test


def _mixture(
    taught: Labels, config: TrainConfig, noise: Noise, size: int
) -> Callable[[int], Examples]:
    """Return what makes the patches of a step."""
    n = config.batch
    n_drawn, n_recorded = n // 2, n // 4
    # One photon is as many counts as the detector gives for it.
    unit = noise.gain or noise.read_noise
    limits: Any = {
        name: tuple(unit * np.array(getattr(RANGES, name))) for name in ("amplitude", "background")
    }
    usual = replace(RANGES, **limits)

    def batch(step: int) -> Examples:
        rng = np.random.default_rng([config.seed, 0, step])
        peaks = draw_like(taught.peaks, n_drawn, TRAINED_PX, rng)
        valid = draw_valid(n_drawn, RANGES, rng, size)
        recorded = rng.integers(0, len(taught), n_recorded)
        return join(
            [
                simulate(peaks, integrated_counts(peaks, size), valid, rng, noise),
                measured_examples(
                    taught.counts[recorded], taught.valid[recorded], taught.offsets[recorded]
                ),
                draw_examples(n - n_drawn - n_recorded, size, usual, rng, noise),
            ]
        )

    return batch


def _percentiles(labels: Labels) -> dict[str, list[float]]:
    """Return the 5th, 50th and 95th percentile of what was fitted."""
    names = ("amplitude", "background", "major", "minor", "eta")
    return {
        name: [round(float(p), 3) for p in np.percentile(getattr(labels.peaks, name), (5, 50, 95))]
        for name in names
    }


def _write(
    learner: Learner,
    out: Path,
    config: TrainConfig,
    start: Path,
    assessments: Mapping[str, Assessment],
    content: dict[str, Any],
) -> None:
    recipe = config.model_dump(mode="json", exclude={"device"})
    out.parent.mkdir(parents=True, exist_ok=True)
    save_network(learner.network, out)
    write_card(
        learner,
        out,
        {
            "recipe": {**recipe, "start": start.name},
            "usual_peaks": asdict(RANGES),
            **content,
            "assessments": {name: assessment.numbers() for name, assessment in assessments.items()},
        },
    )
