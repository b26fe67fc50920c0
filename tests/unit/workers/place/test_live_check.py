from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.transport.metrics import Metrics
from workers.place.base import Positions
from workers.place.live_check import LiveCheck

PATCHES = np.ones((200, 11, 11), np.float32)
VALID = np.ones(PATCHES.shape, bool)


def positions(n, row=0.0, sigma=0.05, flags=0):
    sigmas, bits = np.full(n, sigma), np.full(n, flags, "i4")
    return Positions(np.full(n, row), np.zeros(n), sigmas, sigmas, bits, bits > 0)


class Reference:
    name, patch_size = "reference", 11

    def __init__(self, flags=0):
        self.flags = flags
        self.seen = self.calls = 0

    def place(self, patches, valid):
        self.calls += 1
        self.seen += len(patches)
        return positions(len(patches), flags=self.flags)


def test_distances_are_counted_in_pixels_and_sigmas():
    metrics = Metrics()
    check = LiveCheck(Reference(), 1.0, metrics)
    check.look(PATCHES, VALID, positions(200, row=0.15))
    check.settle()
    assert check.median_px == pytest.approx(0.15)
    assert metrics.value("braggstream_model_disagreement_pixels_count") == 200
    assert metrics.value("braggstream_model_disagreement_pixels_sum") == pytest.approx(30)
    assert metrics.value("braggstream_model_disagreement_sigmas_sum") == pytest.approx(600)


def test_what_a_network_said_is_compared_not_what_fits_made_of_it():
    check = LiveCheck(Reference(), 1.0, Metrics())
    check.look(PATCHES, VALID, replace(positions(200), begun=np.full((200, 2), 0.3)))
    check.settle()
    assert check.median_px == pytest.approx(0.3 * np.sqrt(2.0))


def test_only_a_share_is_looked_at():
    reference = Reference()
    check = LiveCheck(reference, 0.1, Metrics(), seed=1)
    check.look(PATCHES, VALID, positions(200))
    check.settle()
    assert 5 < reference.seen < 40


@pytest.mark.parametrize(("reference", "placed"), [(16, 0), (0, 32)])
def test_peaks_that_either_flags_are_left_out(reference, placed):
    metrics = Metrics()
    fit = Reference(reference)
    check = LiveCheck(fit, 1.0, metrics)
    check.look(PATCHES, VALID, positions(200, flags=placed))
    check.settle()
    assert fit.seen == (0 if placed else 200), "what is left out anyway is not fitted"
    assert metrics.value("braggstream_model_disagreement_pixels_count") == 0
    assert np.isnan(check.median_px)


def test_a_batch_without_peaks_is_no_trouble():
    check = LiveCheck(Reference(), 1.0, Metrics())
    check.look(PATCHES[:0], VALID[:0], positions(0))
    check.settle()


def test_few_peaks_are_gathered_and_compared_together():
    reference, metrics = Reference(), Metrics()
    check = LiveCheck(reference, 1.0, metrics)
    for row in (0.1, 0.3):
        check.look(PATCHES[:10], VALID[:10], positions(10, row=row))
    assert reference.seen == 0
    check.settle()
    assert reference.calls == 1
    assert metrics.value("braggstream_model_disagreement_pixels_sum") == pytest.approx(4.0)
    check.look(PATCHES, VALID, positions(200))
    assert reference.seen == 220, "many do not wait"
    check.settle()
    assert reference.calls == 2
