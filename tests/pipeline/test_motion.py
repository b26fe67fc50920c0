"""A beam moves by half a pixel over a lattice that stands still."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from streamer.results import open_run
from tests.pipeline.conftest import FRAMES, run

SHAPE, SHIFT, WIDTH = (256, 256), 0.5, 1.3
SETTINGS = [
    "positions.method=gaussian", "geometry.distance_m=0.2", "geometry.beam_row=128",
    "geometry.beam_col=128", "geometry.pixel_m=75e-6", "geometry.wavelength_a=0.7",
]  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    rng = np.random.default_rng(1)
    places = [(30.0 + 62 * i, 28.0 + 64 * j) for i in range(4) for j in range(4)]
    places = np.array(places) + rng.uniform(-9, 9, (16, 2))
    frames = np.empty((FRAMES, *SHAPE), np.uint16)
    edges = np.arange(SHAPE[0] + 1) - 0.5
    for number, frame in enumerate(frames):
        expected = np.full(SHAPE, 3.0)
        for row, col in places + np.array([SHIFT * number / FRAMES, 0.0]):
            along, across = (np.diff(ndtr((edges - at) / WIDTH)) for at in (row, col))
            expected += 21_000 * np.outer(along, across)
        frame[:] = rng.poisson(expected)
    path = tmp_path_factory.mktemp("beam") / "beam.npy"
    np.save(path, frames)
    return path


def strains(out):
    """Return strains in standard deviations of the tracks that are there all the time."""
    tracks = open_run(out).tracks.to_pydict()
    ratio = np.array(tracks["strain"]) / np.array(tracks["strain_sigma"])
    return np.abs(ratio[np.array(tracks["n_frames"]) > 0.8 * FRAMES])


def test_a_beam_that_drifts_is_no_strain_where_it_is_removed_and_a_warning_where_not(
    recording, tmp_path
):
    kept = run(recording, tmp_path / "kept", *SETTINGS)
    assert kept["common_motion"] == "keep"
    assert any("a motion that all spots share" in line for line in kept["advice"])
    assert np.median(strains(tmp_path / "kept")) > 10
    motion = open_run(tmp_path / "kept").frames["motion_row"].to_numpy()
    assert motion[-1] == pytest.approx(SHIFT, abs=0.02)

    removed = run(recording, tmp_path / "removed", *SETTINGS, "tracks.common_motion=remove")
    assert removed["common_motion"] == "remove"
    assert removed["advice"] == []
    found = strains(tmp_path / "removed")
    assert len(found) == 16
    assert found.max() < 2
