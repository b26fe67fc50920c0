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
    """Return one of each component of a set of neighbours, bits row by row."""
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


_MOST_PARTS = 4
_N_PARTS = np.array([len(_parts(neighbours)) for neighbours in range(256)])
_PARTS = np.array(
    [(_parts(neighbours) + _MOST_PARTS * [0])[:_MOST_PARTS] for neighbours in range(256)]
)


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

    `kept` rises. Writes row, column, score and the raster index of the pixel where each class dies,
    -1 for the background, in the order of `Peaks`, and returns how many.
    """
    # Indices are unsigned: numba then does not ask whether they count from the end.
    keys, parent, death, saddles, places, meeting, maxima, classes, spare, lines = work
    bar, end = np.uint64(least), np.uint64(count)
    n_maxima, n_saddles = _climb(
        kept, levels, count, stride, keys, parent, maxima, saddles, places, meeting, lines
    )
    _sort(saddles, n_saddles, spare)
    for saddle in saddles[:n_saddles][::-1]:
        order = saddle & _INDEX
        elder = _NONE
        for part in range(_MOST_PARTS):
            near = np.uint64(meeting[order, part])
            if near == _INDEX:
                break
            other = keys[_root(parent, near)]
            if other != elder:
                elder, younger = max(elder, other), min(elder, other)
                if younger != _NONE:
                    parent[younger & _INDEX] = elder & _INDEX
                    death[younger & _INDEX] = places[order]
    keys[end], n_classes = 0, 0
    for i in range(n_maxima):
        at = np.uint64(maxima[i])
        if parent[at] == at:
            death[at] = end
        score = (keys[at] >> _LEVEL) - (keys[np.uint64(death[at])] >> _LEVEL)
        classes[n_classes] = (_INDEX - score) << _LEVEL | at
        n_classes += score >= bar

    _sort(classes, n_classes, spare)
    row, col, score_of, end_of = found
    for i in range(n_classes):
        birth = classes[i] & _INDEX
        start, last = np.intp(kept[birth]), np.uint64(death[birth])
        row[i], col[i] = start // stride - 1, start % stride - 1
        score_of[i] = _INDEX - (classes[i] >> _LEVEL)
        end_of[i] = -1
        if last < end:
            stop = np.intp(kept[last])
            end_of[i] = (stop // stride - 1) * (stride - 2) + stop % stride - 1
    return n_classes


@njit(cache=True, nogil=True)
def _climb(  # type: ignore[no-untyped-def]
    kept, levels, count, stride, keys, parent, maxima, saddles, places, meeting, lines
):
    """Point each pixel to its highest neighbour; return how many maxima and saddles there are.

    Three rows at a time are laid out with 0 between the kept pixels, so that no neighbour has to be
    looked for; what has been read is wiped.
    """
    width = np.uint64(stride)
    near = np.empty(8, np.uint64)
    before, here, after = np.uint64(0), width, width + width
    n_maxima = n_saddles = first_before = first = last = 0
    while first < count:
        begin = np.uint64(kept[first]) // width * width
        if last == first:
            last = _lay(kept, levels, keys, first, count, begin, width, lines, here)
        last_after = _lay(kept, levels, keys, last, count, begin + width, width, lines, after)
        for i in range(first, last):
            at = np.uint64(i)
            own, x = keys[at], np.uint64(kept[at]) - begin
            p, q, r = before + x, here + x, after + x
            a, b, c = lines[p - _ONE], lines[p], lines[p + _ONE]
            d, e = lines[q - _ONE], lines[q + _ONE]
            f, g, h = lines[r - _ONE], lines[r], lines[r + _ONE]
            best = max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))
            higher = (a > own) | (b > own) << 1 | (c > own) << 2 | (d > own) << 3
            higher |= (e > own) << 4 | (f > own) << 5 | (g > own) << 6 | (h > own) << 7
            parent[at] = max(best, own) & _INDEX
            maxima[n_maxima] = at
            n_maxima += higher == 0
            if _N_PARTS[higher] > 1:
                near[0], near[1], near[2], near[3] = a, b, c, d
                near[4], near[5], near[6], near[7] = e, f, g, h
                for part in range(_MOST_PARTS):
                    is_part = part < _N_PARTS[higher]
                    other = near[_PARTS[higher, part]] if is_part else _INDEX
                    meeting[n_saddles, part] = other & _INDEX
                # Their order is that of places, and is a shorter way to what meets there.
                saddles[n_saddles] = own >> _LEVEL << _LEVEL | np.uint64(n_saddles)
                places[n_saddles] = at
                n_saddles += 1
        _wipe(kept, first_before, first, begin - width, lines, before)
        if last_after > last:
            before, here, after = here, after, before
            first_before, first, last = first, last, last_after
        else:
            _wipe(kept, first, last, begin, lines, here)
            first_before = first = last
    return n_maxima, n_saddles


@njit(cache=True, inline="always")
def _lay(kept, levels, keys, at, count, begin, width, lines, line):  # type: ignore[no-untyped-def]
    """Give pixels of a row their keys and lay these out; return where the next row's are listed."""
    while at < count and kept[at] < begin + width:
        keys[at] = np.uint64(levels[at]) << _LEVEL | np.uint64(at)
        lines[line + np.uint64(kept[at]) - begin] = keys[at]
        at += 1
    return at


@njit(cache=True, inline="always")
def _wipe(kept, first, last, begin, lines, line):  # type: ignore[no-untyped-def]
    for at in range(first, last):
        lines[line + np.uint64(kept[at]) - begin] = _NONE


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
def _sort(values: NDArray[np.uint64], count: int, spare: NDArray[np.uint64]) -> None:
    """Sort the first `count` values by their levels; those of equal ones stay in their order."""
    differing = np.uint64(0)
    for i in range(count):
        differing |= values[i] ^ values[0]
    for byte in range(4, 8):
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
