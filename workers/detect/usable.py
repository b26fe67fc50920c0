"""Compiled answers to whether pixels of an image may be used."""

from __future__ import annotations

from numba import njit

__all__ = ["below_zero", "unusable"]


@njit(cache=True, nogil=True, forceinline=True)
def unusable(frame, bad, least, most, row, col):  # type: ignore[no-untyped-def]
    """Tell whether a pixel must not be used.

    It takes the parts of an `Image`: who unpacks it before a loop need not count references in it.
    """
    value = frame[row, col]
    return value < least or value > most or (bad.size > 0 and bad[row, col])


@njit(cache=True, nogil=True)
def below_zero(frame, bad, least, most):  # type: ignore[no-untyped-def]
    """Tell whether any pixel that may be used is below 0."""
    for row in range(frame.shape[0]):
        for col in range(frame.shape[1]):
            if frame[row, col] < 0 and not unusable(frame, bad, least, most, row, col):
                return True
    return False
