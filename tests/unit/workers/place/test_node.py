from __future__ import annotations

import numpy as np
import pytest

from streamer.frames.peaks import PEAK, SHAPE
from streamer.sink.tables import Row, peak_columns, read_results
from streamer.tracks.linker import Linked
from streamer.transport.messages import FramePeaks
from streamer.transport.messages import Positions as PositionsHeader
from workers.place.base import Positions
from workers.place.node import place_peaks


def placed(shape: np.ndarray | None, single: np.ndarray | None) -> Positions:
    offset, sigma = np.array([0.25, -0.5]), np.array([0.1, 0.2])
    flags = np.zeros(2, np.int32)
    return Positions(offset, offset, sigma, sigma, flags, flags > 0, shape, single)


def peaks() -> np.ndarray:
    found = np.zeros(2, PEAK)
    found["row"], found["col"], found["intensity"] = [40, 80], [21, 60], [1000.0, 2000.0]
    return found


def test_shapes_are_told_in_detector_pixels() -> None:
    shape = np.zeros((2, 2 * len(SHAPE)))
    for place in range(len(SHAPE)):
        shape[:, 2 * place], shape[:, 2 * place + 1] = 2.0 + place, 0.1 + place
    single = np.array([[0.25, -0.5, 0.1, 0.2, 7.0], [np.nan] * 5])
    told = place_peaks(peaks(), placed(shape, single), binning=2)
    for name, power in (
        ("intensity", 0), ("background", -2), ("fwhm_major", 1), ("fwhm_minor", 1),
        ("angle", 0), ("eta", 0), ("asymmetry", 0),
    ):  # fmt: skip
        place = SHAPE.index(name)
        assert told[name] == pytest.approx((2.0 + place) * 2.0**power)
        assert told[f"{name}_sigma"] == pytest.approx((0.1 + place) * 2.0**power)
    assert told["row"].tolist() == [41.0, 79.5]
    assert told["centre_row"] == pytest.approx([40.5 + 18.0, 80.5 + 18.0])
    assert told["centre_row_sigma"] == pytest.approx(2 * 7.1)
    assert told["single"].tolist()[0] == pytest.approx((41.0, 19.5 + 0.0, 0.2, 0.4, 7.0))
    assert np.isnan(told["single"]["row"][1])


def test_what_is_not_known_of_a_shape_is_nan_but_the_sum_of_counts_is_told() -> None:
    told = place_peaks(peaks(), placed(None, None))
    assert np.isnan(told["fwhm_major"]).all()
    assert np.isnan(told["single"]["evidence"]).all()
    head = FramePeaks(seq=0, series="1", frame=0, time_ns=0, received_ns=0, n_peaks=2)
    result = read_results(PositionsHeader([head]), [memoryview(peaks()), memoryview(told)])[0]
    row = Row.of(result)
    row.linked = Linked(np.zeros(2, np.int64), result.positions)
    columns = peak_columns([row], ["1"])
    assert columns["intensity"].tolist() == [1000.0, 2000.0]
    assert np.isnan(columns["intensity_sigma"]).all()
    assert "single" not in columns
