"""Peaks of a frame as findpeaks' topology method gives them, at the speed of a detector.

A peak is a class of the 0-dimensional persistent homology of the frame's superlevel sets: as the
level falls, a component of the pixels above it is born at a local maximum, and dies where it meets
a component that was born higher. Its score is the height it lived through. Components are
8-connected; pixels below `minval` count as 0.

Only one pass looks at all pixels. What follows touches the kept ones alone:

1. Each gets a key, its level above its raster index. Keys are unique and their order is that in
   which findpeaks takes the pixels, so ties need no further thought.
2. Each points to its highest neighbour, and so, step by step, to the maximum it belongs to.
3. Components can only meet at a pixel whose higher neighbours are not connected among themselves.
   From the highest of these saddles down, what is met and was born lower dies (elder rule).
4. What is left dies in the zeroed background.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.errors import UserError

__all__ = ["Finder", "FindpeaksFinder", "Peaks", "TopologyFinder", "make_finder"]

_EPS = float(np.finfo(np.float64).eps)
# How the kernel reads an integer frame, by type character: converted to the first type and seen as
# the second, which puts negative values above the highest level. All else is float64.
_INTEGERS = {
    char: (np.dtype(read), np.dtype(seen), int(np.iinfo(char).max))
    for char, read, seen in (
        ("B", "u2", "u2"),
        ("H", "u2", "u2"),
        ("b", "i2", "u2"),
        ("h", "i2", "u2"),
        ("i", "i4", "u4"),
        ("I", "u4", "u4"),
    )
}
_ONE = np.uint64(1)
_INDEX = np.uint64(0xFFFFFFFF)
_LEVEL = np.uint64(32)
_DIGIT = np.uint64(0xFF)
_ONES = np.uint64(0x0101010101010101)
_LAST_BYTE = np.uint64(56)


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """The peaks of one frame, by falling score, then by raster index."""

    row: NDArray[np.int32]
    """(n,), pixel index."""
    col: NDArray[np.int32]
    """(n,), pixel index."""
    score: NDArray[np.float64]
    """(n,), persistence in counts, above 0; a whole number for an integer frame."""

    def __len__(self) -> int:
        return len(self.row)


class Finder(Protocol):
    """Finds the peaks of a frame."""

    def __call__(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Peaks:
        """Return the peaks of `frame`.

        Parameters
        ----------
        frame
            (rows, cols), integers or floats, in counts.
        masked
            (rows, cols), True where a pixel counts as 0; None masks nothing.

        Raises
        ------
        ValueError
            `frame` is not two-dimensional, the shapes differ, or a pixel that is not masked is NaN.
        """
        ...


def make_finder(name: str, minval: float, minscore: float) -> Finder:
    """Return the finder called `name`, ``topology`` or ``findpeaks``.

    Raises
    ------
    UserError
        There is no such finder.
    """
    if name == "topology":
        return TopologyFinder(minval, minscore)
    if name == "findpeaks":
        return FindpeaksFinder(minval, minscore)
    raise UserError(f"unknown finder {name!r}: choose topology or findpeaks")


class TopologyFinder:
    """Finds exactly the peaks of `FindpeaksFinder`, thousands of times faster.

    Working memory stays for the next frame of the same shape, at most 60 bytes for each pixel. An
    object must not be called by two threads at once; give each its own.

    Integers of 64 bits are taken as float64, as findpeaks does. An infinite pixel is a level like
    any other: a class that is born at +inf and dies below has score inf, one that dies at +inf is
    left out, and -inf counts as 0.

    Parameters
    ----------
    minval
        Counts; pixels below, and negative ones, count as 0.
    minscore
        Counts; peaks with a smaller score are left out, and so are those with score 0.

    Raises
    ------
    ValueError
        `minval` is not finite, or `minscore` is NaN.
    """

    def __init__(self, minval: float, minscore: float) -> None:
        self.minval, self.minscore = _check_limits(minval, minscore)
        self._lowest = max(1, math.ceil(self.minval))
        self._least = max(1, math.ceil(min(self.minscore, 2.0**32)))
        self._none_masked = _plain(np.zeros((0, 0)), np.dtype(np.bool_))
        self._shape: tuple[int, ...] = ()

    def __call__(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Peaks:
        """Return the peaks of `frame`; see `Finder`."""
        _check_shapes(frame, masked)
        if frame.shape != self._shape:
            self._allocate(*frame.shape)
        if frame.shape[1] <= 2:
            return self._narrow(frame, masked)
        mask = self._none_masked if masked is None else _plain(masked, self._none_masked.dtype)
        kind = _INTEGERS.get(frame.dtype.char)
        if kind is None:
            return self._floats(_plain(frame, np.dtype(np.float64)), mask)
        read, seen, highest = kind
        if self._lowest > highest:
            return self._copied(0)
        pixels = _plain(frame, read).view(seen)
        count = _collect(pixels, self._lowest, highest, mask, self._search, self._kept, self._level)
        found = self._merge(self._level, count, self._least)
        if count < frame.size:
            return self._copied(found)
        return self._settled(found, pixels.ravel(), _noisy, _limit(pixels))

    def _floats(self, frame: NDArray[np.float64], mask: NDArray[np.bool_]) -> Peaks:
        lowest = max(self.minval, math.nextafter(0.0, 1.0))
        count = _collect(frame, lowest, math.inf, mask, self._search, self._kept, self._value)
        values = self._value[:count]
        _check_numbers(values)
        row, col = np.divmod(self._kept[:count].astype(np.int64), frame.shape[1] + 2)
        noise = ((row - 1) * frame.shape[1] + col - 1) * _EPS
        found = self._merge(_ranks(values + noise), count, 1)
        limit = _limit(values) if count == frame.size else -1.0
        return self._settled(found, frame.ravel(), _noisy, limit)

    def _narrow(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None) -> Peaks:
        # The rule for one or two columns can lower a pixel to 0 or below: all of them take part.
        flat = _zeroed(frame, self.minval, masked).ravel()
        distinct = _distinct(flat)
        rows, cols = frame.shape
        with_margin = np.arange((rows + 2) * (cols + 2)).reshape(rows + 2, cols + 2)
        self._kept[:] = with_margin[1:-1, 1:-1].ravel()
        found = self._merge(_ranks(distinct), flat.size, 1)
        return self._settled(found, flat, lambda _, index: distinct[index], _limit(flat))

    def _allocate(self, rows: int, cols: int) -> None:
        size, padded = rows * cols, (rows + 2) * (cols + 2)
        if padded >= 2**32:
            raise ValueError(f"a frame of {rows} x {cols} pixels is too large")
        # Two maxima are never neighbours. Lists have room for an entry that does not count.
        maxima = ((rows + 1) // 2) * ((cols + 1) // 2) + 1
        words = np.zeros((cols + 7) // 8, np.uint64)
        self._search = words.view(np.uint8), words, np.empty(len(words), np.int64)
        self._kept = np.empty(size, np.uint32)
        self._level = np.empty(size, np.uint32)
        self._value = np.empty(size, np.float64)
        self._work = (
            np.zeros(padded, np.uint64),
            np.empty(padded, np.uint32),
            np.empty(padded, np.uint32),
            np.empty(padded, np.uint8),
            np.empty(maxima, np.uint32),
            np.empty(maxima, np.uint64),
            np.empty(size + 1, np.uint64),
            np.empty(size + 1, np.uint64),
        )
        self._found = (
            np.empty(maxima, np.int32),
            np.empty(maxima, np.int32),
            np.empty(maxima, np.float64),
            np.empty(maxima, np.int64),
        )
        self._shape = rows, cols

    def _merge(self, levels: NDArray[np.uint32], count: int, least: int) -> int:
        stride = self._shape[1] + 2
        found: int = _merge(self._kept, levels, count, stride, least, self._work, self._found)
        return found

    def _copied(self, found: int) -> Peaks:
        row, col, score, _ = self._found
        return Peaks(row[:found].copy(), col[:found].copy(), score[:found].copy())

    def _settled(
        self,
        found: int,
        flat: NDArray[Any],
        noisy: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
        limit: float,
    ) -> Peaks:
        """Return the classes with a score by value, leaving out what findpeaks' `limit` does."""
        row, col, _, end = (array[:found] for array in self._found)
        start = row.astype(np.int64) * self._shape[1] + col
        with np.errstate(invalid="ignore"):
            score = flat[start].astype(np.float64) - np.where(end < 0, 0.0, flat[end])
            noisy_score = noisy(flat, start) - np.where(end < 0, 0.0, noisy(flat, end))
        keep = (score >= self.minscore) & (noisy_score > limit)
        return _peaks(row[keep], col[keep], score[keep])


