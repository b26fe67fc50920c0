from __future__ import annotations

import numpy as np
import pytest

from workers.place.fit.methods import fit_gaussian
from workers.place.flanks import draws

TWO_LN2 = 2 * np.log(2)
ROW, COL = np.mgrid[-5:6, -5:6]


@pytest.mark.parametrize("step", [(6.0, 0.0), (0.0, -7.0), (5.0, 5.0)])
def test_a_flank_draws_a_fit_as_far_as_told_or_less(step):
    height, other, width, background = 1000.0, 40.0, 1.4, 10.0
    far = ((ROW - step[0]) ** 2 + (COL - step[1]) ** 2) / width**2
    flank = 0.8 * np.exp(-0.5 * far) + 0.2 / (1 + far / TWO_LN2)
    peak = height * np.exp(-0.5 * (ROW**2 + COL**2) / width**2)
    counts = (background + peak + other * flank).astype(np.float32)[None]
    fits = fit_gaussian(counts, counts > 0, max_peaks=1)
    told = draws(
        np.array([step]),
        np.array([[height, other]]),
        np.full((1, 2), width),
        np.array([background]),
        5,
    )
    found = np.hypot(fits.row[0], fits.col[0])
    # The slopes of the background take up part of a flank.
    assert 0.4 * found < told[0] < 0.1


def test_what_is_not_known_draws_nobody_knows_how_far():
    width = np.array([[np.nan, 1.0]])
    assert np.isnan(draws(np.ones((1, 2)), np.ones((1, 2)), width, np.ones(1), 5))
