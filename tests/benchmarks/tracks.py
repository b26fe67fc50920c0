"""What a frame costs the sink, by how many tracks there are, part after part of its work."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import load_config
from streamer.frames.peaks import PEAK, POSITION, SHAPE
from streamer.results.folder import RunFolder
from streamer.sink import commit
from streamer.tracks.kernels import compile_tracks
from streamer.transport.messages import FramePeaks, Positions, pack
from tests.benchmarks.long_runs import open_sink
from tests.benchmarks.measure import Table, peak_mib

CASES = ("10", "30", "100", "150", "1000", "10000", "150@100000")
PARTS = ("take", "link", "book", "follow", "angles", "columns", "write", "feed", "note")
_PEAKS, _LEAST = 400_000, 48
"""Peaks that go through a sink, and the fewest frames."""
_MESSAGE = 16, 10_000
"""Most frames in a message, and peaks from which on there are no more."""
_SEEN = 16
"""Frames on which each track is seen before it counts."""
_DOUBTFUL = 0.03
"""Share of the spots that may be two."""
_GEOMETRY = (
    "geometry.distance_m=0.5", "geometry.beam_row=1000", "geometry.beam_col=1000",
    "geometry.pixel_m=75e-6", "geometry.wavelength_a=0.5",
)  # fmt: skip


def tables(n_rounds: int | None = None, cases: tuple[str, ...] = CASES) -> Iterator[Table]:
    """Yield the tables; each is measured once, however many rounds are asked for."""
    costs = Table(
        "A frame in the sink, µs of CPU", ("tracks", *PARTS, "all", "with threads", "frames/s")
    )
    whole = Table(
        "Beside the frames",
        (
            "tracks", "tracks table, ms", "of it at once, ms", "checkpoint, ms", "report, ms",
            "longest step, ms", "commit p99, ms", "MiB",
        ),
    )  # fmt: skip
    for case in cases:
        words = [sys.executable, "-m", "tests.benchmarks.tracks", case]
        found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
        parts = (f"{found[part]:.0f}" for part in (*PARTS, "all", "with threads"))
        costs.add(case, *parts, f"{1e6 / found['all']:,.0f}")
        names = ("tracks table", "piece", "checkpoint", "report", "longest", "p99")
        whole.add(case, *(f"{found[name]:.1f}" for name in names), f"{found['MiB']:.0f}")
    costs.note = "150@100000: 150 peaks a frame beside 100,000 tracks."
    yield costs
    yield whole


def one(case: str) -> dict[str, float]:
    """Return what a frame of a case costs."""
    n_peaks, _, n_tracks = case.partition("@")
    scene = Scene(int(n_peaks), int(n_tracks or n_peaks))
    compile_tracks()
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder.create(Path(name) / "run")
        sink = open_sink(folder, load_config(None, list(_GEOMETRY)))
        n_frames = max(_LEAST, min(_PEAKS // scene.n_peaks, 6000))
        clock = Clock()
        _watch(clock, sink)
        for parts in scene.begin():  # all tracks are known before it counts
            sink._take(parts)
            sink.step()
        sink._committer.hurry()
        sink.step()
        clock.seconds.clear()
        steps, used, threads, first = [], 0.0, 0.0, scene.seq
        frames = 0
        while frames < n_frames:
            parts = scene.message()
            began, then, threads_then = time.perf_counter(), time.thread_time(), time.process_time()
            with clock.timed("take"):
                sink._take(parts)
            sink.step()
            used += time.thread_time() - then
            threads += time.process_time() - threads_then
            steps.append(time.perf_counter() - began)
            frames += scene.n_frames
        sink._committer.hurry()
        then, threads_then = time.thread_time(), time.process_time()
        sink.step()
        used, threads = (
            used + time.thread_time() - then,
            threads + time.process_time() - threads_then,
        )
        found = {part: 1e6 * clock.seconds[part] / frames for part in PARTS}
        found |= {"all": 1e6 * used / frames, "with threads": 1e6 * threads / frames}
        found["longest"] = 1e3 * max(steps)
        latency = folder.read("frames", ["latency_ms"])["latency_ms"].to_numpy()
        found["p99"] = float(np.quantile(latency[first:], 0.99))
        found["tracks table"] = 1e3 * _least(lambda: sink._tracking.write(now=True))
        found["piece"] = _longest_piece(sink._tracking)
        found["checkpoint"] = 1e3 * _least(
            lambda: sink._checkpoint.begin(0, 0, {"tracking": sink._tracking.state()})
        )
        found["report"] = 1e3 * _least(sink.report)
        found["MiB"] = peak_mib()
        sink.close()
    return found


def _longest_piece(tracking: Any) -> float:
    """Return the ms that the sink is kept for at once while a table of tracks is made."""
    tracking._next_write, tracking._changed, took = 0.0, True, []
    while not took or tracking.writing:
        began = time.thread_time()
        tracking.write()
        took.append(time.thread_time() - began)
    return 1e3 * max(took)


def _least(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    took = []
    for _ in range(3):
        began = time.thread_time()
        work()
        took.append(time.thread_time() - began)
    return min(took)


class Clock:
    """Adds up what parts take."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add what a block takes, of CPU of this thread."""
        began = time.thread_time()
        yield
        self.seconds[part] += time.thread_time() - began

    def watch(self, owner: object, name: str, part: str) -> None:
        """Add what calls of a function take."""
        work = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.timed(part):
                return work(*args, **kwargs)

        setattr(owner, name, timed)


