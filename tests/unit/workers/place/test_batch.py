from __future__ import annotations

import numpy as np
import pytest

from streamer.frames.peaks import PEAK
from streamer.transport.messages import FramePeaks, Patches
from workers.place.batch import Batcher


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def a_message(seq, n_peaks, fill=0.0):
    """Return header and buffers of one frame whose patches all hold one value."""
    peaks = np.zeros(n_peaks, PEAK)
    peaks["score"] = fill
    counts = np.full((n_peaks, 3, 3), fill, np.float32)
    buffers = [peaks.view(np.uint8), counts, counts == fill]
    return Patches([FramePeaks(seq, "s", seq, 0, 0, n_peaks)], 3), [
        memoryview(one.tobytes()) for one in buffers
    ]


def test_a_batch_is_due_when_its_first_patch_has_waited_long_enough(clock):
    batcher = Batcher(100, 2.0, clock)
    assert batcher.empty
    batcher.add(*a_message(0, 1))
    clock.now += 1.5
    batcher.add(*a_message(1, 1))
    assert batcher.left_s == pytest.approx(0.5)
    clock.now += 0.5
    assert batcher.left_s <= 0
    batcher.take()
    batcher.add(*a_message(2, 1))
    assert batcher.left_s == pytest.approx(2.0)


def test_a_batch_is_due_when_it_is_full(clock):
    batcher = Batcher(4, 2.0, clock)
    batcher.add(*a_message(0, 3))
    assert not batcher.full
    batcher.add(*a_message(1, 1))
    assert batcher.full
    assert batcher.left_s == 0.0
    batcher.take()
    assert not batcher.full


def test_patches_stay_beside_their_peaks_and_frames(clock):
    batcher = Batcher(100, 2.0, clock)
    for seq, n_peaks, fill in ((5, 2, 1.0), (6, 0, 0.0), (7, 1, 3.0)):
        batcher.add(*a_message(seq, n_peaks, fill))
    assert batcher.frames == 3
    batch = batcher.take()
    assert [frame.seq for frame in batch.frames] == [5, 6, 7]
    assert batch.peaks["score"].tolist() == [1.0, 1.0, 3.0]
    assert batch.counts[:, 0, 0].tolist() == [1.0, 1.0, 3.0]
    assert batch.valid.shape == (3, 3, 3)
    assert batcher.empty
    assert batcher.frames == 0


def test_frames_without_peaks_are_a_batch_too(clock):
    batcher = Batcher(100, 2.0, clock)
    batcher.add(*a_message(0, 0))
    assert not batcher.empty
    assert batcher.take().counts.shape == (0, 3, 3)
