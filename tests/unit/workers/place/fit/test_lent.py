"""Arrays without owners: the same memory, counted by nobody."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from numba import njit

from workers.place.fit.lent import lent


class Inner(NamedTuple):
    table: np.ndarray


class Outer(NamedTuple):
    numbers: np.ndarray
    inner: Inner
    switched: np.ndarray


@njit
def write(arrays):
    arrays = lent(arrays)
    arrays.numbers[:] = 2.0
    row = arrays.inner.table[1]
    row[2] = 3.0
    arrays.switched[0] = True
    return arrays.numbers.sum() + row.sum()


def test_lent_arrays_are_the_callers_own():
    arrays = Outer(np.zeros(4), Inner(np.zeros((2, 3))), np.zeros(1, np.bool_))
    references = sys.getrefcount(arrays.numbers)
    total = write(arrays)
    after = sys.getrefcount(arrays.numbers)
    assert total == 11.0
    assert arrays.numbers.tolist() == [2.0] * 4
    assert arrays.inner.table.tolist() == [[0.0] * 3, [0.0, 0.0, 3.0]]
    assert arrays.switched[0]
    assert after == references
