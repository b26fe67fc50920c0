"""Thresholds of a run: what holds, what is tried out on a frame, and who may change them."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config, DetectConfig
from streamer.dashboard.image.gallery import Counts
from streamer.errors import UserError
from streamer.results.threshold_files import request_change
from streamer.results.thresholds import (
    CHANGES_FILE,
    REQUEST_FILE,
    Change,
    Threshold,
    read_changes,
    read_request,
)
from streamer.stamps import stamp_of
from streamer.transport.token import CONTROL_FILE, read_token

__all__ = ["Finding", "MakeFinding", "RefusedError", "RunThresholds", "TriedOut"]


class Finding(Protocol):
    """Finds the peaks that a run would find with other thresholds."""

    def check(self, minval: Threshold, minscore: Threshold) -> None:
        """Raise `UserError` where a run cannot go on with these."""
        ...

    def __call__(
        self,
        pixels: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        flatfield: NDArray[np.float32] | None,
        minval: Threshold,
        minscore: Threshold,
    ) -> dict[str, NDArray[np.float32]]:
        """Return ``row``, ``col`` and ``score`` of the peaks of a frame."""
        ...


MakeFinding = Callable[[Config, Path], Finding]
TriedOut = dict[str, NDArray[np.float32]]


class RefusedError(Exception):
    """A change that is not made; `status` is that of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RunThresholds:
    """Thresholds of one run. Everything here is for one thread.

    Parameters
    ----------
    config
        With which the run began.
    folder
        Run folder.
    make
        Makes what finds peaks, once somebody wants some: a page that nobody tries thresholds on
        starts fast. None: nothing can be tried out, nor changed.
    """

    def __init__(self, config: Config, folder: Path, make: MakeFinding | None) -> None:
        self._config, self._folder, self._make = config, folder, make
        self._made: Finding | None = None
        self._changes: list[Change] = []
        self._wanted: Change | None = None
        self._version: Hashable = None

    def version(self, *, live: bool) -> Hashable:
        """Return what changes when `content` does."""
        return self._look(), self._token() is not None, live

    def content(self, *, live: bool) -> dict[str, Any]:
        """Return how thresholds were configured and changed, and whether they can be now."""
        self._look()
        detect = self._config.detect
        last = self._changes[-1] if self._changes else detect
        waits = self._wanted
        if waits is not None and any(waits.id == one.id for one in self._changes):
            waits = None
        return {
            "minval": last.minval,
            "minscore": last.minscore,
            "configured": {"minval": detect.minval, "minscore": detect.minscore},
            "changes": [_told(one) for one in self._changes],
            "waiting": None if waits is None or not live else _told(waits),
            "can_change": live and self._token() is not None and self._make is not None,
            "can_try": self._make is not None,
            "binning": detect.binning,
        }

    def held(self, series: str, frame: int, order: Sequence[str]) -> str:
        """Say which thresholds a frame's peaks were found with.

        Parameters
        ----------
        series, frame
            The frame; none of the run's series: it is made of many frames.
        order
            The series of the run, one after the other.
        """
        self._look()
        begins = {name: place for place, name in enumerate(order)}
        held: DetectConfig | Change = self._config.detect
        for change in self._changes:
            if change.frame < 0:
                continue  # its first frame has not come
            if series not in begins:
                return ""
            first = begins.get(change.series, len(begins))
            if (first, change.frame) <= (begins[series], frame):
                held = change
        return f"minval {held.minval}, minscore {held.minscore}"

    def try_out(self, counts: Counts, minval: Threshold, minscore: Threshold) -> TriedOut:
        """Return the peaks that thresholds would give on a frame.

        Raises
        ------
        UserError
            None can be found; the text says why.
        """
        return self._finding()(counts.pixels, counts.mask, counts.flatfield, minval, minscore)

    def change(self, token: str, minval: Threshold, minscore: Threshold, *, live: bool) -> Change:
        """Ask the run for other thresholds.

        Raises
        ------
        RefusedError
            It is not asked.
        """
        if not live:
            raise RefusedError(409, "the run is over")
        own = self._token()
        if own is None or self._make is None:
            why = "it was begun with dashboard.control=false"
            raise RefusedError(403, f"thresholds cannot be changed in this run: {why}")
        if not hmac.compare_digest(token.encode(), own.encode()):
            raise RefusedError(
                403, "changing thresholds takes the token that the run printed, see control.token"
            )
        try:
            self._finding().check(minval, minscore)
            return request_change(self._folder, minval, minscore)
        except UserError as error:
            raise RefusedError(422, str(error)) from None
        except OSError as error:
            raise RefusedError(503, f"nothing can be written there: {error.strerror}") from None

    def _finding(self) -> Finding:
        if self._make is None:
            raise UserError("peaks cannot be found here")
        if self._made is None:
            self._made = self._make(self._config, self._folder)
        return self._made

    def _look(self) -> Hashable:
        stamps = tuple(stamp_of(self._folder / name) for name in (CHANGES_FILE, REQUEST_FILE))
        if stamps != self._version:
            self._changes = read_changes(self._folder)
            try:
                self._wanted = read_request(self._folder)
            except (ValueError, OSError):
                self._wanted = None
            self._version = stamps
        return stamps

    def _token(self) -> str | None:
        """Return the run's token, if it has one; who looks on makes none."""
        try:
            return read_token(self._folder / CONTROL_FILE)
        except UserError:
            return None


def _told(change: Change) -> dict[str, Any]:
    return {
        "time_ns": change.time_ns,
        "minval": change.minval,
        "minscore": change.minscore,
        "series": change.series or None,
        "frame": change.frame if change.frame >= 0 else None,
    }
