"""The position methods that are compared with each other, and the time they take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import PositionsConfig
from streamer.errors import UserError
from workers.place.base import BATCH_PATCHES, PositionMethod, Positions
from workers.place.methods import make_method

__all__ = ["REFERENCE", "Candidate", "candidates"]

REFERENCE = "gaussian"
"""The conventional method that the others are held against where no truth is known."""


class Candidate:
    """A position method that works in batches and notes how long it takes.

    Parameters
    ----------
    name
        To tell it from the others: two networks have the same name in the configuration.
    method
        What places the peaks.
    batch
        Patches in a batch.
    clock
        Returns seconds. The default counts only while this thread is at work, so that other
        programs do not matter.
    """

    def __init__(
        self,
        name: str,
        method: PositionMethod,
        batch: int,
        clock: Callable[[], float] = time.thread_time,
    ):
        self.name = name
        self.patch_size = method.patch_size
        self.us_per_peak = math.nan
        """Microseconds for a peak in the quickest full batch of the last `place`, for whatever
        disturbs only ever adds; NaN without a peak."""
        self._method, self._batch, self._clock = method, batch, clock

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `workers.place.base.PositionMethod.place`."""
        full = min(self._batch, len(patches))
        best, parts = math.inf, []
        for first in range(0, max(len(patches), 1), self._batch):
            batch = slice(first, first + self._batch)
            start = self._clock()
            parts.append(self._method.place(patches[batch], valid[batch]))
            if 0 < full == len(parts[-1]):
                best = min(best, (self._clock() - start) / full)
        self.us_per_peak = best * 1e6 if math.isfinite(best) else math.nan
        known = [name for name in Positions.__slots__ if getattr(parts[0], name) is not None]
        return Positions(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in known})


def candidates(config: PositionsConfig) -> list[Candidate]:
    """Make our methods and the configured one, ready to use, the configured network first.

    Each uses one CPU thread. The network as published is one more, where the configured one is
    another and the project has weights of it.

    Parameters
    ----------
    config
        Checkpoint and device (``auto`` is the CPU here, so that times are of one core).

    Raises
    ------
    UserError
        The checkpoint cannot be used or the device does not exist.
    """
    device = "cpu" if config.device == "auto" else config.device
    clock = time.thread_time if device == "cpu" else time.perf_counter

    def make(name: str, **changes: Any) -> Candidate:
        method = make_method(config.model_copy(update={"device": device, **changes}), 1)
        # What is compiled on first use is no part of the time for a peak.
        shape = (1, method.patch_size, method.patch_size)
        method.place(np.ones(shape, np.float32), np.ones(shape, np.bool_))
        return Candidate(name, method, BATCH_PATCHES, clock)

    made = [make("braggnn", method="braggnn")]
    if config.polish:
        made.append(make("network alone", method="braggnn", polish=False))
    published = _published(config.checkpoint)
    if published is not None:
        made.append(make("published", method="braggnn", checkpoint=published))
    others = dict.fromkeys((REFERENCE, "pseudovoigt", "centroid", config.method))
    made += [make(name, method=name) for name in others if name != "braggnn"]
    return made


def _published(checkpoint: Path | None) -> Path | None:
    """Return our weights of the network as published; None if `checkpoint` is that file."""
    # torch takes seconds to import: only those who need it wait for it.
    from workers.place.network.architecture import ARCHITECTURES, WEIGHTS
    from workers.place.network.checkpoints import load_network

    for path in sorted(WEIGHTS.glob("*.pt")):
        # Nobody asked for this file: where it is of no use, the others are compared without it.
        with suppress(UserError):
            if load_network(path)[0].architecture == ARCHITECTURES["published"]:
                return None if checkpoint is not None and path.samefile(checkpoint) else path
    return None
