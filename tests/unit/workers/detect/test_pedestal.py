"""Noise of pixels from which something was subtracted before they came."""

import numpy as np
import pytest

from workers.detect.background import estimate
from workers.detect.correction import Correction
from workers.detect.image import Saturation, image_of
from workers.detect.noise import Detector
from workers.detect.patches import cut_patches

_ROWS, _COLS = (
    np.arange(20, 240, 24, np.int32).repeat(10),
    np.tile(np.arange(20, 240, 24, np.int32), 10),
)


def _shifts(level, dtype):
    """Return what is added to the patches of frames from which their level was subtracted."""
    rng = np.random.default_rng(7)
    frame = (rng.poisson(level) - np.rint(level)).astype(dtype)
    image = image_of(frame)
    patches = cut_patches(image, Saturation(frame, np.inf), _ROWS, _COLS, 15)
    background = estimate(image)
    restored = Detector().restored(patches, image, Correction(), _ROWS, _COLS, background)
    return (restored.counts - patches.counts)[:, 7, 7]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_each_peak_has_the_noise_of_the_background_that_was_subtracted_there(dtype):
    rows, cols = np.mgrid[:256, :256]
    level = 500 + 3000 * np.exp(-((rows - 128) ** 2 + (cols - 128) ** 2) / (2 * 90**2))
    ratio = _shifts(level, dtype) / level[_ROWS, _COLS]
    assert np.std(ratio) < 0.15
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.05)


def test_a_pedestal_that_was_subtracted_is_the_same_for_all_peaks_of_a_frame():
    shifts = _shifts(np.full((256, 256), 2000.0), np.float32)
    assert np.ptp(shifts) == 0.0
    assert shifts[0] == pytest.approx(2000.0, rel=0.05)
