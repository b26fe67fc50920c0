"""The least that the work of a run costs: one plain loop a core, with no function of the product.

Coded frames are read from a recording, decoded and thresholded, peaks found by their persistence,
patches cut, placed by the dense network and brought to the likelihood's maximum, linked to tracks,
and written to Parquet with the columns of a run. `tests.benchmarks.floor_check` tells whether all
of that agrees with what a run has written.
"""

from __future__ import annotations

import json
import mmap
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from dectris.compression import decompress

from tests.benchmarks import floor_find, floor_rows
from tests.benchmarks.floor_find import SIZE
from tests.benchmarks.floor_fit import POOR, SHAPE, place
from tests.benchmarks.floor_network import Network, read_weights
from tests.benchmarks.loops import run_loops

__all__ = ["STAGES", "Cost", "run_floor"]

STAGES = ("read", "decode", "find", "cut", "place", "link", "write")
_BATCH = 512
"""Patches that are placed at once."""
_PART = 1000
"""Frames of a part."""
_WARM = 64


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run of the floor took."""

    frames_per_s: float
    cpu_ms: float
    """A frame, in all processes."""
    stages_ms: dict[str, float]
    """The same by stage."""


class _Recording:
    """The chunks of the frames of an Eiger's recording, and what its header says."""

    def __init__(self, path: Path) -> None:
        self._files, self._chunks = [], []
        with h5py.File(path) as master:
            head = master["entry/instrument/detector"]
            pixel = float(head["x_pixel_size"][()])
            self.detector = floor_rows.Detector(
                float(head["beam_center_y"][()]),
                float(head["beam_center_x"][()]),
                float(head["detector_distance"][()]) / pixel,
                float(master["entry/instrument/beam/incident_wavelength"][()]),
            )
            self.mask = head["pixel_mask"][()] != 0
            self.full = int(head["saturation_value"][()])
            links = master["entry/data"]
            names = [links.get(name, getlink=True).filename for name in sorted(links)]
        for name in names:
            with h5py.File(path.parent / name) as file:
                stored = file["entry/data/data"]
                found: list[tuple[int, int, int]] = []
                stored.id.chunk_iter(
                    lambda info, found=found: found.append(
                        (info.chunk_offset[0], info.byte_offset, info.size)
                    )
                )
            with open(path.parent / name, "rb") as bare:
                self._files.append(mmap.mmap(bare.fileno(), 0, access=mmap.ACCESS_READ))
            self._chunks += [(len(self._files) - 1, at, size) for _, at, size in sorted(found)]

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, number: int) -> bytes:
        file, at, size = self._chunks[number]
        return self._files[file][at : at + size]


