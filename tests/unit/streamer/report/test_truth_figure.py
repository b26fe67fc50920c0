from __future__ import annotations

import numpy as np

from streamer.report import truth_figure


def test_a_line_of_the_truth_ends_where_a_spot_goes_out_and_where_another_begins():
    frame = np.array([0, 1, 30, 31, 2, 3])
    spot = np.array([0, 0, 0, 0, 1, 1])
    lines = truth_figure._unbroken(np.array([5, 0, 1, 2, 3, 4]), frame, spot)
    assert [line.tolist() for line in lines] == [[0, 1], [2, 3], [4, 5]]
