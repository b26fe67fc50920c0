"""Batches of any size for programs that each take one size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.place.network.architecture import Architecture
from workers.place.network.backends.pace import fastest_chunk, measure

__all__ = ["Program", "SizedBackend", "Split"]


class Program(Protocol):
    """A network made ready for batches of one size."""

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Compute as an `InferenceBackend` does, for exactly that size.

        Both inputs are contiguous. The next call may overwrite what is returned.
        """
        ...


class Split:
    """Which programs to run for a batch: those that take the least time together.

    Parameters
    ----------
    times
        Seconds that a batch of each size takes.
    """

    def __init__(self, times: Mapping[int, float]):
        self._bulk = fastest_chunk(times)
        self._largest = max(times)
        # The least time for n patches is that of some first batch and the least for what is left.
        least = np.zeros(self._largest + 1)
        self._first = np.zeros(self._largest + 1, np.int64)
        sizes = np.array(sorted(times))
        seconds = np.array([times[size] for size in sizes])
        for n in range(1, self._largest + 1):
            totals = seconds + least[np.maximum(n - sizes, 0)]
            best = int(totals.argmin())
            least[n], self._first[n] = totals[best], sizes[best]

    def __call__(self, n: int) -> list[int]:
        """Return sizes that add up to `n` patches or, with padding in the last batch, more."""
        sizes = []
        while n > 0:
            sizes.append(self._bulk if n > self._largest else int(self._first[n]))
            n -= sizes[-1]
        return sizes


class SizedBackend:
    """Inference by programs for a few batch sizes; the last batch is padded.

    How long each size takes is measured when the backend is made, in less than a second.

    Parameters
    ----------
    programs
        By the size they take.
    architecture
        The network's.
    times
        Seconds that a batch of each size takes; None measures.
    clock
        What to measure by.
    """

    def __init__(
        self,
        programs: Mapping[int, Program],
        architecture: Architecture,
        times: Mapping[int, float] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._programs = programs
        self._outputs = architecture.outputs
        side = architecture.patch_size
        rng = np.random.default_rng(0)
        # What a padded batch holds beyond its patches never matters.
        self._padded = {
            size: (
                rng.random((size, architecture.inputs, side, side), np.float32),
                rng.random((size, architecture.scales), np.float32),
            )
            for size in sorted(programs)
        }
        times = times or measure(
            {size: partial(programs[size], *inputs) for size, inputs in self._padded.items()}, clock
        )
        self.chunk = fastest_chunk(times)
        self._split = Split(times)

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers; see `workers.place.network.backend.InferenceBackend`."""
        images, scales = np.ascontiguousarray(images), np.ascontiguousarray(scales)
        answers = np.empty((len(images), self._outputs), np.float32)
        first = 0
        for size in self._split(len(images)):
            part = slice(first, first + size)
            batch = images[part], scales[part]
            count = len(batch[0])
            if count < size:
                for whole, some in zip(self._padded[size], batch, strict=True):
                    whole[:count] = some
                batch = self._padded[size]
            answers[part] = self._programs[size](*batch)[:count]
            first += size
        return answers
