"""Merges what the sink has committed, beside its work."""

from __future__ import annotations

import logging
import math
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from streamer.results.folder import RunFolder, may_pass
from streamer.results.merging import AT_ONCE, merge_next

__all__ = ["Merging"]

logger = logging.getLogger(__name__)

_SHARE = 0.5
"""Largest share of the time that it takes."""
_PAUSE_S = 30.0
"""From a disk that failed to the next attempt."""


class Merging:
    """Merges parts of a run in a thread of its own; nothing waits for it but the end.

    What cannot be merged stays as it is, which costs files but no results.

    Parameters
    ----------
    folder
        Where parts are committed.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "merging")
        self._job: Future[bool] | None = None
        self._new = AT_ONCE  # an earlier sink may have left some
        self._again = -math.inf

    def committed(self) -> None:
        """Take notice of a part; begin to merge if there is enough and it is time."""
        self._new += 1
        if self._job is not None and self._job.done():
            # One merging may make another possible: what it made may be the last of its level.
            self._new = AT_ONCE if self._job.result() else self._new
            self._job = None
        if self._job is None and self._new >= AT_ONCE and time.monotonic() >= self._again:
            self._new = 0
            self._job = self._thread.submit(self._merge)

    def close(self) -> None:
        """Wait for what was begun."""
        self._thread.shutdown()

    def _merge(self) -> bool:
        """Merge what is next; False when nothing is."""
        started = time.monotonic()
        try:
            merged = merge_next(self._folder.path) is not None
        except (OSError, pa.ArrowException) as error:
            is_passing = isinstance(error, OSError) and may_pass(error)
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            logger.warning(
                "parts cannot be merged%s: %s", "" if is_passing else " and stay as they are", why
            )
            self._again = time.monotonic() + _PAUSE_S if is_passing else math.inf
            return is_passing
        self._again = time.monotonic() + (time.monotonic() - started) * (1.0 / _SHARE - 1.0)
        return merged
