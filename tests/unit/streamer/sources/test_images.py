"""Masks and darks that a user gives."""

import numpy as np
import pytest

from streamer.errors import UserError
from streamer.sources.images import load_dark, load_mask


def test_a_dark_is_the_mean_of_its_frames(tmp_path):
    np.save(tmp_path / "dark.npy", np.array([np.full((20, 30), 3), np.full((20, 30), 4)]))
    np.testing.assert_array_equal(load_dark(tmp_path / "dark.npy"), np.full((20, 30), 3.5, "f4"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_dark_that_has_pixels_without_a_number_is_refused(tmp_path, value):
    """Every frame would fail for them."""
    dark = np.full((2, 20, 30), 2.0)
    dark[1, :2] = value
    np.save(tmp_path / "dark.npy", dark)
    with pytest.raises(UserError, match=r"has 60 pixels that are no finite number: set them to 0"):
        load_dark(tmp_path / "dark.npy")


def test_pixels_of_a_mask_that_are_no_number_are_masked(tmp_path):
    mask = np.zeros((20, 30))
    mask[3, 4] = np.nan
    np.save(tmp_path / "mask.npy", mask)
    assert np.argwhere(load_mask(tmp_path / "mask.npy")).tolist() == [[3, 4]]
