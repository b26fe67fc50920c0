"""Sorting of a few numbers within kernels."""

from __future__ import annotations

from numba import njit

__all__ = ["sort_few"]


@njit(cache=True, nogil=True)
def sort_few(values, count):  # type: ignore[no-untyped-def]
    """Sort the first few dozen numbers of an array, for which insertion is fastest."""
    for i in range(1, count):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
