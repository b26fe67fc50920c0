"""The detector stage by part, from coded bytes to peaks and patches, beside LZ4 alone.

One thread; a part's time is the least of rounds in turn, the mean over several frames.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import zmq
from numba import njit

from streamer.config import load_config
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Series
from streamer.simulator.stream_v2 import encode_bslz4
from streamer.transport.metrics import Metrics
from tests.benchmarks.measure import Table
from workers.detect.choice import finder_of
from workers.detect.correction import Correction
from workers.detect.node import DetectorWorker
from workers.detect.patches import cut_patches

__all__ = ["CASES", "Case", "tables"]

ROUNDS, FRAMES, MOST_S = 7, 4, 4.0
"""Rounds, different frames of each case, and seconds after which no more rounds of it begin."""
_FULL = {"u1": 254, "u2": 60_000, "u4": 1_000_000}
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Case:
    """What frames hold."""

    rows: int
    cols: int
    peaks: int = 30
    dtype: str = "u2"
    kept: float = 0.0
    """Share of the pixels that noise has above the threshold, in percent."""

    def frame(self, seed: int):
        """Spots 1.2 px wide on a grid with some play, on 5 counts of background."""
        rng = np.random.default_rng(seed)
        counts = rng.poisson(5.0, (self.rows, self.cols)).astype(np.int64)
        if self.kept:
            bright = rng.random(counts.shape) < self.kept / 100.0
            counts[bright] += 40
        if self.peaks:
            n = int(np.ceil(np.sqrt(self.peaks * self.cols / self.rows)))
            at = np.arange(self.peaks)
            pitch = self.cols / n, self.rows / -(-self.peaks // n)
            rows = (at // n + rng.uniform(0.3, 0.7, self.peaks)) * pitch[1]
            cols = (at % n + rng.uniform(0.3, 0.7, self.peaks)) * pitch[0]
            near = np.arange(-5, 6)
            for row, col in zip(rows, cols, strict=True):
                r, c = near[:, None] + int(row), near + int(col)
                inside = (r >= 0) & (r < self.rows) & (c >= 0) & (c < self.cols)
                spot = rng.poisson(150 * np.exp(-((r - row) ** 2 + (c - col) ** 2) / 2.9))
                r, c = np.broadcast_arrays(r, c)
                counts[r[inside], c[inside]] += spot[inside]
        return np.minimum(counts, _FULL[self.dtype] - 1).astype(self.dtype)


_MANY = (1_000, 10_000)
_1K, _4M, _16M = (1024, 1024), (2167, 2070), (4148, 4362)
CASES = (
    *(Case(*size) for size in ((256, 256), (512, 512), _1K, _4M, _16M)),
    *(Case(512, 512, peaks) for peaks in (0, 300)),
    *(Case(*_4M, peaks) for peaks in (0, *_MANY)),
    *(Case(*_1K, kept=kept) for kept in (0.1, 1.0, 5.0, 20.0)),
    *(Case(*_1K, dtype=dtype) for dtype in ("u1", "u4")),
)


def _lz4() -> Callable[[bytes, int], Callable[[], None]] | None:
    """Return what makes a function that decompresses the blocks of a chunk; None without LZ4."""
    name = ctypes.util.find_library("lz4")
    if name is None:
        return None
    undo = ctypes.CDLL(name).LZ4_decompress_safe
    undo.restype = ctypes.c_int
    undo.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int]

    @njit
    def run(blocks):
        for k in range(len(blocks)):
            undo(blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3])

    def prepared(chunk: bytes, n_bytes: int) -> Callable[[], None]:
        source, into = np.frombuffer(chunk, np.uint8), np.empty(n_bytes, np.uint8)
        at, done, blocks = 12, 0, []
        while n_bytes - done >= 8:
            size = min(_BLOCK, (n_bytes - done) // 8 * 8)
            coded = int.from_bytes(chunk[at : at + 4], "big")
            blocks.append((source.ctypes.data + at + 4, into.ctypes.data + done, coded, size))
            at, done = at + 4 + coded, done + size
        table = np.array(blocks, np.int64)

        def work(kept=(source, into)) -> None:  # the memory that the table points to
            run(table)

        return work

    return prepared


def _least(work: dict[str, list[Callable[[], object]]], n_rounds: int) -> dict[str, float]:
    """Return the milliseconds of each piece of work, each given once for each frame."""
    best = {name: np.full(len(pieces), np.inf) for name, pieces in work.items()}
    end = time.monotonic() + MOST_S
    for turn in range(n_rounds + 1):  # the first one compiles
        for name, pieces in work.items():
            for k, piece in enumerate(pieces):
                began = time.thread_time()
                piece()
                if turn:
                    best[name][k] = min(best[name][k], time.thread_time() - began)
        if turn and time.monotonic() > end:
            break
    return {name: 1e3 * float(times.mean()) for name, times in best.items() if times.size}


def _places(peaks):
    return peaks.row, peaks.col


def _row(case: Case, n_rounds: int) -> list[str]:
    config = load_config(None, ["detect.minval=40", "detect.minscore=60"])
    pixels = [case.frame(seed) for seed in range(FRAMES)]
    chunks = [bytes(encode_bslz4(one)) for one in pixels]
    shape, dtype, full = (case.rows, case.cols), f"<{case.dtype}", float(_FULL[case.dtype])
    finder, correction = finder_of(config.detect), Correction(saturation=full)
    frames = [
        Frame(
            series="1", frame=k, time_ns=0, shape=shape, dtype=dtype, encoding="bslz4",
            data=memoryview(chunk), seq=k,
        )
        for k, chunk in enumerate(chunks, 1)
    ]  # fmt: skip
    lz4 = _lz4()
    with zmq.Context() as context:
        worker = DetectorWorker(
            context, config, Metrics(), finder, name="detector-0", patch_size=11,
            frames_address="inproc://frames", patches_address="inproc://patches",
            acks_address="inproc://acks",
        )  # fmt: skip
        with closing(worker):
            found_at = [(one, _places(finder.find(correction(one)[0]))) for one in pixels]
            worker._begin(Series(name="1", saturation=full))
            work = {
                "lz4": [lz4(chunk, pixels[0].nbytes) for chunk in chunks] if lz4 else [],
                "decode": [
                    lambda chunk=chunk: decode(chunk, "bslz4", dtype, shape) for chunk in chunks
                ],
                "find": [
                    lambda one=one: finder.find(correction(one)[0]) for one in pixels
                ],
                "cut": [partial(cut_patches, *correction(one), *at, 11) for one, at in found_at],
                "stage": [lambda frame=frame: worker._find(frame) for frame in frames],
            }  # fmt: skip
            found = _least(work, n_rounds)
            n_peaks = np.mean([len(worker._find(frame)[0]) for frame in frames])
    kept = 100.0 * np.mean([np.mean(one >= 40) for one in pixels])
    cells = [
        f"{case.rows} x {case.cols}", f"uint{8 * int(case.dtype[1])}", f"{n_peaks:,.0f}",
        f"{kept:.2f} %", f"{found['lz4']:.3f}" if lz4 else "", f"{found['decode']:.3f}",
        f"{found['find']:.3f}", f"{found['cut']:.3f}",
        f"{found['stage']:.3f}", f"{found['stage'] / found['lz4']:.1f}" if lz4 else "",
    ]  # fmt: skip
    return cells


def tables(n_rounds: int | None = None, cases: tuple[Case, ...] = CASES) -> Iterator[Table]:
    """Yield the table."""
    table = Table(
        "The detector stage, ms of CPU a frame on one thread, bslz4, thresholds 40/60",
        ("frame", "pixels", "peaks", "above threshold", "LZ4 alone", "decode", "find", "cut",
         "stage", "of LZ4 alone"),
    )  # fmt: skip
    for case in cases:
        table.add(*_row(case, n_rounds or ROUNDS))
    table.note = (
        "LZ4 alone: the system's liblz4, where there is one, on the same blocks, not unshuffled. "
        "Decode, find and cut are timed apart, on whole frames; the stage is what a detector "
        "worker does from coded bytes to peaks and patches: for large frames not their sum. "
        "One frame of sixteen without a peak is decoded as a whole besides, which is not in it."
    )
    yield table
