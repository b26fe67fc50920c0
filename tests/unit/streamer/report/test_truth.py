from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from streamer.frames.flags import POOR_FIT
from streamer.report.truth import compare


def truth(rows):
    """Make a truth table of (frame, row, col, visible)."""
    return pa.table(
        {
            "frame": pa.array([r[0] for r in rows], pa.int64()),
            "row": pa.array([float(r[1]) for r in rows]),
            "col": pa.array([float(r[2]) for r in rows]),
            "visible": pa.array([r[3] for r in rows]),
            "amplitude": pa.array([100.0] * len(rows)),
        }
    )


def peaks(rows):
    """Make a peaks table of (frame, row, col, flags)."""
    return pa.table(
        {
            "frame": pa.array([r[0] for r in rows], pa.int64()),
            "row": pa.array([float(r[1]) for r in rows]),
            "col": pa.array([float(r[2]) for r in rows]),
            "flags": pa.array([r[3] for r in rows], pa.int32()),
        }
    )


def test_each_peak_is_matched_with_the_nearest_spot_of_its_frame():
    result = compare(
        truth([(0, 10, 10, True), (0, 50, 50, True), (1, 10, 10, True)]),
        peaks([(0, 50.3, 50.4, 0), (0, 10, 10.1, 0), (1, 11, 10, 0)]),
    )
    assert result.true_row.tolist() == [0, 1, 2]
    assert result.peak_row.tolist() == [1, 0, 2]
    np.testing.assert_allclose(result.error, [0.1, 0.5, 1.0])
    assert (result.found, result.visible, result.false) == (3, 3, 0)
    assert result.clear.all()


def test_a_peak_on_another_frame_explains_nothing():
    result = compare(truth([(0, 10, 10, True)]), peaks([(1, 10, 10, 0)]))
    assert (result.found, result.false) == (0, 1)


def test_a_spot_that_cannot_be_seen_is_not_expected_but_explains_a_peak():
    result = compare(truth([(0, 10, 10, False)]), peaks([(0, 10, 10, 0)]))
    assert (result.visible, result.found, result.false) == (0, 0, 0)


def test_peaks_where_no_spot_is_are_told_from_hot_pixels():
    result = compare(
        truth([(0, 10, 10, True)]), peaks([(0, 10, 10, 0), (0, 90, 90, 0), (0, 70, 70, POOR_FIT)])
    )
    assert (result.false, result.flagged) == (1, 1)


def test_two_peaks_do_not_share_a_spot():
    result = compare(truth([(0, 10, 10, True)]), peaks([(0, 10.5, 10, 0), (0, 10.1, 10, 0)]))
    assert result.peak_row.tolist() == [1]


def test_spots_in_one_patch_are_not_clear():
    result = compare(
        truth([(0, 10, 10, True), (0, 10, 16, True), (0, 80, 80, True)]),
        peaks([(0, 10, 10, 0), (0, 10, 16, 0), (0, 80, 80, 0)]),
    )
    assert result.clear.tolist() == [False, False, True]
    assert result.percentile(50, clear=True) == pytest.approx(0)


def test_a_run_without_peaks_has_no_error():
    result = compare(truth([(0, 10, 10, True)]), peaks([]))
    assert (result.found, result.visible) == (0, 1)
    assert np.isnan(result.percentile(50))
