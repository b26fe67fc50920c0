"""Patches of many frames gathered into one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.frames.peaks import PEAK
from streamer.transport.messages import FramePeaks, Patches

__all__ = ["Batch", "Batcher"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches that are placed together."""

    frames: list[FramePeaks]
    """The frames they are of, in order."""
    peaks: NDArray[np.void]
    """(n,) of `streamer.frames.peaks.PEAK`."""
    counts: NDArray[np.float32]
    """(n, size, size)."""
    valid: NDArray[np.bool_]
    """(n, size, size), which pixels count."""


class Batcher:
    """Gathers patches until there are enough or the first of them has waited long enough.

    Parameters
    ----------
    most
        Patches that make a batch.
    wait_s
        Longest time in seconds that the first may wait for others.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(
        self, most: int, wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._wait_s = wait_s
        self._clock = clock
        self._gathered: list[Batch] = []
        self._patches = 0
        self._deadline = 0.0

    @property
    def empty(self) -> bool:
        """True when nothing waits, not even a frame without peaks."""
        return not self._gathered

    @property
    def full(self) -> bool:
        """True when there are enough patches."""
        return self._patches >= self._most

    @property
    def frames(self) -> int:
        """Frames that wait."""
        return sum(len(one.frames) for one in self._gathered)

    @property
    def left_s(self) -> float:
        """Seconds that what was gathered may still wait; 0 or less when it is time."""
        return 0.0 if self.full else self._deadline - self._clock()

    def add(self, header: Patches, buffers: Sequence[memoryview]) -> None:
        """Take the patches of a message."""
        shape = (-1, header.size, header.size)
        if not self._gathered:
            self._deadline = self._clock() + self._wait_s
        self._gathered.append(
            Batch(
                header.frames,
                np.frombuffer(buffers[0], PEAK),
                np.frombuffer(buffers[1], np.float32).reshape(shape),
                np.frombuffer(buffers[2], np.bool_).reshape(shape),
            )
        )
        self._patches += len(self._gathered[-1].peaks)

    def take(self) -> Batch:
        """Return all that was gathered, at least one message, and begin anew."""
        gathered, self._gathered, self._patches = self._gathered, [], 0
        if len(gathered) == 1:
            return gathered[0]
        return Batch(
            [frame for one in gathered for frame in one.frames],
            np.concatenate([one.peaks for one in gathered]),
            np.concatenate([one.counts for one in gathered]),
            np.concatenate([one.valid for one in gathered]),
        )