class FindpeaksFinder:
    """Finds peaks with the findpeaks package itself: the reference, seconds for each frame.

    Scores are the difference of the pixels where a class is born and dies, without the noise by
    which findpeaks tells equal pixels apart. While findpeaks runs, what the whole process prints
    and warns is held back: use it in a process without other threads.

    Parameters
    ----------
    minval, minscore
        As for `TopologyFinder`.
    """

    def __init__(self, minval: float, minscore: float) -> None:
        self.minval, self.minscore = _check_limits(minval, minscore)

    def __call__(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Peaks:
        """Return the peaks of `frame`; see `Finder`."""
        _check_shapes(frame, masked)
        values = _zeroed(frame, self.minval, masked)
        row, col, score = [], [], []
        for birth, _, _, death in _groups(values) if values.size else []:
            row.append(birth[0])
            col.append(birth[1])
            # The first class never dies. Of inf - inf Python makes NaN, in silence.
            score.append(float(values[birth]) - (float(values[death]) if death else 0.0))
        scores = np.array(score, np.float64)
        keep = scores >= self.minscore
        return _peaks(np.array(row, np.int32)[keep], np.array(col, np.int32)[keep], scores[keep])


def _groups(values: NDArray[np.float64]) -> list[tuple[Any, float, float, Any]]:
    """Return findpeaks' classes: (row, col) of birth, level, score, (row, col) of death or None."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    with _silence():
        try:
            # Only imported here because it takes seconds and few runs need it.
            from findpeaks import findpeaks

            # Its own switch misses the module at work, whose level also decides on a progress bar.
            logging.getLogger("findpeaks").setLevel(logging.CRITICAL)
            finder = findpeaks(
                method="topology",
                whitelist="peak",
                scale=False,
                togray=False,
                denoise=None,
                imsize=None,
                limit=None,
                verbose="silent",
            )
            groups = finder.fit(values)["groups0"]
        finally:
            # It sets up the root logger, too.
            root.setLevel(before[0])
            root.handlers[:] = before[1]
    return [(tuple(b), level, score, d and tuple(d)) for b, level, score, d in groups]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _peaks(row: NDArray[np.int32], col: NDArray[np.int32], score: NDArray[np.float64]) -> Peaks:
    order = np.lexsort((col, row, -score))
    order = order[score[order] > 0]
    return Peaks(row[order], col[order], score[order])


def _check_limits(minval: float, minscore: float) -> tuple[float, float]:
    if not math.isfinite(minval) or math.isnan(minscore):
        raise ValueError(f"minval {minval} and minscore {minscore} must be numbers")
    return float(minval), float(minscore)


def _check_shapes(frame: NDArray[Any], masked: NDArray[np.bool_] | None) -> None:
    if frame.ndim != 2:
        raise ValueError(f"a frame has rows and columns, this one has shape {frame.shape}")
    if masked is not None and masked.shape != frame.shape:
        raise ValueError(f"the mask has shape {masked.shape}, the frame {frame.shape}")


def _check_numbers(values: NDArray[np.float64]) -> None:
    if np.isnan(values).any():
        raise ValueError("the frame holds NaN: mask these pixels or set them to 0")


def _plain(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `array` in the one memory layout that kernels are compiled for."""
    array = np.ascontiguousarray(array, dtype)
    array = array.view() if array.flags.aligned else array.copy()
    array.setflags(write=False)
    return array


def _zeroed(
    frame: NDArray[Any], minval: float, masked: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Return the frame as findpeaks is to see it."""
    # findpeaks takes the pixels of narrow frames in the order of memory.
    values = np.array(frame, np.float64, order="C")
    if masked is not None:
        values[np.asarray(masked, np.bool_)] = 0.0
    _check_numbers(values)
    values[values < max(minval, 0.0)] = 0.0
    return values


def _limit(values: NDArray[Any]) -> float:
    """Return the score that findpeaks' classes must exceed, below 0 where a pixel is at 0."""
    return float(values.min()) - 1.0 if values.size else -1.0


def _noisy(flat: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    """Return the values by which findpeaks orders the non-zero pixels of most frames."""
    noisy: NDArray[Any] = flat[index] + index * _EPS
    return noisy


def _distinct(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values by which findpeaks orders the pixels of frames of one or two columns.

    A value that has come before is lowered, float by float, to one that has not.
    """
    distinct = np.empty_like(values)
    below: dict[float, float] = {}
    for index, value in enumerate(values.tolist()):
        taken = []
        while value in below and math.isfinite(value):
            taken.append(value)
            value = below[value]
        distinct[index] = value
        for other in (value, *taken):
            below[other] = math.nextafter(value, -math.inf)
    return distinct


def _ranks(values: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return 1 for the lowest value, 2 for the next; equal values count as rising."""
    ranks = np.empty(len(values), np.uint32)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks


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
def _collect(
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
def _merge(
    kept: NDArray[np.uint32],
    levels: NDArray[np.uint32],
    count: int,
    stride: int,
    least: int,
    work: tuple[NDArray[Any], ...],
    found: tuple[NDArray[Any], ...],
) -> int:
    """Find the classes of the first `count` pixels `kept` that live through `least` levels.

    Writes row, column, score and the raster index of the pixel where each class dies, -1 for the
    background, in the order of `Peaks`, and returns how many.
    """
    # Indices are unsigned: numba then does not ask whether they count from the end. The margin's
    # keys are 0, and so are all others between calls.
    keys, parent, death, higher_than, maxima, classes, saddles, spare = work
    step, bar = np.uint64(stride), np.uint64(least)
    for i in range(count):
        p = np.uint64(kept[i])
        keys[p] = np.uint64(levels[i]) << _LEVEL | p

    # No branch here depends on the pixels: with noise, half of the guesses would be wrong.
    n_maxima = n_saddles = n_classes = 0
    for i in range(count):
        p = np.uint64(kept[i])
        own = keys[p]
        a, b, c, d, e, f, g, h = _around(p, step)
        a, b, c, d = keys[a], keys[b], keys[c], keys[d]
        e, f, g, h = keys[e], keys[f], keys[g], keys[h]
        best = max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))
        higher = (a > own) | (b > own) << 1 | (c > own) << 2 | (d > own) << 3
        higher |= (e > own) << 4 | (f > own) << 5 | (g > own) << 6 | (h > own) << 7
        parent[p] = max(best, own) & _INDEX
        maxima[n_maxima] = p
        n_maxima += higher == 0
        saddles[n_saddles] = own
        n_saddles += _N_PARTS[higher] > 1
        higher_than[p] = higher

    _sort(saddles, n_saddles, spare, 4)
    beside = np.array(_around(np.uint64(0), step))
    for own in saddles[:n_saddles][::-1]:
        p = own & _INDEX
        higher = np.intp(higher_than[p])
        elder = keys[_root(parent, p + beside[_PARTS[higher, 0]])]
        for part in range(1, _N_PARTS[higher]):
            other = keys[_root(parent, p + beside[_PARTS[higher, part]])]
            if other != elder:
                elder, younger = max(elder, other), min(elder, other)
                birth = younger & _INDEX
                parent[birth] = elder & _INDEX
                death[birth] = p
                score = (younger >> _LEVEL) - (own >> _LEVEL)
                classes[n_classes] = _order(score, birth)
                n_classes += score >= bar
    for i in range(n_maxima):
        p = np.uint64(maxima[i])
        if parent[p] == p:
            death[p] = 0
            classes[n_classes] = _order(keys[p] >> _LEVEL, p)
            n_classes += keys[p] >> _LEVEL >= bar
    for p in kept[:count]:
        keys[p] = 0

    _sort(classes, n_classes, spare, 0)
    row, col, score_of, end_of = found
    for i in range(n_classes):
        start, end = np.intp(classes[i] & _INDEX), np.intp(death[classes[i] & _INDEX])
        row[i], col[i] = start // stride - 1, start % stride - 1
        score_of[i] = _INDEX - (classes[i] >> _LEVEL)
        end_of[i] = (end // stride - 1) * (stride - 2) + end % stride - 1 if end else -1
    return n_classes


@njit(cache=True, inline="always")
def _around(p: np.uint64, step: np.uint64) -> tuple[np.uint64, ...]:
    up, down = p - step, p + step
    return up - _ONE, up, up + _ONE, p - _ONE, p + _ONE, down - _ONE, down, down + _ONE


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
