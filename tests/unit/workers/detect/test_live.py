"""Finders whose thresholds change while frames go by."""

from __future__ import annotations

import pytest

from streamer.config import DetectConfig
from streamer.transport.messages import ThresholdChange
from workers.detect.choice import finder_of
from workers.detect.live import LiveFinders

DETECT = DetectConfig(minval=40, minscore=60)


@pytest.fixture
def finders():
    return LiveFinders(DETECT, finder_of(DETECT))


def limits(finder):
    return finder.minval, finder.minscore


def test_a_frames_number_tells_its_thresholds_in_whatever_order_frames_come(finders):
    assert limits(finders.of(7)) == (40, 60)
    finders.change([ThresholdChange(10, 1, 2), ThresholdChange(20, 3, 4)])
    seqs = [25, 5, 10, 19, 20, 9, 10]
    wanted = [(3, 4), (40, 60), (1, 2), (1, 2), (3, 4), (40, 60), (1, 2)]
    assert [limits(finders.of(seq)) for seq in seqs] == wanted
    assert finders.of(25) is finders.of(30)


def test_thresholds_that_no_finder_takes_are_no_finder(finders):
    finders.change([ThresholdChange(10, 1, -2)])
    assert limits(finders.of(9)) == (40, 60)
    with pytest.raises(ValueError, match=r"minscore -2.*greater than 0"):
        finders.of(10)


def test_many_changes_do_not_pile_up_finders(finders):
    finders.change([ThresholdChange(n, n, n) for n in range(1, 50)])
    for n in range(1, 50):
        assert limits(finders.of(n)) == (n, n)
    assert len(finders._made) == 2
