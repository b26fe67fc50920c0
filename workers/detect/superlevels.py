"""Components of a frame's superlevel sets: where they are born, where they die.

Only one pass looks at all pixels. What follows touches the kept ones alone:

1. Each gets a key, its level above its place in the list. Keys are unique and their order is that
   in which findpeaks takes the pixels, so ties need no further thought.
2. Each points to its highest neighbour, and so, step by step, to the maximum it belongs to.
3. Components can only meet at a pixel whose higher neighbours are not connected among themselves.
   From the highest of these saddles down, what is met and was born lower dies (elder rule).
4. What is left dies in the zeroed background.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["collect", "merge"]

_ONE = np.uint64(1)
_NONE = np.uint64(0)
_INDEX = np.uint64(0xFFFFFFFF)
_LEVEL = np.uint64(32)
_DIGIT = np.uint64(0xFF)
_ONES = np.uint64(0x0101010101010101)
_LAST_BYTE = np.uint64(56)


def _parts(neighbours: int) -> list[int]:
    """Return one of each component of a set of neighbours, bits in the order of `_around`."""
    offsets = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    left = [bit for bit in range(8) if neighbours >> bit & 1]
    parts = []
    while left:
        parts.append(left[0])
        front = [left.pop(0)]
        while front:
            row, col = offsets[front.pop()]
            near = [n for n in left if max(abs(offsets[n][0] - row), abs(offsets[n][1] - col)) < 2]
            left = [n for n in left if n not in near]
            front += near
    return parts


_N_PARTS = np.array([len(_parts(neighbours)) for neighbours in range(256)])
_PARTS = np.array([(_parts(neighbours) + 4 * [0])[:4] for neighbours in range(256)])


@njit(cache=True, nogil=True)
def collect(
    frame: NDArray[Any],
    lowest: float,
    highest: float,
    mask: NDArray[np.bool_],
    search: tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.int64]],
    kept: NDArray[np.uint32],
    levels: NDArray[Any],
) -> int:
    """List pixels from `lowest` to `highest`, and NaN, by index in the frame with a margin of 1.

    Compilers make the comparison of a row fast as long as it does nothing else. Its result, a byte
    for each pixel, is then read in words of eight pixels, most of which are 0.
    """
    hits, words, hit_words = search
    low, high = frame.dtype.type(lowest), frame.dtype.type(highest)
    rows, cols = frame.shape
    count = 0
    for row in range(rows):
        line = frame[row]
        for col in range(cols):
            hits[col] = not ((line[col] < low) | (line[col] > high))
        n_words = 0
        for index in range(words.size):
            hit_words[n_words] = index
            n_words += words[index] != 0
        for index in hit_words[:n_words]:
            word = words[index]
            while word:
                others = word & (word - _ONE)
                # A one for each byte below the lowest hit; the product counts them.
                below = (((word ^ others) - _ONE) & _ONES) * _ONES >> _LAST_BYTE
                word = others
                col = 8 * index + np.intp(below)
                if mask.size and mask[row, col]:
                    continue
                kept[count] = (row + 1) * (cols + 2) + col + 1
                levels[count] = line[col]
                count += 1
    return count


@njit(cache=True, nogil=True)
def merge(
    kept: NDArray[np.uint32],
    levels: NDArray[np.uint32],
    count: int,
    stride: int,
    least: int,
    work: tuple[NDArray[Any], ...],
    found: tuple[NDArray[Any], ...],
) -> int:
    """Find the classes of the first `count` pixels `kept` that live through `least` levels.

    Of `kept`, which rises, one more than `count` is overwritten.

    Writes row, column, score and the raster index of the pixel where each class dies, -1 for the
    background, in the order of `Peaks`, and returns how many.
    """
    # Indices are unsigned: numba then does not ask whether they count from the end.
    keys, parent, death, higher_than, above, below, maxima, classes, saddles, spare = work
    step, bar, end = np.uint64(stride), np.uint64(least), np.uint64(count)
    for i in range(count):
        keys[i] = np.uint64(levels[i]) << _LEVEL | np.uint64(i)
    keys[end], kept[end] = 0, _INDEX

    n_maxima = n_saddles = n_classes = 0
    up = down = np.uint64(0)
    for i in range(count):
        at = np.uint64(i)
        p, own = np.uint64(kept[at]), keys[at]
        up = _from(kept, up, p - step - _ONE)
        down = _from(kept, down, p + step - _ONE)
        above[at], below[at] = up, down
        a, b, c = _three(kept, keys, up, p - step)
        f, g, h = _three(kept, keys, down, p + step)
        before, after = at - np.uint64(at > 0), at + _ONE
        d = keys[before] if kept[before] == p - _ONE else _NONE
        e = keys[after] if kept[after] == p + _ONE else _NONE
        best = max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))
        higher = (a > own) | (b > own) << 1 | (c > own) << 2 | (d > own) << 3
        higher |= (e > own) << 4 | (f > own) << 5 | (g > own) << 6 | (h > own) << 7
        parent[at] = max(best, own) & _INDEX
        maxima[n_maxima] = at
        n_maxima += higher == 0
        saddles[n_saddles] = own
        n_saddles += _N_PARTS[higher] > 1
        higher_than[at] = higher

    _sort(saddles, n_saddles, spare, 4)
    for own in saddles[:n_saddles][::-1]:
        at = own & _INDEX
        higher = np.intp(higher_than[at])
        elder = _NONE
        for part in range(_N_PARTS[higher]):
            near = _neighbour(kept, above, below, at, step, _PARTS[higher, part])
            other = keys[_root(parent, near)]
            if other != elder:
                elder, younger = max(elder, other), min(elder, other)
                if younger == _NONE:
                    continue
                birth = younger & _INDEX
                parent[birth] = elder & _INDEX
                death[birth] = at
                score = (younger >> _LEVEL) - (own >> _LEVEL)
                classes[n_classes] = _order(score, birth)
                n_classes += score >= bar
    for i in range(n_maxima):
        at = np.uint64(maxima[i])
        if parent[at] == at:
            death[at] = end
            classes[n_classes] = _order(keys[at] >> _LEVEL, at)
            n_classes += keys[at] >> _LEVEL >= bar

    _sort(classes, n_classes, spare, 0)
    row, col, score_of, end_of = found
    for i in range(n_classes):
        birth = classes[i] & _INDEX
        start, last = np.intp(kept[birth]), np.uint64(death[birth])
        row[i], col[i] = start // stride - 1, start % stride - 1
        score_of[i] = _INDEX - (classes[i] >> _LEVEL)
        stop = np.intp(kept[last])
        end_of[i] = (stop // stride - 1) * (stride - 2) + stop % stride - 1 if last < end else -1
    return n_classes


@njit(cache=True, inline="always")
def _from(kept: NDArray[np.uint32], at: np.uint64, p: np.uint64) -> np.uint64:
    """Return where the first pixel is that does not come before `p`, at `at` or behind."""
    while kept[at] < p:
        at += _ONE
    return at


@njit(cache=True, inline="always")
def _three(
    kept: NDArray[np.uint32], keys: NDArray[np.uint64], at: np.uint64, p: np.uint64
) -> tuple[np.uint64, ...]:
    """Return the keys of pixel `p` and those beside it, of which the first kept one is at `at`."""
    first = kept[at] == p - _ONE
    a = keys[at] if first else _NONE
    at += np.uint64(first)
    second = kept[at] == p
    b = keys[at] if second else _NONE
    at += np.uint64(second)
    return a, b, keys[at] if kept[at] == p + _ONE else _NONE


@njit(cache=True, inline="always")
def _neighbour(
    kept: NDArray[np.uint32],
    above: NDArray[np.uint32],
    below: NDArray[np.uint32],
    at: np.uint64,
    step: np.uint64,
    bit: int,
) -> np.uint64:
    """Return where a neighbour is in the list, which holds it; bits as in `_parts`."""
    p = np.uint64(kept[at])
    if bit < 3:
        return _from(kept, np.uint64(above[at]), p - step - _ONE + np.uint64(bit))
    if bit > 4:
        return _from(kept, np.uint64(below[at]), p + step - _ONE + np.uint64(bit - 5))
    return at - _ONE if bit == 3 else at + _ONE


@njit(cache=True, inline="always")
def _order(score: np.uint64, p: np.uint64) -> np.uint64:
    """Return a number that rises as the score falls, then with the index."""
    return (_INDEX - score) << _LEVEL | p


@njit(cache=True, nogil=True)
def _root(parent: NDArray[np.uint32], p: np.uint64) -> np.uint64:
    """Return where the pointers from `p` lead, and let all on the way point there."""
    root = np.uint64(parent[p])
    while parent[root] != root:
        root = np.uint64(parent[root])
    while parent[p] != root:
        p, parent[p] = np.uint64(parent[p]), root
    return root


@njit(cache=True, nogil=True)
def _sort(
    values: NDArray[np.uint64], count: int, spare: NDArray[np.uint64], first_byte: int
) -> None:
    """Sort the first `count` values by their bytes from `first_byte` up; equal ones stay put."""
    differing = np.uint64(0)
    for i in range(count):
        differing |= values[i] ^ values[0]
    for byte in range(first_byte, 8):
        shift = np.uint64(8 * byte)
        if differing >> shift & _DIGIT == 0:
            continue
        place = np.zeros(257, np.int64)
        for i in range(count):
            place[(values[i] >> shift & _DIGIT) + _ONE] += 1
        for digit in range(1, 256):
            place[digit] += place[digit - 1]
        for i in range(count):
            digit = values[i] >> shift & _DIGIT
            spare[place[digit]] = values[i]
            place[digit] += 1
        values[:count] = spare[:count]
