"""Lattice parameters, where gemmi gives the spacings and pyFAI says where spots stand."""

from __future__ import annotations

import warnings

import gemmi
import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import brentq

from streamer.frames.geometry import Geometry
from streamer.frames.lattice import PARAMETERS, Lattice
from streamer.results.lattices import LatticeFits
from streamer.results.schema import REFLECTIONS, TRACKS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pyFAI")
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

WAVELENGTH = 0.4
SIGMA = 0.03
FRAMES = 400
CELLS = [
    ((8.17, 8.17, 8.17, 90.0, 90.0, 90.0), "F"),
    ((2.87, 2.87, 14.2, 90.0, 90.0, 120.0), "R"),
    ((4.7, 10.3, 6.0, 90.0, 90.0, 90.0), "P"),
    ((4.9, 8.6, 5.1, 90.0, 108.0, 90.0), "P"),
]


@pytest.fixture(scope="module")
def tilted():
    """The same place of a detector for pyFAI and for us."""
    theirs = AzimuthalIntegrator(
        dist=0.2, poni1=0.05, poni2=0.06, rot1=0.12, rot2=-0.2, rot3=0.4,
        detector=Detector(1e-4, 1e-4, max_shape=(2000, 2000)), wavelength=WAVELENGTH * 1e-10,
    )  # fmt: skip
    mine = Geometry(0.2, 0.05, 0.06, 0.12, -0.2, 0.4, 1e-4, 1e-4, WAVELENGTH)
    return theirs, mine


def place(theirs, beam, d, azimuth):
    """Return the row and column where pyFAI has the spacing in a direction from the beam."""
    two_theta = 2.0 * np.arcsin(WAVELENGTH / (2.0 * d))
    along = np.array([np.sin(azimuth), np.cos(azimuth)])

    def off(radius):
        row, col = np.asarray(beam) + radius * along
        return float(theirs.tth(np.array([row]), np.array([col]))[0]) - two_theta

    return np.asarray(beam) + brentq(off, 1.0, 1500.0, xtol=1e-9) * along


def rows_of(mine, places, rng):
    """Make the rows of reflections whose spots stand at places, (n, 2), on many frames."""
    n = len(places)
    at = places + rng.normal(0.0, SIGMA, (FRAMES, n, 2))
    found = mine.locate(at[..., 0], at[..., 1], SIGMA, SIGMA)
    columns = {name: np.zeros(FRAMES * n) for name in REFLECTIONS.names}
    columns |= {"series": ["s"] * (FRAMES * n), "frame": np.repeat(np.arange(FRAMES), n)}
    columns |= {"reflection": np.tile(np.arange(n), FRAMES)}
    columns |= {"d": found.d.ravel(), "d_sigma": found.d_sigma.ravel()}
    return pa.table({name: columns[name] for name in REFLECTIONS.names}).cast(REFLECTIONS)


def tracks_of(d):
    columns = {name: np.zeros(len(d)) for name in TRACKS.names}
    columns |= {"series": ["s"] * len(d), "ref_d": d}
    columns |= {name: np.arange(len(d)) for name in ("track", "reflection")}
    return pa.table({name: columns[name] for name in TRACKS.names}).cast(TRACKS)


@pytest.mark.parametrize(("cell", "centring"), CELLS)
def test_a_known_cell_comes_back_within_its_sigma(tilted, cell, centring):
    theirs, mine = tilted
    rng = np.random.default_rng(4)
    given = Lattice(cell, centring, tolerance=2e-3)
    drawn = rng.integers(-3, 4, (400, 3)).tolist()
    d = np.array([gemmi.UnitCell(*cell).calculate_d(one) if any(one) else 0.0 for one in drawn])
    used = np.flatnonzero((d > 1.0) & np.isfinite(given.index(d).terms).all(axis=1))[:30]
    # The crystal is a little strained: each edge and angle that is free.
    strained = Lattice(cell, centring).parameters
    free = np.linalg.lstsq(given.index(d[used]).terms, d[used] ** -2.0, rcond=None)[0]
    free *= 1.0 + rng.normal(0.0, 2e-4, len(free))
    true = strained(free[None], np.zeros((1, len(free), len(free))))[0][0]
    d = (given.index(d[used]).terms @ free) ** -0.5
    places = [
        place(theirs, mine.beam, one, azimuth)
        for one, azimuth in zip(d, rng.uniform(-3.1, 3.1, len(d)), strict=True)
    ]
    fits = LatticeFits(given, tracks_of(d))
    rows = fits.of(rows_of(mine, np.array(places), rng))
    assert len(rows) == FRAMES
    names = [*given.free, "volume"]
    within = []
    for name in names:
        value, sigma = (rows[f"{name}{part}"].to_numpy() for part in ("", "_sigma"))
        within.append(np.abs(value - true[[*PARAMETERS, "volume"].index(name)]) <= 1.96 * sigma)
    assert 0.93 < np.mean(within) < 0.97
    assert all(0.915 < one.mean() < 0.98 for one in within)
