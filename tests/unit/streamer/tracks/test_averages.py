from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from streamer.tracks.averages import averages


def lines(value, variance, hours, windows):
    """Return chi-squared about straight lines through windows, and the observations beyond them."""
    chi2, freedom = 0.0, 0
    for window in windows:
        x, t, w = value[window], hours[window], 1 / np.sqrt(variance[window])
        if not len(x):
            continue
        terms = np.stack([w, w * t], axis=1) if np.ptp(t) > 0 else w[:, None]
        found = np.linalg.lstsq(terms, w * x)[0]
        chi2 += float(((w * x - terms @ found) ** 2).sum())
        freedom += max(len(x) - terms.shape[1], 0)
    return chi2, freedom


@pytest.mark.parametrize("claimed", [0.1, 1.0, 3.0, np.nan])
@pytest.mark.parametrize("together", [False, True])
def test_variances_are_those_with_which_scatter_is_as_expected(claimed, together):
    rng = np.random.default_rng(1)
    shape = 60, 2, 6
    true = 0.1 * np.exp(rng.normal(0, 0.3, shape))
    hours = np.cumsum(rng.random((60, 12)), axis=1).reshape(shape)
    value = 500 + 0.05 * hours + rng.normal(0, 1, shape) * true
    taken = rng.random(shape) < 0.8
    value[~taken] = np.nan
    mean, variance = averages(value, claimed * true, hours, taken, np.full(60, together))
    for i in range(60):
        which = [taken[i] & (np.arange(2) == w)[:, None] for w in range(2)]
        own = np.where(np.isnan(claimed), 1.0, (claimed * true[i]) ** 2)
        windows = [taken[i]] if together else which
        chi2, freedom = lines(value[i], own, hours[i], windows)
        factor = 1.0
        if np.isnan(claimed):
            factor = chi2 / freedom if freedom else np.nan
        elif chi2 > freedom > 0:

            def beyond(more, i=i, own=own, windows=windows, freedom=freedom):
                return lines(value[i], own + more, hours[i], windows)[0] - freedom

            own = own + brentq(beyond, 0.0, 10.0, xtol=1e-12)
        for w in range(2):
            if not which[w].any():
                assert np.isnan([mean[i, w], variance[i, w]]).all()
                continue
            weight = 1 / own[which[w]]
            sure = np.sqrt(1 / weight.sum())
            expected = (weight * value[i][which[w]]).sum() / weight.sum()
            assert mean[i, w] == pytest.approx(expected, rel=0, abs=1e-3 * sure)
            assert variance[i, w] == pytest.approx(factor / weight.sum(), rel=2e-3, nan_ok=True)
