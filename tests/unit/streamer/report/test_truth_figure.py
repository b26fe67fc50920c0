from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from streamer.report import truth_figure
from streamer.report.reflections import Reflection

NOTHING = (np.nan, np.nan)


def reflection(number, excursion, sigma=0.01, frames=(0, 99)):
    other = {
        one.name: NOTHING for one in dataclasses.fields(Reflection) if one.type == "Measured"
    } | {"excursion": (excursion, sigma)}
    return Reflection(
        number, (number,), (0, 0, 0), frames, 1.0, **other,
        drift_reference_sigma=0.0, strain_reference_sigma=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "less",
    [
        reflection(0, 1.0),
        reflection(0, 9.0, sigma=4.0),
        reflection(0, 9.0, frames=(0, 40)),
        reflection(0, *NOTHING),
    ],
    ids=["nearer", "by chance", "for a while", "not known"],
)
def test_those_are_drawn_that_surely_went_farthest_and_were_there_all_the_time(less):
    far, inwards = reflection(1, 3.0), reflection(2, -5.0)
    found = truth_figure._farthest([less, far, inwards], np.arange(100))
    assert [one.number for one in found] == [2, 1, 0]


def test_a_line_of_the_truth_ends_where_a_spot_goes_out_and_where_another_begins():
    frame = np.array([0, 1, 30, 31, 2, 3])
    spot = np.array([0, 0, 0, 0, 1, 1])
    lines = truth_figure._unbroken(np.array([5, 0, 1, 2, 3, 4]), frame, spot)
    assert [line.tolist() for line in lines] == [[0, 1], [2, 3], [4, 5]]
