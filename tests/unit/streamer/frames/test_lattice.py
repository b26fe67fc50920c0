from __future__ import annotations

import gemmi
import numpy as np
import pytest

from streamer.config import LatticeConfig
from streamer.errors import UserError
from streamer.frames.lattice import Lattice

CELLS = [
    ((8.17, 8.17, 8.17, 90, 90, 90), "F", "cubic"),
    ((5, 5, 7.3, 90, 90, 90), "I", "tetragonal"),
    ((2.83, 2.83, 14.1, 90, 90, 120), "R", "hexagonal"),
    ((5, 5, 5, 70, 70, 70), "P", "rhombohedral"),
    ((4.1, 5.3, 6.7, 90, 90, 90), "C", "orthorhombic"),
    ((4.1, 5.3, 6.7, 90, 105, 90), "P", "monoclinic"),
    ((4.1, 5.3, 6.7, 80, 95, 103), "P", "triclinic"),
]


def lattice(cell, centring="P", tolerance=1e-4):
    return Lattice(tuple(map(float, cell)), centring, tolerance)


def some_planes(cell, centring, n=60):
    """Draw indices that are not extinct, and their spacings."""
    drawn = np.random.default_rng(3).integers(-4, 5, (n, 3)).tolist()
    operations = gemmi.symops_from_hall(f"{centring} 1")
    hkl = [one for one in drawn if any(one) and not operations.is_systematically_absent(one)]
    return np.array(hkl), np.array([gemmi.UnitCell(*cell).calculate_d(one) for one in hkl])


@pytest.mark.parametrize(("cell", "centring", "system"), CELLS)
def test_spacings_are_of_planes_that_have_them(cell, centring, system):
    crystal = lattice(cell, centring)
    hkl, d = some_planes(cell, centring)
    found = crystal.index(d)
    assert crystal.system == system
    known = found.hkl.any(axis=1)
    assert known.mean() > 0.5
    # Where planes are named, those drawn or others that symmetry makes one with them.
    again = [gemmi.UnitCell(*cell).calculate_d(one) for one in found.hkl[known].tolist()]
    np.testing.assert_allclose(again, d[known], rtol=1e-12)
    for one, named in zip(hkl[known].tolist(), found.hkl[known].tolist(), strict=True):
        assert crystal.kind(one) == crystal.kind(named)
    np.testing.assert_array_equal(known, ~found.is_ambiguous)


@pytest.mark.parametrize(("cell", "centring", "system"), CELLS)
def test_the_metric_gives_the_cell_back_and_its_errors(cell, centring, system):
    crystal = lattice(cell, centring)
    _, d = some_planes(cell, centring)
    terms = crystal.index(d).terms
    told = np.isfinite(terms).all(axis=1)
    free = np.linalg.lstsq(terms[told], d[told] ** -2.0, rcond=None)[0][None]
    p = free.shape[1]
    rng = np.random.default_rng(5)
    root = rng.normal(0.0, 1e-7, (p, p))
    values, sigmas = crystal.parameters(free, (root @ root.T)[None])
    np.testing.assert_allclose(values[0, :6], cell, rtol=1e-9)
    assert values[0, 6] == pytest.approx(gemmi.UnitCell(*cell).volume)
    assert len(crystal.free) == p
    drawn = free + rng.normal(size=(20_000, p)) @ root.T
    spread = crystal.parameters(drawn, np.zeros((20_000, p, p)))[0].std(axis=0)
    np.testing.assert_allclose(sigmas[0], spread, rtol=0.03, atol=1e-9)


def test_planes_that_are_extinct_or_too_far_off_are_none():
    crystal = lattice((8.0, 8.0, 8.0, 90, 90, 90), "F", tolerance=0.01)
    d = 8.0 / np.sqrt([3.0, 2.0, 4.0 * 1.015**2, 4.0 * 1.005**2, np.nan])
    found = crystal.index(d)
    assert found.hkl.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert not found.is_ambiguous.any()


def test_planes_that_have_the_same_spacing_are_not_guessed():
    cubic = lattice((8.0, 8.0, 8.0, 90, 90, 90), "F").index(np.array([8.0 / np.sqrt(27.0)]))
    # (5 1 1) or (3 3 3): the cell follows all the same.
    assert (cubic.hkl.tolist(), cubic.terms.tolist()) == ([[0, 0, 0]], [[27.0]])
    doubled = lattice((4.0, 4.0, 8.0, 90, 90, 90)).index(np.array([4.0]))
    assert (doubled.hkl.tolist(), doubled.is_ambiguous.tolist()) == ([[0, 0, 0]], [True])
    assert np.isnan(doubled.terms).all()


def test_planes_whose_spacings_are_too_near_to_one_another_are_not_guessed():
    crystal = lattice((4.0, 4.02, 9.0, 90, 90, 90), tolerance=0.01)
    found = crystal.index(np.array([4.0, 9.0]))
    assert found.hkl.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert found.is_ambiguous.tolist() == [True, False]


def test_a_cell_with_very_many_planes_takes_no_time():
    found = lattice((300.0, 300.0, 300.0, 90, 90, 90)).index(np.array([1.0, 300.0]))
    assert found.is_ambiguous.tolist() == [True, False]


def test_the_configuration_says_what_is_missing():
    assert Lattice.from_config(LatticeConfig()) is None
    given = Lattice.from_config(LatticeConfig(a=8.0, centring="F"))
    assert given is not None
    assert (given.cell, given.system) == ((8.0, 8.0, 8.0, 90.0, 90.0, 90.0), "cubic")
    for config, why in (
        (LatticeConfig(c=4.0), "lattice.a"),
        (LatticeConfig(a=4.0, alpha=30.0, beta=30.0, gamma=150.0), "no cell"),
        (LatticeConfig(a=4.0, centring="R"), "hexagonal axes"),
    ):
        with pytest.raises(UserError, match=why):
            Lattice.from_config(config)
