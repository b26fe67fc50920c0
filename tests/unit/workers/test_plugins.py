"""Finders and position methods of other packages, as the program's own modules use them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from streamer.config import PositionsConfig
from streamer.errors import UserError
from tests.unit.plugins import install_lab
from workers.compare.candidates import candidates
from workers.detect.choice import FINDERS, make_finder
from workers.place.methods import METHODS, make_method, patch_size_of

SHIFTED = PositionsConfig(method="shifted", methods={"shifted": {"rows": 0.25}})


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install_lab(tmp_path / "lab"))
    yield
    sys.modules.pop("lab", None)


def test_a_finder_has_parameters_of_its_own():
    frame = np.zeros((8, 8), np.uint16)
    frame[3, 4], frame[6, 1], frame[1, 1] = 9, 8, 7
    found = make_finder("brightest", 1.0, 1.0, {"brightest": {"most": 2}})(frame)
    assert (found.row.tolist(), found.col.tolist()) == ([3, 6], [4, 1])
    with pytest.raises(UserError, match=r"detect\.finders\.brightest\.most has no default"):
        make_finder("brightest", 1.0, 1.0)


def test_what_a_finder_is_like_is_known_without_making_one():
    assert FINDERS.configure("brightest", {"brightest": {"most": 2}}).slow
    assert FINDERS.configure("findpeaks", {}).slow
    assert not FINDERS.configure("topology", {}).slow


def test_a_method_says_the_size_of_its_patches_and_has_parameters_of_its_own():
    assert patch_size_of(SHIFTED) == 9
    placed = make_method(SHIFTED, 1).place(np.ones((2, 9, 9), np.float32), np.ones((2, 9, 9), bool))
    assert placed.row.tolist() == [0.25, 0.25]
    assert not METHODS.configure("shifted", {}).is_network
    with pytest.raises(UserError, match=r"unknown configuration key positions.*shifted\.x"):
        patch_size_of(PositionsConfig(method="shifted", methods={"shifted": {"x": 1}}))


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(UserError) as caught:
        make_finder("toplogy", 1.0, 1.0)
    assert str(caught.value) == (
        "unknown finder 'toplogy'; did you mean topology? known are topology, findpeaks, brightest"
    )
    with pytest.raises(UserError, match="unknown position method 'gausian'; did you mean gaussian"):
        make_method(PositionsConfig(method="gausian"), 1)


def test_the_configured_method_is_compared_with_ours():
    names = [one.name for one in candidates(SHIFTED)]
    assert names[0] == "braggnn"
    assert names[-1] == "shifted"
    assert [name for name in names if name == "gaussian"] == ["gaussian"]
