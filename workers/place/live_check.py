"""A look over the model's shoulder: some peaks are also fitted, and both answers compared."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.transport.metrics import Metrics
from workers.place.base import PositionMethod, Positions

__all__ = ["LiveCheck"]

_REMEMBERED = 1000
_TOGETHER = 64
"""Peaks that are fitted at once: what a call takes besides, as long as a few fits, is shared."""


class LiveCheck:
    """Compares a share of a method's answers with those of a reference method.

    Peaks that either flags are left out: of those the reference knows no better.

    Parameters
    ----------
    reference
        What to compare with.
    share
        Share of the peaks to look at, drawn at random.
    metrics
        Where the distances are counted, in pixels and in standard deviations.
    """

    def __init__(
        self, reference: PositionMethod, share: float, metrics: Metrics, seed: int | None = None
    ) -> None:
        self._reference = reference
        self._share = share
        self._metrics = metrics
        self._rng = np.random.default_rng(seed)
        self._distances: deque[float] = deque(maxlen=_REMEMBERED)
        self._gathered: list[tuple[NDArray[Any], ...]] = []
        """Patches, which of their pixels count, and (n, 2) answers."""
        self.waiting = 0
        """Peaks that are still to be compared."""

    @property
    def median_px(self) -> float:
        """Median distance of the newest comparisons in pixels; NaN before the first."""
        return float(np.median(self._distances)) if self._distances else float("nan")

    def look(
        self, counts: NDArray[np.float32], valid: NDArray[np.bool_], placed: Positions
    ) -> None:
        """Gather some of the peaks of a batch, and compare when there are enough.

        Parameters
        ----------
        counts, valid
            (n, size, size), the patches and which of their pixels count.
        placed
            What the method said of them.
        """
        drawn = self._rng.random(len(counts)) < self._share
        # Joint fits of what is no clean peak would cost more than all others, for nothing.
        chosen = np.flatnonzero(drawn & (placed.flags == 0))
        if not len(chosen):
            return
        # It is the model that is looked at, not what fits have made of its answers.
        said = np.stack([placed.row, placed.col], 1) if placed.begun is None else placed.begun
        self._gathered.append((counts[chosen], valid[chosen], said[chosen]))
        self.waiting += len(chosen)
        if self.waiting >= _TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Compare what was gathered."""
        if not self._gathered:
            return
        counts, valid, said = map(np.concatenate, zip(*self._gathered, strict=True))
        self._gathered, self.waiting = [], 0
        fitted = self._reference.place(counts, valid)
        clean = fitted.flags == 0
        row, col = (said[:, 0] - fitted.row)[clean], (said[:, 1] - fitted.col)[clean]
        sigmas = np.hypot(row / fitted.row_sigma[clean], col / fitted.col_sigma[clean])
        for px, sigma in zip(np.hypot(row, col).tolist(), sigmas.tolist(), strict=True):
            self._distances.append(px)
            self._metrics.science.disagreement_px.observe(px)
            if np.isfinite(sigma):
                self._metrics.science.disagreement_sigmas.observe(sigma)
