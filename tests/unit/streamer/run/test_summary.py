from __future__ import annotations

import numpy as np
import pyarrow as pa

from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, PEAKS
from streamer.run.summary import summarise

LONG = 2_000_000_000


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
    columns = dict(zip(("series", "frame", "count", "state"), zip(*rows, strict=True), strict=True))
    columns |= {"reason": [""] * 6, "time_ns": [1] * 6, "n_peaks": np.zeros(6, np.int32)}
    columns["latency_ms"] = np.full(6, np.nan)
    frames = pa.table({name: columns[name] for name in FRAMES.names}, schema=FRAMES)
    folder.write_part(0, frames, PEAKS.empty_table(), upto=1, next_track=0)
    summary = summarise(folder, "x", 0.0, 1.0, None, "done")
    counts = {"done": 1, "failed": 1, "missing": LONG + 4, "shed": 3, "total": LONG + 9}
    assert summary["frames"] == counts
    assert summary["series"]["a"] == {
        "done": 1, "failed": 1, "missing": LONG + 4, "shed": 0,
        "missing_frames": [[1, 2], [4, LONG + 5]],
    }  # fmt: skip
    assert summary["series"]["b"]["shed"] == 3
