from __future__ import annotations

import numpy as np
import pytest

from streamer.tracks.averages import averages
from streamer.tracks.batches import AT_ONCE, empty, solve


@pytest.mark.parametrize("size", [1, 2, 4, 10])
def test_windows_together_have_the_means_that_each_has_alone(size):
    rng = np.random.default_rng(size)
    value = rng.normal(100.0, 0.05, (AT_ONCE, size))
    sigma = rng.uniform(0.01, 0.1, (AT_ONCE, size))
    hours = np.cumsum(rng.uniform(0.0, 1.0, (AT_ONCE, size)), axis=1)
    sigma[0, 0], sigma[1], sigma[2, -1] = np.nan, np.nan, 0.0
    hours[3], value[4], value[5, 0] = 1.0, 7.0, 1e4
    batch = empty(size)
    for column, given in ((batch.value, value), (batch.sigma, sigma), (batch.hours, hours)):
        column[:] = given.T
    solve(batch)
    one = [np.ascontiguousarray(each[:, None]) for each in (value, sigma, hours)]
    taken = np.ones((AT_ONCE, 1, size), np.bool_)
    mean, variance = averages(*one, taken, np.zeros(AT_ONCE, np.bool_))
    np.testing.assert_array_equal(batch.mean, mean[:, 0])
    np.testing.assert_array_equal(batch.variance, variance[:, 0])