@dataclass(slots=True)
class _Loop:
    """One process's share of the work."""

    recording: _Recording
    network: Network
    limits: tuple[int, int]
    out: Path
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.seconds[stage] += time.thread_time() - began

    def __call__(self, numbers: range, name: str) -> int:
        """Work on frames, write the tables as `name` and return how many tracks there were."""
        recording, mask = self.recording, self.recording.mask
        least, least_score = self.limits
        work = floor_find.scratch(*mask.shape)
        rows, cols, scores = (
            np.empty(mask.size, "i4"),
            np.empty(mask.size, "i4"),
            np.empty(mask.size),
        )
        tracks = floor_rows.Tracks(mask, recording.detector[:2])
        cuts: list[tuple[np.ndarray, ...]] = []
        done: list[dict[str, Any]] = []
        part = waiting = since = 0
        for number in numbers:
            came = time.time_ns()
            with self.timed("read"):
                coded = recording[number]
            with self.timed("decode"):
                pixels = decompress(coded, "bslz4", elem_size=2)
                frame = np.frombuffer(pixels, np.uint16).reshape(mask.shape)
            with self.timed("find"):
                n = floor_find.find(frame, mask, least, least_score, work, rows, cols, scores)
            with self.timed("cut"):
                counts, valid = np.empty((n, SIZE, SIZE), "f4"), np.empty((n, SIZE, SIZE), "?")
                flags, intensity = np.empty(n, "i4"), np.empty(n)
                at = rows[:n].copy(), cols[:n].copy()
                floor_find.cut(frame, mask, recording.full, *at, counts, valid, flags, intensity)
                cuts.append((*at, scores[:n].copy(), flags, intensity, counts, valid))
            waiting, since = waiting + n, since + 1
            done.append({"frame": number, "n_peaks": n, "came": came})
            last = number == numbers[-1]
            if waiting >= _BATCH or last:
                done[-1]["placed"] = self._place(tracks, cuts)
                cuts, waiting = [], 0
            if (since >= _PART and not cuts) or last:
                with self.timed("write"):
                    self._write(done, f"{name}-{part}")
                done, part, since = [], part + 1, 0
        return tracks.next

    def _place(self, tracks: floor_rows.Tracks, cuts: list[tuple[np.ndarray, ...]]):
        """Return the columns of peaks and the motion of the frames that were cut."""
        with self.timed("place"):
            row, col, score, flags, intensity, counts, valid = (
                np.concatenate(arrays) for arrays in zip(*cuts, strict=True)
            )
            placed, more, shape = place(self.network, counts, valid)
        with self.timed("link"):
            shape[:, 14] += row
            shape[:, 16] += col
            fitted = shape[:, 0]
            columns = {
                "peak_row": row,
                "peak_col": col,
                "score": score,
                "row": row + placed[:, 0],
                "col": col + placed[:, 1],
                "row_sigma": placed[:, 2],
                "col_sigma": placed[:, 3],
                "flags": flags | more,
            }
            for k, name in enumerate(SHAPE):
                columns[name], columns[f"{name}_sigma"] = shape[:, 2 * k], shape[:, 2 * k + 1]
            columns["intensity"] = np.where(np.isfinite(fitted), fitted, intensity)
            sigma = np.sqrt(0.5 * (placed[:, 2] ** 2 + placed[:, 3] ** 2))
            bounds = np.cumsum([0, *(len(one[0]) for one in cuts)])
            # Where a patch does not look like one peak, its highest pixel is as good a place.
            odd = columns["flags"] & POOR != 0
            at = (
                np.where(odd, pixel, columns[name]) for pixel, name in ((row, "row"), (col, "col"))
            )
            columns["track"], motion = tracks.link(*at, sigma, columns["flags"], bounds)
        return columns, motion

    def _write(self, done: list[dict[str, Any]], name: str) -> None:
        numbers = np.array([one["frame"] for one in done])
        n_peaks = np.array([one["n_peaks"] for one in done], np.int32)
        came = np.array([one["came"] for one in done])
        placed = [one["placed"] for one in done if "placed" in one]
        peaks = {key: np.concatenate([one[0][key] for one in placed]) for key in placed[0][0]}
        times = np.zeros(len(done), np.int64)
        frames = {"frame": numbers, "time_ns": times, "n_peaks": n_peaks}
        frames["latency_ms"] = (time.time_ns() - came) / 1e6
        peaks |= {"frame": np.repeat(numbers, n_peaks), "time_ns": np.repeat(times, n_peaks)}
        motion = np.concatenate([one[1] for one in placed])
        floor_rows.write_part(self.out, name, frames, peaks, motion, self.recording.detector)


def _share(
    path: Path,
    network: Network,
    limits: tuple[int, int],
    out: Path,
    share: int,
    shares: int,
    barrier: Any,
    loops: int,
) -> None:
    """Be one of the processes: work on a share of the frames, several times."""
    recording = _Recording(path)
    loop = _Loop(recording, network, limits, out)
    loop(range(min(_WARM, len(recording))), f"warm-{share}")
    loop.seconds.clear()
    first, last = (len(recording) * k // shares for k in (share, share + 1))
    barrier.wait()
    began, used = time.perf_counter(), time.process_time()
    tracks = [loop(range(first, last), f"{share}-{turn}") for turn in range(loops)]
    said = {
        "frames": loops * (last - first),
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "stages": loop.seconds,
        "tracks": tracks[0],
    }
    (out / f"loop-{share}.json").write_text(json.dumps(said))


def run_floor(
    path: Path,
    weights: Path,
    limits: tuple[int, int],
    out: Path,
    processes: int,
    loops: int = 1,
) -> Cost:
    """Work on all frames of a recording, so many times, in so many processes.

    Parameters
    ----------
    path
        An Eiger's master file, of uint16 frames in bslz4.
    weights
        Where the dense network lies.
    limits
        Least counts of a pixel and least score of a peak.
    out
        Folder for the tables, which is made.
    """
    said = run_loops(_share, (path, read_weights(weights), limits), out, processes, loops)
    frames = sum(one["frames"] for one in said)
    stages = {stage: 1e3 * sum(one["stages"][stage] for one in said) / frames for stage in STAGES}
    cpu = 1e3 * sum(one["cpu"] for one in said) / frames
    return Cost(frames / max(one["seconds"] for one in said), cpu, stages)
