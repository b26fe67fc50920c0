from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, MOTION, PEAKS
from streamer.run.summary import _series, summarise

LONG = 2_000_000_000


def write_frames(folder, rows):
    """Write a part of frames given by (series, frame, count, state)."""
    n = len(rows)
    columns = dict(zip(("series", "frame", "count", "state"), zip(*rows, strict=True), strict=True))
    columns |= {"reason": [""] * n, "time_ns": [1] * n, "n_peaks": np.zeros(n, np.int32)}
    columns |= dict.fromkeys(("latency_ms", *MOTION), np.full(n, np.nan))
    frames = pa.table({name: columns[name] for name in FRAMES.names}, schema=FRAMES)
    folder.write_part(0, frames, PEAKS.empty_table(), upto=1, next_track=0)


def test_a_row_counts_as_many_frames_as_it_stands_for(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    rows = [
        ("a", 0, 1, "done"),
        ("a", 6, LONG, "missing"),
        ("a", 1, 2, "missing"),
        ("a", 3, 1, "failed"),
        ("a", 4, 2, "missing"),
        ("b", 0, 3, "shed"),
    ]
    write_frames(folder, rows)
    summary = summarise(folder, "x", 0.0, 1.0, None, "done")
    counts = {"done": 1, "failed": 1, "missing": LONG + 4, "shed": 3, "total": LONG + 9}
    assert summary["frames"] == counts
    assert summary["series"]["a"] == {
        "done": 1, "failed": 1, "missing": LONG + 4, "shed": 0,
        "missing_frames": [[1, 2], [4, LONG + 5]],
    }  # fmt: skip
    assert summary["series"]["b"]["shed"] == 3


def test_no_more_stretches_are_named_than_can_be_read(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    write_frames(folder, [("a", 3 * n, 2, "missing") for n in range(1500)])
    book = summarise(folder, "x", 0.0, 1.0, None, "done")["series"]["a"]
    assert book["missing"] == 3000
    assert book["missing_frames"] == [[3 * n, 3 * n + 1] for n in range(1000)]


class Told:
    """What a supervisor has been told by an ingest node."""

    def __init__(self, **info):
        self.nodes = {"ingest": SimpleNamespace(info=info)}


def test_what_the_source_said_of_a_series_stands_beside_what_became_of_it(tmp_path, caplog):
    folder = RunFolder.create(tmp_path / "run")
    write_frames(folder, [("b", 0, 1, "done"), ("a/b", 0, 1, "failed")])
    told = Told(**{"series/a/b": '{"announced": 2}', "series/c": "{}", "series/b": "[", "x": "1"})
    series = _series(folder.read("frames"), told)
    assert list(series) == ["a/b", "c", "b"]
    assert (series["a/b"]["announced"], series["a/b"]["failed"]) == (2, 1)
    assert (series["b"]["done"], series["c"]["done"]) == (1, 0)
    assert "what the ingest node told of series b is left out" in caplog.text
