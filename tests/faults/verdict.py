"""What a run that was struck has to hold, beside one that was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamer.results.folder import RunFolder

__all__ = ["Verdict", "judge"]

_PLACE = [("series", "ascending"), ("frame", "ascending"), ("peak_row", "ascending"),
          ("peak_col", "ascending")]  # fmt: skip


@dataclass(slots=True)
class Verdict:
    """What is wrong with the results of a run."""

    n_lost: int = 0
    """Frames in no state, or in a wrong one though they had been received."""
    n_doubled: int = 0
    """Frames, or peaks, that are there twice."""
    n_in_flight: int = 0
    """Frames that had not been received when an ingest node was killed, entered as missing."""
    wrong: list[str] = field(default_factory=list)
    """What differs from the results of a run that nothing happened to."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.n_lost or self.n_doubled or self.wrong)


def judge(out: Path, undisturbed: Path, may_miss: Collection[int] = ()) -> Verdict:
    """Compare the results of a run with those of one that nothing happened to.

    Parameters
    ----------
    may_miss
        Frames of a live stream that ingest had not received for certain when it was killed.
    """
    verdict, folder, other = Verdict(), RunFolder(out), RunFolder(undisturbed)
    states, wanted = _states(folder), _states(other)
    counts = Counter(number for number, _ in states)
    verdict.n_doubled = sum(count - 1 for count in counts.values())
    got = dict(states)
    missing = {n for n, state in got.items() if state == "missing" and n in may_miss}
    verdict.n_in_flight = len(missing)
    verdict.n_lost = sum(got.get(n) != state for n, state in wanted if n not in missing)
    if extra := counts.keys() - dict(wanted).keys():
        verdict.wrong.append(f"{len(extra)} frames that there are not")
    columns = ["series", "frame", "time_ns", "n_peaks"]
    done = sorted(number for number, state in got.items() if state == "done")
    frames, true_frames = (_of(one.read("frames", columns), done) for one in (folder, other))
    _compare(verdict, "frames", frames.sort_by(_PLACE[:2]), true_frames.sort_by(_PLACE[:2]))
    peaks, true_peaks = (_of(one.read("peaks"), done).sort_by(_PLACE) for one in (folder, other))
    verdict.n_doubled += _n_twice(peaks)
    if missing:  # tracks have holes where frames are missing
        peaks, true_peaks = peaks.drop("track"), true_peaks.drop("track")
    else:
        _compare(verdict, "tracks", folder.read_tracks(), other.read_tracks())
    _compare(verdict, "peaks", peaks, true_peaks)
    said = folder.read_summary()["frames"]
    counted = Counter(state for _, state in states)
    if {state: said[state] for state in counted} != dict(counted) or said["total"] != len(states):
        verdict.wrong.append("run.json counts other frames than there are")
    return verdict


def _states(folder: RunFolder) -> list[tuple[int, str]]:
    table = folder.read("frames", ["frame", "count", "state"]).to_pydict()
    rows = zip(table["frame"], table["count"], table["state"], strict=True)
    return [(first + n, state) for first, count, state in rows for n in range(count)]


def _of(table: pa.Table, frames: list[int]) -> pa.Table:
    return table.filter(pc.is_in(table["frame"], pa.array(frames, pa.int64())))


def _n_twice(peaks: pa.Table) -> int:
    keys = [name for name, _ in _PLACE]
    return int(peaks.num_rows - peaks.group_by(keys).aggregate([]).num_rows)


def _compare(verdict: Verdict, what: str, got: pa.Table, wanted: pa.Table) -> None:
    if got.num_rows != wanted.num_rows:
        verdict.wrong.append(f"{got.num_rows} rows of {what}, not {wanted.num_rows}")
        return
    differing = [name for name in wanted.column_names if not _same(got[name], wanted[name])]
    if differing:
        verdict.wrong.append(f"{what} differ in {', '.join(differing)}")


def _same(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(left.type):
        return bool(left.equals(right))
    # Sums over frames are rounded differently when these come in other portions.
    return np.allclose(left.to_numpy(), right.to_numpy(), rtol=1e-9, atol=1e-12, equal_nan=True)
