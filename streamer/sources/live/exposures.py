"""When the frames of a live series were exposed."""

from __future__ import annotations

import math
import time

__all__ = ["Exposures"]

_PACE_TOLERANCE = 0.1
_FAR_NS = 1 << 63


class Exposures:
    """Times of the frames of a series, by the clock of the detector where that goes.

    Parameters
    ----------
    frame_time_s
        Announced time from one frame to the next in seconds; None when not known.
    """

    def __init__(self, frame_time_s: float | None) -> None:
        self.n_booked = 0
        self._interval_s = frame_time_s
        self._said_ns: int | None = None
        self._first: tuple[int, int] | None = None
        self._last = (-1, 0)
        self._has_clock = True
        self._arrived_s = (0.0, 0.0)
        self._origin_s = math.inf

    def book(self, frame: int, said_ns: int | None, arrived_s: float) -> int:
        """Return the start of an exposure as Unix time in ns.

        Parameters
        ----------
        said_ns
            The same as the detector says; None when it does not. A detector that says the same
            again has no clock, and its frames are counted on from the first one.
        arrived_s
            Monotonic time of arrival in seconds.
        """
        self._origin_s = min(self._origin_s, arrived_s - frame * (self._interval_s or 0.0))
        if said_ns is None:
            time_ns = time.time_ns()
        elif said_ns != self._said_ns or self._first is None:
            time_ns = said_ns
        elif self._interval_s is not None:
            time_ns = self._first[1] + round((frame - self._first[0]) * self._interval_s * 1e9)
        else:
            time_ns = time.time_ns()
        if time_ns >= _FAR_NS:
            time_ns = time.time_ns()
        self.n_booked += 1
        if said_ns is None or said_ns == self._said_ns:
            self._has_clock = False
        self._said_ns = said_ns
        if self._first is None:
            self._first, self._arrived_s = (frame, time_ns), (arrived_s, arrived_s)
        if frame > self._last[0]:
            self._last, self._arrived_s = (frame, time_ns), (self._arrived_s[0], arrived_s)
        return time_ns

    def are_over(self, n_announced: int, now_s: float) -> bool:
        """Tell whether all announced frames must have been exposed by now.

        That is so when frames came at the announced pace, as they do without a trigger for each,
        and the last one had the time to come; it is never so when nothing is known of the pace.
        """
        if self._interval_s is None or self._first is None:
            return False
        n_intervals = self._last[0] - self._first[0]
        took_s = (self._last[1] - self._first[1]) * 1e-9
        if not self._has_clock:
            took_s = self._arrived_s[1] - self._arrived_s[0]
        expected_s = n_intervals * self._interval_s
        tolerance_s = self._interval_s + _PACE_TOLERANCE * expected_s
        if abs(took_s - expected_s) > tolerance_s:
            return False
        return now_s >= self._origin_s + (n_announced - 1.5) * self._interval_s
