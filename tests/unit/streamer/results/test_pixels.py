"""Pixels of a run's frames, read again."""

import h5py
import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.frames.events import Frame
from streamer.results.pixels import Recorded, decoded


@pytest.mark.parametrize("form", ["silx:{}?path=/b", "silx://{}?path=/b", "{}::/b"])
def test_pixels_are_read_from_the_place_that_the_run_read(tmp_path, form):
    data = np.arange(3 * 20 * 24, dtype="<u2").reshape(3, 20, 24)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["b"] = data + 1, data
    recorded = Recorded(form.format(tmp_path / "x.h5"), SourceConfig())
    frame = recorded.frame("x", 2, None)
    recorded.close()
    assert isinstance(frame, Frame), frame
    np.testing.assert_array_equal(decoded(frame), data[2])