def _watch(clock: Clock, sink: Any) -> None:
    tracking = sink._tracking
    for name, part in (
        ("link", "link"), ("commit", "book"), ("follow", "follow"), ("locate", "angles"),
        ("note", "note"),
    ):  # fmt: skip
        clock.watch(tracking, name, part)
    for name in ("frame_columns", "peak_columns", "motion_columns", "as_table"):
        clock.watch(commit, name, "columns")
    clock.watch(sink._committer._folder, "write_part", "write")
    clock.watch(sink.feed, "publish", "feed")


class Scene:
    """Messages of GPU workers about spots that drift, of which so many are on each frame."""

    def __init__(self, n_peaks: int, n_tracks: int) -> None:
        self.n_peaks = n_peaks
        self._rng = np.random.default_rng(1)
        self.seq = 0
        self.n_frames = max(1, min(_MESSAGE[0], _MESSAGE[1] // n_peaks))
        side = int(np.ceil(np.sqrt(n_tracks)))
        pitch = 4000.0 / side
        grid = np.stack(np.meshgrid(*2 * [np.arange(side)]), -1).reshape(-1, 2)
        shift = self._rng.uniform(-0.2, 0.2, (side * side, 2))
        self._spots = self._rng.permutation((grid + shift) * pitch)[:n_tracks]
        self._doubtful = self._rng.random(n_tracks) < _DOUBTFUL
        self._velocity = self._rng.normal(0.0, 2e-4, (n_tracks, 2)) + 1e-3

    def begin(self) -> Iterator[list[Any]]:
        """Yield messages that show each track often enough."""
        for start in range(0, len(self._spots), self.n_peaks):
            for _ in range(-(-_SEEN // self.n_frames)):
                yield self.message(start)

    def message(self, start: int = 0) -> list[Any]:
        """Return a message of `n_frames` frames, as the sink gets it."""
        n, heads = self.n_peaks, []
        chosen = slice(start, start + n)
        spots, velocity = self._spots[chosen], self._velocity[chosen]
        n = len(spots)
        peaks, positions = np.zeros(self.n_frames * n, PEAK), np.zeros(self.n_frames * n, POSITION)
        now = time.time_ns()
        where = []
        for _ in range(self.n_frames):
            where.append(spots + velocity * self.seq + self._rng.normal(0.0, 0.03, spots.shape))
            heads.append(FramePeaks(self.seq, "x", self.seq, now, now, n))
            self.seq += 1
        places = np.concatenate(where)
        m = len(places)
        positions["row"], positions["col"] = places.T
        peaks["row"], peaks["col"] = np.rint(places).T
        peaks["score"] = self._rng.uniform(20.0, 2000.0, m)
        for name in ("row_sigma", "col_sigma"):
            positions[name] = self._rng.uniform(0.02, 0.04, m)
        for name in SHAPE:
            positions[name] = self._rng.uniform(1.0, 2.0, m)
            positions[f"{name}_sigma"] = self._rng.uniform(0.1, 0.2, m)
        single = positions["single"]
        for name in single.dtype.names:
            single[name] = np.nan
        doubtful = np.tile(self._doubtful[chosen], self.n_frames) & (self._rng.random(m) < 0.8)
        for name in ("row", "col", "row_sigma", "col_sigma"):
            single[name][doubtful] = positions[name][doubtful] + 0.01
        single["evidence"][doubtful] = self._rng.uniform(0.0, 40.0, doubtful.sum())
        header = Positions(heads)
        return [
            bytes(part) for part in pack(header, peaks.data.cast("B"), positions.data.cast("B"))
        ]


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1])))
