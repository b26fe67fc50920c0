"""Charge, discharge and rest by the current alone, from C/50 to 10C."""

import numpy as np
import pytest

from streamer.cell.base import Readings
from streamer.cell.cycles import half_cycles

FAST = [(0, 50), (0.02, 300), (0, 50), (5, 60), (0, 50), (-5, 60), (0, 50), (-0.02, 300), (0, 50)]
SLOW = [(0, 50), (0.02, 300), (0, 50), (-0.02, 300), (0, 50)]
RESTLESS = [(0.02, 300), (5, 60), (-5, 60), (-0.02, 300)]
PULSES = [(0.02, 60), (-2.0, 10)] * 10
TAPER = [(float(one), 1) for one in np.exp(-np.arange(300) / 80) if one > 0.02]


def labelled(steps, noise=0.0, offset=0.0):
    """Return the signs that are right, and those that are found."""
    counts = [count for _, count in steps]
    ideal = np.repeat([current for current, _ in steps], counts).astype(float)
    current = ideal + offset + np.random.default_rng(3).normal(0, noise, len(ideal))
    nothing = np.full(len(current), np.nan)
    times = np.arange(len(current)) * 10**10
    _, sign = half_cycles(Readings(times, np.full(len(current), 3.7), current, nothing))
    return np.sign(ideal).astype(int).tolist(), sign.tolist()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0])
@pytest.mark.parametrize(
    ("steps", "noise", "offset"),
    [
        (FAST, 0, 0), (FAST, 2e-3, 0), (FAST, 5e-4, 2e-3), (FAST, 0, -3e-3),
        (SLOW, 0, 0), (SLOW, 2e-4, 0), (SLOW, 0, 1e-5),
        (RESTLESS, 0, 0), (RESTLESS, 1e-3, 0),
        (PULSES, 0, 0), (PULSES, 1e-4, 0),
        ([(0, 30), (0.02, 300), (10, 60), (0, 40), (-0.02, 300)], 0, 0),
        ([(1, 50), *TAPER, (0, 50), (-1, 100)], 0, 0),
        ([(5, 50), *TAPER, (0, 50), (-1, 100)], 1e-4, 0),
    ],
)  # fmt: skip
def test_rest_is_told_from_the_smallest_current(steps, noise, offset, scale):
    scaled = [(scale * current, count) for current, count in steps]
    wanted, got = labelled(scaled, scale * noise, scale * offset)
    assert got == wanted
