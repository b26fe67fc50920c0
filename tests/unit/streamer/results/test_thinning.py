from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.results.curves import GrowingCurve, Observations, displaced
from streamer.results.folder import RunFolder
from streamer.results.histories import observations, pieces
from streamer.results.schema import FRAMES, PEAKS
from streamer.results.thinning import Thinning, thinned


@pytest.mark.parametrize("seed", range(20))
def test_curves_that_grow_end_as_those_that_are_thinned_at_once(seed):
    rng = np.random.default_rng(seed)
    n, points = int(rng.integers(1, 4000)), int(rng.integers(2, 60))
    x = 1.79e9 + np.cumsum(rng.exponential(size=n)) * 10.0 ** rng.integers(-4, 3)
    x[rng.random(n) < 0.1] = x[0]  # some come late
    y, sigma = rng.normal(size=n), rng.uniform(0.1, 1.0, n)
    sigma[rng.random(n) < rng.choice([0.0, 0.3, 1.0])] = np.nan
    growing = Thinning(points)
    for part in np.array_split(np.arange(n), rng.integers(1, 50)):
        growing.add(x[part], y[part], sigma[part])
        assert len(growing.curve().x) <= points
    curve, whole = growing.curve(), thinned(x, y, sigma, points)
    np.testing.assert_allclose(curve.x, whole.x, rtol=0.0, atol=1e-6 * np.ptp(x) + 1e-6)
    np.testing.assert_allclose(curve.y, whole.y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(curve.sigma, whole.sigma, rtol=1e-5)


def test_a_mean_weighs_by_variances_and_lies_within_what_it_is_of():
    x = np.arange(64.0)
    y, sigma = x**2, np.tile([1.0, 2.0], 32)
    curve = thinned(x, y, sigma, 20)
    assert len(curve.x) == 16
    pairs, weight = y.reshape(16, 4), 1.0 / sigma[:4] ** 2
    np.testing.assert_allclose(curve.y, pairs @ weight / weight.sum())
    np.testing.assert_allclose(curve.x, x.reshape(16, 4) @ weight / weight.sum())
    np.testing.assert_allclose(curve.sigma, weight.sum() ** -0.5)


def test_a_reference_that_is_not_known_is_that_of_the_first_observations():
    rng = np.random.default_rng(2)
    seen = Observations(*rng.normal(50.0, 1.0, (6, 40)))
    growing = GrowingCurve("distance", None, None, points=100)
    assert not growing.is_settled
    for start in range(0, 40, 4):
        cut = Observations(*(getattr(seen, name)[start : start + 4] for name in seen.__slots__))
        growing.add(np.arange(start, start + 4.0), cut)
        assert growing.is_settled == (start >= 8)
    np.testing.assert_allclose(growing.curve().y, displaced(seen, None, None, "distance")[0], 1e-5)


def test_tracks_are_read_a_bounded_number_of_peaks_at_a_time(tmp_path, monkeypatch):
    folder, n = RunFolder.create(tmp_path / "run"), 600
    for part in range(10):
        frames = np.repeat(np.arange(200 * part, 200 * (part + 1)), 3)
        values = {
            one.name: np.zeros(n, one.type.to_pandas_dtype())
            for one in PEAKS
            if one.name != "series"
        }
        peaks = values | {"frame": frames, "track": np.tile([4, 5, -1], 200), "row": frames * 0.5}
        table = pa.table({"series": ["x"] * n, **peaks}, schema=PEAKS)
        folder.write_part(part, FRAMES.empty_table(), table, upto=0, next_track=0)
    read = []
    taken = pq.ParquetFile.iter_batches

    def note(self, batch_size, **how):
        read.append(how["columns"])
        return taken(self, batch_size, **how)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", note)
    monkeypatch.setattr("streamer.results.rows.batches.__defaults__", (None, 500))
    sizes = []
    rows = {4: [], 9: []}
    for track, time_ns, _, seen in pieces(folder, np.array([4, 9])):
        sizes.append(len(time_ns))
        rows[track].append(seen.row)
    assert max(sizes) <= 500
    assert rows[9] == []
    (whole,) = observations(folder, np.array([4, 9]))
    assert (
        np.concatenate(rows[4]).tolist()
        == whole.seen.row.tolist()
        == [0.5 * i for i in range(2000)]
    )
    assert {"series", "score", "intensity", "chi"}.isdisjoint(read[0])
