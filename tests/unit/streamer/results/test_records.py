from __future__ import annotations

import numpy as np

from streamer.frames.peaks import PEAK, POSITION
from streamer.results.records import taken_apart


def test_records_of_frames_become_the_columns_of_their_names():
    rng = np.random.default_rng(0)
    peaks, positions = [], []
    for n in (3, 0, 5):
        for kind, into in ((PEAK, peaks), (POSITION, positions)):
            records = np.zeros(n, kind)
            for name in kind.names:
                if kind[name].names is None:
                    records[name] = rng.integers(0, 1 << 20, n)
            into.append(records)
    positions[2]["intensity"][1:4] = np.nan
    columns = taken_apart(peaks, positions)
    found, placed = np.concatenate(peaks), np.concatenate(positions)
    expected = {name: placed[name] for name in POSITION.names if name != "single"}
    expected |= {"peak_row": found["row"], "peak_col": found["col"], "score": found["score"]}
    expected["intensity"] = np.where(
        np.isnan(placed["intensity"]), found["intensity"], placed["intensity"]
    )
    assert columns.keys() == expected.keys()
    for name, column in columns.items():
        assert column.dtype == expected[name].dtype
        np.testing.assert_array_equal(column, expected[name])
